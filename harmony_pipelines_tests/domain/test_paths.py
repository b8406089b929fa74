import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harmony_pipelines.domain.paths import path_bytes, path_text


@given(st.binary())
@example(b"%41")
@example(b"%\xff41")
def test_any_path_comes_back_as_it_was(path):
    assert path_bytes(path_text(path)) == path


@given(st.binary())
def test_the_text_can_be_stored_and_printed_on_one_line(path):
    text = path_text(path)

    text.encode("utf-8")
    assert not any(character < " " or character == "\x7f" for character in text)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/music/Sigur Rós/100% (live).flac".encode(), "/music/Sigur Rós/100% (live).flac"),
        (b"/music/Sigur R\xf3s.mp3", "/music/Sigur R%F3s.mp3"),
        (b"/music/%41.mp3", "/music/%2541.mp3"),
        (b"/music/a\nb.mp3", "/music/a%0Ab.mp3"),
    ],
)
def test_a_path_reads_as_it_is_but_for_what_is_no_text(path, text):
    assert path_text(path) == text
