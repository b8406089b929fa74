import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harmony_pipelines.clients.watchlist import read_decisions, read_watchlist
from harmony_pipelines.domain.decisions import Decisions
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason
from harmony_pipelines.domain.watchlist import FromBeets, Watchlist, WatchlistEntry

GORILLAZ = "3AA28KZvwAUcZuOKwyblJQ"
ALBUM = "0bUTHlWbkSQysoM3VsWldT"
OTHER_ALBUM = "2dIGnmEIy1WZIcZCFSj6i8"
RELEASE = "f5093c06-23e3-404f-aeaa-40f72885ee3a"
EXAMPLE = Path(__file__).parents[2] / "watchlist.example.yaml"


def watchlist(folder: Path, text: str | bytes) -> Watchlist:
    return read_watchlist(written(folder, "watchlist.yaml", text))


def decisions(folder: Path, text: str) -> Decisions:
    return read_decisions(written(folder, "decisions.yaml", text))


def written(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refused(folder: Path, text: str | bytes) -> HarmonyError:
    with pytest.raises(HarmonyError) as raised:
        watchlist(folder, text)
    assert raised.value.code == ErrorCode.VALIDATION_ERROR
    assert raised.value.reason == Reason.WATCHLIST
    return raised.value


def test_the_example_says_what_it_explains():
    read = read_watchlist(EXAMPLE)
    assert [entry.text for entry in read.entries[:4]] == [
        "Gorillaz",
        "1975",
        "Therion: Live",
        "!!!",
    ]
    assert read.entries[-1].groups == ("album",)
    assert read.entries[-1].paused
    assert not [entry for entry in read.entries if entry.problem]


def test_every_form_of_naming_an_artist_is_read(tmp_path):
    read = watchlist(
        tmp_path,
        f"""\
defaults: {{groups: [album, appears_on]}}
from_beets: {{query: "genre:rock", min_albums: 3, limit: 20}}
artists:
  - Gorillaz
  - {GORILLAZ}
  - spotify:artist:{GORILLAZ}
  - https://open.spotify.com/intl-de/artist/{GORILLAZ}?si=1
  - {{artist: {GORILLAZ}, groups: [album], paused: true}}
""",
    )
    assert read.default_groups == ("album", "appears_on")
    assert read.from_beets == FromBeets("genre:rock", 3, 20)
    assert read.entries == (
        WatchlistEntry("Gorillaz", 4),
        WatchlistEntry(GORILLAZ, 5, artist_id=GORILLAZ),
        WatchlistEntry(f"spotify:artist:{GORILLAZ}", 6, artist_id=GORILLAZ),
        WatchlistEntry(
            f"https://open.spotify.com/intl-de/artist/{GORILLAZ}?si=1", 7, artist_id=GORILLAZ
        ),
        WatchlistEntry(GORILLAZ, 8, ("album",), True, GORILLAZ),
    )


@pytest.mark.parametrize(
    "name", ["No", "Yes", "1975", "311", "null", "22:22", "1e3", "~", "0x10", "2001-01-01", "on"]
)
def test_an_artist_called_like_a_value_stays_a_name(tmp_path, name):
    assert watchlist(tmp_path, f"artists:\n  - {name}\n").entries[0].text == name
    assert watchlist(tmp_path, f"artists:\n  - artist: {name}\n").entries[0].text == name


@pytest.mark.parametrize(
    "text",
    [
        "spotify:album:0bUTHlWbkSQysoM3VsWldT",
        "spotify:artist:short",
        "https://open.spotify.com/album/0bUTHlWbkSQysoM3VsWldT",
    ],
)
def test_what_looks_like_an_artist_and_is_none_costs_only_its_own_line(tmp_path, text):
    wrong, right = watchlist(tmp_path, f"artists:\n  - {text}\n  - Gorillaz\n").entries
    assert wrong.problem is not None
    assert wrong.problem.reason == Reason.INVALID_ID
    assert (right.text, right.problem) == ("Gorillaz", None)


@pytest.mark.parametrize(
    ("text", "line", "column", "advice"),
    [
        ("artits:\n  - Gorillaz\n", 1, 1, "did you mean artists?"),
        ("artists:\n  - {artist: X, grops: [album]}\n", 2, 17, "did you mean groups?"),
        ("artists:\n  - {artist: X, groups: [albums]}\n", 2, 26, "album, single"),
        ("artists:\n  - {artist: X, groups: album}\n", 2, 25, "[album, single]"),
        ("artists:\n  - {artist: X, groups: []}\n", 2, 25, "[album, single]"),
        ("artists:\n  - {artist: X, paused: maybe}\n", 2, 25, "true or false"),
        ("artists:\n  - {paused: true}\n", 2, 5, "names no artist"),
        ("artists:\n  - Therion: Live\n", 2, 5, "quotes"),
        ("artists:\n  - [Gorillaz]\n", 2, 5, "plain text"),
        ("artists:\n  -\n", 2, 4, "names no artist"),
        ("artists:\n  - Gorillaz\n    Blur\n", 2, 5, "one line"),
        ("artists: [Gorillaz, Blur]\n", 1, 21, "line of its own"),
        ("artists: Gorillaz\n", 1, 10, "a list"),
        ("- Gorillaz\n", 1, 1, "a mapping with artists"),
        ("artists:\n  - A\nartists:\n  - B\n", 3, 1, "already given in line 1"),
        ("artists:\n\t- Gorillaz\n", 2, 1, "spaces"),
        ("artists:\n  - *NSYNC\n", 2, 5, "quotes"),
        ("artists:\n  - &a Gorillaz\n", 2, 5, "quotes"),
        ("artists:\n  - !!!\n", 2, 5, "quotes"),
        ("artists:\n  - !!python/object/apply:os.system [ls]\n", 2, 5, "tags"),
        ("artists:\n  - @home\n", 2, 5, "quotes"),
        ("artists:\n  - A\n---\nartists:\n  - B\n", 3, 1, "second document"),
        ("artists:\n  - {<<: {artist: X}}\n", 2, 5, "unknown key"),
        ("artists:\n  - ? [a]\n    : b\n", 2, 5, "plain text"),
        ("artists: [\n", 2, 1, "is not YAML"),
        ("artists:\n  - 'Gorillaz\n", 3, 1, "is not YAML"),
        ("artists:\n  - A\0B\n", 2, 6, "U+0000"),
        (b"artists:\n  - Bj\xf6rk\n", 2, 7, "UTF-8"),
        (b"\xef\xbb\xbfartists:\n  - A\n", 1, 1, "BOM"),
        ("artists:\n  - A\n".encode("utf-16"), 1, 1, "UTF-8"),
        ("from_beets: {min_albums: 0}\n", 1, 26, "from 1 to 1000"),
        ("from_beets: {limit: 1.5}\n", 1, 21, "a whole number"),
        ("defaults: {group: [album]}\nartists:\n  - A\n", 1, 12, "did you mean groups?"),
        ("artists: " + "[" * 5000, 1, 17, "nested"),
        ("#" * 1024 * 1024 + "\nartists: [A]", 1, 1, "1 MiB"),
    ],
)
def test_a_fault_is_named_with_line_column_and_what_is_right(tmp_path, text, line, column, advice):
    error = refused(tmp_path, text)
    assert (error.details["line"], error.details["column"]) == (line, column)
    assert f"line {line}, column {column}" in error.message
    assert advice in error.message


def test_all_faults_are_said_at_once(tmp_path):
    error = refused(tmp_path, "defaults: {x: 1}\nartists:\n  - {artist: A, y: 1}\n  - [B]\n")
    faults = error.details["faults"]
    assert isinstance(faults, list)
    assert [fault["line"] for fault in faults] == [1, 3, 4]


@pytest.mark.parametrize("text", ["", "# nothing\n", "artists:\n", "artists: []\n", "defaults:\n"])
def test_a_file_that_names_nobody_is_an_error_and_no_empty_watchlist(tmp_path, text):
    assert "watchlist.example.yaml" in refused(tmp_path, text).message


def test_a_watchlist_may_come_from_beets_alone(tmp_path):
    read = watchlist(tmp_path, "from_beets: {}\n")
    assert (read.entries, read.from_beets) == ((), FromBeets())


def test_a_missing_watchlist_is_named_with_the_way_out(tmp_path):
    with pytest.raises(HarmonyError, match=r"watchlist\.example\.yaml") as raised:
        read_watchlist(tmp_path / "none.yaml")
    assert raised.value.code == ErrorCode.VALIDATION_ERROR
    assert str(tmp_path / "none.yaml") in raised.value.message


def test_a_pipe_in_place_of_the_file_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "watchlist.yaml")
    with pytest.raises(HarmonyError, match="is not a file"):
        read_watchlist(tmp_path / "watchlist.yaml")


def test_a_path_that_cannot_be_read_may_be_readable_later(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(HarmonyError) as raised:
        read_watchlist(tmp_path / "file" / "watchlist.yaml")
    assert raised.value.reason == Reason.UNREADABLE


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.sampled_from("artists:gr- \n\t[]{}&*!#'\"|>%@?,~\0é\u2028AB"), max_size=60))
def test_whatever_is_written_is_read_or_refused(tmp_path, text):
    try:
        assert watchlist(tmp_path, f"artists:\n  - A\n{text}").entries
    except HarmonyError as error:
        assert error.reason == Reason.WATCHLIST


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=80))
def test_whatever_bytes_are_in_the_file_it_is_read_or_refused(tmp_path, data):
    try:
        assert watchlist(tmp_path, data)
    except HarmonyError as error:
        assert error.reason == Reason.WATCHLIST


def test_decisions_are_read_in_every_form(tmp_path):
    read = decisions(
        tmp_path,
        f"""\
match:
  12: {ALBUM}
  {RELEASE.upper()}: never
  13: https://open.spotify.com/album/{OTHER_ALBUM}?si=x
cover: {{12: never, 13: covers/a.jpg, {RELEASE}: /pictures/b.png}}
ignore_missing:
  - {ALBUM}
  - spotify:album:{OTHER_ALBUM}
  - {{artist: spotify:artist:{GORILLAZ}, group: appears_on}}
  - {{artist: No, group: single}}
""",
    )
    assert read.match == {"12": ALBUM, RELEASE: "never", "13": OTHER_ALBUM}
    assert read.cover == {
        "12": "never",
        "13": str(tmp_path / "covers/a.jpg"),
        RELEASE: "/pictures/b.png",
    }
    assert read.ignored_albums == {ALBUM, OTHER_ALBUM}
    assert read.ignored_groups == {(GORILLAZ, "appears_on"), ("No", "single")}


def test_each_decision_about_an_album_knows_its_line(tmp_path):
    read = decisions(
        tmp_path,
        f"match:\n  7: never\n\n  {RELEASE.upper()}: {ALBUM}\ncover:\n  7: never\n",
    )
    assert read.lines == {("match", "7"): 2, ("match", RELEASE): 4, ("cover", "7"): 6}


def test_no_decisions_file_is_no_decisions(tmp_path):
    assert read_decisions(tmp_path / "decisions.yaml") == Decisions()


@pytest.mark.parametrize("text", ["", "match:\n", "ignore_missing: []\n"])
def test_empty_decisions_are_no_decisions(tmp_path, text):
    assert decisions(tmp_path, text) == Decisions()


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("mach: {}\n", 1, 1),
        ("match: {album: never}\n", 1, 9),
        ("match: {12: nobody}\n", 1, 13),
        (f"match: {{{RELEASE}: never, {RELEASE.upper()}: never}}\n", 1, 54),
        ("match:\n  12: [a]\n", 2, 7),
        ("match: [12]\n", 1, 8),
        ("cover: {12: }\n", 1, 13),
        ("cover: {12: ~nobody-of-that-name/a.jpg}\n", 1, 13),
        ("ignore_missing: [x]\n", 1, 18),
        ("ignore_missing:\n  - {artist: X}\n", 2, 5),
        ("ignore_missing:\n  - {artist: X, group: albums}\n", 2, 24),
        ("ignore_missing:\n  - {artist: 'spotify:album:x', group: album}\n", 2, 14),
        ("ignore_missing: {artist: X, group: album}\n", 1, 17),
        ("match: {12: never\n", 2, 1),
    ],
)
def test_a_faulty_decision_is_named_with_line_and_column(tmp_path, text, line, column):
    with pytest.raises(HarmonyError) as raised:
        decisions(tmp_path, text)
    assert (raised.value.code, raised.value.reason) == (
        ErrorCode.VALIDATION_ERROR,
        Reason.DECISIONS,
    )
    assert (raised.value.details["line"], raised.value.details["column"]) == (line, column)


def test_a_wholly_wrong_file_makes_no_endless_message(tmp_path):
    error = refused(tmp_path, "artists:\n" + "  - [A]\n" * 5000)
    assert "and 4990 more" in error.message
    assert len(f"{error.message}{error.details}") < 20_000


@pytest.mark.parametrize("escape", [r"\n", r"\0", r"\e[31m", r"\x9b"])
def test_a_control_character_in_a_quoted_name_is_refused_with_its_line(tmp_path, escape):
    error = refused(tmp_path, f'artists:\n  - "Lumen{escape}Tide"\n')
    assert "line 2, column 5: holds a control character" in error.message
