"""The workflow as its users run it: Snakemake on a copy of the project, from a study to a report."""

import json
import os
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import programs
import pytest
import yaml
from PIL import Image

ROOT = Path(__file__).parents[2]
STUDY = {
    "datasets": {"shapes": {"images": 16, "size": [16, 16], "split": {"val": 0.25, "test": 0.25}}},
    "models": {"convnet": {}},
    "penalties": {"none": {}, "l1": {"lambda": [1e-4, 1e-2]}},
    "training": {"epochs": 2, "batch_size": 4, "optimizer": "adam", "lr": 1e-3},
    "seeds": {"tuning": [0], "evaluation": [102, 100, 101]},
    "resources": {"threads": 1, "mem_mb": 1000, "runtime": 5},
}


def make_project(folder: Path, **changes) -> Path:
    """A folder with the workflow and a tiny study in ``config/tiny.yaml``."""
    for name in ("Snakefile", "workflow", "profiles"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    (folder / "config").mkdir()
    write_study(folder, **changes)
    return folder


def duplicate(folder: Path, to: Path) -> Path:
    """A copy with its times, to do anything to."""
    return Path(shutil.copytree(folder, to, copy_function=shutil.copy2, symlinks=True, dirs_exist_ok=True))


def write_study(folder: Path, **changes) -> None:
    (folder / "config" / "tiny.yaml").write_text(yaml.safe_dump({**STUDY, **changes}))


def snakemake(
    folder: Path, *arguments: str, check: bool = True, study: str = "config/tiny.yaml"
) -> subprocess.CompletedProcess[str]:
    """Run Snakemake as a user would, without the virtual environment's folder on the path."""
    environment = {**os.environ, "PATH": "/usr/bin:/bin", programs.FORKS: programs.forks()}
    done = programs.run(folder, "snakemake", *arguments, "--config", f"study={study}", environment=environment)
    assert not check or done.returncode == 0, done.stderr[-4000:]
    return done


def planned(folder: Path, *arguments: str, study: str = "config/tiny.yaml") -> dict[str, int]:
    """The rules that a dry run would run, and how often."""
    output = snakemake(folder, "-n", *arguments, study=study).stdout
    found = re.findall(r"^(\w+)\s+(\d+)$", output.split("Job stats:", 1)[-1].split("Reasons:")[0], flags=re.MULTILINE)
    return {rule: int(count) for rule, count in found if rule not in ("total", "all")}


def ran(output: str) -> Counter[str]:
    """The rules that Snakemake has run, or would run, and how often."""
    return Counter(re.findall(r"^(?:local)?rule (\w+):$", output, flags=re.MULTILINE))


def _scores(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted((folder / "results/tiny/scores").glob("*.parquet"))}


def test_what_is_wrong_with_images_is_said_once(tmp_path):
    folder = make_project(
        tmp_path, datasets={"own": {"kind": "folder", "images": "i", "masks": "m", "classes": ["a", "b"]}}
    )
    for name, value in (("i", 0), ("m", 7)):
        (folder / name).mkdir()
        for number in range(9):
            Image.new("L", (16, 16), value).save(folder / name / f"{number}.png")
    done = snakemake(folder, "--cores", "1", "data", check=False)
    assert done.returncode == 1
    assert (done.stdout + done.stderr).count("9 of 9 images are refused: m/0.png has") == 1


def test_one_command_leads_to_the_report_and_cores_and_shared_jobs_do_not_change_it(finished, tmp_path):
    """On two cores, with two seeds of an entry to a job: as on one core, with a job for each."""
    together = make_project(tmp_path, resources={**STUDY["resources"], "seeds_per_job": 2})
    done = snakemake(together, "--cores", "2")
    # Of two entries each, one seed of the sweep and three of the final.
    assert ran(done.stderr)["train_paths"] == 2 * (1 + 2)
    results = together / "results" / "tiny"
    assert "<h1" in (results / "report.html").read_text()
    assert set(_scores(together)) == {
        "final-test-shapes.parquet",
        "cells.parquet",
        "sums.parquet",
        "layers.parquet",
        "histories.parquet",
        "images.parquet",
        "examples.parquet",
    }
    assert json.loads((results / "metrics.json").read_text())
    assert (results / "tables" / "main.csv").is_file()
    assert {"lambda_curves-shapes.pdf", "paired_difference-shapes.svg", "gallery-shapes-convnet.png"} <= {
        file.name for file in (results / "figures").iterdir()
    }
    assert _scores(together) == _scores(finished)
    write_study(together, resources={**STUDY["resources"], "seeds_per_job": 3})
    assert planned(together, "sweep") == {}


def test_the_entries_of_a_seed_are_trained_in_turn(finished):
    ends = {
        (entry, seed): f"results/tiny/final/shapes/convnet/{entry}/seed{seed}/path.json"
        for entry in ("none", "l1")
        for seed in (102, 100, 101)
    }
    order = sorted(ends, key=lambda end: (finished / ends[end]).stat().st_mtime_ns)
    assert [seed for _, seed in order] == [102, 102, 100, 100, 101, 101]


def test_a_change_of_scoring_scores_again_and_trains_nothing(copy):
    cells = {file: file.stat().st_mtime_ns for file in copy.glob("results/tiny/*/*/*/*/*/*/cell.json")}
    resources = {**STUDY["resources"], "seeds_per_job": 3}
    write_study(copy, evaluation={"corruptions": ["noise"], "severities": [1]}, resources=resources)
    done = snakemake(copy, "--cores", "2")
    assert ran(done.stderr) == {"train_paths": 2, "gather_scores": 1, "write_paper": 1, "all": 1}
    assert {file: file.stat().st_mtime_ns for file in cells} == cells
    assert (copy / "results/tiny/scores/sums.parquet").read_bytes() != b""
    assert "noise" in (copy / "results/tiny/report.html").read_text()


def test_one_more_penalty_leaves_the_others_alone(copy):
    write_study(copy, penalties={**STUDY["penalties"], "l2": {"lambda": [1e-4]}})
    plan = planned(copy, "scores")
    assert plan["train_paths"] == 4
    assert plan["reveal_sweep"] == plan["select_lambda"] == 1


def test_a_file_of_another_version_is_not_called_up_to_date(copy):
    """Snakemake would, if it is asked for by its name."""
    files = ("results/tiny/report.html", "results/tiny/scores/cells.parquet")
    assert planned(copy, *files) == {}
    write_study(copy, title="Another title")
    for file in files:
        done = snakemake(copy, "-n", file, check=False)
        assert done.returncode != 0
        assert f"{file} is of another version of config/tiny.yaml; ask for the target all" in done.stdout + done.stderr


def test_another_name_and_a_comment_rerun_nothing_and_a_learning_rate_reruns_training(copy):
    file = copy / "config" / "tiny.yaml"
    (copy / "tiny.yaml").write_text("# a comment\n" + file.read_text())
    assert planned(copy, study="tiny.yaml") == {}
    write_study(copy, training={**STUDY["training"], "lr": 2e-3})
    assert planned(copy)["train_paths"] == 8


def test_nothing_that_selects_reads_a_test_file(copy):
    (mark,) = copy.glob("results/tiny/selection/shapes/convnet/l1.made-*")
    listing = snakemake(copy, "--forceall", "-n", mark.relative_to(copy).as_posix()).stdout
    assert ran(listing) == {"prepare_dataset": 1, "train_paths": 1, "select_lambda": 1}
    assert "tiny/final/" not in listing
    made = {file.name for file in copy.glob("results/tiny/sweep/*/*/*/*/*.parquet")}
    assert made == {"val.parquet"}


def test_the_paper_is_made_from_scores_alone(finished, tmp_path):
    folder = make_project(tmp_path)
    (folder / "results/tiny").mkdir(parents=True)
    shutil.copytree(finished / "results/tiny/scores", folder / "results/tiny/scores")
    assert ran(snakemake(folder, "--cores", "1", "paper").stderr) == {"paper": 1}
    for name in ("tables/main.csv", "figures/lambda_curves-shapes.csv", "metrics.json"):
        assert (folder / "results/tiny" / name).read_bytes() == (finished / "results/tiny" / name).read_bytes()
    assert not (folder / "data").exists()


def test_partial_shows_what_has_finished(copy):
    shutil.rmtree(copy / "results/tiny/final/shapes/convnet/l1")
    snakemake(copy, "--cores", "1", "partial")
    report = (copy / "results/tiny/partial/report.html").read_text()
    assert "partial" in report.lower()
    assert "not run" in report


def test_a_path_that_cannot_be_trained_leaves_the_others(copy):
    """A network that the data cannot feed fails; the rest of the study is finished and reported."""
    deeplab = {
        "kind": "smp",
        "architecture": "deeplabv3plus",
        "encoder": "resnet18",
        "training": {"batch_size": 1, "crop": 32},
    }
    seeds = {"tuning": [0], "evaluation": [100]}
    write_study(copy, models={"convnet": {}, "deeplab": deeplab}, penalties={"none": {}}, seeds=seeds)
    snakemake(copy, "--cores", "2")
    report = (copy / "results/tiny/report.html").read_text()
    assert "more than 1 value per channel" in report


def test_a_wrong_study_gets_one_sentence_before_any_job(tmp_path):
    folder = make_project(tmp_path, penalties={"l1": {"lambda": [-1]}})
    done = snakemake(folder, "--cores", "1", check=False)
    assert done.returncode != 0
    said = [line for line in done.stderr.splitlines() if "config/tiny.yaml" in line]
    assert len(said) == 1
    assert "penalties.l1.lambda[0] is -1" in said[0]
    assert "Traceback" not in done.stderr
    assert not (folder / "results").exists()


@pytest.mark.parametrize("study", ["", "1"])
def test_a_study_that_is_no_files_name_gets_one_sentence(study, tmp_path):
    done = snakemake(make_project(tmp_path), "-n", study=study, check=False)
    assert done.returncode != 0
    assert "names no file; give that of a study, such as study=config/demo.yaml" in done.stdout
    assert "pathlib" not in done.stdout
