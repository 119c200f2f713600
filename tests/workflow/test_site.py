"""The site: it builds without a warning, all its own links lead somewhere, and its tables name every key."""

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml

from softreg.study.schema import study_schema

ROOT = Path(__file__).parents[2]


class Links(HTMLParser):
    """The places that a page links to, and those within it that can be linked to."""

    def __init__(self, file):
        super().__init__()
        self.targets, self.places = [], set()
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.places |= {given[name] for name in ("id", "name") if given.get(name)}
        self.targets += [given[name] for name in ("href", "src") if given.get(name)]


@pytest.fixture(scope="module")
def site(finished, tmp_path_factory):
    """The site as `make site` builds it, with the report of the tiny study for a published one."""
    project = tmp_path_factory.mktemp("site") / "project"
    left_out = [*ROOT.glob("[._]*"), *(ROOT / name for name in ("results", "data", "tests", "logs"))]
    shutil.copytree(
        ROOT, project, ignore=lambda folder, names: [name for name in names if Path(folder, name) in left_out]
    )
    shutil.copytree(finished / "results" / "tiny", project / "results" / "published" / "tiny")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return project / "_site"


@pytest.mark.slow
def test_all_links_within_the_site_lead_somewhere(site):
    pages = {file: Links(file) for file in site.rglob("*.html")}
    broken = []
    for file, page in pages.items():
        for link in map(urlsplit, page.targets):
            if link.scheme or link.netloc:
                continue
            target = (file.parent / unquote(link.path)).resolve() if link.path else file
            # The page of a missing address is served from anywhere.
            target = site / link.path.lstrip("/") if file.name == "404.html" else target
            target = target / "index.html" if target.is_dir() else target
            named = not link.fragment or target not in pages or unquote(link.fragment) in pages[target].places
            if not target.is_file() or not (named or link.fragment.startswith("__")):
                broken.append(f"{file.relative_to(site)}: {link.geturl()}")
    assert broken == []
    assert (site / "published/tiny/report.html") in pages


@pytest.mark.slow
def test_every_key_and_every_module_has_its_place(site):
    text = (site / "study-keys.html").read_text(encoding="utf-8")
    keys = set()

    def collect(part):
        for key, value in part.get("properties", {}).items():
            keys.add(key)
            collect(value)

    collect(study_schema())
    for part in study_schema()["$defs"].values():
        collect(part)
    assert {key for key in keys if not re.search(rf"<code>([\w.]+\.)?{key}</code>", text)} == set()
    places = set().union(*(Links(page).places for page in site.glob("api/*.html")))
    assert {"softreg.penalties.l1.L1", "softreg.paper.stats.holm", "softreg.data.base.Dataset"} <= places


@pytest.mark.slow
def test_every_page_is_in_the_navigation(site):
    home = Links(site / "index.html").targets
    assert [page.stem for page in (ROOT / "docs").glob("*.md") if f"{page.stem}.html" not in home] == []


def test_a_workflow_publishes_what_make_site_builds():
    jobs = yaml.safe_load((ROOT / ".github/workflows/site.yml").read_text(encoding="utf-8"))["jobs"]
    steps = [step for job in jobs.values() for step in job["steps"]]
    assert "make site" in [step.get("run") for step in steps]
    assert "_site" in [step.get("with", {}).get("path") for step in steps]
