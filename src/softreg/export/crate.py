"""A finished study as an RO-Crate: one folder or archive that repositories of research data can read.

It follows the profile Workflow Run Crate 0.5, https://w3id.org/ro/wfrun/workflow/0.5: the workflow, one run of it, what
went in and what came out. Files keep the places that they have in the project.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from mimetypes import MimeTypes
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from softreg.errors import UserError
from softreg.export import demand
from softreg.files import read_json
from softreg.running import places
from softreg.scoring.merge import demand_finished

if TYPE_CHECKING:
    from rocrate.model.entity import Entity
    from rocrate.rocrate import ROCrate

_PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate",
}
_WORKFLOW = Path("Snakefile")
_CITATION = Path("CITATION.cff")
_PROJECT = (_CITATION, Path("LICENSE"), Path("requirements.lock"), Path("pyproject.toml"))
"""Files of the project that belong to a result: who made it, on what terms, with which versions."""
_DESCRIBE = ("study.json", "datasets.json", "provenance.json")
"""The scores that describe the others."""
_TYPES = MimeTypes()
_TYPES.add_type("text/markdown", ".md")
_TYPES.add_type("application/vnd.apache.parquet", ".parquet")
_TYPES.add_type("application/yaml", ".yaml")


def export(results: Path, out: Path) -> str:
    """Write the study whose results are in ``results`` to ``out``, a folder, or an archive where it ends in .zip.

    A line that says so. Raises UserError where the study has not finished, where this is not the project's folder,
    where ``out`` is there already, and where the package rocrate is missing.
    """
    demand("rocrate", out)
    _demand_finished(results)
    crate = _crate(results)
    if out.suffix == ".zip":
        out.parent.mkdir(parents=True, exist_ok=True)
        crate.write_zip(out)
    else:
        crate.write(out)
    return f"{out}: {len(crate.data_entities)} files, described in ro-crate-metadata.json"


def _demand_finished(results: Path) -> None:
    scores = results / "scores"
    needed = [*(scores / name for name in _DESCRIBE), *(results / name for name in places.PAPER), _WORKFLOW, *_PROJECT]
    if missing := [file for file in needed if not file.exists()]:
        raise UserError(
            f"{missing[0]} is missing; give the results of a study that has finished, with its report "
            "(`softreg paper` writes it), and run this in the project's folder, where the Snakefile is"
        )
    demand_finished(read_json(scores / "provenance.json"), scores)


def _crate(results: Path) -> ROCrate:
    from rocrate.rocrate import ROCrate

    # The version that the profile builds on.
    crate = ROCrate(version="1.1")
    scores, cited = results / "scores", yaml.safe_load(_CITATION.read_text(encoding="utf-8"))
    told = read_json(scores / "provenance.json")
    _describe_root(crate, read_json(scores / "study.json"), cited)
    workflow = crate.add_workflow(
        _WORKFLOW,
        _WORKFLOW.as_posix(),
        main=True,
        lang="snakemake",
        lang_version=next(iter(told["cells"].get("versions.snakemake", {})), None),
        properties={"name": cited["title"], "version": told["softreg"], "encodingFormat": "text/plain"},
    )
    workflow["conformsTo"] = {"@id": "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"}
    workflow["softwareRequirements"] = list(_software(crate, told["cells"]))
    rules = (file for file in sorted(Path("workflow").rglob("[!._]*")) if file.is_file())
    for file in (*_PROJECT, *rules):
        _add_file(crate, file, file)
    made = {file: _add_file(crate, results / file, Path("results", results.name, file)) for file in _files(results)}
    inputs = [made.pop(Path("scores/study.json")), *_data_sets(crate, read_json(scores / "datasets.json"))]
    workflow["input"] = _parameter(crate, "study", inputs[0])
    workflow["output"] = _parameter(crate, "report", made[Path("report.html")])
    _add_run(crate, workflow, inputs, list(made.values()), told["cells"])
    return crate


def _describe_root(crate: ROCrate, study: Mapping[str, Any], cited: Mapping[str, Any]) -> None:
    """What the crate is, who made it, on what terms, and the profiles that it follows."""
    crate.name = study["title"]
    crate.description = (
        f"Results of the study {study['name']}, made by {cited['title']}. Pictures in figures and in "
        "scores/examples.parquet show images of the data sets, whose own terms hold for them."
    )
    crate.keywords = cited["keywords"]
    licence = f"https://spdx.org/licenses/{cited['license']}"
    crate.license = _entity(crate, licence, "CreativeWork", name=cited["license"])
    authors = [_author(crate, *each) for each in enumerate(cited["authors"], 1)]
    crate.root_dataset["author"] = authors if authors[1:] else authors[0]
    crate.root_dataset["conformsTo"] = [
        _entity(crate, place, "CreativeWork", name=name, version=place.rpartition("/")[2])
        for place, name in _PROFILES.items()
    ]


def _author(crate: ROCrate, number: int, author: Mapping[str, str]) -> Entity:
    """A person or an organisation, as CITATION.cff tells the two apart: an organisation has a ``name``."""
    place = author.get("orcid") or author.get("website") or f"#author-{number}"
    if "name" in author:
        return _entity(crate, place, "Organization", name=author["name"])
    return _entity(crate, place, "Person", name=f"{author['given-names']} {author['family-names']}")


def _software(crate: ROCrate, told: Mapping[str, Mapping[str, int]]) -> Iterator[Entity]:
    """Every version of Python and of each package that networks were trained with."""
    versions = {name.removeprefix("versions."): told[name] for name in told if name.startswith("versions.")}
    for name, counts in {"python": told["python"], **versions}.items():
        kind = "generic" if name == "python" else "pypi"
        for version in counts:
            place = f"pkg:{kind}/{name}@{version}"
            yield _entity(crate, place, "SoftwareApplication", name=name, softwareVersion=version)


def _data_sets(crate: ROCrate, data_sets: Mapping[str, Mapping[str, Any]]) -> Iterator[Entity]:
    """The data sets, which are not in the crate."""
    for name, told in data_sets.items():
        about = {"name": told["title"], "citation": told["citation"], "license": told["licence"]}
        yield _entity(crate, f"#data-set-{name}", "CreativeWork", **about)


def _files(results: Path) -> Iterator[Path]:
    """The files of a study's scores and paper, below its results; without marks."""
    for place in ("scores", *places.PAPER):
        files = sorted((results / place).rglob("[!.]*")) if (results / place).is_dir() else [results / place]
        yield from (file.relative_to(results) for file in files if file.is_file() and file.name[:5] != "made-")


def _add_file(crate: ROCrate, source: Path, place: Path) -> Entity:
    about = {"name": place.name, "encodingFormat": _TYPES.guess_type(place.name)[0] or "text/plain"}
    return crate.add_file(source, place.as_posix(), properties=about, record_size=True)


def _parameter(crate: ROCrate, name: str, file: Entity) -> Entity:
    """What the workflow takes or makes, with the file that it was in this run."""
    parameter = crate.add_formal_parameter(name, "File", f"#parameter-{name}", valueRequired=True)
    parameter["workExample"] = file
    file["exampleOfWork"] = parameter
    return parameter


def _add_run(
    crate: ROCrate,
    workflow: Entity,
    inputs: Sequence[Entity],
    results: Sequence[Entity],
    told: Mapping[str, Mapping[str, int]],
) -> None:
    """The run that made the results: its times are those from the first network's training to the last one's."""
    about = {
        "name": f"Run of the study {crate.name}",
        "description": f"{sum(told['python'].values())} networks, trained on {', '.join(told['device'])}",
        "startTime": min(told["trained from"]),
        "endTime": max(told["trained until"]),
    }
    run = crate.add_action(workflow, "#run", list(inputs), list(results), about)
    run["agent"] = crate.root_dataset["author"]
    crate.root_dataset["mentions"] = run


def _entity(crate: ROCrate, place: str, kind: str, **about: str) -> Entity:
    from rocrate.model.contextentity import ContextEntity

    return crate.add(ContextEntity(crate, place, properties={"@type": kind, **about}))
