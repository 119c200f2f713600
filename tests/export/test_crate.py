"""A crate holds what its profiles demand, rule by rule, read without the library that wrote it, and with it."""

import json
import shutil
import sys
import zipfile
from pathlib import Path

import pytest
from rocrate.rocrate import ROCrate

from softreg.cli import main
from softreg.study.config import load_study

ROOT = Path(__file__).parents[2]
PROJECT = ("Snakefile", "CITATION.cff", "LICENSE", "requirements.lock", "pyproject.toml")
SCORES = ROOT / "results" / "published" / "wbc" / "scores"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project's folder with a study that has finished: published scores, and a stand-in for its report."""
    folder = tmp_path_factory.mktemp("project")
    for name in PROJECT:
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "workflow", folder / "workflow")
    results = folder / "results" / "wbc"
    shutil.copytree(SCORES, results / "scores")
    for name in (
        "figures/forest.png",
        "tables/main.csv",
        "tables/made-0123456789abcdef",
        "report.html",
        "metrics.json",
    ):
        (results / name).parent.mkdir(exist_ok=True)
        (results / name).write_text(name)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["export", "crate", "results/wbc", "crate"]) == 0
    return folder


@pytest.fixture
def described(project):
    """The entities of the crate by their identifiers, as JSON."""
    whole = json.loads((project / "crate" / "ro-crate-metadata.json").read_text("utf-8"))
    assert whole["@context"] == "https://w3id.org/ro/crate/1.1/context"
    return {entity["@id"]: entity for entity in whole["@graph"]}


def many(value):
    """The identifiers that a property names, one or several."""
    return {each["@id"] for each in (value if isinstance(value, list) else [value])}


def test_the_descriptor_and_the_root_are_those_of_a_crate(described):
    """RO-Crate 1.1, "Root Data Entity"."""
    descriptor, root = described["ro-crate-metadata.json"], described["./"]
    assert (descriptor["@type"], many(descriptor["about"])) == ("CreativeWork", {"./"})
    assert "https://w3id.org/ro/crate/1.1" in many(descriptor["conformsTo"])
    assert root["@type"] == "Dataset"
    assert {"name", "description", "datePublished", "license"} <= set(root)
    assert root["name"] == load_study(ROOT / "config" / "wbc.yaml").title


def test_every_entity_that_is_named_is_described_and_every_file_is_there(project, described):
    """RO-Crate 1.1, "Data Entities": a file is a part of the root, and of the payload."""
    files = {name for name, entity in described.items() if "File" in entity["@type"]}
    assert many(described["./"]["hasPart"]) == files
    there = {str(file.relative_to(project / "crate")) for file in (project / "crate").rglob("*") if file.is_file()}
    assert there == files | {"ro-crate-metadata.json"}
    assert all(
        described[name]["contentSize"] == str((project / "crate" / name).stat().st_size)
        for name in files - {"Snakefile"}
    )
    linked = {name for entity in described.values() for value in entity.values() for name in links(value)}
    assert {name for name in linked if not name.startswith("http")} <= set(described)


def links(value):
    """The identifiers that a value of a property holds."""
    values = value if isinstance(value, list) else [value]
    return [each["@id"] for each in values if isinstance(each, dict)]


def test_the_profiles_are_named_and_described(described):
    """Process Run Crate 0.5 and Workflow Run Crate 0.5, "Root Data Entity"."""
    profiles = {
        "https://w3id.org/ro/wfrun/process/0.5",
        "https://w3id.org/ro/wfrun/workflow/0.5",
        "https://w3id.org/workflowhub/workflow-ro-crate/1.0",
    }
    assert many(described["./"]["conformsTo"]) == profiles
    assert {described[profile]["@type"] for profile in profiles} == {"CreativeWork"}


def test_the_main_entity_is_the_workflow(described):
    """Workflow RO-Crate 1.0, "Main Workflow"."""
    assert many(described["./"]["mainEntity"]) == {"Snakefile"}
    workflow = described["Snakefile"]
    assert set(workflow["@type"]) == {"File", "SoftwareSourceCode", "ComputationalWorkflow"}
    (language,) = many(workflow["programmingLanguage"])
    assert (described[language]["@type"], described[language]["name"]) == ("ComputerLanguage", "Snakemake")
    assert described[language]["version"] == "9.27.1"


def test_a_run_of_the_workflow_made_the_results_from_the_study(described):
    """Process Run Crate 0.5, "CreateAction"; Workflow Run Crate 0.5: its instrument is the main entity."""
    (run,) = (entity for entity in described.values() if entity["@type"] == "CreateAction")
    assert many(run["instrument"]) == {"Snakefile"}
    assert many(described["./"]["mentions"]) == {run["@id"]}
    assert many(run["object"]) == {"results/wbc/scores/study.json", "#data-set-wbc"}
    assert {"results/wbc/report.html", "results/wbc/figures/forest.png"} <= many(run["result"])
    assert not any("made-" in name for name in described)
    assert (run["startTime"], run["endTime"]) == ("2026-11-25T19:24:00+00:00", "2026-11-26T00:09:38+00:00")


def test_parameters_say_what_they_were_in_this_run(described):
    """Workflow Run Crate 0.5, "FormalParameter"."""
    for slot, file in {"input": "results/wbc/scores/study.json", "output": "results/wbc/report.html"}.items():
        (name,) = many(described["Snakefile"][slot])
        parameter = described[name]
        assert (parameter["@type"], parameter["additionalType"]) == ("FormalParameter", "File")
        assert many(parameter["workExample"]) == {file}
        assert many(described[file]["exampleOfWork"]) == {name}


def test_terms_authors_and_versions_are_those_of_the_project(described):
    assert many(described["./"]["license"]) == {"https://spdx.org/licenses/MIT"}
    (author,) = many(described["./"]["author"])
    assert (described[author]["@type"], described[author]["name"]) == ("Organization", "The SoftReg authors")
    needed = [described[name] for name in many(described["Snakefile"]["softwareRequirements"])]
    versions = {software["name"]: software["softwareVersion"] for software in needed}
    assert (versions["python"], versions["torch"], versions["softreg"]) == ("3.11.7", "2.15.0", "0.1.0")


def test_the_study_in_a_crate_loads_as_the_study(project):
    study = load_study(project / "crate" / "results" / "wbc" / "scores" / "study.json")
    stored = json.loads((SCORES / "study.json").read_text("utf-8"))
    strengths = {name: (entry["kind"], entry["lambda"]) for name, entry in stored["penalties"].items()}
    assert {name: (entry["kind"], entry["lambda"]) for name, entry in study.penalties.items()} == strengths
    # Keys that are younger than the scores have their defaults.
    assert (study.name, study.seeds | {"fewer": 0}) == ("wbc", stored["seeds"] | {"fewer": 0})


def test_an_archive_holds_the_same_and_the_library_reads_it(project, monkeypatch):
    monkeypatch.chdir(project)
    assert main(["export", "crate", "results/wbc", "out/wbc.zip"]) == 0
    folder = {str(file.relative_to("crate")): file.read_bytes() for file in Path("crate").rglob("*") if file.is_file()}
    with zipfile.ZipFile("out/wbc.zip") as archive:
        packed = {name: archive.read(name) for name in archive.namelist()}
    # They differ in when they were written.
    about = "ro-crate-metadata.json"
    assert (packed.pop(about) != b"", folder.pop(about) != b"") == (True, True)
    assert packed == folder
    crate = ROCrate("out/wbc.zip")
    assert crate.mainEntity.id == "Snakefile"
    assert {entity.id for entity in crate.data_entities} == set(folder)


def test_people_are_told_from_organisations(project, tmp_path, monkeypatch):
    shutil.copytree(project, tmp_path / "own", ignore=shutil.ignore_patterns("crate", "out"))
    monkeypatch.chdir(tmp_path / "own")
    cited = Path("CITATION.cff").read_text("utf-8")
    person = "  - family-names: Curie\n    given-names: Marie\n    orcid: https://orcid.org/0000-0000-0000-0000\n"
    Path("CITATION.cff").write_text(cited.replace("authors:\n", f"authors:\n{person}"), encoding="utf-8")
    assert main(["export", "crate", "results/wbc", "crate"]) == 0
    crate = ROCrate("crate")
    assert [(each.type, each["name"]) for each in crate.root_dataset["author"]] == [
        ("Person", "Marie Curie"),
        ("Organization", "The SoftReg authors"),
    ]


@pytest.mark.parametrize(
    ("gone", "told"),
    [
        ("results/wbc/report.html", "report.html is missing; give the results of a study that has finished"),
        ("results/wbc/scores/study.json", "study.json is missing"),
        ("Snakefile", "run this in the project's folder, where the Snakefile is"),
    ],
)
def test_what_is_not_finished_is_refused(project, tmp_path, gone, told, monkeypatch, capsys):
    shutil.copytree(project, tmp_path / "own", ignore=shutil.ignore_patterns("crate", "out"))
    monkeypatch.chdir(tmp_path / "own")
    Path(gone).unlink()
    assert main(["export", "crate", "results/wbc", "crate"]) == 2
    assert told in capsys.readouterr().err
    assert not Path("crate").exists()


def test_partial_scores_are_refused(project, tmp_path, monkeypatch, capsys):
    shutil.copytree(project, tmp_path / "own", ignore=shutil.ignore_patterns("crate", "out"))
    monkeypatch.chdir(tmp_path / "own")
    file = Path("results/wbc/scores/provenance.json")
    file.write_text(file.read_text().replace('"partial": false', '"partial": true'))
    assert main(["export", "crate", "results/wbc", "crate"]) == 2
    assert "scores is partial; finish the study first" in capsys.readouterr().err


def test_without_the_library_it_says_what_to_install(project, monkeypatch, capsys):
    monkeypatch.chdir(project)
    monkeypatch.setitem(sys.modules, "rocrate", None)
    assert main(["export", "crate", "results/wbc", "new"]) == 2
    assert "needs rocrate; install it by `pip install 'softreg[export]'`" in capsys.readouterr().err
