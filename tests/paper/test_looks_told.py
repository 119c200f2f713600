"""What a report says of how often its study was looked at, and what a plan of looks does to its verdicts."""

import shutil

import pytest
from synthetic import gather_part, make_results, make_study

from softreg.files import write_json
from softreg.paper import tables
from softreg.paper.looks import Looks
from softreg.paper.questions import gain
from softreg.paper.report import write_report
from softreg.paper.scores import Scores
from softreg.scoring.gather import gather
from softreg.scoring.looks import level_of

pytestmark = pytest.mark.slow


def seeds(count, **others):
    penalties = {"none": {}, "l1": {"lambda": [1e-4]}, "l2": {"lambda": [1e-4]}}
    return {"penalties": penalties, "seeds": {"tuning": [0], "evaluation": list(range(100, 100 + count)), **others}}


def scores_of(root, study):
    shutil.rmtree(root / "data", ignore_errors=True)
    make_results(study, root)
    return Scores(gather(study, root / "results", root / "data"))


def looks(now, planned, made):
    return Looks(now, planned, [{"seeds": n, "on": "2026-01-01", "partial": n == 3} for n in made])


def test_a_single_look_goes_without_saying(tmp_path):
    scores = scores_of(tmp_path, make_study(tmp_path, **seeds(3)))
    assert [look["seeds"] for look in scores.looks.made] == [3]
    looks = scores.looks
    assert (looks.plan(), looks.departures(), looks.level, looks.interval) == ("", "", 0.05, "95 %")


def test_seeds_that_are_added_after_a_look_are_told(tmp_path):
    scores_of(tmp_path, make_study(tmp_path, **seeds(3)))
    scores = scores_of(tmp_path, make_study(tmp_path, **seeds(6)))
    told = scores.looks.departures()
    assert told.startswith(
        "Not planned: a look at 3 evaluation seeds. Who judges at all of 3 and 6 seeds finds up to 8 %"
    )
    assert told in tables.contrasts_caption(scores, gain.contrasts(scores))
    write_json(tmp_path / "figures" / "figures.json", [])
    write_report(scores, tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("Not planned: a look at 3 evaluation seeds.") == 1


def test_the_record_outlives_the_gathered_scores(tmp_path):
    scores = scores_of(tmp_path, make_study(tmp_path, **seeds(3)))
    for file in scores.folder.iterdir():
        file.unlink()
    again = scores_of(tmp_path, make_study(tmp_path, **seeds(4)))
    assert [look["seeds"] for look in again.looks.made] == [3, 4]
    (tmp_path / "results" / "tiny" / "looks.json").unlink()
    assert [look["seeds"] for look in scores_of(tmp_path, make_study(tmp_path, **seeds(5))).looks.made] == [3, 4, 5]


def test_a_partial_report_is_a_look(tmp_path):
    study = make_study(tmp_path, **seeds(3))
    make_results(study, tmp_path)
    for cell in (tmp_path / "results" / "tiny" / "final").glob("*/*/*/seed102/*/cell.json"):
        cell.unlink()
    part = Scores(gather_part(study, tmp_path / "results", tmp_path / "data"))
    assert (part.looks.now, [(look["seeds"], look["partial"]) for look in part.looks.made]) == (2, [(2, True)])


def test_planned_looks_are_judged_at_their_level(tmp_path):
    plan = {"statistics": {"looks": [6, 12, 24]}}
    one, planned = (
        scores_of(tmp_path / name, make_study(tmp_path / name, **seeds(6), **more))
        for name, more in (("one", {}), ("planned", plan))
    )
    level = level_of((6, 12, 24))
    assert planned.looks.plan() == (
        "Looks are planned at 6, 12 and 24 evaluation seeds; each is judged at 0.021, with 97.9 % intervals, which "
        "keeps 0.05 over all of them. This is a look at 6."
    )
    wide, narrow = gain.contrasts(planned).iloc[0], gain.contrasts(one).iloc[0]
    estimate = gain.resampled(one)["brain", "convnet"].estimate("l1", "none")
    assert (wide["low"], wide["low90"]) == (estimate.interval(1 - level).low, estimate.interval(1 - 2 * level).low)
    assert wide["p"] == narrow["p"]
    assert wide["detectable"] > narrow["detectable"]
    assert "(97.9 % interval" in gain.answer(planned).verdicts[0].sentence
    caption = tables.contrasts_caption(planned, gain.contrasts(planned))
    assert "where p (equiv.) is below 0.0208, else by the 97.9 % interval" in caption


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (looks(8, (6, 12), [6, 8]), "Not planned: this one, a look at 8 evaluation seeds."),
        (looks(12, (6, 12), [3, 5, 12]), "Not planned: looks at 3 (partial) and 5 evaluation seeds."),
    ],
)
def test_looks_beside_the_plan_are_told(found, sentence):
    assert sentence in found.departures()


def test_an_entry_of_fewer_seeds_is_paired_by_those_it_has(tmp_path):
    scores = scores_of(tmp_path, make_study(tmp_path, **seeds(6, fewer={"l2": 2})))
    assert gain.contrasts(scores).set_index("penalty")["n_seeds"].to_dict() == {"l1": 6, "l2": 2}
    assert "mean over up to 6 evaluation seeds" in tables.caption(scores, tables.main_frame(scores))
