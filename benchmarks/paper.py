"""How long do the tables, figures and report of a study of 300 cells take? Each `softreg` command from existing scores.

The scores are synthetic: one data set of 11 classes and 100 images a split; no penalty and four of seven λ; five tuning
and 31 evaluation seeds. Making the results is not timed, gathering them is a row of its own. Wall clock of whole
processes, from start to exit, and the peak of their resident set; `paper` is tables, figures and report in one process.
"""

from __future__ import annotations

import sys
from statistics import median

from common import CHECKOUT, Run, measure, print_table, sized, temporary_project

from softreg.study.matrix import count_cells

sys.path.insert(0, str(CHECKOUT / "tests"))
from synthetic import make_results, make_study

TURNS = sized(3, 1)
GRID = sized([1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1], [1e-5, 1e-4])
PENALTIES = sized(("l1", "l2", "elastic_net", "soft"), ("l1",))
TUNING, EVALUATION = sized((5, 31), (2, 2))
IMAGES, CLASSES, SIZE = sized((100, 11, (96, 128)), (4, 3, (24, 32)))
#: Figures take longest, and the report and the whole paper take them again.
COMMANDS = sized(("tables", "figures", "report", "paper"), ("tables",))


def row(name: str, runs: list[Run]) -> list[str]:
    return [name, f"{median(run.seconds for run in runs):.1f}", f"{max(run.peak_mb for run in runs):.0f}"]


def main() -> None:
    with temporary_project() as folder:
        study = make_study(
            folder,
            penalties={"none": {}, **{kind: {"lambda": GRID} for kind in PENALTIES}},
            seeds={"tuning": list(range(TUNING)), "evaluation": list(range(100, 100 + EVALUATION))},
        )
        make_results(study, folder, images=IMAGES, classes=CLASSES, size=SIZE)
        # The function alone: the command would ask for the marks of jobs that have not been run here.
        program = (
            "from pathlib import Path; from softreg.scoring.gather import gather; "
            "from softreg.study.config import load_study; "
            f"gather(load_study(Path({str(study.file)!r})), Path('results'), Path('data'))"
        )
        rows = [row("gather", [measure("python", "-c", program)])]
        for command in COMMANDS:
            runs = [measure("softreg", command, folder / "results" / study.name) for _ in range(TURNS)]
            rows.append(row(command, runs))
    print_table([f"{count_cells(study)} cells", "s", "peak MB"], rows)


if __name__ == "__main__":
    main()
