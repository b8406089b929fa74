import pytest

from harmony_pipelines.metadata import SHOWN_ROWS, cell, materialised, picture, table


def test_a_table_shows_its_columns_and_says_how_much_more_there_is() -> None:
    rows = [{"name": f"Album {number}", "year": number} for number in range(SHOWN_ROWS + 2)]
    lines = str(table(rows, ("name", "year"), len(rows)).value).splitlines()
    assert lines[:3] == ["| name | year |", "| --- | --- |", "| Album 0 | 0 |"]
    assert lines[-1] == "… and 2 more in the database."
    assert len(lines) == 2 + SHOWN_ROWS + 2


def test_an_empty_table_says_none() -> None:
    assert table([], ("name",), 0).value == "none"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (None, ""),
        ("a|b", "a\\|b"),
        ("<b>[x](y)", "\\<b\\>\\[x\\](y)"),
        ("two\nlines\r\n", "two lines"),
        ("bell\u0007 and \u202e", "bell  and"),
        ("half \ud800", "half"),
        (7, "7"),
    ],
)
def test_a_cell_is_text_and_nothing_else(text: object, shown: str) -> None:
    assert cell(text) == shown


def test_a_cell_ends_somewhere() -> None:
    assert len(cell("x" * 10_000)) < 1000


def test_an_event_names_its_asset_and_its_partition() -> None:
    event = materialised("spotify_albums", {"albums": 3}, "gorillaz-3AA28KZvwAUcZuOKwyblJQ")
    assert event.asset_key.to_user_string() == "spotify_albums"
    assert event.partition == "gorillaz-3AA28KZvwAUcZuOKwyblJQ"
    assert event.metadata["albums"].value == 3


@pytest.mark.parametrize(
    "url", [None, "", "javascript:alert(1)", "https://x/a) [b](c", "https://x/<b>"]
)
def test_what_is_no_address_is_no_picture(url: str | None) -> None:
    assert picture(url).value == "none"
    assert picture(url, "a caption").value == "a caption"


def test_a_picture_of_spotify_s_is_shown_small_over_its_caption() -> None:
    shown = picture("https://i.scdn.co/image/ab67616d0000b273aa", "Low Water").value
    assert shown == "![](https://i.scdn.co/image/ab67616d00001e02aa)\n\nLow Water"
