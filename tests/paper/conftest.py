from collections.abc import Iterator

import pytest

from softreg.paper.figures import style


@pytest.fixture(autouse=True, scope="module")
def coarse() -> Iterator[None]:
    """Figures as a report needs them, in few pixels: nobody looks at their pictures here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(style, "DPI", 20)
        patch.setattr(style, "_FORMS", {name: form for name, form in style._FORMS.items() if name != "pdf"})
        yield
