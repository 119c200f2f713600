"""A first file of the user's own: ``softreg new penalty NAME`` and its like. Imports no torch."""

from __future__ import annotations

import importlib.util
import keyword
import re
from pathlib import Path

from softreg.errors import UserError
from softreg.files import write_text

_TEMPLATES = Path(__file__).parent / "templates"
#: The section of a study that names the file, and the rest of the entry to paste there.
_ENTRIES = {
    "penalty": ("penalties", ", lambda: [1e-5, 1e-4, 1e-3]"),
    "model": ("models", ""),
    "dataset": ("datasets", ""),
}


def new(noun: str, name: str) -> str:
    """Write the file of ``name`` into the working folder; what to do next, as text.

    Raises UserError where the name will not do or the file exists.
    """
    module = name.replace("-", "_")
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", module) or keyword.iskeyword(module):
        raise UserError(f"{name} cannot name a {noun}; give letters, digits, - and _, such as my-{noun}")
    file = Path(f"{module}.py")
    if file.exists():
        raise UserError(f"{file} exists; give another name, or delete it first")
    if importlib.util.find_spec(module) is not None:
        raise UserError(f"{name} is the name of an installed package, which {file} would hide; give another name")
    class_name = "".join(part[:1].upper() + part[1:] for part in module.split("_"))
    template = (_TEMPLATES / f"{noun}.py").read_text(encoding="utf-8")
    write_text(file, re.sub(r"\bTemplate\b", class_name, template))
    section, rest = _ENTRIES[noun]
    entry = f"{name}: {{kind: {file}:{class_name}{rest}}}"
    return (
        f"{file} holds a {noun.replace('dataset', 'data set')} that works; make it yours. Check it:\n\n"
        f"    softreg check {file}\n\n"
        f"and put it into a study, under {section}:\n\n"
        f"    {entry}\n"
    )
