"""How long does preparing CamVid take? `softreg fetch` from a mirror folder and `softreg prepare`, at full size.

Needs the archive in a folder that SOFTREG_MIRRORS names; nothing is fetched from a network. Wall clock of whole
processes; the memory is the resident peak of the largest process, not the sum over the workers. For comparison:
every image and mask of the archive decoded once, in one process, and thrown away.
"""

from __future__ import annotations

import io
import os
import sys
import time
import zipfile
from pathlib import Path

from common import measure, print_table, temporary_project, write_study
from PIL import Image

from softreg.data.datasets import archives_of


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


def main() -> None:
    file = archive()
    if file is None:
        sys.exit(f"no folder in SOFTREG_MIRRORS holds {archives_of('camvid')[0].filename}")
    with temporary_project():
        study = write_study("camvid", datasets={"camvid": {}}, models={"convnet": {}}, penalties={"none": {}})
        decoding = decode(file)
        fetch = measure("softreg", "fetch", study, "camvid", file.name)
        prepare = measure("softreg", "prepare", study, "camvid")
    rows = [
        [name, f"{run.seconds:.1f}", f"{run.peak_mb:.0f}"] for name, run in (("fetch", fetch), ("prepare", prepare))
    ]
    print_table(["camvid, 701 images of 360 × 480", "s", "peak MB"], [["decoding alone", f"{decoding:.1f}", ""], *rows])


if __name__ == "__main__":
    main()
