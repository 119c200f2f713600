import json
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
import studies
from measured import make_scores, untrained

from softreg.paper import tables
from softreg.paper.figures.style import looks_of
from softreg.paper.report import about, charts, page, points
from softreg.paper.report.cells import rounded, table
from softreg.paper.scores import Scores


class Page(HTMLParser):
    """The text of a page, its tags with their attributes, and which tags are open."""

    def __init__(self, text):
        super().__init__()
        self.texts, self.tags, self.open = [], [], []
        self.feed(text)
        self.text = " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "img", "input", "wbr"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("style", "script"):
            self.texts.append(data)


@pytest.fixture(scope="module")
def html(made):
    return made.file.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def parsed(html):
    return Page(html)


@pytest.fixture(scope="module")
def data(html):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.S)[1])


def test_every_tag_is_closed_and_every_name_in_the_page_leads_somewhere(parsed):
    assert parsed.open == []
    identities = [attributes["id"] for _, attributes in parsed.tags if "id" in attributes]
    assert len(identities) == len(set(identities))
    for _, attributes in parsed.tags:
        if attributes.get("href", "").startswith("#"):
            assert attributes["href"][1:] in identities
        for name in attributes.get("aria-labelledby", "").split():
            assert name in identities or name == "cell-title"  # the dialog's, made when it opens


def test_nothing_is_loaded_from_elsewhere(parsed):
    sources = [
        attributes[name] for _, attributes in parsed.tags for name in ("src", "action", "srcset") if name in attributes
    ]
    assert sources
    assert all(address.startswith("data:image/") for address in sources)
    assert all(a["href"].startswith(("#", "tables/", "figures/")) for _, a in parsed.tags if "href" in a)
    assert not [tag for tag, attributes in parsed.tags if tag in ("link", "iframe") or "onclick" in attributes]


def test_the_page_forbids_itself_the_network(parsed):
    policy = next(a["content"] for _, a in parsed.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "eval" not in policy


def test_verdicts_are_counted_by_word_within_a_question_and_never_over_them(parsed):
    for answer in studies.answers():
        at = parsed.text.index(f"{answer.question} {answer.key}")
        told = parsed.text[at : parsed.text.index("How it is answered", at)]
        for word, count in Counter(verdict.word for verdict in answer.verdicts).items():
            assert f"{count} {word}" in told
    assert "All verdicts" not in parsed.text
    assert parsed.text.count("soft gains 0.1 points [−0.1, 0.9] on brain; n = 3 seeds.") == 2


def test_a_question_without_an_answer_says_what_it_lacks(parsed):
    assert "Not answered by this study. The study names no corruption; add evaluation.corruptions to it." in parsed.text


def test_text_of_the_study_and_of_answers_is_escaped(parsed):
    assert "Penalties <on> brains & shapes" in parsed.text
    assert "soft regularisation <at all>" in parsed.text
    assert not {"on", "at"} & {tag for tag, _ in parsed.tags}


def test_what_preparing_told_of_the_data_is_repeated(made, parsed, monkeypatch):
    told = "1 picture lies in more than one part, pixel for pixel: <a> (train) = b (test)"
    assert told not in parsed.text
    monkeypatch.setitem(made.scores.datasets["brain"], "remarks", [told])
    page_ = Page(page.render(made.scores, made.frame, studies.answers(), made.figures))
    assert page_.text.count(f"{told}.") == 1


def test_data_cannot_end_the_element_that_they_stand_in():
    text = str(page._as_script({"log": "</script><!--<script>"}))
    assert "<" not in text
    assert json.loads(text) == {"log": "</script><!--<script>"}


def test_backticks_become_code_and_nothing_else_becomes_markup():
    assert page._marked("add `kind: <b>` & `x` to it") == "add <code>kind: &lt;b&gt;</code> &amp; <code>x</code> to it"


def test_figures_are_with_the_first_question_that_names_them_and_the_forest_comes_first(parsed):
    order = ["Title of paired_difference-shapes", "Test scores", "Does question 1", "Title of lambda_curves-brain"]
    order += ["Does question 2", "Further figures", "Title of reliability-brain", "It needs two data sets."]
    places = [parsed.text.index(text) for text in order]
    assert places == sorted(places)
    for name in ("paired_difference-shapes", "lambda_curves-brain"):
        assert parsed.text.count(f"Caption of {name}.") == 1


def test_pictures_are_there_without_scrolling(html, parsed):
    assert not [tag for tag, attributes in parsed.tags if attributes.get("loading")]
    assert "IntersectionObserver" not in re.sub(r"<script>\(\(\)=>.*", "", html, flags=re.S)


def test_files_are_linked_beside_tables_and_figures(parsed):
    links = {attributes["href"] for tag, attributes in parsed.tags if tag == "a"}
    assert {
        "tables/main.csv",
        "tables/H1.csv",
        "tables/convergence.csv",
        "figures/paired_difference-shapes.pdf",
    } <= links


def test_a_drawing_is_embedded_as_it_is(parsed):
    sources = [attributes["src"] for tag, attributes in parsed.tags if tag == "img"]
    assert [unquote(source.partition(",")[2]) for source in sources[:4]] == [
        studies.SVG.format(place) for place in (1, 2, 3, 4)
    ]
    assert sources[4].startswith("data:image/png;base64,")


def test_coverage_counts_equal_those_of_the_cells(made, parsed):
    cells = made.scores.cells
    entries = [json.loads(attributes["data-open"]) for _, attributes in parsed.tags if "data-open" in attributes]
    labels = [attributes["aria-label"] for _, attributes in parsed.tags if "data-open" in attributes]
    assert len(entries) == 2 * len(made.scores.groups)
    for (phase, *group), label in zip(entries, labels, strict=True):
        mine = cells[(cells["phase"] == phase) & (cells[["dataset", "model", "penalty"]] == group).all(axis=1)]
        assert f": {(mine['status'] == 'finished').sum()} of {len(mine)} finished" in label


def test_where_all_cells_finished_there_is_no_coverage(made):
    scores = Scores(made.scores.folder)
    vars(scores)["cells"] = scores.cells.assign(status="finished")
    parsed = Page(page.render(scores, made.frame, studies.answers(), made.figures))
    assert "Coverage" not in parsed.text
    assert {"href": "#coverage"} in [attributes for _, attributes in parsed.tags]
    assert not parsed.open


def test_each_missing_cell_has_its_reason(made, parsed):
    lost = made.scores.cells[made.scores.cells["status"] != "finished"]
    assert f"Why {len(lost)} cells did not finish" in parsed.text
    told = f"{len(lost)} of {len(made.scores.cells)} cells did not finish: "
    assert parsed.text.count(told) == 1
    assert parsed.text.index(told) < parsed.text.index("Test scores")
    assert parsed.text.count("the loss was nan at step 40") == (lost["status"] == "diverged").sum()
    assert parsed.text.count("the loss was lost at step 40") == (lost["status"] == "out-of-memory").sum()


def unpacked(columns):
    values = {
        name: [column["values"][code] for code in column["codes"]] if isinstance(column, dict) else column
        for name, column in columns.items()
    }
    return pd.DataFrame(values)


def test_embedded_cells_are_the_cells(made, data):
    cells, mine = unpacked(data["cells"]), made.scores.cells
    for name in ("phase", "dataset", "model", "penalty", "lambda", "seed", "status", "reason", "key"):
        assert cells[name].tolist() == mine[name].tolist()
    times = made.scores.timings
    assert cells["commit"].ne("").sum() == len(times)
    assert cells["seconds"].sum() == pytest.approx(times["seconds"].sum())


def test_embedded_histories_are_those_of_their_cells(made, data):
    histories, cells = made.scores.histories, made.scores.cells
    assert sum(len(epochs) for epochs, _, _ in data["histories"].values()) == len(histories)
    keys = ["phase", "dataset", "model", "penalty", "lambda", "seed", "fold"]
    place = 17
    mine = histories[(histories[keys] == cells.loc[place, keys].tolist()).all(axis=1)]
    epochs, terms, scores = data["histories"][str(place)]
    assert epochs == mine["epoch"].tolist()
    assert terms == pytest.approx(mine["data_term"].tolist())
    assert scores[0] is None
    assert scores[1:] == pytest.approx((100 * mine["val_miou"]).tolist()[1:])


def test_predictions_are_embedded_for_final_cells_with_scores(made, data):
    cells = unpacked(data["cells"])
    finals = cells.index[(cells["phase"] == "final") & (cells["status"] == "finished")]
    assert sorted(map(int, data["predictions"])) == finals.tolist()
    examples = made.scores.examples.to_pandas()
    assert set(data["predictions"][str(finals[0])]) == set(examples.loc[examples["dataset"] == "brain", "image"])


def test_training_of_a_pair_has_what_its_penalty_overrides(data):
    options = data["options"]
    rates = {
        penalty: dict(options["trained"][options["training"]["unet"][penalty]])["learning rate"]
        for penalty in ("l1", "soft")
    }
    assert rates == {"l1": "0.1", "soft": "0.05"}


def test_of_a_study_only_the_keys_that_acted_are_told():
    objective = {"kind": "cross_entropy", "beta": 0.5, "gamma": 2.0, "class_weights": None}
    given = {"epochs": 10, "objective": objective, "optimizer": "adam", "momentum": 0.9, "betas": [0.9, 0.999]}
    given |= {"warmup_epochs": 0, "augmentation": {"scale": None, "flip": True, "brightness": 0}}
    assert about.training(given | {"checkpoint_seconds": 60}) == [
        ("epochs", "10"),
        ("objective", "kind cross_entropy"),
        ("optimizer", "adam"),
        ("betas", "0.9, 0.999"),
        ("augmentation", "flip yes"),
    ]
    assert about.plain(objective | {"kind": "focal_dice"}) == "kind focal_dice; gamma 2.0"
    assert about.plain({"kind": "smooth_l1", "lambda": ["1e-4"], "beta": 0.5}) == "kind smooth_l1; λ 1e-4; beta 0.5"
    assert about.plain({"kind": "none", "lambda": ["0"], "realisation": "proximal", "weights": "all"}) == "kind none"


def test_charts_have_the_colours_of_the_figures(made):
    looks = looks_of(made.scores)
    for chart in charts.charts(made.scores):
        for layer in chart.specification["layer"]:
            scale = layer["encoding"]["color"]["scale"]
            assert dict(zip(scale["domain"], scale["range"], strict=True)) == {
                name: look.colour for name, look in looks.items()
            }


def test_test_points_are_means_over_tuning_seeds(made):
    sums = made.scores.sums
    mine = sums[(sums["phase"] == "sweep") & (sums["split"] == "test") & (sums["corruption"] == "")]
    group = ("brain", "unet", "l1", "1e-5")
    scores = 100 * mine.set_index(["dataset", "model", "penalty", "lambda"]).loc[group, "miou"]
    shown = points.test(made.scores).set_index(["dataset", "model", "penalty", "lambda"]).loc[group]
    assert len(scores) == 2
    assert shown["miou"] == pytest.approx(scores.mean())
    assert shown["high"] - shown["miou"] == pytest.approx(np.std(scores, ddof=1) / np.sqrt(2))


def test_pareto_shows_weights_kept_of_the_whole_network(made):
    shown = points.pareto(made.scores)
    row = shown[(shown["penalty"] == "soft") & (shown["lambda"] == "1e-5") & (shown["model"] == "unet")].iloc[0]
    assert row["x"] == pytest.approx(100 - 15 - 0.05)  # 0.15 for each decade above 1e-6, 0.001 for each seed


def test_neighbouring_penalties_of_one_strength_are_set_apart_evenly():
    rows = pd.DataFrame({"penalty": ["a", "b", "c", "a"], "lambda": ["1e-4", "1e-4", "1e-4", "1e-2"]})
    x = points.placed(rows, ["a", "b", "c"], log=True)["x"]
    assert x[1] == pytest.approx(1e-4)
    assert x[0] * x[2] == pytest.approx(1e-8)
    assert x[0] < x[1] < x[2]


def test_numbers_keep_five_digits_and_no_value_is_null():
    assert rounded([0.1234567, 12.0, float("nan"), float("inf"), -1234567.0]) == [0.12346, 12, None, None, -1234567]


def test_a_table_by_columns_holds_each_text_once():
    frame = pd.DataFrame({"name": ["a", "b", "a", None], "n": [1, 2, 3, 4]})
    assert table(frame, ["name"]) == {"name": {"values": ["a", "b", ""], "codes": [0, 1, 0, 2]}, "n": [1, 2, 3, 4]}


def test_a_page_of_a_study_that_has_not_run_is_whole(tmp_path):
    scores = untrained(tmp_path)
    studies.write_figures(tmp_path / "figures")
    text = page.render(scores, tables.main_frame(scores), studies.answers(), tmp_path / "figures")
    parsed = Page(text)
    assert parsed.open == []
    assert "Partial report." in parsed.text
    assert "No cell of the sweep has a score yet." in parsed.text
    assert "Why 23 cells did not finish" in parsed.text
    assert parsed.text.count("it has not been trained yet") == 3
    assert parsed.text.count("no λ was chosen for it") == 3


def test_an_answer_in_part_tells_both_what_it_found_and_what_it_lacks(tmp_path):
    scores = untrained(tmp_path)
    studies.write_figures(tmp_path / "figures")
    partly = replace(studies.answers()[-1], summary="A step takes 1.1 times as long.")
    text = Page(page.render(scores, tables.main_frame(scores), [partly], tmp_path / "figures")).text
    assert "Not answered by this study in full. The study names no corruption" in text
    assert "A step takes 1.1 times as long." in text


def test_a_model_without_controls_has_no_chart_of_them(tmp_path):
    scores = make_scores(
        tmp_path,
        models={"convnet": {}, "other": {"kind": "convnet"}},
        penalties={"none": {}, "l1": {"lambda": [1e-4]}, "pruning": {"lambda": [0.5], "models": ["convnet"]}},
    )
    drawn = charts.charts(scores)
    models = {chart.name: set(chart.points["model"]) for chart in drawn}
    assert models["validation-lambda"] == {"convnet", "other"}
    assert models["validation-strength"] == models["test-strength"] == {"convnet"}


def test_long_names_may_be_broken_and_stay_escaped():
    assert page._breakable("decoupled_decay-<b>") == "decoupled_<wbr>decay-<wbr>&lt;b&gt;"


def test_one_seed_without_controls_has_no_standard_error(tmp_path):
    scores = make_scores(tmp_path, seeds={"tuning": [0], "evaluation": [100]})
    drawn = charts.charts(scores)
    assert [chart.name for chart in drawn] == ["validation-lambda", "test-lambda", "pareto"]
    for chart in drawn:
        assert chart.points["se"].isna().all()
        assert (chart.points["low"] == chart.points["miou"]).all()


def test_the_same_scores_give_the_same_page(made, html):
    assert page.render(made.scores, made.frame, studies.answers(), made.figures) == html


def test_a_page_of_this_study_stays_small(html):
    assert len(html.encode()) < 2_500_000


def test_the_command_and_the_report_load_altair_only_to_draw():
    code = "import sys, softreg.cli, softreg.paper.report; sys.exit(any(n in sys.modules for n in ('altair', 'torch')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
