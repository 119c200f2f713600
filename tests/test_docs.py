"""What the pages say: their studies load, their commands exist, and no key or data set is left out."""

import re
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from softreg.cli import main
from softreg.data import datasets
from softreg.study.config import load_study
from softreg.study.schema import study_schema

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "config" / "README.md"])
README = (ROOT / "README.md").read_text(encoding="utf-8")
STUDY, IMAGES, DATA_SETS, RUNNING = (
    (ROOT / "docs" / name).read_text(encoding="utf-8")
    for name in ("study.md", "own-images.md", "data-sets.md", "running.md")
)


def blocks(text, language):
    """The fenced blocks of a language, whatever their indentation; its own is taken off."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```$", text, re.DOTALL | re.MULTILINE)
    return ["\n".join(line.removeprefix(indent) for line in body.splitlines()) for indent, body in found]


def lines(language):
    texts = [block for page in PAGES for block in blocks(page.read_text("utf-8"), language)]
    return [line for text in texts for line in text.splitlines()]


def whole_studies():
    # Pages on a method of one's own come with its file: test_own.py loads their studies beside it.
    pages = [page for page in PAGES if not page.name.startswith("your-own-")]
    found = [(page.name, block) for page in pages for block in blocks(page.read_text("utf-8"), "yaml")]
    return [pytest.param(block, id=name) for name, block in found if re.search("^models:", block, re.M)]


def keys_of(schema):
    """Every key that a part of the schema names."""
    if isinstance(schema, dict):
        own = set(schema["properties"]) if isinstance(schema.get("properties"), dict) else set()
        return own.union(*map(keys_of, schema.values()))
    return set().union(*map(keys_of, schema)) if isinstance(schema, list) else set()


@pytest.mark.parametrize("study", whole_studies())
def test_a_whole_study_of_a_page_loads(study, tmp_path):
    (tmp_path / "study.yaml").write_text(study, encoding="utf-8")
    load_study(tmp_path / "study.yaml")


def test_there_are_studies_to_load():
    assert len(whole_studies()) >= 2


def test_the_readme_is_short_and_names_the_six_words_before_it_uses_them():
    before, after = README.split("## Six words")
    assert len(README.splitlines()) <= 150
    for word in ("study", "cell", "path", "sweep", "selection, λ̂", "final"):
        assert f"| {word} |" in after
        assert not re.search(rf"\b{word}\b", before)


def test_own_data_of_the_readme_has_seeds_enough_for_an_answer():
    (study,) = (yaml.safe_load(block) for block in blocks(README, "yaml"))
    # Ten evaluation seeds are what the published studies have, and what `check` asks of a claim.
    assert len(study["seeds"]["evaluation"]) >= 10


def test_no_page_leaves_an_address_to_be_filled_in():
    files = [*PAGES, ROOT / "CITATION.cff", ROOT / "pyproject.toml", *ROOT.glob(".github/**/*.*")]
    left = re.compile(r"\bADDRESS\b|<owner>|example\.(com|org)")
    assert [file.name for file in files if left.search(file.read_text("utf-8"))] == []


def test_study_page_names_every_key():
    missing = {key for key in keys_of(study_schema()) if not re.search(rf"(`|\b){key}(`|:)", STUDY)}
    assert missing == set()


def test_study_page_shows_the_defaults(tmp_path):
    """The sections said to hold defaults load as the study that leaves them out."""
    (example,) = [block for block in blocks(STUDY, "yaml") if "checkpoint_seconds" in block]
    defaulted = ("training", "seeds", "selection", "evaluation", "resources", "figures", "statistics", "mirrors")
    short = {key: value for key, value in yaml.safe_load(example).items() if key not in defaulted}
    (tmp_path / "study.yaml").write_text(example, encoding="utf-8")
    full = load_study(tmp_path / "study.yaml").to_dict()
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(short), encoding="utf-8")
    assert full == load_study(tmp_path / "study.yaml").to_dict()


def test_fragments_on_own_images_fit_a_folder_data_set():
    definition = study_schema()["$defs"]["dataset_folder"]
    fragments = [yaml.safe_load(block) for block in blocks(IMAGES, "yaml")]
    assert len(fragments) == 2
    for fragment in fragments:
        assert not list(Draft202012Validator(definition).iter_errors({"classes": ["a", "b"], **fragment}))


@pytest.mark.parametrize("page", [DATA_SETS, STUDY], ids=["data-sets", "study"])
def test_every_data_set_is_named(page):
    assert [kind for kind in datasets.kinds() if f"`{kind}`" not in page] == []


def test_licences_are_those_of_the_data_sets():
    cells = dict(re.findall(r"^\| `(\w+)` \|[^|]*\|[^|]*\| ([^|]*) \|", DATA_SETS, re.MULTILINE))
    for kind in set(datasets.kinds()) - {"folder"}:
        terms, *_ = re.split(r"; | \(", cells[kind])
        assert terms in datasets.load(kind).licence, kind


def test_every_softreg_command_exists(capsys):
    named = {word for line in lines("bash") for word in re.findall(r"^softreg (\w+)", line)}
    assert "check" in named
    for name in named:
        with pytest.raises(SystemExit, match="0"):
            main([name, "--help"])
    capsys.readouterr()


def test_every_snakemake_target_exists():
    rules = re.findall(r"^rule (\w+):", "".join(file.read_text("utf-8") for file in snakefiles()), re.MULTILINE)
    named = {target for line in lines("bash") for target in re.findall(r"\bsnakemake (?:-n )?([a-z]\w*)\b", line)}
    named |= set(re.findall(r"^\| `(\w+)` \|", RUNNING.split("| target |")[1].split("\n\n")[0], re.MULTILINE))
    assert named >= {"all", "data", "sweep", "scores", "paper", "partial"}
    assert named <= set(rules)


def snakefiles():
    return [ROOT / "Snakefile", *sorted(ROOT.glob("workflow/rules/*.smk"))]


def test_every_make_target_exists():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = {target for line in lines("bash") for target in re.findall(r"^make (\w+)$", line)}
    assert named >= {"demo", "test"}
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in named)


def test_every_study_named_exists_or_is_written_by_the_reader():
    named = {file for line in lines("bash") for file in re.findall(r"config/[\w-]+\.yaml", line)}
    assert {file for file in named if not (ROOT / file).is_file()} <= {"config/lesions.yaml"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_within_the_project_lead_somewhere(page):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []
