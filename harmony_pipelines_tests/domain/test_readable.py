import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony_pipelines.domain.readable import no_formula, readable, smaller_image, web_link

_COVER = "https://i.scdn.co/image/ab67616d0000b2736f1c"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (None, ""),
        (7, "7"),
        ("two\nlines\x00\tand\x1b[31m", "two lines and [31m"),
        ("\u202egnp.exe\u2069", "gnp.exe"),
        ("שלום \u200f!", "שלום \u200f!"),
        ("שב\u200cת", "שב\u200cת"),
        ("👩\u200d🎤", "👩\u200d🎤"),
        ("half \ud800 \ufffe\uffff", "half"),
    ],
)
def test_text_is_one_line_that_every_program_takes(given: object, shown: str) -> None:
    assert readable(given) == shown


@given(st.text())
def test_whatever_is_given_xml_and_terminals_take_it(text: str) -> None:
    shown = readable(text)
    assert not [each for each in shown if ord(each) < 32 or 0xD800 <= ord(each) < 0xE000]
    assert readable(shown) == shown


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\uff1d"])
def test_what_a_spreadsheet_would_compute_is_text(start: str) -> None:
    assert no_formula(f"{start}1+1") == f"'{start}1+1"
    assert no_formula(f"A {start}") == f"A {start}"


@pytest.mark.parametrize("url", ["javascript:alert(1)", "", None, "http://x", "https://a b"])
def test_what_is_no_page_is_not_linked(url: object) -> None:
    assert web_link(url, "otherwise") == "otherwise"
    assert web_link("https://open.spotify.com/album/1", "") == "https://open.spotify.com/album/1"


def test_only_images_addressed_as_spotify_s_have_a_smaller_rendering() -> None:
    assert smaller_image(_COVER) == "https://i.scdn.co/image/ab67616d00001e026f1c"
    assert smaller_image("http://127.0.0.1:1/image/ab6761610000e5eb7") == (
        "http://127.0.0.1:1/image/ab6761610000f1787"
    )
    assert smaller_image("http://127.0.0.1:1/ab67616d0000b273") == (
        "http://127.0.0.1:1/ab67616d0000b273"
    )
