"""How tables are set: blocks of rows as Markdown, and as LaTeX with booktabs."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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


def _markdown(title: str, blocks: Sequence[Block], nothing: str) -> str:
    parts = [f"# {_md(title)}"]
    if not blocks:
        parts.append(nothing)
    for block in blocks:
        lines = [block.headings, ["---:" if side == "r" else "---" for side in block.align]]
        lines += [
            [f"**{_md(text)}**" if (place, column) in block.bold else _md(text) for column, text in enumerate(row)]
            for place, row in enumerate(block.rows)
        ]
        parts += [f"## {_md(block.heading)}", _md(block.caption)]
        if block.rows:
            parts.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
        if block.note:
            parts.append(_md(block.note))
    return "\n\n".join(parts) + "\n"


def _md(text: str) -> str:
    for character in "\\`*_|<$":
        text = text.replace(character, "\\" + character)
    return text


_WIDTHS = {"n": r"0.115\linewidth", "p": r"0.48\linewidth"}
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
}
_HAT = "\u0302"


def _tex(text: str) -> str:
    """``text`` as LaTeX sets it with no package but its own; a character that it lacks is told by its code point."""
    return "".join(_tex_character(text, place) for place in range(len(text)))


def _tex_character(text: str, place: int) -> str:
    character = text[place]
    if character == _HAT:
        return ""
    if character in _TEX:
        return _TEX[character]
    if character.isascii():
        return character
    name = unicodedata.name(character, "")
    if name.startswith("GREEK SMALL LETTER ") and name.split()[-1].lower() in _GREEK.split():
        command = "\\" + name.split()[-1].lower().replace("lamda", "lambda")
        return rf"$\hat{command}$" if text[place + 1 : place + 2] == _HAT else f"${command}$"
    plain = unicodedata.normalize("NFKD", character)
    if plain[0].isascii():
        return character if "À" <= character <= "ÿ" else _tex("".join(each for each in plain if each.isascii()))
    return f"U+{ord(character):04X}"


_GREEK = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lamda mu nu xi pi rho sigma tau upsilon phi chi psi omega"
)
"""Letters that TeX has, by their names in Unicode."""


def _latex(blocks: Sequence[Block], nothing: str) -> str:
    parts = ["% Needs the packages array, booktabs and longtable.", r"{\footnotesize\setlength{\tabcolsep}{4pt}"]
    if not blocks:
        parts.append(_tex(nothing))
    for block in blocks:
        heading = " & ".join(map(_tex, block.headings)) + r" \\"
        about = _tex(f"{block.heading}. {block.caption} {block.note}".strip())
        if not block.rows:
            parts.append(rf"\par\noindent {about}\par\medskip")
            continue
        broken = {side: rf">{{\raggedright\arraybackslash}}p{{{width}}}" for side, width in _WIDTHS.items()}
        columns = "".join(broken.get(side, side) for side in block.align)
        parts += [rf"\begin{{longtable}}{{@{{}}{columns}@{{}}}}", rf"\caption{{{about}}}\\", r"\toprule", heading]
        parts += [r"\midrule", r"\endfirsthead", r"\toprule", heading, r"\midrule", r"\endhead"]
        parts += [r"\bottomrule", r"\endfoot"]
        for place, row in enumerate(block.rows):
            if place and row[0] != block.rows[place - 1][0]:
                parts.append(r"\addlinespace")  # the next model
            texts = [
                rf"\textbf{{{_tex(text)}}}" if (place, column) in block.bold else _tex(text)
                for column, text in enumerate(row)
            ]
            parts.append(" & ".join(texts) + r" \\")
        parts.append(r"\end{longtable}")
    return "\n".join([*parts, "}"]) + "\n"
