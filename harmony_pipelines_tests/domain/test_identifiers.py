import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason
from harmony_pipelines.domain.identifiers import (
    VARIOUS_ARTISTS,
    artist_id_in,
    artist_id_of,
    artist_id_of_key,
    normalise_isrc,
    normalise_upc,
    partition_key,
    slug,
)

GORILLAZ = "3AA28KZvwAUcZuOKwyblJQ"


@pytest.mark.parametrize(
    "text",
    [
        GORILLAZ,
        f"  {GORILLAZ}\n",
        f"spotify:artist:{GORILLAZ}",
        f"https://open.spotify.com/artist/{GORILLAZ}",
        f"http://open.spotify.com/artist/{GORILLAZ}/",
        f"open.spotify.com/artist/{GORILLAZ}?si=abc",
        f"https://open.spotify.com/intl-de/artist/{GORILLAZ}?si=abc&x=y#top",
        f"https://open.spotify.com/intl-pt-br/artist/{GORILLAZ}/discography/all",
    ],
)
def test_every_way_to_name_an_artist_gives_its_id(text: str) -> None:
    assert artist_id_in(text) == artist_id_of(text) == GORILLAZ


@pytest.mark.parametrize("text", ["Gorillaz", "", "AC/DC", "!!!", GORILLAZ[:-1], "spotify"])
def test_a_name_is_no_id(text: str) -> None:
    assert artist_id_in(text) is None


@pytest.mark.parametrize(
    "text",
    [
        f"spotify:album:{GORILLAZ}",
        "spotify:artist:short",
        "spotify:artist:",
        "https://open.spotify.com/artist/",
        f"https://open.spotify.com/album/{GORILLAZ}",
        f"https://example.com/artist/{GORILLAZ}",
        "https://spotify.link/abcdef",
    ],
)
def test_what_is_meant_as_a_link_but_names_no_artist_is_refused(text: str) -> None:
    with pytest.raises(HarmonyError) as refused:
        artist_id_in(text)
    assert (refused.value.code, refused.value.reason) == (
        ErrorCode.VALIDATION_ERROR,
        Reason.INVALID_ID,
    )


def test_a_name_where_an_id_is_needed_is_refused() -> None:
    with pytest.raises(HarmonyError) as refused:
        artist_id_of("Gorillaz")
    assert refused.value.reason is Reason.INVALID_ID


@pytest.mark.parametrize(
    "text",
    [VARIOUS_ARTISTS, f"spotify:artist:{VARIOUS_ARTISTS}", "0LyfQWJT6nXafLPZqxke9X"],
)
def test_various_artists_cannot_be_followed(text: str) -> None:
    with pytest.raises(HarmonyError) as refused:
        artist_id_in(text)
    assert refused.value.reason is Reason.VARIOUS_ARTISTS


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Gorillaz", "gorillaz"),
        ("Sigur Rós", "sigur-ros"),
        ("Mötley Crüe", "motley-crue"),
        ("AC/DC", "ac-dc"),
        ("Guns N' Roses", "guns-n-roses"),
        ("Søren Łęcki & Straße", "soren-lecki-strasse"),
        ("İstanbul", "istanbul"),
        ("坂本龍一", "artist"),
        ("!!!", "artist"),
        ("", "artist"),
    ],
)
def test_a_slug_is_what_is_left_in_ascii(name: str, expected: str) -> None:
    assert slug(name) == expected


@settings(deadline=None)
@given(st.text())
def test_every_name_gives_a_key_that_leads_back_to_its_id(name: str) -> None:
    key = partition_key(name, GORILLAZ)
    assert key.isascii()
    assert len(key) <= 90
    assert artist_id_of_key(key) == GORILLAZ


@settings(deadline=None)
@given(st.text())
def test_any_text_is_a_name_or_an_id_or_refused(text: str) -> None:
    try:
        assert artist_id_in(text) is None or len(text.strip()) >= 22
    except HarmonyError as error:
        assert error.code is ErrorCode.VALIDATION_ERROR


def test_what_is_no_key_has_no_id() -> None:
    assert artist_id_of_key(GORILLAZ) is None
    assert artist_id_of_key("gorillaz-short") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("GBSMU2401851", "GBSMU2401851"),
        ("GB-SMU-24-01851", "GBSMU2401851"),
        ("il5841617867", "IL5841617867"),
        (" US RC1 76 07839 ", "USRC17607839"),
        ("ISRC GBSMU2401851", "GBSMU2401851"),
        ("GBSMU240185", None),
        ("1234", None),
        ("", None),
        ("GBSMU24\u0661\u0661\u0661\u0661\u0661", None),
    ],
)
def test_an_isrc_is_compared_in_one_form(text: str, expected: str | None) -> None:
    assert normalise_isrc(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0074646495728", "74646495728"),
        ("074646495728", "74646495728"),
        ("5099902752952", "5099902752952"),
        ("5 099902 752952", "5099902752952"),
        ("00000000", None),
        ("none", None),
        ("12", None),
        ("\u0661" * 12, None),
        ("", None),
    ],
)
def test_a_upc_is_compared_without_leading_zeros(text: str, expected: str | None) -> None:
    assert normalise_upc(text) == expected
