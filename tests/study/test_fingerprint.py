"""The code fingerprint, on a copy of the package whose files are edited."""

import shutil
from pathlib import Path

import pytest

from softreg.errors import UserError
from softreg.study import fingerprint


@pytest.fixture
def package(tmp_path, monkeypatch):
    source = Path(fingerprint.__file__).parents[1]
    copy = tmp_path / "softreg"
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(fingerprint, "_PACKAGE", copy)
    fingerprint._read.cache_clear()
    yield copy
    fingerprint._read.cache_clear()


def _of(*modules):
    fingerprint._read.cache_clear()
    return fingerprint.code_fingerprint(*modules)


TRAIN = ("softreg.training.path", "softreg.networks.convnet", "softreg.penalties.l1")


def _edit(file, old, new):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_comments_docstrings_and_layout_change_nothing(package):
    before = _of(*TRAIN)
    file = package / "penalties" / "l1.py"
    _edit(file, '"""P(w) = Σ |w|."""', '"""Another text."""')
    file.write_text(
        "# a comment\n\n\n" + file.read_text().replace("sum_abs(weights)", "sum_abs(\n            weights\n        )")
    )
    assert _of(*TRAIN) == before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("penalties/l1.py", "_foreach_sign(weights)", "_foreach_neg(weights)"),
        ("penalties/base.py", "shift(strength, 1.0)", "shift(strength, 2.0)"),
        ("networks/convnet.py", "Conv2d(64, 512, 1)", "Conv2d(64, 511, 1)"),
        ("training/augment.py", "draws[3] < 0.5", "draws[3] < 0.6"),
        ("training/objectives.py", "IGNORE = 255", "IGNORE = 254"),
    ],
)
def test_code_that_a_cell_runs_changes_it(package, file, old, new):
    before = _of(*TRAIN)
    _edit(package / file, old, new)
    assert _of(*TRAIN) != before


@pytest.mark.parametrize("file", ["paper/figures/style.py", "paper/report/style.css", "scoring/metrics.py"])
def test_any_of_the_packages_own_files_changes_the_digest_of_all(package, file):
    before = fingerprint.package_digest()
    (package / "paper" / "__pycache__").mkdir()
    for other in ("__pycache__/tables.cpython-311.pyc", "__pycache__/tables.cpython-311.pyc.1402", ".tables.py.swp"):
        (package / "paper" / other).touch()
    assert fingerprint.package_digest() == before
    with (package / file).open("a") as text:
        text.write("\n")
    assert fingerprint.package_digest() != before


def test_a_process_has_the_code_that_it_began_with(package):
    with fingerprint.frozen():
        before = _of(*TRAIN)
        fingerprint.demand_unchanged()
        _edit(package / "training/augment.py", "draws[3] < 0.5", "draws[3] < 0.6")
        assert _of(*TRAIN) == before
        with pytest.raises(UserError, match="the code has changed since this run began"):
            fingerprint.demand_unchanged()
    assert _of(*TRAIN) != before


@pytest.mark.parametrize("file", ["penalties/l2.py", "networks/smp.py", "paper/tables.py", "training/progress.py"])
def test_code_that_a_cell_does_not_run_leaves_it(package, file):
    before = _of(*TRAIN)
    with (package / file).open("a") as text:
        text.write("\nADDED = 1\n")
    assert _of(*TRAIN) == before
