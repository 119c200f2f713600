"""How long does preparing CamVid take? `softreg fetch` from a mirror folder and `softreg prepare`, at full size.

Needs the archive in a folder that SOFTREG_MIRRORS names; nothing is fetched from a network. Wall clock of whole
processes; the memory is the resident peak of the largest process, not the sum over the workers. For comparison:
every image and mask of the archive decoded once, in one process, and thrown away. The smoke form makes up a small
archive in the same layout, and reads it as CamVid's under another name, since CamVid's content is known.
"""

from __future__ import annotations

import io
import os
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
from common import SMOKE, measure, print_table, temporary_project, write_study
from PIL import Image

from softreg.data.datasets import archives_of

#: CamVid's reader for an archive of any content.
MADE_UP = """
from dataclasses import replace

from softreg.data.datasets.camvid import CamVid


class Small(CamVid):
    archives = (replace(CamVid.archives[0], content_sha256=None),)
"""


def archive() -> Path | None:
    """The published archive in one of the mirror folders."""
    (published,) = archives_of("camvid")
    folders = os.environ.get("SOFTREG_MIRRORS", "").replace("\n", ";").split(";")
    files = [Path(folder).expanduser() / published.filename for folder in folders if folder and "://" not in folder]
    return next((file for file in files if file.is_file()), None)


def decode(file: Path) -> float:
    """Seconds to decode the PNG members of CamVid, one after another."""
    started = time.perf_counter()
    with zipfile.ZipFile(file) as members:
        for name in members.namelist():
            if "/CamVid/" in name and name.endswith(".png"):
                Image.open(io.BytesIO(members.read(name))).load()
    return time.perf_counter() - started


def make_up() -> Path:
    """A small archive in CamVid's layout, in a mirror folder, and a file with its reader."""
    Path("own.py").write_text(MADE_UP, encoding="utf-8")
    file = Path("mirror", archives_of("camvid")[0].filename).absolute()
    file.parent.mkdir()
    os.environ["SOFTREG_MIRRORS"] = str(file.parent)
    random = np.random.default_rng(0)
    with zipfile.ZipFile(file, "w") as members:
        for part in ("train", "val", "test"):
            for folder, shape in ((part, (24, 32, 3)), (f"{part}annot", (24, 32))):
                image = Image.fromarray(random.integers(11, size=shape, dtype=np.uint8))
                image.save(buffer := io.BytesIO(), "png")
                members.writestr(f"SegNet/CamVid/{folder}/{part}_00001.png", buffer.getvalue())
            image, mask = (f"CamVid/{folder}/{part}_00001.png" for folder in (part, f"{part}annot"))
            members.writestr(f"SegNet/CamVid/{part}.txt", f"{image} {mask}\n")
    return file


def main() -> None:
    if not SMOKE and archive() is None:
        sys.exit(f"no folder in SOFTREG_MIRRORS holds {archives_of('camvid')[0].filename}")
    with temporary_project():
        file = make_up() if SMOKE else archive()
        kind = {"kind": "own.py:Small", "split": {"rule": "official"}} if SMOKE else {}
        study = write_study("camvid", datasets={"camvid": kind}, models={"convnet": {}}, penalties={"none": {}})
        decoding = decode(file)
        fetch = measure("softreg", "fetch", study, kind.get("kind", "camvid"), file.name)
        prepare = measure("softreg", "prepare", study, "camvid")
    rows = [
        [name, f"{run.seconds:.1f}", f"{run.peak_mb:.0f}"] for name, run in (("fetch", fetch), ("prepare", prepare))
    ]
    print_table(["camvid", "s", "peak MB"], [["decoding alone", f"{decoding:.1f}", ""], *rows])


if __name__ == "__main__":
    main()
