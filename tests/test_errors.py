"""The words that sentences on bad input share."""

from softreg.errors import nearest, show, suggestion


def test_near_words():
    assert nearest("UNETT", ["fpn", "unet"], 1, 0.6) == ["unet"]
    assert suggestion("unett", ["fpn", "unet"], "kinds") == 'did you mean "unet" (kinds known: fpn, unet)?'
    assert suggestion("zzz", ["fpn", "unet"], "kinds") == "kinds known: fpn, unet"


def test_a_value_is_shown_as_in_yaml_and_cut():
    assert show({"a": [1, None, True]}) == '{"a": [1, null, true]}'
    assert show("ä" * 100) == f'"{"ä" * 76}...'
