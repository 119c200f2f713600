"""The wheel: it carries the workflow and the demo study, and runs them in an empty folder, without the checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with what the wheel holds; the other packages are those of this environment."""
    folder = tmp_path_factory.mktemp("wheel")
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet")
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", folder, ROOT], check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "installed")
    return folder / "installed"


def softreg(installed, folder, *words):
    command = [sys.executable, "-m", "softreg.cli", *words]
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_the_demo_of_the_wheel_plans_its_jobs_in_an_empty_folder(installed, tmp_path):
    done = softreg(installed, tmp_path, "demo", "-n")
    assert done.returncode == 0, done.stderr
    assert "write_paper" in done.stdout
    for name in ("Snakefile", "config/demo.yaml", "profiles/default/config.yaml", "workflow/rules/train.smk"):
        assert (tmp_path / name).read_bytes() == (ROOT / name).read_bytes()
    # What is there is left as it is.
    (tmp_path / "config" / "demo.yaml").write_text("title: not a study\n")
    again = softreg(installed, tmp_path, "demo", "-n")
    assert (again.returncode, again.stderr.count("has no datasets")) == (2, 1)


@pytest.mark.slow
def test_the_demo_refuses_a_folder_of_other_things(installed, tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    done = softreg(installed, tmp_path, "demo", "-n")
    assert done.returncode == 2
    assert "run softreg demo in an empty folder" in done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]
