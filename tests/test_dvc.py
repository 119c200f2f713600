"""dvc.yaml holds what the demo is made from: its data's folder, its code, its targets."""

import shlex
from pathlib import Path

import pytest
import yaml

from softreg import fingerprint, stages
from softreg.config import load_study

ROOT = Path(__file__).parents[1]
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
DEMO = load_study(ROOT / "config" / "demo.yaml")
CODE = {
    "data": ["softreg.prepare", "softreg.datasets.brain"],
    "benchmark": ["softreg.train_path", "softreg.evaluate", "softreg.select", "softreg.gather"],
    "paper": ["softreg.tables", "softreg.figures", "softreg.report"],
}
#: Code of an earlier stage, whose output the stage depends on, or that only checks a study.
ELSEWHERE = {
    "data": ("archives.py", "datasets/__init__.py", "schema.py", "strict_yaml.py"),
    "benchmark": ("archives.py", "datasets/", "schema.py", "strict_yaml.py"),
    "paper": ("archives.py", "datasets/", "gather.py", "schema.py", "strict_yaml.py"),
}


def paths_of(entries):
    """The paths of a list of outputs, each a path or a path with options."""
    return [next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries]


def reached(modules):
    """The files, relative to the package, of the modules and of all that they import and that can change a result."""
    seen, waiting = set(), [fingerprint._own(module) for module in modules]
    while waiting:
        source = waiting.pop()
        if source not in seen and source.name not in fingerprint._SILENT:
            seen.add(source)
            waiting.extend(fingerprint._read(source, 0)[1])
    return {source.file.relative_to(fingerprint._PACKAGE).as_posix() for source in seen}


def test_the_prepared_data_is_the_demos():
    folder = Path(stages.description(DEMO, "brain")).parent.as_posix()
    assert paths_of(STAGES["data"]["outs"]) == [folder]
    assert folder in STAGES["benchmark"]["deps"]


def test_the_demo_is_the_default_study_of_the_commands():
    assert [shlex.split(stage["cmd"]) for stage in STAGES.values()] == [
        ["snakemake", "data"],
        ["snakemake", "scores"],
        ["snakemake", "paper"],
    ]
    assert '"config/demo.yaml"' in (ROOT / "Snakefile").read_text(encoding="utf-8")


@pytest.mark.parametrize("stage", CODE)
def test_a_stage_depends_on_its_code(stage):
    listed = [dep.removeprefix("src/softreg/") for dep in STAGES[stage]["deps"] if dep.startswith("src/")]
    missing = {
        file
        for file in reached(CODE[stage])
        if not any(file == dep or file.startswith(f"{dep}/") for dep in listed)
        and not file.startswith(ELSEWHERE[stage])
    }
    assert missing == set()
    assert [dep for dep in listed if not (ROOT / "src" / "softreg" / dep).exists()] == []


@pytest.mark.parametrize("stage", ["data", "benchmark"])
def test_what_took_long_to_make_survives_a_new_run(stage):
    assert all(options["persist"] for entry in STAGES[stage]["outs"] for options in entry.values())
