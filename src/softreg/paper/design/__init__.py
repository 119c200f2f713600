"""What a study can decide, question by question, before it is trained or after: `told`.

Each question asks for entries, seeds, data sets and strengths; what the study lacks is named. Where it has enough of
them, the half width that its intervals are expected to have is held against what does not matter: from the study's own
scores where it has any, else from published variances (`published`). `questions` has a function for each question;
`widths` what they share. Start there.
"""

from __future__ import annotations

import textwrap
from dataclasses import replace
from pathlib import Path

from softreg.paper.design import questions
from softreg.paper.design.widths import Design
from softreg.study import folds, roles
from softreg.study.config import Study

_WIDTH = 100


def told(study: Study, scores: Path) -> str:
    """A line or two for each question; ``scores`` is the folder of the study's gathered scores, if there is one."""
    entries = {name: study.penalties[name] for name in roles.compared(study.penalties)}
    design = Design.of(replace(study, datasets=folds.joined(study.datasets), penalties=entries), scores)
    lines = [design.heading()]
    if count := study.evaluation["folds"]:
        lines.append(f"each image is a test image in one of {count} outer folds; half widths are those of one split")
    for found in questions.findings(design):
        text = f"{found.key} {found.title}: {found.word}: {found.reason}."
        lines += textwrap.wrap(text, _WIDTH, subsequent_indent="   ", break_on_hyphens=False)
    return "".join(f"{line}\n" for line in lines)
