"""Small archives in the layout of the published ones, and the options of a data set as a study gives them."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from softreg.data import archives, datasets
from softreg.data.base import Sample
from softreg.study.config import load_study


def options_of(folder: Path, kind: str, **given: Any) -> dict[str, Any]:
    """The options of a data set of that kind, with the defaults of the study's schema."""
    study = {
        "datasets": {"it": {"kind": kind} | given},
        "models": {"convnet": {}},
        "penalties": {"none": {}},
    }
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(study), encoding="utf-8")
    return load_study(path).datasets["it"]


def encoded(array: np.ndarray, form: str = "PNG", palette: list[int] | None = None, **options: Any) -> bytes:
    """An image file: grey or RGB(A) as the array's shape says, or indexed where a palette is given."""
    image = Image.fromarray(array)
    if palette is not None:
        image = image.convert("L")
        image.putpalette(palette)
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def photo(seed: int, height: int = 20, width: int = 30) -> np.ndarray:
    """Random colours (H, W, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def blocks(values: list[int], height: int = 20, width: int = 30) -> np.ndarray:
    """A mask (H, W) of vertical stripes, one for each value."""
    columns = np.repeat(np.array(values, np.uint8), -(-width // len(values)))[:width]
    return np.tile(columns, (height, 1))


def samples_of(folder: Path, kind: str, *members: Mapping[str, bytes], **given: Any) -> list[Sample]:
    """The samples of a data set whose archives have these members, held to no sums; ``given`` are its options."""
    dataset, root = datasets.load(kind), folder / "members"
    for archive, files in zip(dataset.archives, members, strict=True):
        path = folder / archive.filename
        (_write_zip if path.suffix == ".zip" else _write_tar)(path, files)
        archives.verify(path, replace(archive, content_sha256=None, sha256=None, md5=None, size=None), root)
    return dataset.samples(options_of(folder, kind, **given), root)


def _write_zip(path: Path, members: Mapping[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def _write_tar(path: Path, members: Mapping[str, bytes]) -> None:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
