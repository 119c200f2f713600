import shutil
import subprocess
import sys

import pytest
from measured import make_scores, untrained

from softreg.cli import main
from softreg.files import read_json
from softreg.paper.report import write_report
from softreg.paper.report.about import doubts, edges
from softreg.paper.scores import Scores
from softreg.paper.tables import main_frame
from softreg.running.graph import paper_of

pytestmark = pytest.mark.slow


def report(root, partial=False, statuses=None, **changes):
    scores = untrained(root, **changes) if partial else make_scores(root, statuses, **changes)
    write_report(scores, root / "out")
    return scores.folder, (root / "out" / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("study")
    lost = {("l1", "1e-4", 101): "out-of-memory", ("l2", "1e-3", 0): "diverged", ("l2", "1e-5", 0): "diverged"}
    scores, page = report(root, statuses=lost, title="Penalties <on> brains")
    return root / "out", scores, page


def test_every_question_has_a_card(made):
    _, _, page = made
    assert [name for name in range(1, 8) if f'id="answer-H{name}"' in page] == [1, 2, 3, 4, 5, 6, 7]


def test_every_figure_is_shown_or_said_to_be_absent(made):
    out, _, page = made
    for entry in read_json(out / "figures" / "figures.json"):
        if "name" in entry:
            assert page.count(f'<figure id="figure-{entry["name"]}">') == 1
        else:
            assert f"<b>{entry['title']}</b> was not drawn." in page


def test_a_paper_asked_for_before_the_code_changed_is_refused_and_nothing_written(made, capsys):
    results = made[1].parent
    before = sorted(results.iterdir())
    assert main(["paper", str(results), "--key", "0123456789abcdef"]) == 2
    assert "or SoftReg itself has changed since this run began; run the same command again" in capsys.readouterr().err
    assert sorted(results.iterdir()) == before
    assert main(["paper", str(results), "--key", paper_of(results, "").key]) == 0


def test_coverage_statuses_and_reasons_are_told(made):
    _, _, page = made
    assert "sweep (λ by tuning seeds): <b>12 of 14</b> cells finished, 2 diverged" in page
    assert "final (λ̂ by evaluation seeds): <b>8 of 9</b> cells finished, 1 out-of-memory" in page
    assert "the loss was nan at step 40" in page


def test_caveats_citation_and_versions_are_told(made):
    _, _, page = made
    assert page.count("a smoke test, never a ranking") == 1
    for part in ("A. Author (2018) &amp; others", "CC0", "2.15.0", "CPU, 2 cores", "c" * 40, "snakemake paper"):
        assert part in page


@pytest.mark.parametrize(
    ("lambda_", "at_edge", "n", "said"),
    [
        ("1e-4", False, 2, []),
        ("1e-5", True, 2, ["λ̂ is the smallest of the grid, so extend the grid down"]),
        (
            "1e-3",
            True,
            1,
            [
                "λ̂ is the largest of the grid, so extend the grid up",
                "λ̂ rests on 1 of 2 cells, as every λ lacks some",
            ],
        ),
        ("", False, 0, ["no cell finished, so no λ could be chosen"]),
    ],
)
def test_a_doubtful_choice_of_lambda_gets_a_hint(lambda_, at_edge, n, said):
    row = {"lambda": lambda_, "at_edge": at_edge, "n": n, "expected": 2}
    entry = {"lambda": ["1e-5", "1e-4", "1e-3"], "training": {}}
    assert edges(row, entry) + doubts(row, entry) == said


@pytest.mark.parametrize(
    ("chosen", "ends"),
    [
        ("1e-5, 1e-4, 1e-4", ["smallest"]),
        ("1e-4, 1e-3, 1e-5", ["smallest", "largest"]),
        ("1e-4, 1e-4, 1e-3", ["largest"]),
    ],
)
def test_of_outer_folds_the_end_is_that_which_a_fold_chose(chosen, ends):
    """λ̂ is told as the one chosen most often, which may lie within the grid."""
    entry = {"lambda": ["1e-5", "1e-4", "1e-3"], "training": {}}
    said = edges({"lambda": "1e-4", "chosen": chosen, "at_edge": True, "n": 3, "expected": 3}, entry)
    assert [text.removeprefix("λ̂ is the ").split()[0] for text in said] == ends


def test_metrics_are_the_numbers_of_the_table(made):
    out, scores, _ = made
    metrics = read_json(out / "metrics.json")
    assert metrics["study"] == "tiny"
    assert metrics["partial"] is False
    for row in main_frame(Scores(scores)).to_dict("records"):
        entry = metrics["datasets"]["brain"]["convnet"][row["penalty"]]
        assert entry["test_miou_points"] == pytest.approx(row["test_miou_points"])
        assert (entry["finished"], entry["expected"]) == (row["finished"], row["expected"])


def test_a_partial_report_says_so_and_why_figures_are_missing(tmp_path):
    _, page = report(tmp_path, partial=True)
    assert "Partial report. 23 of 23 cells did not finish" in page
    assert "<b>0 of 14</b> cells finished, 14 not run" in page
    assert "Why 23 cells did not finish" in page
    assert "was not drawn. No sweep cell with a λ above 0 has a validation score on brain yet." in page
    assert (
        read_json(tmp_path / "out" / "metrics.json")["datasets"]["brain"]["convnet"]["l1"]["test_miou_points"] is None
    )


def test_the_same_scores_give_the_same_page(made, tmp_path):
    out, scores, _ = made
    shutil.copytree(out / "figures", tmp_path / "figures")
    write_report(Scores(scores), tmp_path)
    assert (tmp_path / "report.html").read_bytes() == (out / "report.html").read_bytes()


def test_nothing_from_gather_to_report_imports_torch():
    modules = ["scoring.gather", "scoring.select", "paper.tables", "paper.diff", "paper.report", "paper.report.charts"]
    modules += ["paper.figures.gallery", "paper.figures.lambda_curves", "paper.figures.paired_difference"]
    modules += ["paper.design"]
    names = ", ".join(f"softreg.{name}" for name in modules)
    code = f"import sys, {names}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
