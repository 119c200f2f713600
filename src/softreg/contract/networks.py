"""``softreg check STUDY.yaml`` on models: each network is built once, and run as training and scoring will run it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from softreg import networks
from softreg.data import datasets
from softreg.errors import UserError, each, first_line
from softreg.files import digest, read_json
from softreg.networks.probe import demand_trained
from softreg.networks.segmenter import Segmenter
from softreg.study.config import Study
from softreg.study.matrix import TrainingPath, groups
from softreg.training.path import crop_of, demand_place

Size = tuple[int, int]
Run = tuple[int, int | list[int] | None, Size | None]
"""Images in a batch; the study's crop; the size of whole images, None where it is known only once data are prepared."""


@dataclass
class _Network:
    """An entry of a study's models for a number of classes: how it is run, and a path of each penalty on it."""

    entry: Mapping[str, Any]
    classes: int
    paths: list[TrainingPath] = field(default_factory=list)
    runs: dict[str, Run] = field(default_factory=dict)


def try_networks(study: Study) -> int:
    """Build and run each distinct network of a study, and say how many.

    On torch's meta device, which computes shapes alone; SoftReg's own networks take every size. Raises UserError for
    those that would fail in training.
    """
    found: dict[str, _Network] = {}
    labels = {name: datasets.load(entry["kind"], entry).labels(entry) for name, entry in study.datasets.items()}
    for dataset, model, penalty in groups(study):
        entry = {key: value for key, value in study.models[model].items() if key != "training"}
        training, classes = study.training_of(model, penalty), len(labels[dataset])
        network = found.setdefault(digest([entry, classes]), _Network(entry, classes))
        network.paths.append(TrainingPath("sweep", dataset, model, penalty, 0))
        run = training["batch_size"], training["crop"], _size(study, dataset)
        network.runs[digest(run)] = run
    tried = [network for network in found.values() if network.entry["kind"] != "convnet"]
    each(partial(_try, study), tried, "networks")
    return len(tried)


def _size(study: Study, dataset: str) -> Size | None:
    about = datasets.prepared_folder(study, dataset) / "dataset.json"
    size = read_json(about)["size"] if about.is_file() else study.datasets[dataset]["size"]
    return None if size is None else (size[0], size[1])


def _try(study: Study, network: _Network) -> None:
    try:
        model = _built(network)
        parts = {part: model.layers(part) for part in ("all", "encoder", "decoder")}
        demand_trained(model.layers())
        model.to("meta")
        for run in network.runs.values():
            _try_run(network, model, run)
    except UserError as error:
        raise UserError(f"{study.file}: models.{network.paths[0].model}: {error}") from error
    for path in network.paths:
        # Which layers are normalised is not looked at here.
        part = study.penalties[path.penalty]["weights"]
        demand_place(study, path, model, parts.get(part, parts["all"]))


def _built(network: _Network) -> Segmenter:
    """With the weights that it starts from, but for those of the model hub, which are not fetched to be looked at."""
    return networks.build(dict(network.entry), network.classes, network.entry.get("weights") != "hub")


def _try_run(network: _Network, model: Segmenter, run: Run) -> None:
    """Raise UserError where a network does not take its images; it is run on the CPU where the meta device fails."""
    try:
        _demand_logits(model, run, network.classes)
    except Exception:
        try:
            batch, crop, size = run
            _demand_logits(_built(network), (min(batch, 2), crop, size), network.classes)
        except UserError:
            raise
        except Exception as error:  # Libraries refuse shapes by every kind of exception.
            remedy = "give another `size`, `crop` or `batch_size`, or the model other `options`"
            raise UserError(f"it fails on the images of this study: {first_line(error)}; {remedy}") from error


@torch.no_grad()
def _demand_logits(model: Segmenter, run: Run, classes: int) -> None:
    """Run a training batch, and one whole image as scoring does."""
    batch, crop, size = run
    images = [] if size is None else [(False, (1, 3, *size))]
    if crop is not None or size is not None:
        images.append((True, (batch, 3, *crop_of(crop, size or (0, 0), model.stride))))
    for training, shape in images:
        logits = model.train(training)(torch.zeros(shape, device=model.mean.device))
        wanted = shape[0], classes, *shape[2:]
        if logits.shape != wanted:
            raise UserError(f"it gives {tuple(logits.shape)} for images {shape}, where logits have to be {wanted}")
