import base64
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
import pytest
import studies

from softreg import tables
from softreg.figures.style import Absent, Drawn
from softreg.files import write_json, write_text
from softreg.report import page
from softreg.scores import Scores

SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 20 10"><path fill="#0b5394" d="M0 0h{}v10H0z"/></svg>'
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABc3UBGAAAAABJRU5ErkJggg=="


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
    write_figures(root / "figures")
    write_text(root / "report.html", page.render(scores, frame, studies.answers(), root / "figures"))
    return Made(scores, frame, root / "figures", root / "report.html")


def write_figures(folder):
    """Figures of two data sets, a gallery, and one that could not be drawn."""
    names = ["lambda_curves-brain", "lambda_curves-shapes", "reliability-brain", "gallery-brain-convnet"]
    drawn = [Drawn(name, 6.75, f"Title of {name}", f"Caption of {name}.", f"Alternative to {name}.") for name in names]
    for place, name in enumerate(names[:3]):
        write_text(folder / f"{name}.svg", SVG.format(place + 1))
    (folder / "gallery-brain-convnet.png").write_bytes(base64.b64decode(PNG))
    entries = [*drawn, Absent("Ranks", "It needs two data sets.")]
    write_json(folder / "figures.json", [asdict(entry) for entry in entries])
