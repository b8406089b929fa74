import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harmony_pipelines.domain.titles import (
    artist_key,
    artist_keys,
    is_various_artists,
    normalised,
    title_of,
    title_similarity,
    words,
)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ｶﾞｰﾙｽﾞ･ﾛｯｸ", "ガールズ・ロック"),
        ("ＡＢＣ １２３", "abc 123"),  # noqa: RUF001
        ("Don’t Look Back", "Don't Look Back"),  # noqa: RUF001
        ("Love & Hate", "Love and Hate"),
        ("Café Bleu", "Cafe\u0301 bleu"),
        ("Foo (feat. Bar)", "Foo"),
        ("Foo ft. Bar", "Foo ft. Bar"),
        ("(What's the Story) Morning Glory?", "What's the Story Morning Glory"),
    ],
)
def test_two_spellings_of_one_title_are_equal(one: str, other: str) -> None:
    assert title_similarity(title_of(one), title_of(other)) == 1.0


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("...", "?"),
        ("Song 1", "Song 2"),
        ("Creep", "Creep (Live)"),
        ("Live", "Love"),
        ("Led Zeppelin II", "Led Zeppelin III"),
        ("Symphony No. V", "Symphony No. X"),
        ("Red", "Red (Taylor's Version)"),
        ("かき", "がき"),
        ("東京", "東京 ライブ"),
        ("÷", "="),
        ("1989", "1999"),
        ("Blue (Remixes)", "Blue"),
    ],
)
def test_two_titles_stay_two(one: str, other: str) -> None:
    assert title_similarity(title_of(one), title_of(other)) < 0.9


@pytest.mark.parametrize(
    "title",
    [
        "Live",
        "Live Through This",
        "Super Trouper",
        "Deluxe",
        "Limited Edition",
        "Up (The Expedition)",
        "...",
        "?",
    ],
)
def test_a_title_that_looks_like_an_addition_is_kept_whole(title: str) -> None:
    assert title_of(title).base == words(title)
    assert not title_of(title).edition


@pytest.mark.parametrize(
    ("title", "base"),
    [
        ("Abbey Road (Remastered)", "abbey road"),
        ("Abbey Road - 2009 Remaster", "abbey road"),
        ("X & Y (Deluxe Edition) [Explicit]", "x and y"),
        ("Thriller 25 Super Deluxe Edition", "thriller 25"),
        ("Legend: 20th Anniversary Edition", "legend"),
        ("初恋 (初回限定盤)", "初恋"),
        ("アルバム（デラックス・エディション）", "アルバム"),  # noqa: RUF001
        ("Foo - EP", "foo"),
        ("Hits (Live) (2011 Remaster)", "hits live"),
    ],
)
def test_the_edition_is_set_apart(title: str, base: str) -> None:
    assert title_of(title).base == base
    assert title_of(title).edition


def test_another_edition_is_alike_but_not_equal() -> None:
    assert 0.9 <= title_similarity(title_of("Low"), title_of("Low (Remastered)")) < 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The Beatles", "Beatles"),
        ("Beatles, The", "The Beatles"),
        ("AC/DC", "ACDC"),
        ("Simon & Garfunkel", "Simon and Garfunkel"),
        ("Foo feat. Bar", "Foo"),
        ("Björk", "BJORK"),
        ("Florence + the Machine", "Florence and The Machine"),
    ],
)
def test_two_spellings_of_one_artist_have_one_key(one: str, other: str) -> None:
    assert artist_key(one) == artist_key(other)


def test_an_artist_that_is_all_article_or_punctuation_keeps_a_key() -> None:
    assert artist_key("The The") == artist_key("the the")
    assert artist_key("!!!") not in ("", artist_key("???"))


def test_several_artists_are_also_found_one_by_one() -> None:
    assert artist_keys("Jay-Z & Kanye West") == ("jayzandkanyewest", "jayz", "kanyewest")


def test_various_artists_is_nobody() -> None:
    assert is_various_artists("Various Artists")
    assert not is_various_artists("Various Positions")


@given(st.text())
@example("0:+\ud7fc0")
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert normalised(normalised(text)) == normalised(text)
    assert words(words(text)) == words(text)


@given(st.text())
def test_no_title_is_lost(text: str) -> None:
    assert bool(title_of(text).base) == bool(normalised(text))


@given(st.text(), st.text())
def test_similarity_is_symmetric_and_within_bounds(one: str, other: str) -> None:
    similarity = title_similarity(title_of(one), title_of(other))
    assert similarity == title_similarity(title_of(other), title_of(one))
    assert 0.0 <= similarity <= 1.0
    assert title_similarity(title_of(one), title_of(one)) in (0.0, 1.0)


@given(st.text())
def test_any_name_has_keys(name: str) -> None:
    assert all(artist_keys(name))
    assert bool(artist_keys(name)) == bool(artist_key(name))
