"""The folder ``scores/`` that `softreg.scoring.gather` writes, in memory: all that tables, figures and report read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from softreg.errors import UserError
from softreg.files import read_json, reading
from softreg.paper import folded
from softreg.paper.looks import Looks
from softreg.scoring import metrics, records, select
from softreg.scoring.gather import demand_records
from softreg.scoring.looks import noted
from softreg.study import matrix, roles
from softreg.study.cells import final_file


@dataclass(frozen=True)
class Counts:
    """``table`` (3, S, N, C) has TP, FP and FN of one penalty, for S ``seeds`` and N ``images``.

    ``folds`` (N,) is the outer fold that tests each image, -1 where there are none.
    """

    seeds: tuple[int, ...]
    images: tuple[str, ...]
    folds: NDArray[np.int64]
    table: NDArray[np.int64]


def others(status: pd.Series[str]) -> str:
    """How many cells have which status other than finished: ``1 diverged, 2 not run``."""
    counts = status[status != "finished"].value_counts()
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))


def _gathered(name: str) -> cached_property[pd.DataFrame]:
    """The attribute of `Scores` that is the table ``name``.parquet of its folder."""

    def read(scores: Scores) -> pd.DataFrame:
        file = scores.folder / f"{name}.parquet"
        with reading(file, "what was gathered"):
            frame: pd.DataFrame = pq.read_table(file).to_pandas()
        return scores._shown(frame) if "penalty" in frame else frame

    return cached_property(read)


@dataclass(frozen=True, eq=False)
class Scores:
    """A study's gathered scores, each part read when first asked for.

    They are those of the entries that the study compares; with ``checks``, those of its checks too. Each object is
    equal to itself alone: another may have read the folder at another time. So `functools.lru_cache` keeps what is
    worked out of one.
    """

    folder: Path
    checks: bool = False

    def __post_init__(self) -> None:
        if not (self.folder / "study.json").exists():
            raise UserError(f"{self.folder}: holds no study.json: gather the study's scores first.")
        demand_records(self.folder)

    @cached_property
    def study(self) -> dict[str, Any]:
        """The study as validated, every default filled in; of its penalties, those that are shown here."""
        study = dict(read_json(self.folder / "study.json"))
        entries = study["penalties"]
        kept = entries if self.checks else roles.compared(entries)
        return study | {"penalties": {name: entries[name] for name in kept}}

    def _shown(self, frame: pd.DataFrame) -> pd.DataFrame:
        return frame[frame["penalty"].isin(list(self.study["penalties"]))].reset_index(drop=True)

    def _tested(self, columns: Sequence[str]) -> pa.Table:
        """The records of the final on test."""
        files = [final_file(self.folder, name) for name in self.study["datasets"]]
        return records.read(files, columns).filter(self._kept)

    @property
    def _kept(self) -> pc.Expression:
        return pc.field("penalty").isin(list(self.study["penalties"]))

    @property
    def folds(self) -> int:
        """The study's outer folds, each of which tests other images; 0 where there are none."""
        return int(self.study["evaluation"]["folds"] or 0)

    @property
    def raced(self) -> bool:
        """Whether λ were dropped from one tuning seed to the next, so that most have fewer seeds by design."""
        return matrix.is_race(self.study)

    @cached_property
    def datasets(self) -> dict[str, dict[str, Any]]:
        """What is known of each data set, by its name in the study; its palette is as the study's style shows it."""
        found: dict[str, dict[str, Any]] = dict(read_json(self.folder / "datasets.json"))
        colours = self.study["figures"]["style"]["colours"]
        for about in found.values() if colours else ():
            pairs = zip(about["classes"], about["palette"], strict=True)
            about["palette"] = [list(bytes.fromhex(colours.get(name, "#")[1:])) or colour for name, colour in pairs]
        return found

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """``softreg`` (version), ``partial``, and ``cells``: value → number of cells, for each item."""
        return dict(read_json(self.folder / "provenance.json"))

    def finish(self, phase: str) -> str:
        """What to do where a phase has too few scores; of a whole study, all that can be trained has ended."""
        status = self.cells["status"]
        if self.provenance["partial"] or not (left := others(status)):
            return f"finish the study's {phase}."
        count = f"{(status != 'finished').sum()} of {len(status)}"
        return f"nothing is left to train, and {count} networks did not finish ({left})."

    @cached_property
    def selection(self) -> pd.DataFrame:
        """λ̂ by dataset, model and penalty; the columns of `softreg.scoring.select.select_group`.

        Of outer folds as `softreg.paper.folded.choice` joins them, with its column ``chosen`` too.
        """
        selection = self._shown(select.read_selection(self.folder / "selection.csv"))
        return folded.choice(selection) if self.folds else selection

    cells = _gathered("cells")
    """One row for each cell the study asks for, with its status; columns of `softreg.scoring.gather.CELLS`."""
    layers = _gathered("layers")
    """One row for each layer of each finished cell; columns of `softreg.scoring.gather.LAYERS`."""
    histories = _gathered("histories")
    """One row for each epoch of each finished cell; columns of `softreg.scoring.gather.HISTORIES`."""
    images = _gathered("images")
    """Each image of train and test: its group and how complex it is; columns of `softreg.scoring.gather.IMAGES`."""

    def tested(self, dataset: str, images: Sequence[str]) -> pd.DataFrame:
        """The rows of `images` on test ``images`` (N,) of a data set, by their names, in the order given."""
        mine = self.images[(self.images["dataset"] == dataset) & (self.images["split"] == "test")]
        return mine.set_index("image").reindex(list(images))

    def looked_up(self, dataset: str, images: Sequence[str]) -> NDArray[np.int64] | None:
        """TP, FP and FN of a table from grey level to class on the test ``images`` (N,), (3, N, C).

        None where images have colours.
        """
        rows = self.tested(dataset, images)
        columns = [rows[f"lookup_{name}"] for name in ("tp", "fp", "fn")]
        return None if columns[0].isna().any() else np.array([each.to_list() for each in columns])

    def single_subject(self, dataset: str) -> str:
        """What all images of a data set show, where that is one thing, such as "one averaged brain"; else empty."""
        subject: str = self.datasets.get(dataset, {}).get("single_subject", "")
        return subject

    def units(self, dataset: str, images: Sequence[str]) -> NDArray[np.int64]:
        """The numbers, from 0, of the units that test ``images`` (N,) belong to, (N,): what intervals resample.

        Images of one group are one unit, and so are all of a single subject; an image without a group is its own.
        """
        if self.single_subject(dataset):
            return np.zeros(len(images), np.int64)
        groups = self.tested(dataset, images)["group"]
        # The slash tells an image from a group of its name.
        keys = [f"{group}/" if isinstance(group, str) else f"/{image}" for image, group in groups.items()]
        return pd.factorize(np.array(keys, dtype=object))[0].astype(np.int64)

    @cached_property
    def timings(self) -> pd.DataFrame:
        """Measured seconds and images a second of each finished cell."""
        file = self.folder / "timings.csv"
        with reading(file, "timings"):
            return self._shown(pd.read_csv(file, dtype={"lambda": str}, keep_default_na=False))

    def finished(self, phase: str) -> pd.DataFrame:
        """The rows of `cells` of one phase whose training finished."""
        return self.cells[(self.cells["phase"] == phase) & (self.cells["status"] == "finished")]

    @cached_property
    def weights(self) -> pd.DataFrame:
        """Columns phase, records.CELL, weights (of all layers, penalised or not) and nonzero, of each finished cell.

        Of outer folds, the final's are means over a seed's folds, at the λ̂ of `selection`.
        """
        counts = self.layers.assign(nonzero=self.layers["weights"] - self.layers["exact_zeros"])
        rows = counts.groupby(["phase", *records.CELL], sort=False)[["weights", "nonzero"]].sum().reset_index()
        if not self.folds:
            return rows
        keys, final = ["phase", *select.GROUP, "seed"], rows["phase"] == "final"
        means = rows[final].groupby(keys, sort=False)[["weights", "nonzero"]].mean().reset_index()
        return pd.concat([rows[~final], self._at_choice(means)], ignore_index=True)

    def _at_choice(self, frame: pd.DataFrame) -> pd.DataFrame:
        """``frame``, of seeds over all outer folds, with the columns that name a cell: λ̂, and no fold."""
        chosen = self.selection[[*select.GROUP, "lambda"]]
        return frame.drop(columns=["lambda", "fold"], errors="ignore").merge(chosen, on=select.GROUP).assign(fold=-1)

    @cached_property
    def curves(self) -> pd.DataFrame:
        """Mean validation mIoU by λ over the tuning seeds, and what the penalty did to the weights.

        The columns of `softreg.scoring.select.curve`, and as means over the sweep's finished cells: zeros, near_zeros
        and dead_filters (shares of the penalised weights and filters), kept (weights that are not zero, as a share of
        the most that any entry with the same choice of weights has: a small dense network has fewer), kappa (λΣη),
        effective_lr (nan where no layer is normalised) and macs_nonzero (share of the network's multiply-adds).
        """
        curves = select.curve(self.validated, self._folds_of_a_seed)
        return curves.merge(self._effects(), on=[*select.GROUP, "lambda"], how="left")

    def _effects(self) -> pd.DataFrame:
        cells = self.finished("sweep")
        part = cells["penalty"].map({name: entry["weights"] for name, entry in self.study["penalties"].items()})
        most = cells.groupby([cells["dataset"], cells["model"], part])["penalised"].transform("max")
        effects = cells.assign(
            kept=(cells["penalised"] - cells["exact_zeros"]) / most,
            zeros=cells["exact_zeros"] / cells["penalised"],
            near_zeros=cells["near_zeros"] / cells["penalised"],
            dead_filters=cells["dead_filters"] / cells["filters"],
            macs_nonzero=cells["macs_nonzero"] / cells["macs"],
        )
        columns = ["zeros", "near_zeros", "dead_filters", "kept", "kappa", "effective_lr", "macs_nonzero"]
        return effects.groupby([*select.GROUP, "lambda"], sort=False)[columns].mean().reset_index()

    @cached_property
    def sweep_cells(self) -> pd.DataFrame:
        """Validation measures of each cell of the sweep; the columns of `records.of_sums`."""
        return records.of_sums(self.validated, records.CELL)

    @cached_property
    def sweep_seeds(self) -> pd.DataFrame:
        """Validation measures of each tuning seed at each λ over all its folds, see `select.by_seed`."""
        return select.by_seed(self.validated, self._folds_of_a_seed)

    @property
    def _folds_of_a_seed(self) -> int:
        return self.folds or select.folds_of(self.study["selection"])

    @cached_property
    def final_test(self) -> pd.DataFrame:
        """Test measures of each final cell: records.CELL, those of records.MEASURES, images.

        Of outer folds, of each seed that has a network in each of them: all images are then test images, and the λ̂ is
        that of `selection`.
        """
        keys = [*select.GROUP, "seed"] if self.folds else records.CELL
        found = records.to_cells(self._final_records, keys)
        summed = records.of_sums(self._final_test_sums, keys)
        found = found.merge(summed[[*keys, *summed.columns.difference(found.columns)]], on=[*keys], how="left")
        return (self._at_choice(found) if self.folds else found)[[*records.CELL, *records.MEASURES, "images"]]

    @cached_property
    def _sums(self) -> pa.Table:
        return records.read([self.folder / "sums.parquet"], schema=records.SUMS).filter(self._kept)

    @cached_property
    def validated(self) -> pa.Table:
        """The rows of records.SUMS of the sweep on validation."""
        return self._sums.filter((pc.field("phase") == "sweep") & (pc.field("split") == "val"))

    @cached_property
    def sums(self) -> pd.DataFrame:
        """Measures from counts summed over the images of a split, one row for each cell and condition.

        Columns: phase, records.CELL, split, corruption, severity, images, miou, dice, boundary_iou, pixel_accuracy,
        ece, nll (0 to 1; nll in nats). The final has rows for train and test, and for test under each corruption (empty
        and 0 where there is none) and severity, and where weights are averaged one for `records.LAST_TEST`; the sweep
        has rows for val, and for test, made once λ̂ had been selected.
        """
        return records.of_sums(self._sums)

    @cached_property
    def final_sums(self) -> pd.DataFrame:
        """The rows of `sums` of the final; of outer folds summed over those of a seed, with no λ."""
        return records.of_sums(self._final_sums)

    @cached_property
    def _final_sums(self) -> pa.Table:
        final = self._sums.filter(pc.field("phase") == "final")
        return folded.summed(folded.complete(final, self.folds)) if self.folds else final

    @cached_property
    def sweep_test(self) -> pd.DataFrame:
        """The rows of `sums` of the sweep's cells on test."""
        return self.sums[(self.sums["phase"] == "sweep") & (self.sums["split"] == "test")]

    @cached_property
    def averaged(self) -> pd.DataFrame:
        """Test mIoU of the final's cells whose weights are an average: GROUP, seed, average, last (0 to 1)."""
        keys = [*select.GROUP, "seed"]
        last = self.final_sums.loc[self.final_sums["split"] == records.LAST_TEST, [*keys, "miou"]]
        both = self.final_test[[*keys, "miou"]].merge(last, on=keys, suffixes=("", "_last"))
        return both.rename(columns={"miou": "average", "miou_last": "last"})

    @property
    def _final_test_sums(self) -> pa.Table:
        """The final's sums on test as it is."""
        return self._final_sums.filter((pc.field("split") == "test") & (pc.field("corruption") == ""))

    @cached_property
    def class_iou(self) -> pd.DataFrame:
        """IoU of each class on test: dataset, model, penalty, seed, class (its name), iou (nan: an empty union)."""
        rows = []
        for row in self._final_test_sums.select([*select.GROUP, "seed", *records.PIXELS]).to_pylist():
            values = metrics.iou_per_class(row.pop("tp"), row.pop("fp"), row.pop("fn"))
            names = self.datasets[row["dataset"]]["classes"]
            rows += [{**row, "class": name, "iou": value} for name, value in zip(names, values.tolist(), strict=True)]
        return pd.DataFrame(rows, columns=[*select.GROUP, "seed", "class", "iou"])

    @cached_property
    def _final_records(self) -> pa.Table:
        table = self._tested(records.SCORED)
        return folded.complete(table, self.folds) if self.folds else table

    def test_counts(self, dataset: str, model: str) -> dict[str, Counts]:
        """The test counts of each penalty at its λ̂ that has any, over its own seeds; images are sorted."""
        place = (pc.field("dataset") == dataset) & (pc.field("model") == model)
        table = self._final_records.filter(place).sort_by([("seed", "ascending"), ("image", "ascending")])
        found = {}
        for penalty in self.study["penalties"]:
            if len(mine := table.filter(pc.field("penalty") == penalty)):
                seeds = sorted(set(mine["seed"].to_pylist()))
                first = mine.slice(0, len(mine) // len(seeds))
                names = tuple(seeds), tuple(first["image"].to_pylist()), first["fold"].to_numpy()
                found[penalty] = Counts(*names, np.reshape(records.counts(mine), (3, len(seeds), len(first), -1)))
        return found

    @cached_property
    def examples(self) -> pa.Table:
        """The example images and their truth, as PNG; columns of `softreg.scoring.gather.EXAMPLES`."""
        file = self.folder / "examples.parquet"
        with reading(file, "example images"):
            return pq.read_table(file)

    def predictions(self) -> pd.DataFrame:
        """The stored predictions of the final cells: records.CELL, image, prediction (PNG)."""
        columns = [*records.CELL, "image", "prediction"]
        table = self._tested(columns)
        frame: pd.DataFrame = table.filter(table["prediction"].is_valid()).to_pandas()
        return frame

    @property
    def penalties(self) -> list[str]:
        """The penalties in the order to show: ``figures.style.order``, then the others as the study lists them."""
        first = [name for name in self.study["figures"]["style"]["order"] if name in self.study["penalties"]]
        return [*first, *(name for name in self.study["penalties"] if name not in first)]

    def label(self, name: str) -> str:
        """What a data set, a model or a penalty is called in figures and tables.

        L2 tells how it enters training, as people take it for an optimiser's weight decay.
        """
        entry, names = self.study["penalties"].get(name, {}), self.study["figures"]["style"]["names"]
        plain = entry.get("kind") == "l2" and entry["realisation"] not in name
        label: str = names.get(name, f"{name} ({entry['realisation']})" if plain else name)
        return label

    @property
    def rope(self) -> float:
        """Half width of the region of practical equivalence, in points of mIoU."""
        return float(self.study["statistics"]["rope"])

    @cached_property
    def looks(self) -> Looks:
        """How often the study was to be looked at, and has been."""
        declared = self.study["statistics"]["looks"]
        made = noted(self.folder / "looks.json")
        seeds = len(self.study["seeds"]["evaluation"])
        now = self.finished("final")["seed"].nunique() if self.provenance["partial"] else seeds
        return Looks(now, tuple(declared or (seeds,)), made)

    @property
    def calibration_ropes(self) -> dict[str, float]:
        """Half widths of the regions of practical equivalence of ece (points) and nll (nats); nan: none is declared."""
        declared = self.study["statistics"]
        return {name: float(declared[f"rope_{name}"] or "nan") for name in ("ece", "nll")}

    @cached_property
    def groups(self) -> list[tuple[str, str, str]]:
        """Each (dataset, model, penalty) that the study asks for, in the order of its file.

        Merged studies may have asked for no network of one's data set with another's model.
        """
        asked = {*self.cells[select.GROUP].itertuples(index=False, name=None)}
        return [group for group in matrix.groups_of(self.study) if group in asked]

    def ordered(self, frame: pd.DataFrame, *then: str) -> pd.DataFrame:
        """The rows of ``frame`` in the order to show: by data set, model and penalty, and ``then`` by numbers.

        ``frame`` may lack some of the three. Rows that agree stay in their order, and keep their index.
        """
        shown = {"dataset": list(self.study["datasets"]), "model": list(self.study["models"])}
        shown["penalty"] = self.penalties
        keys = [name for name in shown if name in frame]
        places = {name: frame[name].map(shown[name].index).astype(int) for name in keys}
        numbers = {name: frame[name].astype(float) for name in then}
        order = pd.DataFrame(places | numbers, index=frame.index).reset_index(drop=True)
        return frame.iloc[order.sort_values([*keys, *then], kind="stable").index]

    @property
    def kinds(self) -> dict[str, str]:
        """The kind of each of the study's ``penalties``."""
        return {name: entry["kind"] for name, entry in self.study["penalties"].items()}

    @property
    def references(self) -> dict[str, str]:
        """The unpenalised entry of the update rule of each of the study's ``penalties``; empty where there is none."""
        entries = self.study["penalties"]
        return {name: roles.reference_of(entries, name) or "" for name in entries}

    @property
    def reference(self) -> str | None:
        """The study's unpenalised entry: the first penalty of kind ``none``, if it has one."""
        return next((name for name, kind in self.kinds.items() if kind == "none"), None)
