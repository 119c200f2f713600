"""Preparing a data set: its published files become arrays of one size that training reads as memory maps.

Images are streamed: a worker reads one, fits it and writes its row, so that memory does not grow with the
data set. All sums are of integers, so that the result does not depend on the number of workers. The folder
appears whole or not at all.
"""

from __future__ import annotations

import glob
import math
import multiprocessing
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from softreg.data import datasets
from softreg.data.archives import verify
from softreg.data.base import IGNORE, PARTS, Array, Dataset, Options, Sample
from softreg.data.remarks import shared, unlisted
from softreg.data.sizes import check_space, common_size, padding_told
from softreg.data.split import Parts, assign
from softreg.errors import UserError, is_control, refuse, show
from softreg.files import digest, naming, sha256_file, write_json

#: Starting a worker takes about as long as reading this many images.
IMAGES_PER_WORKER = 32
_CHUNK = 8  # images sent to a worker at once


@dataclass(frozen=True)
class Target:
    """Where the rows of one part go, ``images.npy`` and ``masks.npy`` of ``folder``, and how an image becomes one."""

    folder: Path
    rows: int
    size: tuple[int, int]
    fit: str
    classes: int

    def allocate(self) -> None:
        """Create the two files at their full length, so that rows can be written in any order."""
        self.folder.mkdir(parents=True)
        for name, shape in (("images", (*self.size, 3)), ("masks", self.size)):
            np.lib.format.open_memmap(self.folder / f"{name}.npy", "w+", np.uint8, (self.rows, *shape))

    def write(self, index: int, image: Array, mask: Array) -> None:
        """Write row ``index``; other processes write other rows of the same files."""
        for name, row in (("images", image), ("masks", mask)):
            # Not through a memory map: where the disk is full, that ends the process.
            with (self.folder / f"{name}.npy").open("r+b") as file:
                file.seek((index - self.rows) * row.nbytes, os.SEEK_END)
                file.write(row.tobytes())


#: Of one image or many: pixels of each mask value, then of each level of each channel, (4, 256).
Counts = NDArray[np.int64]
Task = tuple[Target, int, Sample]
#: Of one image: its counts and a digest of the picture, or what is wrong with it.
Done = tuple[Counts, bytes] | str


def prepare(name: str, options: dict[str, Any], raw: Path, folder: Path, jobs: int | None = None) -> dict[str, Any]:
    """Prepare the data set ``name`` of a study into ``folder`` and print its class shares.

    ``options`` are its options with all defaults; ``raw`` is the folder of its archives under their published
    names; ``jobs`` is the number of processes, by default one for each core that this one may use. Returns what
    ``dataset.json`` says.

    Raises :class:`UserError` where a file is missing or wrong, an image does not fit, a part is empty or wholly
    ignored, or a class has no training pixel.
    """
    dataset = datasets.load(options["kind"], options)
    with _scratch(folder) as scratch:
        root, sources = _extracted(name, dataset, raw, Path(scratch))
        samples = datasets.samples_of(dataset, options, root)
        check_ids(name, samples)
        parts, rule = assign(name, samples, options["split"])
        about = _described(name, dataset, options, rule)
        size, whole = common_size(name, samples, options), Path(scratch) / "prepared"
        check_space(name, folder.parent, len(samples), size)
        print(*(f"{name}: {line}\n" for line in padding_told(samples, size, options["fit"])), sep="", end="")
        fitting = size, options["fit"], len(about["classes"])
        targets = {part: Target(whole / part, len(parts[part]), *fitting) for part in PARTS}
        counts, prints = _write_arrays(name, parts, targets, jobs or len(os.sched_getaffinity(0)))
        _check_classes(name, about["classes"], counts)
        about |= _measured(parts, counts, size, len(about["classes"]))
        about["arrays"] = {name: sha256_file(whole / name) for name in datasets.ARRAYS}
        # In the form in which it has always been taken, so that it stays what it is.
        paired = {part: [about["arrays"][f"{part}/{name}.npy"] for name in ("images", "masks")] for part in PARTS}
        about["content_digest"] = digest([sources, paired, about["ids"], about["groups"]])
        about["remarks"] = [*dataset.remarks(options), *shared(parts, prints), *unlisted(samples, parts)]
        write_json(whole / "dataset.json", about)
        _install(whole, folder)
    print(class_table(about))
    return about


@contextmanager
def _scratch(folder: Path) -> Iterator[str]:
    """A temporary folder beside ``folder``; those of killed processes go, as one at a time prepares a data set."""
    with naming(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        for left in folder.parent.glob(f".{glob.escape(folder.name)}.*/"):
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
            yield scratch


def class_table(about: dict[str, Any]) -> str:
    """The shares of each class among the valid pixels of each part, and all remarks, as text, from the contents
    of ``dataset.json``.
    """
    images = ", ".join(f"{len(about['ids'][part])} {part}" for part in PARTS)
    height, width = about["size"]
    rows = [[name, *(about["class_shares"][part][i] for part in PARTS)] for i, name in enumerate(about["classes"])]
    rows.append(["(ignored, of all)", *(about["ignore_share"][part] for part in PARTS)])
    wide = max(len(row[0]) for row in rows)
    lines = [f"{about['name']}: {images} images of {height} × {width}; split: {about['split_rule']}"]
    lines.append(f"{'class':{wide}}" + "".join(f"{part:>10}" for part in PARTS))
    lines += [f"{row[0]:{wide}}" + "".join(f"{100 * share:8.2f} %" for share in row[1:]) for row in rows]
    lines += [f"{about['name']}: {remark}" for remark in about["remarks"]]
    return "\n".join(lines)


def fit_to(image: Array, mask: Array, size: tuple[int, int], fit: str) -> tuple[Array, Array]:
    """Image (h, w, 3) and mask (h, w) at ``size`` (H, W).

    ``pad`` keeps the image at the top left; its edge pixels are repeated below and to the right, so that no
    dark frame is learnt, and the mask there is ignored. ``resize`` scales the image bilinearly, averaging
    where it shrinks, and takes the nearest pixel of the mask.
    """
    if mask.shape == size:
        return image, mask
    if fit == "pad":
        below, right = size[0] - mask.shape[0], size[1] - mask.shape[1]
        return (
            np.pad(image, ((0, below), (0, right), (0, 0)), mode="edge"),
            np.pad(mask, ((0, below), (0, right)), constant_values=IGNORE),
        )
    scaled = Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR)
    return np.asarray(scaled), np.asarray(Image.fromarray(mask).resize(size[::-1], Image.Resampling.NEAREST))


def _extracted(name: str, dataset: Dataset, raw: Path, scratch: Path) -> tuple[Path, dict[str, str]]:
    """The folder of the used members of all archives, laid out as published, and the archives' content digests."""
    root, sources = scratch / "members", {}
    root.mkdir()
    for archive in dataset.archives:
        path = raw / archive.filename
        if not path.is_file():
            raise UserError(f"{path} is missing: fetch the archives of {name} first (softreg fetch)")
        sources[archive.filename] = verify(path, archive, root)
    return root, sources


def check_ids(name: str, samples: Sequence[Sample]) -> None:
    """Raise UserError where there are no images, or one is named twice."""
    if not samples:
        raise UserError(f"`datasets.{name}` holds no images: its archive or folder has none where they should be")
    (id_, times), *_ = Counter(sample.id for sample in samples).most_common(1)
    if times > 1:
        raise UserError(f"`datasets.{name}` names the image {id_!r} twice: ids must be unique")


def _write_arrays(
    name: str, parts: Parts, targets: dict[str, Target], jobs: int
) -> tuple[dict[str, Counts], dict[str, list[bytes]]]:
    """Read, fit and write every image; the counts of each part, and the digests of its pictures.

    Raises :class:`UserError` once all are read, for all that are refused.
    """
    faults: list[str] = []
    total = sum(map(len, parts.values()))
    counts: dict[str, Counts] = {}
    prints: dict[str, list[bytes]] = {part: [] for part in parts}
    with (
        _workers(min(jobs, total // IMAGES_PER_WORKER)) as run,
        tqdm(total=total, desc=name, unit="image", disable=None) as progress,
    ):
        for part, samples in parts.items():
            targets[part].allocate()
            tasks = [(targets[part], index, sample) for index, sample in enumerate(samples)]
            counts[part] = np.zeros((4, 256), np.int64)
            for done in run(tasks):
                progress.update()
                if isinstance(done, str):
                    faults.append(done)
                    continue
                counts[part] += done[0]
                prints[part].append(done[1])
    refuse(faults, total, "images")
    return counts, prints


@contextmanager
def _workers(jobs: int) -> Iterator[Callable[[Sequence[Task]], Iterator[Done]]]:
    """A map over tasks in ``jobs`` processes, in order; in this process where there is work for one only."""
    if jobs <= 1:
        yield lambda tasks: map(_work, tasks)
        return
    # A forked process would inherit the threads' locks of the numerical libraries without their threads.
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        yield lambda tasks: pool.map(_work, tasks, chunksize=_CHUNK)


def _work(task: Task) -> Done:
    """Prepare one image: read, check, fit and write it, and count what it holds."""
    try:
        return _prepared(*task)
    except UserError as error:
        return str(error)


def _prepared(target: Target, index: int, sample: Sample) -> tuple[Counts, bytes]:
    image, mask = read_checked(sample, target.classes)
    fitted, fitted_mask = fit_to(image, mask, target.size, target.fit)
    target.write(index, fitted, fitted_mask)
    # Padding is no part of the picture: the channels' mean and standard deviation leave it out.
    picture = image if target.fit == "pad" else fitted
    counts = np.concatenate([_histogram(fitted_mask), _histogram(picture)]).reshape(4, 256)
    return counts, blake2b(bytes(str(image.shape), "ascii") + image.tobytes(), digest_size=16).digest()


def read_checked(sample: Sample, classes: int) -> tuple[Array, Array]:
    """The image and the mask. Raises UserError where the size is not as told, or a value is neither a class nor 255."""
    image, mask = sample.read()
    _check_size(sample, mask)
    _check_mask(sample, mask, classes)
    return image, mask


def _histogram(image: Array) -> NDArray[np.int64]:
    """Pixels of each level, one channel after the other; Pillow counts bytes faster than NumPy."""
    return np.array(Image.fromarray(image).histogram(), np.int64)


def _check_size(sample: Sample, mask: Array) -> None:
    """Refuse a picture that is turned by what stands behind its pixels: its header does not tell its upright size."""
    if mask.shape != tuple(sample.size):
        (height, width), (told_height, told_width) = mask.shape, sample.size
        raise UserError(
            f"the image {sample.id} is {height} × {width} pixels, and {told_height} × {told_width} by its header: "
            "save it anew, upright"
        )


def _check_mask(sample: Sample, mask: Array, classes: int) -> None:
    valid = mask[mask != IGNORE]
    if valid.size and valid.max() >= classes:
        raise UserError(
            f"the mask of {sample.id} has the value {valid.max()}: accepted are 0 to {classes - 1} and {IGNORE}"
        )


def _check_classes(name: str, classes: Sequence[str], counts: dict[str, Counts]) -> None:
    if wrong := [label for label in classes if any(map(is_control, label))]:
        raise UserError(f"the class {show(wrong[0])} of `datasets.{name}` has a control character; rename it")
    if ignored := [part for part in PARTS if not counts[part][0, : len(classes)].any()]:
        raise UserError(
            f"`datasets.{name}`: every pixel of the {ignored[0]} images is ignored, so that nothing can be scored "
            "there: change `split`, or see to the masks and `ignore`"
        )
    if missing := [label for index, label in enumerate(classes) if counts["train"][0, index] == 0]:
        raise UserError(
            f"`datasets.{name}` has no training pixel of the class {missing[0]!r}: change `split` so that "
            "train holds every class, or take the class out"
        )


def _described(name: str, dataset: Dataset, options: Options, rule: str) -> dict[str, Any]:
    """The part of ``dataset.json`` that is known before any image is read."""
    return {
        "name": name,
        **{key: getattr(dataset, key) for key in ("kind", "title", "citation", "licence", "note", "single_subject")},
        "split_rule": rule,
        "classes": list(dataset.labels(options)),
        "palette": [list(colour) for colour in dataset.labels(options).values()],
        "options": dict(options),
    }


def _measured(parts: Parts, counts: dict[str, Counts], size: tuple[int, int], classes: int) -> dict[str, Any]:
    """The part of ``dataset.json`` that comes from the images; mean and std are in 0…1, of train."""
    moments = [_moments(channel) for channel in counts["train"][1:]]
    return {
        "size": list(size),
        "mean": [mean for mean, _ in moments],
        "std": [std for _, std in moments],
        "ids": {part: [sample.id for sample in samples] for part, samples in parts.items()},
        "groups": {part: [sample.group for sample in samples] for part, samples in parts.items()},
        "class_shares": {part: _shares(counts[part][0, :classes]) for part in PARTS},
        "ignore_share": {part: _shares(counts[part][0])[IGNORE] for part in PARTS},
    }


def _moments(levels: NDArray[np.int64]) -> tuple[float, float]:
    """Mean and standard deviation, in 0…1, of a channel from the counts of its 256 levels."""
    counts = levels.tolist()
    n, total, squares = (sum(count * level**power for level, count in enumerate(counts)) for power in range(3))
    # In exact integers up to the division: n·Σx² − (Σx)² cancels nothing.
    return total / n / 255, math.sqrt(n * squares - total**2) / n / 255


def _shares(pixels: NDArray[np.int64]) -> list[float]:
    """Each count over their sum."""
    total = int(pixels.sum())
    return [int(count) / total for count in pixels]


def _install(whole: Path, folder: Path) -> None:
    """Put the finished folder in its place, in one step and after its files have reached the disk."""
    for path in whole.rglob("*.npy"):
        with path.open("rb") as file:
            os.fsync(file.fileno())
    if folder.exists():
        # Into the scratch folder, which goes with it.
        folder.replace(whole.parent / "replaced")
    whole.replace(folder)
