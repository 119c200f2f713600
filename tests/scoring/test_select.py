import shutil

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import synthetic

from softreg.errors import UserError
from softreg.scoring import records
from softreg.scoring.race import lambdas_of
from softreg.scoring.select import choices, choose, curve, read_selection, select_group
from softreg.study import matrix


def curves(*rows):
    return pd.DataFrame(rows, columns=["lambda", "val_miou", "val_se", "seeds"])


NO_CELLS = pd.DataFrame(columns=["lambda", "seed", "fold", "miou"])


def cells_of(scores):
    """Of each λ its scores of seed × fold, and the curve over them; None where there is none."""
    rows = [
        (x, seed, k, v) for x, seeds in scores.items() for seed, folds in seeds.items() for k, v in enumerate(folds)
    ]
    cells = pd.DataFrame(rows, columns=["lambda", "seed", "fold", "miou"])
    grouped = cells.groupby("lambda", sort=False)
    seeds = {"val_miou": grouped["miou"].mean(), "val_se": 9.0, "seeds": grouped["seed"].nunique()}
    return pd.DataFrame(seeds).reset_index(), cells


@pytest.fixture
def tiny(tmp_path):
    study = synthetic.make_study(tmp_path)
    synthetic.make_results(study, tmp_path)
    return study, tmp_path / "results" / "tiny"


def listed(study, results):
    """λ̂ of all groups, as gathering lists them."""
    return choices(results, matrix.groups(study))


def test_best_takes_the_highest_mean():
    rows = curves(("1e-5", 0.50, 0.01, 2), ("1e-4", 0.60, 0.01, 2), ("1e-3", 0.595, 0.01, 2))
    assert choose(rows, NO_CELLS, "best")["lambda"] == "1e-4"


def test_one_se_is_the_error_of_differences_over_seed_and_fold():
    # To the best, 1e-4: 1e-3 differs by 0, 2, 2 and 4 (mean 2, SE 0.82), 1e-2 by 1, −1, 3 and −1 (0.5, 0.96). Seeds are
    # 40 apart, which pairing takes out: unpaired, 1e-3 would be within the error too.
    rows, cells = cells_of(
        {
            "1e-5": {0: (50, 51), 1: (90, 93)},
            "1e-4": {0: (60, 61), 1: (100, 103)},
            "1e-3": {0: (60, 59), 1: (98, 99)},
            "1e-2": {0: (59, 62), 1: (97, 104)},
        }
    )
    assert choose(rows, cells, "one_se")["lambda"] == "1e-2"
    few = {"1e-4", "1e-3"}
    assert choose(rows[rows["lambda"].isin(few)], cells, "one_se")["lambda"] == "1e-4"


def test_one_se_over_the_folds_of_one_seed():
    rows, cells = cells_of({"1e-5": {0: (61, 60)}, "1e-4": {0: (60, 60.5)}})
    assert choose(rows, cells, "one_se")["lambda"] == "1e-4"


def test_one_se_stays_with_the_best_where_one_network_has_no_standard_error():
    rows, cells = cells_of({"1e-5": {0: (61,)}, "1e-4": {0: (60,)}})
    assert choose(rows, cells, "one_se")["lambda"] == "1e-5"


def test_of_equals_the_strongest_by_number_not_by_spelling():
    rows = curves(("9e-4", 0.6, 0.0, 2), ("1e-2", 0.6, 0.0, 2), ("5e-3", 0.5, 0.0, 2))
    assert choose(rows, NO_CELLS, "best")["lambda"] == "1e-2"


def test_a_lambda_that_lacks_a_seed_cannot_be_chosen():
    rows = curves(("1e-5", 0.5, 0.0, 2), ("1e-4", 0.9, np.nan, 1))
    assert choose(rows, NO_CELLS, "best")["lambda"] == "1e-5"


def test_selection_finds_the_known_best_and_its_numbers(tiny):
    selection = listed(*tiny)
    _, results = tiny
    assert selection["lambda"].tolist() == ["0", "1e-4", "1e-4"]
    assert selection["n"].tolist() == selection["expected"].tolist() == [2, 2, 2]
    assert not selection["at_edge"].any()
    scores = []
    for seed in (0, 1):
        file = results / "sweep" / "brain" / "convnet" / "l1" / f"seed{seed}" / "val.parquet"
        table = records.read([file], schema=records.SUMS)
        rows = [row for row in table.to_pylist() if row["lambda"] == "1e-4"]
        tp, fp, fn = (np.sum([row[name] for row in rows], axis=0) for name in ("tp", "fp", "fn"))
        scores.append(np.mean(tp / (tp + fp + fn)))
    chosen = selection.iloc[1]
    assert chosen["val_miou_points"] == pytest.approx(100 * np.mean(scores), abs=1e-10)
    assert chosen["val_se_points"] == pytest.approx(50 * abs(scores[0] - scores[1]), abs=1e-10)


def test_no_test_score_moves_the_selection(tiny):
    study, results = tiny
    before = listed(study, results)
    tests = list(results.glob("**/test.parquet"))
    assert len(tests) == 9
    for place, file in enumerate(tests):
        table = records.read([file])
        zeros = pa.array([[0] * 3] * len(table), records.SCHEMA.field("tp").type)
        records.write(table.set_column(table.schema.get_field_index("tp"), "tp", zeros), file)
        if place % 2:
            file.write_bytes(b"not to be opened")
    for file in results.glob("sweep/**/val.parquet"):
        shutil.copy(tests[1], file.with_name("test.parquet"))
    shutil.rmtree(results / "selection")
    for group in matrix.groups(study):
        select_group(study, results, group)
    assert listed(study, results).equals(before)


def test_a_diverged_cell_takes_its_lambda_out(tmp_path):
    study = synthetic.make_study(tmp_path)
    synthetic.make_results(study, tmp_path, statuses={("l1", "1e-4", 1): "diverged"})
    row = listed(study, tmp_path / "results" / "tiny").set_index("penalty").loc["l1"]
    assert (row["lambda"], row["n"], row["at_edge"]) == ("1e-5", 2, True)


def test_where_every_lambda_lacks_a_seed_the_rest_decides_and_it_shows(tmp_path):
    study = synthetic.make_study(tmp_path)
    synthetic.make_results(study, tmp_path, statuses={("l1", value, 1): "failed" for value in synthetic.GRID})
    row = listed(study, tmp_path / "results" / "tiny").set_index("penalty").loc["l1"]
    assert (row["lambda"], row["n"], row["expected"]) == ("1e-4", 1, 2)
    assert np.isnan(row["val_se_points"])


def test_a_group_without_any_score_gets_none(tmp_path):
    study = synthetic.make_study(tmp_path)
    lost = {("l1", value, seed): "out-of-memory" for value in synthetic.GRID for seed in (0, 1)}
    synthetic.make_results(study, tmp_path, statuses=lost)
    results = tmp_path / "results" / "tiny"
    paths = {path.penalty: path for path in matrix.final_paths(study)}
    assert lambdas_of(study, paths["l1"], results) == []
    assert lambdas_of(study, paths["l2"], results) == ["1e-4"]


def test_kfold_sums_the_counts_of_all_folds_before_the_ratio(tmp_path):
    study = synthetic.make_study(tmp_path, selection={"scorer": "kfold", "folds": 3})
    assert len(matrix.sweep_paths(study)) == 3 * 2 * 3
    synthetic.make_results(study, tmp_path)
    results = tmp_path / "results" / "tiny"
    row = listed(study, results).set_index("penalty").loc["l1"]
    by_seed = []
    for seed in (0, 1):
        totals = np.zeros((3, 3), np.int64)
        for fold in range(3):
            file = results / f"sweep/brain/convnet/l1/seed{seed}-fold{fold}/val.parquet"
            table = records.read([file], schema=records.SUMS)
            for cell in table.to_pylist():
                if cell["lambda"] == row["lambda"]:
                    totals += [cell["tp"], cell["fp"], cell["fn"]]
        by_seed.append(np.mean(totals[0] / totals.sum(0)))
    assert (row["n"], row["expected"], row["scorer"]) == (6, 6, "kfold")
    assert row["val_miou_points"] == pytest.approx(100 * np.mean(by_seed), abs=1e-10)


def test_a_seed_that_lacks_a_fold_has_no_score(tmp_path):
    study = synthetic.make_study(tmp_path, selection={"scorer": "kfold", "folds": 2})
    paths = [path for path in matrix.sweep_paths(study) if path.penalty == "l1" and (path.seed, path.fold) != (1, 1)]
    rows = [synthetic.sums_row(path, "1e-4", "val", "", 0, 2, 3, (8, 8)) for path in paths]
    table = pa.Table.from_pylist(rows, records.SUMS)
    assert curve(table, folds=2)["seeds"].tolist() == [1]


def test_a_missing_path_is_named(tiny):
    study, results = tiny
    (results / "sweep/brain/convnet/l2/seed1/val.parquet").unlink()
    shutil.rmtree(results / "selection")
    with pytest.raises(UserError, match=r"l2/seed1/val\.parquet: not there \(1 of 2"):
        select_group(study, results, ("brain", "convnet", "l2"))


def test_a_group_that_was_not_selected_is_named(tiny):
    study, results = tiny
    (results / "selection/brain/convnet/l2.csv").unlink()
    path = next(path for path in matrix.final_paths(study) if path.penalty == "l2")
    with pytest.raises(UserError, match=r"brain/convnet/l2\.csv is missing"):
        lambdas_of(study, path, results)
    with pytest.raises(UserError, match=r"brain/convnet/l2\.csv: not there"):
        choices(results, matrix.groups(study))


def test_a_selection_in_shares_of_an_earlier_version_is_refused(tmp_path):
    file = tmp_path / "selection.csv"
    head = "dataset,model,penalty,lambda,lr,val_miou,val_se,n,expected,at_edge,rule,scorer"
    file.write_text(f"{head}\nbrain,convnet,l1,1e-4,,0.7,0.1,2,2,False,best,holdout\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"selection.csv .*'val_miou_points' not found.*run `snakemake`"):
        read_selection(file)
