"""How tables are set: blocks of rows as Markdown, and as LaTeX with booktabs; numbers as CSV."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from softreg.files import write_text


@dataclass(frozen=True)
class Block:
    """One table: ``bold`` are the places (row, column) in bold.

    ``align`` has l, r, n (a name that may be broken into lines) or p (running text) for each column.
    """

    heading: str
    caption: str
    headings: Sequence[str]
    align: str
    rows: Sequence[Sequence[str]]
    bold: frozenset[tuple[int, int]] = frozenset()
    note: str = ""


def write(folder: Path, name: str, title: str, blocks: Sequence[Block], nothing: str = "") -> None:
    """Write ``name``.md, ``name``_table.tex (for ``\\input``) and ``name``.tex (a document around it) into ``folder``.

    ``nothing`` is the sentence that stands in the place of no blocks.
    """
    write_text(folder / f"{name}.md", _markdown(title, blocks, nothing))
    write_text(folder / f"{name}_table.tex", _latex(blocks, nothing))
    write_text(folder / f"{name}.tex", _DOCUMENT.replace("TABLE", f"{name}_table"))


def _rows(block: Block, escaped: Callable[[str], str], bold: str) -> list[list[str]]:
    """The texts of a block, ``escaped``, those in bold put into ``bold``."""
    return [
        [
            bold.replace("TEXT", escaped(text)) if (place, column) in block.bold else escaped(text)
            for column, text in enumerate(row)
        ]
        for place, row in enumerate(block.rows)
    ]


def _markdown(title: str, blocks: Sequence[Block], nothing: str) -> str:
    parts = [f"# {_md(title)}", *([] if blocks else [nothing])]
    for block in blocks:
        sides = ["---:" if side == "r" else "---" for side in block.align]
        lines = [block.headings, sides, *_rows(block, _md, "**TEXT**")]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines) if block.rows else ""
        parts += filter(None, [f"## {_md(block.heading)}", _md(block.caption), table, _md(block.note)])
    return "\n\n".join(parts) + "\n"


def _md(text: str) -> str:
    # Brackets stand about each interval: they are signs of Markdown only where a link follows.
    return re.sub(r"[\\`*_|<$~]|&(?=#?\w+;)|\](?=[(\[:])", r"\\\g<0>", text)


def csv(table: pd.DataFrame) -> str:
    """``table`` as CSV, in which a text that a spreadsheet would take for a formula begins with an apostrophe."""
    table = table.copy()
    for name in table.columns:
        formulas = table[name].map(lambda value: isinstance(value, str) and value.startswith(("=", "+", "-", "@")))
        if formulas.any():
            table.loc[formulas, name] = "'" + table.loc[formulas, name]
    return str(table.to_csv(index=False, lineterminator="\n"))


_WIDTHS = {"n": r"0.105\linewidth", "p": r"0.48\linewidth"}
"""Of columns whose text is broken into lines."""

_DOCUMENT = r"""\documentclass[9pt]{extarticle}
\usepackage[margin=1.5cm]{geometry}
\usepackage{array,booktabs,longtable}
\begin{document}
\input{TABLE}
\end{document}
"""

_TEX = {
    **{character: "\\" + character for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"$<$",
    ">": r"$>$",
    "|": r"$|$",
    '"': "''",
    "[": "{[}",
    "*": r"\textsuperscript{*}",
    "–": "--",
    "—": "---",
    "−": "$-$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "½": r"$\frac12$",
    "²": r"$^2$",
    "‖": r"$\|$",
    **{letter: letter for letter in "ßÆæØø"},
    "…": r"\ldots{}",
    "\u0302": "",
}
_HAT = "\u0302"


def _tex(text: str) -> str:
    """``text`` as LaTeX sets it with no package but its own; a character that it lacks is told by its code point."""
    return re.sub(f"(.){_HAT}?", lambda found: _tex_character(found[1], hat=len(found[0]) > 1), text, flags=re.DOTALL)


def _tex_character(character: str, hat: bool) -> str:
    if character in _TEX:
        return _TEX[character]
    if character.isascii():
        return character
    letter = unicodedata.name(character, "").removeprefix("GREEK SMALL LETTER ").lower()
    if letter in _GREEK.split():
        command = "\\" + letter.replace("lamda", "lambda")
        return rf"$\hat{command}$" if hat else f"${command}$"
    plain = unicodedata.normalize("NFKD", character)
    if plain[0].isascii():
        return character if "À" <= character <= "ÿ" else _tex("".join(each for each in plain if each.isascii()))
    return f"U+{ord(character):04X}"


_GREEK = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lamda mu nu xi pi rho sigma tau upsilon phi chi psi omega"
)
"""Letters that TeX has, by their names in Unicode."""


def _latex(blocks: Sequence[Block], nothing: str) -> str:
    parts = ["% Needs the packages array, booktabs and longtable.", r"{\footnotesize\setlength{\tabcolsep}{3pt}"]
    parts += [] if blocks else [_tex(nothing)]
    for block in blocks:
        about = _tex(f"{block.heading}. {block.caption} {block.note}".strip())
        parts += _longtable(block, about) if block.rows else [rf"\par\noindent {about}\par\medskip"]
    return "\n".join([*parts, "}"]) + "\n"


def _longtable(block: Block, about: str) -> list[str]:
    heading = " & ".join(map(_tex, block.headings)) + r" \\"
    broken = {side: rf">{{\raggedright\arraybackslash}}p{{{width}}}" for side, width in _WIDTHS.items()}
    columns = "".join(broken.get(side, side) for side in block.align)
    lines = [rf"\begin{{longtable}}{{@{{}}{columns}@{{}}}}", rf"\caption{{{about}}}\\", r"\toprule", heading]
    lines += [r"\midrule", r"\endfirsthead", r"\toprule", heading, r"\midrule", r"\endhead"]
    lines += [r"\bottomrule", r"\endfoot"]
    models = [row[0] for row in block.rows]
    for row, model, above in zip(_rows(block, _tex, r"\textbf{TEXT}"), models, models[:1] + models, strict=False):
        lines += [r"\addlinespace"] if model != above else []
        lines.append(" & ".join(row) + r" \\")
    return [*lines, r"\end{longtable}"]
