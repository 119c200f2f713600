"""What the site has beside the pages of docs/: a table of every study key, the published reports, the notebook, an API
reference, and a page for each other file of the project that a page links to."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from softreg.study.schema import accepted, study_schema

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
NOTEBOOK = DOCS / "forest_plot.ipynb"
LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)(#[^)\s]*)?\)")
CSS = """
.md-typeset td:first-child > code:first-child { white-space: nowrap; }
"""
LANGUAGES = {".smk": "python", ".def": "docker", ".cff": "yaml", ".lock": "text", "": "docker"}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List the pages of the reference, and those of docs/ that mkdocs.yml does not place."""
    assert config.nav is not None
    new = sorted(page.name for page in DOCS.glob("*.md") if page.name not in str(config.nav))
    config.nav += [{"More": new}] * bool(new) + [{"API": [f"api/{name}.md" for name in packages()]}]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is generated, then a page for each file that any page links to."""

    def add(uri: str, content: str | bytes) -> None:
        files.append(File.generated(config, uri, content=content))

    add("study-keys.md", study_keys())
    add("site.css", CSS)
    for name in packages():
        add(f"api/{name}.md", f"# softreg.{name}\n\n::: softreg.{name}\n")
    notebook(add)
    add("published.md", published())
    for file in linked(DOCS.glob("*.md")):
        add(uri_of(file), source_page(file))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Links of a page of docs/ to files beside docs/ lead to their pages in the site."""
    file = DOCS / page.file.src_uri
    return widened(relinked(markdown, file) if file.exists() else markdown)


def widened(text: str) -> str:
    """What belongs to a list's item indented by four blanks, as Python-Markdown wants it; pages have two or three."""
    lines, width, fenced = [], 0, False
    for line in text.splitlines():
        fenced ^= line.startswith("```")
        if line and not line.startswith(" ") and not fenced:
            item = re.match(r"- |\d+\. ", line)
            width = len(item[0]) if item else 0
        elif width and line.startswith(" " * width):
            line = f"    {line[width:]}"
        lines.append(line)
    return "\n".join(lines)


def on_post_build(config: MkDocsConfig) -> None:
    """Copy the published reports as they are, with the files that they link to."""
    for folder in reports():
        shutil.copytree(folder, Path(config.site_dir, "published", folder.name))


def uri_of(file: Path) -> str:
    """Where the site has a file of the project; a page for all but what lies in docs/."""
    if file == NOTEBOOK:
        return "forest_plot.md"
    if file.is_relative_to(DOCS):
        return file.relative_to(DOCS).as_posix()
    name = file.relative_to(ROOT).as_posix()
    return f"source/{name}" if file.suffix == ".md" else f"source/{name}.md"


def relinked(text: str, origin: Path) -> str:
    """The text of ``origin`` with each link to a file of the project led to where the site has that file."""

    def led(match: re.Match[str]) -> str:
        target = target_of(match, origin)
        here = Path(uri_of(origin)).parent
        return f"]({os.path.relpath(uri_of(target), here)}{match[2] or ''})" if target else match[0]

    return LINK.sub(led, text)


def target_of(match: re.Match[str], origin: Path) -> Path | None:
    """The file or folder of the project that a link of ``origin`` names, if it is one."""
    target = Path(os.path.normpath(origin.parent / match[1]))
    return target if target.exists() and target.is_relative_to(ROOT) else None


def linked(pages: Iterator[Path]) -> list[Path]:
    """The files and folders outside docs/ that the pages link to, that those link to in turn, and so on."""
    waiting, found = [*pages], []
    while waiting:
        page = waiting.pop()
        targets = {target for match in LINK.finditer(text_of(page)) if (target := target_of(match, page))}
        new = [each for each in sorted(targets) if not each.is_relative_to(DOCS) and each not in found]
        found += new
        waiting += new
    return found


def text_of(file: Path) -> str:
    """Where a file of the project can link from: a page's text, or a folder's list of files."""
    if file.is_dir():
        names = sorted(each.name for each in file.iterdir() if each.is_file())
        return "\n".join(f"- [{name}]({file.name}/{name})" for name in names)
    return file.read_text(encoding="utf-8") if file.suffix == ".md" else ""


def source_page(file: Path) -> str:
    """The page that shows a file or folder which is not in docs/."""
    if file.suffix == ".md":
        return relinked(text_of(file), file)
    name = file.relative_to(ROOT).as_posix()
    if file.is_dir():
        # Its page lies beside the folder, as the links of its list have it.
        return f"# {name}/\n\n{relinked(text_of(file), file)}\n"
    language = LANGUAGES.get(file.suffix, file.suffix.removeprefix("."))
    return f"# {name}\n\n`````{language}\n{file.read_text(encoding='utf-8')}\n`````\n"


def study_keys() -> str:
    """A table of each part of the study's schema."""
    schema = study_schema()
    text = (
        "# Every key, with default and meaning\n\nMade from the schema that studies are held to. [A study](study.md) "
        "shows them together, and explains what needs more than a line. A dot joins a key to the block that it is in.\n"
    )
    text += table("The study", schema, schema["description"])
    for name, part in schema["$defs"].items():
        family, _, kind = name.partition("_")
        if family in ("dataset", "model", "penalty"):
            noun = {"dataset": "Data set"}.get(family, family.capitalize())
            text += table(f"{noun} `{kind}`", part, part.get("description", ""))
    return text


def table(title: str, part: dict[str, Any], about: str) -> str:
    """The keys of one block, those of its inner blocks after it."""
    rows = "\n".join(keys(part, "", set(part.get("required", ()))))
    return f"\n## {title}\n\n{about}\n\n| key | default | accepts | meaning |\n|---|---|---|---|\n{rows}\n"


def keys(part: dict[str, Any], prefix: str, required: set[str]) -> Iterator[str]:
    """A row for each key."""
    for key, value in part["properties"].items():
        if "$ref" in value:
            value = resolved(value["$ref"]) | {name: each for name, each in value.items() if name != "$ref"}
        default = "required" if key in required else f"`{json.dumps(value.get('default'), ensure_ascii=False)}`"
        cells = (f"`{prefix}{key}`", default, accepted(value), value.get("description", ""))
        yield "| " + " | ".join(escaped(cell) for cell in cells) + " |"
        if "properties" in value:
            yield from keys(value, f"{prefix}{key}.", set(value.get("required", ())))


def resolved(reference: str) -> dict[str, Any]:
    """The part of the schema that a ``$ref`` names."""
    part: Any = study_schema()
    for name in reference.removeprefix("#/").split("/"):
        part = part[name]
    return dict(part)


def escaped(cell: str) -> str:
    """Text that may stand in a cell of a table."""
    return " ".join(cell.split()).replace("|", "\\|").replace("<", "&lt;")


def reports() -> list[Path]:
    """The folders of the published studies whose report has been made."""
    return [file.parent for file in sorted(ROOT.glob("results/published/*/report.html"))]


def published() -> str:
    """The list of published reports."""
    text = "# Published reports\n\nWhat `make paper` makes of the scores in `results/published/`, without training.\n\n"
    for folder in reports():
        title = json.loads((folder / "scores" / "study.json").read_text(encoding="utf-8"))["title"]
        # As HTML, since it is copied only after all pages have been made.
        text += f'- <a href="published/{folder.name}/report.html">{folder.name}</a>: {escape(title)}\n'
    return text if reports() else f"{text}None has been made here.\n"


def notebook(add: Callable[[str, str | bytes], None]) -> None:
    """The notebook as a page, with its figure."""
    parts = []
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in (each["data"] for each in cell.get("outputs", [])):
            if "image/png" in output:
                parts.append(f"![The figure that it draws](data:image/png;base64,{output['image/png']})")
            else:
                parts.append("```text\n" + "".join(output["text/plain"]) + "\n```")
    parts.append("[The notebook itself](forest_plot.ipynb)")
    add("forest_plot.md", "\n\n".join(parts))


def packages() -> list[str]:
    """The packages of SoftReg, whose docstrings are the reference."""
    return sorted(file.parent.name for file in ROOT.glob("src/softreg/*/__init__.py"))
