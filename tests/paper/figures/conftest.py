import pytest

from softreg.paper.figures import style

FORMS = style._FORMS


@pytest.fixture(autouse=True, scope="module")
def coarse():
    """What is saved here is looked at."""


@pytest.fixture(autouse=True)
def unsaved(monkeypatch):
    """Figures are laid out and closed, and their CSV written, but no picture: most tests look at axes and numbers."""
    monkeypatch.setattr(style, "_FORMS", {})


@pytest.fixture
def saved(unsaved, monkeypatch):
    """Pictures too, for tests that look into their files."""
    monkeypatch.setattr(style, "_FORMS", FORMS)
