from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import studies

from softreg.files import write_text
from softreg.paper import tables
from softreg.paper.report import page
from softreg.paper.scores import Scores


@dataclass(frozen=True)
class Made:
    """A page and what it was made from."""

    scores: Scores
    frame: pd.DataFrame
    figures: Path
    file: Path


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("report")
    scores = Scores(studies.make(root))
    frame = tables.main_frame(scores)
    studies.write_figures(root / "figures")
    write_text(root / "report.html", page.render(scores, frame, studies.answers(), root / "figures"))
    return Made(scores, frame, root / "figures", root / "report.html")
