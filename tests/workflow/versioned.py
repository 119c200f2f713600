"""A project under Git and DVC in a folder, as a user has it, and what its commands have run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import programs
import test_workflow

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
STUDY = {
    **test_workflow.STUDY,
    "penalties": {"none": {}, "l1": {"lambda": ["1e-4", "1e-2"]}},
    "seeds": {"tuning": [0], "evaluation": [100]},
}
_PARTS = (
    "Snakefile",
    "Makefile",
    "dvc.yaml",
    ".dvc/config",
    ".dvc/.gitignore",
    ".dvc/plots",
    ".dvcignore",
    ".gitignore",
)


def make_project(folder: Path) -> Path:
    """The project with a tiny study in place of the demo, in its first commit."""
    for name in (*_PARTS, "workflow", "profiles", "src"):
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    text = (folder / "dvc.yaml").read_text(encoding="utf-8")
    for demo, tiny in (("demo", "tiny"), ("lambda_curves-scenes", "lambda_curves-shapes")):
        assert demo in text
        text = text.replace(demo, tiny)
    (folder / "dvc.yaml").write_text(text, encoding="utf-8")
    (folder / "config").mkdir()
    write_study(folder)
    run(folder, "git", "init", "--quiet", "--initial-branch", "main")
    commit(folder, "A tiny study")
    return folder


def write_study(folder: Path, **changes: object) -> None:
    """Write the tiny study with whole blocks changed."""
    test_workflow.write_study(folder, **{**STUDY, **changes})


def run(folder: Path, *command: str, check: bool = True) -> str:
    """Run a command as a user whose environment is active; what it prints, on either stream."""
    forks = programs.forks()
    environment = {**os.environ, "PATH": f"{forks}:{BIN}:/usr/bin:/bin", programs.FORKS: forks}
    environment["GIT_CONFIG_GLOBAL"] = os.devnull
    for who in ("AUTHOR", "COMMITTER"):
        environment |= {f"GIT_{who}_NAME": "A user", f"GIT_{who}_EMAIL": "user@example.org"}
    if command[0] in programs.MAIN:
        done = programs.run(folder, *command, environment=environment)
    else:
        done = subprocess.run(command, cwd=folder, env=environment, text=True, capture_output=True)
    assert (done.returncode == 0) == check, (done.stdout + done.stderr)[-4000:]
    return done.stdout + done.stderr


def snakemake(folder: Path, *arguments: str, check: bool = True) -> str:
    """Run Snakemake on the tiny study."""
    return run(folder, "snakemake", *arguments, "--cores", "2", "--config", "study=config/tiny.yaml", check=check)


def commit(folder: Path, message: str) -> None:
    """Commit everything that Git does not ignore."""
    run(folder, "git", "add", "--all")
    run(folder, "git", "commit", "--quiet", "--message", message)


def clone(project: Path, folder: Path, *places: str) -> Path:
    """A fresh clone with what DVC has of it, or of ``places`` alone; the store is beside it, as beside the project."""
    run(project, "git", "clone", "--quiet", str(project), str(folder))
    store = folder.parent / "softreg-store"
    if not store.exists():
        store.symlink_to(project.parent / "softreg-store")
    run(folder, "dvc", "pull", "--quiet", *places)
    return folder


def stages(output: str) -> list[str]:
    """The stages whose commands DVC has run."""
    return re.findall(r"^Running stage '(.+)':$", output, flags=re.MULTILINE)


def is_clean(folder: Path) -> bool:
    """Whether DVC finds that everything is as its commit says."""
    return run(folder, "dvc", "status").strip() == "Data and pipelines are up to date."


def nothing_to_do(folder: Path) -> bool:
    """Whether Snakemake finds nothing to make."""
    return "Nothing to be done" in snakemake(folder, "--dry-run")


def files_of(folder: Path, *places: str) -> dict[str, bytes]:
    """The content of all files below ``places`` but Snakemake's notes, by their path."""
    found = [file for place in places for file in sorted((folder / place).rglob("[!.]*")) if file.is_file()]
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in found}
