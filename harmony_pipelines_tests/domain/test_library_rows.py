import math
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony_pipelines.domain.library_rows import album_row, milliseconds_of, text_of, whole_of

SPOTIFY_ID = "4m2880jivSbbyEGAKfITCa"
MUSICBRAINZ_ID = "5d1c2f7e-0b7a-4c55-9a1e-6f2b8c0d4e11"

raw = st.one_of(
    st.none(),
    st.binary(max_size=40),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.from_regex(rb"[-+]?[0-9]{1,30}([.e][0-9]{1,4})?", fullmatch=True),
)


@given(value=raw)
def test_text_can_always_be_stored(value):
    text = text_of(value)

    assert text is None or (text.encode("utf-8") and "\0" not in text)


@given(value=raw)
def test_a_whole_number_always_fits_the_column(value):
    number = whole_of(value)

    assert number is None or 0 < number < 2**63


@given(value=raw)
def test_a_duration_always_fits_the_column(value):
    duration = milliseconds_of(value)

    assert duration is None or 0 < duration < 2**63


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("Björk", "Björk"),
        ("Björk".encode(), "Björk"),
        (b"Bj\xf6rk", "Bj\ufffdrk"),
        (b"a\0b", "ab"),
        (b"\xed\xa0\x80", "\ufffd\ufffd\ufffd"),
        (b" ", None),
        (b"", None),
        (1999, "1999"),
    ],
)
def test_text_is_read_whatever_its_type_and_bytes(value, text):
    assert text_of(value) == text


@pytest.mark.parametrize(
    ("value", "number"),
    [
        *((1997, 1997), (b"1997", 1997), (1997.0, 1997), (0, None), (-1, None), (b"n/a", None)),
        *((math.inf, None), (b"9" * 5000, None), (10_000, None)),
    ],
)
def test_an_impossible_year_is_unknown(value, number):
    assert whole_of(value, 9999) == number


@pytest.mark.parametrize(
    ("seconds", "milliseconds"),
    [
        *((215.4567, 215457), (b"2.5", 2500), (0.0, None), (math.nan, None), (1e308, None)),
        *((b"3:35", None), (None, None), (-1.0, None)),
    ],
)
def test_an_impossible_duration_is_unknown(seconds, milliseconds):
    assert milliseconds_of(seconds) == milliseconds


def spotify_album_id(own=None, tracks=(), mb_albumid=None):
    album = defaultdict(lambda: None, spotify_album_id=own, mb_albumid=mb_albumid)
    return album_row(album, set(tracks), None)["spotify_album_id"]


def test_the_spotify_album_id_is_the_albums_own_first():
    assert spotify_album_id(SPOTIFY_ID, ["0" * 22]) == SPOTIFY_ID


def test_the_spotify_album_id_may_be_the_one_all_tracks_share():
    assert spotify_album_id(tracks=[SPOTIFY_ID, SPOTIFY_ID]) == SPOTIFY_ID
    assert spotify_album_id(tracks=[SPOTIFY_ID, "0" * 22]) is None
    assert spotify_album_id(tracks=[SPOTIFY_ID, None]) is None


def test_an_album_imported_from_spotify_keeps_its_id_in_the_musicbrainz_column():
    assert spotify_album_id(mb_albumid=SPOTIFY_ID) == SPOTIFY_ID
    assert spotify_album_id(mb_albumid=MUSICBRAINZ_ID) is None
