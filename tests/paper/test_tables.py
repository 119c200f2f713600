import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from measured import make_scores, untrained
from scipy.special import logit
from scipy.stats import t

from softreg.paper import tables, typeset
from softreg.paper.questions import gain
from softreg.paper.questions.answer import Answer
from softreg.paper.scores import Scores
from softreg.paper.tables import caption, contrast_rows, main_frame, shown_rows, write_tables
from softreg.scoring import records
from softreg.study.cells import final_file


@pytest.fixture
def scores(tmp_path):
    return make_scores(tmp_path, {("l1", "1e-4", 101): "out-of-memory"}).folder


def test_numbers_are_those_of_the_records(scores):
    frame = main_frame(Scores(scores)).set_index("penalty")
    table = records.read([final_file(scores, "brain")]).to_pylist()
    by_seed = []
    for seed in (100, 101, 102):
        rows = [row for row in table if row["penalty"] == "l2" and row["seed"] == seed]
        tp, fp, fn = (np.sum([row[name] for row in rows], axis=0) for name in ("tp", "fp", "fn"))
        by_seed.append(100 * np.mean(tp / (tp + fp + fn)))
    row = frame.loc["l2"]
    assert row["test_miou_points"] == pytest.approx(np.mean(by_seed), abs=1e-10)
    low, mean, high = np.sinh(logit(row[["low_points", "test_miou_points", "high_points"]].astype(float) / 100) / 2)
    assert low + high == pytest.approx(2 * mean)
    share = row["test_miou_points"] / 100
    assert high - mean == pytest.approx(crossed_half_width(table, "l2") / (400 * (share * (1 - share)) ** 1.5))
    assert (row["lambda"], row["exact_zeros_share"], row["seeds"]) == ("1e-4", 0.0, 3)
    assert row["seconds"] == pytest.approx(np.mean([12 + seed % 3 for seed in (100, 101, 102)]))


def test_l2_tells_how_it_is_realised_unless_the_study_names_it(tmp_path):
    penalties = {"none": {}, "l2": {"lambda": [1e-4]}, "l2-decoupled": {"kind": "l2", "realisation": "decoupled"}}
    scores = make_scores(tmp_path, penalties=penalties, figures={})
    assert main_frame(scores)["penalty_label"].tolist() == ["none", "l2 (proximal)", "l2-decoupled", "one class"]
    scores.study["figures"]["style"]["names"]["l2"] = "Ridge"
    assert scores.label("l2") == "Ridge"


def test_the_caption_says_what_averaging_the_weights_has_changed(scores):
    file = scores / "sums.parquet"
    rows = records.read([file], schema=records.SUMS).to_pylist()
    last = [row for row in rows if (row["phase"], row["penalty"], row["split"]) == ("final", "l2", "test")]
    last = [{**row, "split": records.LAST_TEST} for row in last if not row["corruption"]]
    for place, row in enumerate(last):
        row["fn"] = [count + 5 * (place + 1) for count in row["fn"]]
    records.write(pa.Table.from_pylist(rows + last, schema=records.SUMS), file, records.SUMS)

    def miou(row):
        tp, fp, fn = (np.array(row[name]) for name in ("tp", "fp", "fn"))
        return 100 * (tp / (tp + fp + fn)).mean()

    final = Scores(scores).final_test.query("penalty == 'l2'").set_index("seed")["miou"]
    gains = np.array([100 * final[row["seed"]] - miou(row) for row in last])
    mean, half = gains.mean(), t.ppf(0.975, 2) * gains.std(ddof=1) / np.sqrt(3)
    told = f"convnet l2 +{mean:.2f} [{mean - half:+.2f}, {mean + half:+.2f}]".replace("-", "−")
    assert f"over seeds: {told}." in caption(Scores(scores), main_frame(Scores(scores)))


def crossed_half_width(table, penalty):
    """From a jackknife over images written out, and the t of two degrees of freedom, as there are three seeds."""
    rows = sorted((row for row in table if row["penalty"] == penalty), key=lambda row: (row["seed"], row["image"]))
    # seed, image, kind of count, class
    counts = np.array([[row["tp"], row["fp"], row["fn"]] for row in rows]).reshape(3, 6, 3, -1)

    def of(images):
        total = counts[:, images].sum(1)
        return 100 * (total[:, 0] / total.sum(1)).mean(-1)

    scores = of(range(6))
    left_out = np.stack([of([image for image in range(6) if image != out]) for out in range(6)])
    deviations = left_out - left_out.mean(0)
    covariance = 5 / 6 * deviations.T @ deviations
    a, b = scores.var(ddof=1) / 3, covariance.mean()
    e = max(0, (np.trace(covariance) / 3 - b) / 2)
    variance = max(a, e) + max(b, e) - e
    return t.ppf(0.975, 2) * np.sqrt(variance)


def test_only_what_is_shown_to_differ_from_none_is_bold(tmp_path):
    root = tmp_path / "study"
    scores = make_scores(root, seeds={"tuning": [0], "evaluation": [*range(100, 106)]})
    frame = main_frame(scores).set_index("penalty")
    # 0.20 of the pixels wrong for both, 0.30 without a penalty.
    assert frame["verdict"].to_dict() == {"none": "", "l1": "supported", "l2": "supported", "one class": ""}
    write_tables(scores, tmp_path)
    lines = (tmp_path / "tables" / "main.md").read_text().splitlines()
    told = [line.split(" | ")[3:5] for line in lines if line.startswith("| convnet") and "**" in line]
    assert [(text[:3], word) for text, word in told] == [("**+", "above none")] * 2
    assert (tmp_path / "tables" / "main_table.tex").read_text().count(r"\textbf{") == 2
    assert "bold where it is shown to be above or below 0" in caption(scores, frame.reset_index())


def test_rows_and_names_are_those_of_the_style(tmp_path):
    style = {"names": {"l2": "Ridge", "convnet": "Small", "brain": "Heads"}, "order": ["l2"]}
    scores = make_scores(tmp_path, figures={"style": style})
    assert [row[:2] for row in shown_rows(main_frame(scores))] == [
        ["Small", "Ridge"],
        ["Small", "none"],
        ["Small", "l1"],
        ["Small", "one class"],
    ]
    write_tables(scores, tmp_path)
    assert "## Heads" in (tmp_path / "tables" / "main.md").read_text()
    assert "Ridge − none*" in [row[1] for row in contrast_rows(scores, gain.contrasts(scores))]


def test_what_did_not_finish_is_counted_and_named(scores):
    row = main_frame(Scores(scores)).set_index("penalty").loc["l1"]
    assert (row["finished"], row["expected"], row["other"]) == (2, 3, "1 out-of-memory")
    assert row["exact_zeros_share"] == 0.1
    assert row["cells"] == "final/brain/convnet/l1/seed*/lambda-1e-4"
    assert len(list((scores.parent).glob(row["cells"]))) == 3


def test_caption_tells_unit_n_and_where_lambda_comes_from(scores):
    loaded = Scores(scores)
    text = caption(loaded, main_frame(loaded))
    for part in (
        "3 evaluation seeds",
        "seeds (training runs) and test images (6, taken as independent, as none is known to belong to a group) are",
        "validation scores of 2 tuning seeds only",
    ):
        assert part in text


def test_one_seed_has_no_interval_and_the_caption_says_so(tmp_path):
    scores = make_scores(tmp_path, seeds={"tuning": [0], "evaluation": [100]})
    frame = main_frame(scores)
    assert frame["test_miou_points"].notna().all()
    assert frame[["low_points", "high_points"]].isna().all(axis=None)
    assert "one evaluation seed, so no interval" in caption(scores, frame)
    write_tables(scores, tmp_path)
    assert "**" not in (tmp_path / "tables" / "main.md").read_text()


def test_csv_and_markdown_hold_the_same_rows(scores, tmp_path):
    write_tables(Scores(scores), tmp_path)
    frame = pd.read_csv(tmp_path / "tables" / "main.csv", dtype={"lambda": str})
    lines = [
        line for line in (tmp_path / "tables" / "main.md").read_text().splitlines() if line.startswith("| convnet")
    ]
    assert len(lines) == len(frame) == 4
    *entries, constant = zip(lines, frame.to_dict("records"), strict=True)
    assert constant[0] == f"| convnet | one class | {constant[1]['test_miou_points']:.2f} | – | – | – | – | – |"
    for line, row in entries:
        assert f"{row['test_miou_points']:.2f} [{row['low_points']:.2f}, {row['high_points']:.2f}]" in line
        assert f"| {row['lambda']} |" in line
    assert "2 of 3 (1 out-of-memory)" in lines[1]


def test_nothing_run_yet_gives_dashes_not_an_error(tmp_path):
    write_tables(untrained(tmp_path), tmp_path)
    lines = (tmp_path / "tables" / "main.md").read_text().splitlines()
    assert "| convnet | l1 | – | – | – | – | – | 0 of 3 (3 not run) |" in lines
    assert "No two entries of the study can be compared yet" in (tmp_path / "tables" / "contrasts.md").read_text()


def test_the_same_scores_give_the_same_tables(scores, tmp_path):
    for name in ("a", "b"):
        write_tables(Scores(scores), tmp_path / name)
    for file in (tmp_path / "a" / "tables").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / "tables" / file.name).read_bytes()


def test_a_table_without_rows_is_not_there_and_each_quantity_has_its_unit(scores, tmp_path):
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "checks.csv").write_text("of a study that had some")
    write_tables(Scores(scores), tmp_path)
    found = {file.stem: pd.read_csv(file) for file in (tmp_path / "tables").glob("*.csv")}
    assert "main" in found
    assert "checks" not in found
    assert all(len(table) for table in found.values())
    units = found["H7"].groupby("quantity")["unit"].unique().map(list)
    assert units[["ece", "nll"]].tolist() == [["points"], ["nats"]]


def test_latex_escapes_what_tex_would_read(tmp_path):
    penalties = {"none": {}, "elastic_net": {"lambda": [1e-5, 1e-4]}}
    write_tables(make_scores(tmp_path, penalties=penalties), tmp_path)
    text = (tmp_path / "tables" / "main_table.tex").read_text()
    assert r"convnet & elastic\_net & " in text
    assert r"0.0 \%" in text
    assert "λ" not in text


def test_contrasts_are_told_in_three_forms(scores, tmp_path):
    write_tables(Scores(scores), tmp_path)
    frame = pd.read_csv(tmp_path / "tables" / "contrasts.csv", dtype={"lambda": str})
    assert frame[["penalty", "reference", "n_seeds"]].to_numpy().tolist() == [["l1", "none", 2], ["l2", "none", 3]]
    text = (tmp_path / "tables" / "contrasts.md").read_text()
    row = frame.iloc[1]
    assert f"| l2 − none\\* | +{row['difference_points']:.2f} [" in text
    assert f"| 3 × 6 | {row['word']} |" in text
    assert r"l2 $-$ none\textsuperscript{*} & +" in (tmp_path / "tables" / "contrasts_table.tex").read_text()


def compiled(folder):
    """What pdflatex says of each document in ``folder``, by name."""
    said = {}
    for file in folder.glob("*.tex"):
        if file.stem.endswith("_table"):
            continue
        command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", file.name]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:]
        said[file.stem] = done.stdout
    return said


AWKWARD = {
    "l1": "[L1] & co_% #1",
    "l2": r"λ̂-L2 of β ≤ ½, {50 $} ~^\ 'x' \"q\"",
    "brain": "Gehirn für Ø, ža <b> | 中 *",
    "convnet": "convnet²",
}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="PDFLATEX IS MISSING: no LaTeX table was checked")
def test_every_document_compiles_whatever_the_names(tmp_path):
    lost = {("l1", "1e-4", 101): "out-of-memory"}
    write_tables(make_scores(tmp_path, lost, figures={"style": {"names": AWKWARD}}), tmp_path)
    said = compiled(tmp_path / "tables")
    assert set(said) == {"main", "contrasts", "questions"}
    for text in said.values():
        assert "Overfull" not in text
        assert "Missing character" not in text


def test_an_answer_in_part_tells_what_it_lacks_and_what_it_found():
    told = Answer("H5", "Is it dear?", "estimand.", "statistic.", "interval.", summary="It is.", absent="Add a model.")
    assert tables._told(told) == "Add a model. It is. estimand. statistic. interval."
    assert tables._told(replace(told, summary="")) == "Add a model."


def test_no_cell_of_a_csv_is_a_formula_to_a_spreadsheet():
    table = pd.DataFrame({"text": ["=1+1", "+a", "-b", "@c", "d=1", "'e", None], "number": [-1.5, 2, 3, 4, 5, 6, -7]})
    table["mixed"] = [1, None, "-x", 2, 3, 4, 5]
    lines = typeset.csv(table).splitlines()
    assert lines[0] == "text,number,mixed"
    assert lines[1:5] == ["'=1+1,-1.5,1", "'+a,2.0,", "'-b,3.0,'-x", "'@c,4.0,2"]
    assert lines[5:] == ["d=1,5.0,3", "'e,6.0,4", ",-7.0,5"]


@pytest.mark.parametrize(
    ("text", "written"),
    [
        (r"a|b \ `c` *d* _e_ $f$ <g>", r"a\|b \\ \`c\` \*d\* \_e\_ \$f\$ \<g>"),
        ("~~x~~ R&D &amp; &#65;", r"\~\~x\~\~ R&D \&amp; \&#65;"),
        ("[0.1, 0.2] and [x](y)", r"[0.1, 0.2] and [x\](y)"),
    ],
)
def test_a_text_is_no_markdown(text, written):
    assert typeset._md(text) == written
