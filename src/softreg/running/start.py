"""Starts Snakemake on a study, as one would by hand. SoftReg itself imports no workflow engine."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from softreg.errors import UserError
from softreg.files import project
from softreg.study.config import load_study


def demo(words: Sequence[str]) -> NoReturn:
    """Write what the working folder lacks of the workflow and the demo study, and start that; ``words`` as of `start`.

    Raises UserError in a folder that holds other things.
    """
    here, source = Path.cwd(), project()
    if not Path("Snakefile").exists() and any(here.iterdir()):
        raise UserError(f"{here} holds other files and no SoftReg project; run softreg demo in an empty folder")
    study = Path("config", "demo.yaml")
    parts = (source / "workflow", source / "profiles")
    files = [file for part in parts for file in part.rglob("*") if file.is_file()]
    for file in (source / "Snakefile", source / study, *files):
        target = here / file.relative_to(source)
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
    start(study, False, words)


def start(study: Path, slurm: bool, words: Sequence[str]) -> NoReturn:
    """Become Snakemake, which this process is from then on: signals reach it, and its exit status is the command's.

    ``words`` are further ones for it, such as a target; they override those given here. Raises UserError where the
    study cannot be read, or Snakemake is not installed.
    """
    load_study(study)
    # Whether or not the environment of this Python is activated.
    found = shutil.which("snakemake", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if not found:
        raise UserError(
            "snakemake is not installed beside this softreg; install it by `pip install 'snakemake>=9.27,<10'`, or run "
            "the stages by hand, from `softreg prepare` on"
        )
    # Otherwise on all cores, as profiles/default says.
    where = ["--profile", "profiles/slurm"] if slurm else []
    # Last, as --config takes all words that follow it.
    arguments = ["snakemake", *where, *words, "--config", f"study={study}"]
    print(shlex.join(arguments), file=sys.stderr, flush=True)
    os.execv(found, arguments)
