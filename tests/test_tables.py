import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
import synthetic
from scipy.stats import ttest_1samp

from softreg import records
from softreg.gather import gather
from softreg.scores import Scores
from softreg.tables import caption, main_frame, write_tables


def gathered(root, partial=False, statuses=None, **changes):
    study = synthetic.make_study(root, **changes)
    if statuses is not None:
        synthetic.make_results(study, root, statuses=statuses)
    return gather(study, root / "results", root / "data", partial)


@pytest.fixture
def scores(tmp_path):
    return gathered(tmp_path, statuses={("l1", "1e-4", 101): "out-of-memory"})


def test_numbers_are_those_of_the_records(scores):
    frame = main_frame(Scores(scores)).set_index("penalty")
    table = records.read([scores / "final-test.parquet"]).to_pylist()
    by_seed = []
    for seed in (100, 101, 102):
        rows = [row for row in table if row["penalty"] == "l2" and row["seed"] == seed]
        tp, fp, fn = (np.sum([row[name] for row in rows], axis=0) for name in ("tp", "fp", "fn"))
        by_seed.append(100 * np.mean(tp / (tp + fp + fn)))
    expected = ttest_1samp(by_seed, 0).confidence_interval(0.95)
    row = frame.loc["l2"]
    assert row["test_miou"] == pytest.approx(np.mean(by_seed), abs=1e-10)
    assert (row["low"], row["high"]) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert (row["lambda"], row["exact_zeros"], row["seeds"]) == ("1e-4", 0.0, 3)
    assert row["seconds"] == pytest.approx(np.mean([12 + seed % 3 for seed in (100, 101, 102)]))


def test_what_did_not_finish_is_counted_and_named(scores):
    row = main_frame(Scores(scores)).set_index("penalty").loc["l1"]
    assert (row["finished"], row["expected"], row["other"]) == (2, 3, "1 out-of-memory")
    assert row["exact_zeros"] == 0.1
    assert row["cells"] == "final/brain/convnet/l1/seed*/lambda-1e-4"
    assert len(list((scores.parent).glob(row["cells"]))) == 3


def test_caption_tells_unit_n_and_where_lambda_comes_from(scores):
    loaded = Scores(scores)
    text = caption(loaded, main_frame(loaded))
    for part in (
        "3 evaluation seeds",
        "unit of resampling",
        "validation scores of 2 tuning seeds only",
        "1 of 9 cells",
    ):
        assert part in text


def test_one_seed_has_no_interval_and_the_caption_says_so(tmp_path):
    scores = Scores(gathered(tmp_path, statuses={}, seeds={"tuning": [0], "evaluation": [100]}))
    frame = main_frame(scores)
    assert frame["test_miou"].notna().all()
    assert frame[["low", "high"]].isna().all(axis=None)
    assert "one evaluation seed, so no interval" in caption(scores, frame)


def test_csv_and_markdown_hold_the_same_rows(scores, tmp_path):
    write_tables(scores, tmp_path)
    frame = pd.read_csv(tmp_path / "tables" / "main.csv", dtype={"lambda": str})
    lines = [
        line for line in (tmp_path / "tables" / "main.md").read_text().splitlines() if line.startswith("| convnet")
    ]
    assert len(lines) == len(frame) == 3
    for line, row in zip(lines, frame.to_dict("records"), strict=True):
        assert f"{row['test_miou']:.2f} [{row['low']:.2f}, {row['high']:.2f}]" in line
        assert f"| {row['lambda']} |" in line
    assert "2 of 3 (1 out-of-memory)" in lines[1]


def test_nothing_run_yet_gives_dashes_not_an_error(tmp_path):
    write_tables(gathered(tmp_path, partial=True), tmp_path)
    lines = (tmp_path / "tables" / "main.md").read_text().splitlines()
    assert "| convnet | l1 | – | – | – | – | 0 of 3 (3 not run) |" in lines


def test_the_same_scores_give_the_same_tables(scores, tmp_path):
    for name in ("a", "b"):
        write_tables(scores, tmp_path / name)
    for file in (tmp_path / "a" / "tables").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / "tables" / file.name).read_bytes()


def test_latex_escapes_what_tex_would_read(tmp_path):
    penalties = {"none": {}, "elastic_net": {"lambda": [1e-5, 1e-4]}}
    write_tables(gathered(tmp_path, statuses={}, penalties=penalties), tmp_path)
    text = (tmp_path / "tables" / "main_table.tex").read_text()
    assert r"convnet & elastic\_net & " in text
    assert r"0.0 \%" in text
    assert "λ" not in text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex here")
def test_latex_compiles(scores, tmp_path):
    write_tables(scores, tmp_path)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "main.tex"]
    done = subprocess.run(command, cwd=tmp_path / "tables", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout
