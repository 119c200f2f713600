"""dvc.yaml holds what a study is made from: its data, its code, its targets."""

from pathlib import Path

import pytest
import yaml

from softreg.study import fingerprint

ROOT = Path(__file__).parents[1]
FILE = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
STUDIES = FILE["vars"][0]["studies"]
STAGES = {name: stage.get("do", stage) for name, stage in FILE["stages"].items()}
CODE = {
    "data": ["softreg.data.prepare", "softreg.data.datasets.shapes"],
    "benchmark": [
        "softreg.training.path",
        "softreg.scoring.evaluate",
        "softreg.scoring.select",
        "softreg.scoring.gather",
    ],
    "paper": ["softreg.paper.tables", "softreg.paper.figures", "softreg.paper.report"],
}
#: Code of an earlier stage, whose output the stage depends on, or that only checks a study.
ELSEWHERE = {
    "data": ("own/", "study/"),
    "benchmark": ("data/", "own/", "study/"),
    "paper": ("data/", "own/", "study/"),
}


def reached(modules):
    """The files, relative to the package, of the modules and of all that they import and that can change a result."""
    seen, waiting = set(), [fingerprint._own(module) for module in modules]
    while waiting:
        source = waiting.pop()
        if source not in seen and source.name not in fingerprint._SILENT:
            seen.add(source)
            waiting.extend(fingerprint._read(source, 0)[1])
    return {source.file.relative_to(fingerprint._PACKAGE).as_posix() for source in seen}


def test_the_demo_is_the_study_that_is_versioned_and_the_default_of_snakemake():
    assert STUDIES == ["demo"]
    assert "snakemake data --config study=config/demo.yaml" in STAGES["data"]["cmd"]
    assert [next(iter(entry)) for entry in STAGES["data"]["params"]] == ["config/demo.yaml"]
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


@pytest.mark.parametrize("stage", STAGES)
def test_what_a_stage_makes_survives_a_new_run(stage):
    """Else DVC would delete it first, and Snakemake make all of it again."""
    made = [*STAGES[stage]["outs"], *STAGES[stage].get("metrics", [])]
    assert all(options["persist"] for entry in made for options in entry.values())
