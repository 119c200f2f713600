"""What surrounds the code: versions that agree, workflows and hooks that call what the project checks itself by."""

import re
import shutil
import sys
import tomllib
from pathlib import Path

import yaml

import softreg

ROOT = Path(__file__).parents[1]


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def loaded(name):
    return yaml.safe_load(read(name))


def test_all_files_that_name_the_version_agree():
    project = tomllib.loads(read("pyproject.toml"))["project"]["version"]
    newest = re.search(r"^## .*?(\d+\.\d+\.\d+)", read("CHANGELOG.md"), re.MULTILINE)[1]
    assert {project, str(loaded("CITATION.cff")["version"]), newest} == {softreg.__version__}


def test_the_citation_has_what_the_format_requires():
    citation = loaded("CITATION.cff")
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["license"] == tomllib.loads(read("pyproject.toml"))["project"]["license"]


def test_workflows_call_what_runs_anywhere_else_too():
    runs = {
        file.stem: [step["run"] for job in loaded(file)["jobs"].values() for step in job["steps"] if "run" in step]
        for file in ROOT.glob(".github/workflows/*.yml")
    }
    assert set(runs) == {"ci", "lint", "site"}
    assert runs["ci"][-1] == ".ci/run"
    makefile = read("Makefile")
    for command in runs["lint"][-1].split(" && "):
        assert f"$(BIN)/{command}\n" in makefile


def test_hooks_before_a_commit_are_programs_of_the_environment():
    (repository,) = loaded(".pre-commit-config.yaml")["repos"]
    hooks = repository["hooks"]
    assert [hook["id"] for hook in hooks] == ["ruff", "ruff-format", "snakefmt"]
    # Those of the environment that runs this, which `make test` does not put on the path.
    assert all(shutil.which(hook["entry"].split()[0], path=Path(sys.executable).parent) for hook in hooks)
    (pattern,) = (hook["files"] for hook in hooks if "files" in hook)
    snakefiles = ["Snakefile", "workflow/Snakefile", "workflow/rules/train.smk"]
    assert [name for name in (*snakefiles, "docs/Snakefile.md") if re.search(pattern, name)] == snakefiles


def test_both_containers_are_built_from_the_same():
    docker, apptainer = read("Dockerfile"), read("softreg.def")
    assert re.search(r"^FROM (\S+)$", docker, re.M)[1] == re.search(r"^From: (\S+)$", apptainer, re.M)[1]
    copied = set(" ".join(re.findall(r"^COPY (.+) \S+$", docker, re.M)).split())
    assert copied == set(re.findall(r"^    (\S+) /opt/softreg/", apptainer, re.M))
    assert all((ROOT / name).exists() for name in copied)


def test_forms_ask_for_what_a_maintainer_needs():
    for form in ROOT.glob(".github/ISSUE_TEMPLATE/*.md"):
        head = yaml.safe_load(form.read_text(encoding="utf-8").split("---")[1])
        assert set(head) == {"name", "about", "labels"}
    assert "softreg --version" in read(".github/ISSUE_TEMPLATE/fault.md")
