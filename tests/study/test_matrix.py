from itertools import product

import pytest

from softreg.errors import UserError
from softreg.study import matrix
from softreg.study.config import load_study
from softreg.study.matrix import TrainingPath

STUDY = """
datasets: {a: {kind: brain}, b: {kind: shapes}, c: {kind: shapes, noise: 0.3}}
models: {convnet: {}, wide: {kind: convnet, dropout: 0}}
penalties: {none: {}, l2: {lambda: [1e-5, 1e-4]}, l1: {lambda: [1e-6, 1e-5, 1e-4]}}
seeds: {tuning: [3, 1], evaluation: [100, 101, 102]}
"""


@pytest.fixture
def study(tmp_path):
    return _load(tmp_path, STUDY)


@pytest.fixture
def folded(tmp_path):
    return _load(tmp_path, STUDY + "selection: {scorer: kfold, folds: 4}\n")


def _load(folder, text):
    file = folder / "study.yaml"
    file.write_text(text)
    return load_study(file)


def test_groups_are_the_product_in_the_order_of_the_file(study):
    assert matrix.groups(study) == list(product("abc", ["convnet", "wide"], ["none", "l2", "l1"]))


def test_a_penalty_may_be_trained_on_some_models_only(tmp_path):
    study = _load(tmp_path, STUDY.replace("l1: {", "l1: {models: [wide], "))
    left = [
        group for group in product("abc", ["convnet", "wide"], ["none", "l2", "l1"]) if group[1:] != ("convnet", "l1")
    ]
    assert matrix.groups(study) == matrix.groups_of(study.to_dict()) == left
    for paths in (matrix.sweep_paths(study), matrix.final_paths(study)):
        assert {(path.dataset, path.model, path.penalty) for path in paths} == set(left)
    # Three data sets × the other model × one λ less a grid of three × two seeds, and of the final three seeds.
    assert matrix.count_cells(study) == matrix.count_cells(_load(tmp_path, STUDY)) - 3 * 3 * 2 - 3 * 3
    with pytest.raises(UserError, match="has no path sweep/a/convnet/l1/seed3; its first one is sweep/a/convnet/none/"):
        matrix.find_path(study, "sweep", "a/convnet/l1/seed3")


def test_entries_of_one_kind_are_groups_of_their_own(tmp_path):
    study = _load(tmp_path, STUDY.replace("l2: {", "l2: {realisation: [proximal, decoupled], "))
    assert {group[2] for group in matrix.groups(study)} == {"none", "l2-proximal", "l2-decoupled", "l1"}


def test_the_sweep_is_the_product_with_tuning_seeds(study):
    expected = {
        f"{d}/{m}/{p}/seed{s}" for d, m, p, s in product("abc", ["convnet", "wide"], ["none", "l2", "l1"], [1, 3])
    }
    names = [path.name for path in matrix.sweep_paths(study)]
    assert len(names) == len(expected)
    assert set(names) == expected


def test_folds_multiply_the_sweep_and_not_the_final(study, folded):
    assert {path.fold for path in matrix.sweep_paths(study)} == {None}
    assert len(matrix.sweep_paths(folded)) == 4 * len(matrix.sweep_paths(study))
    assert {path.fold for path in matrix.sweep_paths(folded)} == {0, 1, 2, 3}
    assert matrix.final_paths(folded) == matrix.final_paths(study)


def test_the_final_is_the_product_with_evaluation_seeds(study):
    expected = set(product("abc", ["convnet", "wide"], ["none", "l2", "l1"], [100, 101, 102]))
    paths = matrix.final_paths(study)
    assert len(paths) == len(expected)
    assert {(path.dataset, path.model, path.penalty, path.seed) for path in paths} == expected
    assert {path.phase for path in paths} == {"final"}


def test_cells_are_counted_over_both_phases(study, folded):
    lambdas = 1 + 2 + 3
    assert matrix.count_cells(study) == 3 * 2 * lambdas * 2 + 3 * 2 * 3 * 3
    assert matrix.count_cells(folded) == 3 * 2 * lambdas * 2 * 4 + 3 * 2 * 3 * 3


def test_a_path_is_recovered_from_its_name(study, folded):
    for path in [*matrix.sweep_paths(study), *matrix.sweep_paths(folded), *matrix.final_paths(study)]:
        assert matrix.parse_path(path.phase, path.name) == path


def test_names_as_the_folders_need_them():
    assert TrainingPath("sweep", "brain", "convnet", "l1", 0).name == "brain/convnet/l1/seed0"
    assert TrainingPath("sweep", "brain", "convnet", "l1", 0, 1).name == "brain/convnet/l1/seed0-fold1"


@pytest.mark.parametrize(
    ("phase", "name"),
    [
        ("test", "a/b/c/seed0"),
        ("sweep", "a/b/seed0"),
        ("sweep", "a/b/c/d/seed0"),
        ("sweep", "a/b/c/seed"),
        ("sweep", "a/b/c/seed-1"),
        ("final", "a/b/c/seed0-fold"),
    ],
)
def test_what_is_no_path_is_refused(phase, name):
    with pytest.raises(UserError, match="is not a training path; give sweep or final and DATASET/MODEL/PENALTY/seedN"):
        matrix.parse_path(phase, name)


def test_an_entry_may_have_the_first_few_evaluation_seeds(tmp_path):
    text = "datasets: {brain: }\nmodels: {convnet: }\npenalties: {none: , l1: }\nseeds: {fewer: {l1: 2}}\n"
    (tmp_path / "study.yaml").write_text(text, encoding="utf-8")
    paths = matrix.final_paths(load_study(tmp_path / "study.yaml"))
    assert [path.seed for path in paths if path.penalty == "l1"] == [100, 101]
    assert [path.seed for path in paths if path.penalty == "none"] == [100, 101, 102, 103, 104]
