import pytest

from softreg.paper.figures import style


@pytest.fixture
def unsaved(monkeypatch):
    """Figures are laid out and closed, and their CSV written, but no picture: for tests that look at axes or texts."""
    monkeypatch.setattr(style, "_FORMS", {})
