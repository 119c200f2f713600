"""The words that sentences on bad input share."""

from softreg.errors import UserError, nearest, show, suggestion


def test_near_words():
    assert nearest("UNETT", ["fpn", "unet"], 1, 0.6) == ["unet"]
    assert suggestion("unett", ["fpn", "unet"], "kinds") == 'did you mean "unet" (kinds known: fpn, unet)?'
    assert suggestion("zzz", ["fpn", "unet"], "kinds") == "kinds known: fpn, unet"


def test_a_value_is_shown_as_in_yaml_and_cut():
    assert show({"a": [1, None, True]}) == '{"a": [1, null, true]}'
    assert show("ä" * 100) == f'"{"ä" * 76}...'


def test_a_message_holds_nothing_that_a_terminal_obeys():
    assert str(UserError("a\x1b[31mb\nc\x9b\u202ed\udc80 é名 λ̂")) == r"a\x1b[31mb\nc\x9b\u202ed\udc80 é名 λ̂"


def test_a_message_holds_no_password():
    for address in ("https://me:se/cr@et@host/x", "https://secret@host/x"):
        assert str(UserError(f"{address} failed; see a@b.org")) == "https://…@host/x failed; see a@b.org"
    assert str(UserError("https://host/x failed; see a@b.org")) == "https://host/x failed; see a@b.org"
    assert "secret" not in show({"mirrors": f"https://me:{'secret' * 20}@host/x"})
