"""The rules of Snakemake's workflow catalogue, one by one, and the workflow as a module of another."""

from pathlib import Path

import programs
import pytest
import yaml
from test_workflow import duplicate, planned, ran

from softreg.study.config import load_study

ROOT = Path(__file__).parents[2]
MODULE = """configfile: "config/config.yaml"


module softreg:
    snakefile:
        "{root}/workflow/Snakefile"
    config:
        config


use rule * from softreg{renamed}
"""
JOBS = {"prepare_dataset": 1, "train_paths": 8, "select_lambda": 2, "reveal_sweep": 1, "gather_scores": 1}


def test_what_the_catalogue_looks_for_is_there():
    readme = (ROOT / "README.md").read_text(encoding="utf-8").lower()
    assert "snakemake" in readme
    assert "workflow" in readme
    assert (ROOT / "workflow" / "Snakefile").is_file()
    assert list(ROOT.glob("workflow/rules/*.smk"))
    assert (ROOT / "config" / "README.md").is_file()


def test_the_catalogues_settings_are_of_the_form_that_it_reads():
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text(encoding="utf-8"))["usage"]
    assert set(usage) == {"mandatory-flags", "software-stack-deployment", "report"}
    assert set(usage["mandatory-flags"]) == {"desc", "flags"}
    deployment = usage["software-stack-deployment"]
    assert set(deployment) == {"conda", "apptainer", "apptainer+conda", "report"}
    # No rule names an environment of conda's; all name one container.
    files = [ROOT / "Snakefile", *ROOT.glob("workflow/rules/*.smk")]
    assert deployment["conda"] == any("conda:" in file.read_text() for file in files)
    assert deployment["apptainer"] == any("container:" in file.read_text() for file in files)


@pytest.mark.parametrize("folder", [ROOT, ROOT / ".test"], ids=["config", ".test"])
def test_the_configuration_names_a_study_that_loads(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert load_study(Path(yaml.safe_load(Path("config/config.yaml").read_text(encoding="utf-8"))["study"]))


@pytest.mark.slow
@pytest.mark.parametrize(("renamed", "prefix"), [("", ""), (" as softreg_*", "softreg_")], ids=["plain", "renamed"])
def test_another_workflow_uses_this_one_as_a_module(tmp_path, renamed, prefix):
    duplicate(ROOT / ".test", tmp_path)
    (tmp_path / "workflow").mkdir()
    (tmp_path / "workflow" / "Snakefile").write_text(MODULE.format(root=ROOT, renamed=renamed))
    done = programs.run(tmp_path, "snakemake", "-n", "--cores", "1")
    assert done.returncode == 0, done.stderr
    wanted = JOBS | {"write_paper": 1, "all": 1}
    assert ran(done.stdout) == {f"{prefix}{rule}": count for rule, count in wanted.items()}


@pytest.mark.slow
def test_what_a_benchmark_file_says_or_that_it_is_gone_makes_nothing_again(copy):
    files = sorted(copy.glob("logs/tiny/train/*/*/*/*/*.tsv"))
    assert len(files) == 8
    assert float(files[0].read_text().splitlines()[1].split("\t")[0]) > 0
    files[0].write_text("damaged")
    for file in files[1:]:
        file.unlink()
    assert planned(copy) == {}


@pytest.mark.slow
def test_snakemakes_own_report_needs_no_cores_and_says_what_was_done(copy):
    words = ("--workflow-profile", "none", "--report", "report.html", "--config", "study=config/tiny.yaml")
    done = programs.run(copy, "snakemake", *words)
    assert done.returncode == 0, done.stderr
    page = (copy / "report.html").read_text(encoding="utf-8")
    assert "SoftReg trained every data set" in page
    assert "paired_difference-shapes" in page
