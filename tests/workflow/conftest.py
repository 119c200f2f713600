"""What is dear, made once for all workers: the first that needs it makes it, and the others wait and use the same."""

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import versioned
from test_workflow import duplicate, make_project, snakemake


@pytest.fixture(scope="session")
def once(tmp_path_factory) -> Callable[[str, Callable[[Path], object]], Path]:
    """Fills a folder of a name unless that has been done; the folder, which others copy and nobody may change."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent

    def made(name: str, fill: Callable[[Path], object]) -> Path:
        folder, done = root / name, root / f"{name}.done"
        with (root / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                fill(folder)
                done.touch()
        return folder

    return made


@pytest.fixture(scope="session")
def swept(once):
    """The tiny study, run to the end of its sweep on one core; what Snakemake said is in ``sweep.txt``."""

    def fill(folder: Path) -> None:
        make_project(folder)
        (folder / "sweep.txt").write_text(snakemake(folder, "--cores", "1", "sweep").stderr)

    return once("swept", fill)


@pytest.fixture(scope="session")
def finished(once, swept):
    """The tiny study, run to its report on one core; what Snakemake said after the sweep is in ``rest.txt``."""

    def fill(folder: Path) -> None:
        duplicate(swept, folder)
        (folder / "rest.txt").write_text(snakemake(folder, "--cores", "1").stderr)

    return once("finished", fill)


@pytest.fixture
def copy(finished, tmp_path):
    """A copy of the finished project."""
    return duplicate(finished, tmp_path / "copy")


@pytest.fixture(scope="session")
def published(once):
    """The tiny study, run by DVC and pushed to a folder beside the project; what DVC said is beside it too."""

    def fill(folder: Path) -> None:
        project = versioned.make_project(folder / "project")
        (folder / "repro.txt").write_text(versioned.run(project, "dvc", "repro"))
        assert versioned.is_clean(project)
        assert versioned.nothing_to_do(project)
        versioned.commit(project, "Results of the tiny study")
        versioned.run(project, "dvc", "push")

    return once("published", fill) / "project"


@pytest.fixture(scope="session")
def fetched(once, published):
    """A fresh clone of the published study, with all results fetched."""
    return once("fetched", lambda folder: versioned.clone(published, folder / "project")) / "project"


@pytest.fixture
def cloned(fetched, tmp_path):
    """A copy of the fresh clone, with the store beside it."""
    (tmp_path / "softreg-store").symlink_to((fetched.parent / "softreg-store").resolve())
    return duplicate(fetched, tmp_path / "cloned")
