import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from harmony_pipelines.clients import tables
from harmony_pipelines.clients.catalogue import Catalogue as Store
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason
from harmony_pipelines.domain.library_artists import Credit, LibraryArtists
from harmony_pipelines.settings import Settings, load_settings
from harmony_pipelines.steps import watch
from harmony_pipelines_tests.conftest import Home

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
VARIOUS = "0LyfQWJT6nXafLPZqxe9Of"


def artist_id(number: int) -> str:
    return f"{number:022}"


@dataclass
class Spotify:
    """Artists by name; knows what it was asked and can be down."""

    artists: list[tuple[str, str]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    faults: dict[str, HarmonyError] = field(default_factory=dict)

    def add(self, *names: str) -> None:
        for name in names:
            self.artists.append((artist_id(len(self.artists) + 1), name))

    def artist(self, artist_id: str) -> dict[str, Any]:
        self._ask(artist_id)
        for known, name in self.artists:
            if known == artist_id:
                return {"id": known, "name": name}
        raise HarmonyError(ErrorCode.NOT_FOUND, Reason.UNKNOWN_ARTIST, f"Nobody is {artist_id}.")

    def search_artists(self, name: str) -> list[dict[str, Any]]:
        self._ask(name)
        return [
            {"id": known, "name": found}
            for known, found in self.artists
            if name.casefold()[:4] in found.casefold()
        ]

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        fault = self.faults.get(what) or self.faults.get("")
        if fault:
            raise fault


class User:
    """A user with a watchlist, and what reading it brings."""

    def __init__(self, home: Home, store: Store) -> None:
        self.home, self.store = home, store
        self.spotify = Spotify()
        self.library: Callable[[str], Counter[str]] = lambda _: Counter()
        self.artists_of_library: Callable[[], LibraryArtists] = LibraryArtists
        self.said: list[str] = []
        self.settings: Settings = load_settings()

    def read(self, now: datetime = NOW) -> watch.WatchlistRead:
        sources = watch.Sources(
            lambda: self.spotify,
            lambda q: self.library(q),
            lambda: self.artists_of_library(),
            self.said.append,
        )
        return watch.read(self.settings, self.store, sources, now)

    def names(self) -> list[str]:
        rows = self.store.table(tables.watchlist)
        return [row["name"] for row in sorted(rows, key=lambda r: (r["line"] or 10**9, r["name"]))]

    def review(self) -> dict[int, str]:
        return {row["line"]: row["code"] for row in self.store.table(tables.watchlist_review)}


@pytest.fixture
def user(home: Home) -> Iterator[User]:
    store = Store.open(home.url)
    yield User(home, store)
    store.close()


def down(reason: Reason = Reason.SERVER_ERROR) -> HarmonyError:
    return HarmonyError(ErrorCode.DEPENDENCY_ERROR, reason, "Spotify is down.")


# Who is meant


def test_names_ids_and_links_are_followed_in_the_groups_wanted(user: User) -> None:
    user.spotify.add("Lumen Tide", "Salt and Static", "Night Ferry")
    user.home.watch(
        "Lumen Tide",
        artist_id(2),
        f"{{artist: 'spotify:artist:{artist_id(3)}', groups: [album], paused: true}}",
    )
    user.read()
    rows = user.store.table(tables.watchlist)
    assert [(r["name"], r["line"], r["source"], r["paused"]) for r in rows] == [
        ("Lumen Tide", 2, "file", 0),
        ("Salt and Static", 3, "file", 0),
        ("Night Ferry", 4, "file", 1),
    ]
    assert [json.loads(r["groups"]) for r in rows] == [["album", "single"]] * 2 + [["album"]]
    assert rows[0]["partition_key"] == f"lumen-tide-{artist_id(1)}"
    assert rows[0]["added_at"] == "2026-11-20T12:00:00Z"


def test_ids_are_asked_about_several_at_once_and_each_once(user: User) -> None:
    names = [f"Artist {number}" for number in range(1, 7)]
    user.spotify.add(*names)
    user.home.watch(*(artist_id(number) for number in range(1, 7)), artist_id(9))
    user.settings = replace(user.settings, spotify_concurrency=3)
    together = threading.Barrier(3, timeout=10)
    look = user.spotify.artist

    def artist(wanted: str) -> dict[str, Any]:
        if wanted in [artist_id(number) for number in range(1, 4)]:
            together.wait()  # breaks unless three are asked about at once
        return look(wanted)

    user.spotify.artist = artist  # pyright: ignore[reportAttributeAccessIssue]
    user.read()
    assert user.names() == names
    assert user.review() == {8: "NOT_FOUND"}
    assert sorted(user.spotify.asked) == sorted(map(artist_id, [1, 2, 3, 4, 5, 6, 9]))


def test_ids_asked_about_at_once_stop_at_the_first_fault_and_lose_no_answer(user: User) -> None:
    user.spotify.add(*(f"Artist {number}" for number in range(1, 30)))
    user.home.watch(*(artist_id(number) for number in range(1, 30)))
    user.settings = replace(user.settings, spotify_concurrency=3)
    quota = HarmonyError(ErrorCode.RATE_LIMITED, Reason.RATE_LIMIT, "Wait.")
    user.spotify.faults[artist_id(5)] = quota
    read = user.read()
    assert read.stopped is quota
    assert len(user.spotify.asked) <= 8
    assert read.waiting + len(user.names()) == 29
    assert len(user.names()) == len(user.spotify.asked) - 1


def test_who_is_known_is_not_asked_about_again_whatever_the_line_s_options(user: User) -> None:
    user.spotify.add("Lumen Tide")
    user.home.watch("Lumen Tide")
    user.read()
    user.home.watch("Other", "{artist: Lumen Tide, groups: [compilation]}")
    user.read(NOW + timedelta(days=3))
    assert user.spotify.asked == ["Lumen Tide", "Other"]
    [row] = user.store.table(tables.watchlist)
    assert (row["line"], row["groups"]) == (3, '["compilation"]')
    assert row["added_at"] == "2026-11-20T12:00:00Z"


def test_a_rename_changes_the_name_and_not_the_key(user: User) -> None:
    user.spotify.add("Lumen Tide")
    user.home.watch("Lumen Tide")
    user.read()
    user.store.save(tables.spotify_artists, [{"artist_id": artist_id(1), "name": "Lumen"}])
    user.read()
    [row] = user.store.table(tables.watchlist)
    assert (row["name"], row["partition_key"]) == ("Lumen", f"lumen-tide-{artist_id(1)}")


def test_what_is_not_certain_goes_to_review_with_a_code_and_the_others_go_on(user: User) -> None:
    user.spotify.add("Lumen Tide", "Nagisa", "Nagisa")
    user.spotify.artists.append((VARIOUS, "Various Artists"))
    user.home.watch(
        "spotify:album:3AA28KZvwAUcZuOKwyblJQ",
        artist_id(77),
        VARIOUS,
        "Various Artists",
        "Nagisa",
        "Nobody",
        "Lumen Tide",
        artist_id(1),
    )
    read = user.read()
    assert user.names() == ["Lumen Tide"]
    assert read.problems == []
    assert user.review() == {
        2: "VALIDATION_ERROR",
        3: "NOT_FOUND",
        4: "VALIDATION_ERROR",
        5: "VALIDATION_ERROR",
        6: "VALIDATION_ERROR",
        7: "NOT_FOUND",
        9: "VALIDATION_ERROR",
    }
    ambiguous = next(row for row in read.review if row["line"] == 6)
    assert [each["artist_id"] for each in json.loads(ambiguous["candidates"])] == [
        artist_id(2),
        artist_id(3),
    ]
    assert f"`- {artist_id(2)}  # Nagisa`" in ambiguous["message"]


def test_a_name_that_was_not_settled_is_asked_about_again_after_a_day(user: User) -> None:
    user.home.watch("Nobody", artist_id(77))
    user.read()
    user.home.watch(artist_id(77), "Nobody")
    user.read(NOW + timedelta(hours=23))
    assert user.spotify.asked == ["Nobody", artist_id(77)]
    user.spotify.add("Nobody")
    user.read(NOW + timedelta(hours=25))
    assert user.spotify.asked[2:] == [artist_id(77), "Nobody"]
    assert user.names() == ["Nobody"]
    [row] = user.store.table(tables.watchlist_review)
    assert row["first_seen_at"] == "2026-11-20T12:00:00Z"
    assert row["checked_at"] == "2026-11-21T13:00:00Z"


def test_a_line_whose_text_changed_is_asked_about_at_once(user: User) -> None:
    user.spotify.add("Lumen Tide")
    user.home.watch("Lumen Tyde")
    user.read()
    user.home.watch("Lumen Tide")
    user.read()
    assert (user.names(), user.review()) == (["Lumen Tide"], {})


# What goes wrong


def test_one_name_that_spotify_cannot_answer_for_costs_no_other(user: User) -> None:
    user.spotify.add("Lumen Tide", "Night Ferry")
    user.spotify.faults["Lumen Tide"] = down()
    user.home.watch("Lumen Tide", "Night Ferry")
    read = user.read()
    assert user.names() == ["Night Ferry"]
    [problem] = read.problems
    assert (problem["artist"], problem["line"], problem["code"]) == (
        "Lumen Tide",
        2,
        "DEPENDENCY_ERROR",
    )
    assert read.stopped is None


def test_three_names_in_a_row_without_an_answer_are_enough(user: User) -> None:
    user.spotify.faults[""] = down()
    user.home.watch(*(f"Artist {number}" for number in range(6)))
    read = user.read()
    assert (len(user.spotify.asked), len(read.problems), read.waiting) == (3, 3, 3)
    assert read.stopped is user.spotify.faults[""]


@pytest.mark.parametrize(
    "error",
    [
        HarmonyError(ErrorCode.AUTH_REQUIRED, Reason.INVALID_CLIENT, "Wrong secret."),
        HarmonyError(ErrorCode.RATE_LIMITED, Reason.COOLDOWN, "Not before noon."),
    ],
)
def test_what_is_everybody_s_fault_leaves_the_names_for_the_next_run(
    user: User, error: HarmonyError
) -> None:
    user.spotify.add("Lumen Tide", "Night Ferry")
    user.home.watch("Lumen Tide")
    user.read()
    user.spotify.faults[""] = error
    user.home.watch("Lumen Tide", "Night Ferry", "Nobody")
    read = user.read()
    assert (read.stopped, read.waiting, read.problems) == (error, 2, [])
    assert user.names() == ["Lumen Tide"]
    user.spotify.faults.clear()
    user.read()
    assert user.names() == ["Lumen Tide", "Night Ferry"]


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("artists:\n  - Lumen Tide\n  - {artist: A, colour: red}\n", "line 3, column"),
        ("artists: [\n", "line"),
        ("", ""),
        ("artists:\n", ""),
    ],
)
def test_an_unreadable_or_empty_watchlist_drops_nobody(user: User, text: str, where: str) -> None:
    user.spotify.add("Lumen Tide")
    user.home.watch("Lumen Tide")
    user.read()
    user.home.folder.joinpath("watchlist.yaml").write_text(text)
    read = user.read()
    assert user.names() == ["Lumen Tide"]
    [problem] = read.problems
    assert problem["code"] == "VALIDATION_ERROR"
    assert where in problem["message"]


def test_a_missing_watchlist_is_an_error_where_nobody_was_followed(user: User) -> None:
    with pytest.raises(HarmonyError) as refused:
        user.read()
    assert refused.value.code is ErrorCode.VALIDATION_ERROR
    assert "watchlist.example.yaml" in refused.value.message


# The library's album artists


def test_the_library_s_album_artists_come_after_the_file_s_own(user: User) -> None:
    user.spotify.add("Lumen Tide", "Night Ferry", "Salt", "Rare")
    user.library = lambda query: Counter(
        {"Salt": 2, "Night Ferry": 5, "Rare": 1, "Various Artists": 90, "Lumen Tide": 3, query: 9}
    )
    user.home.watch(text="from_beets: {query: 'genre:dub', limit: 4}\nartists:\n  - Lumen Tide\n")
    user.read()
    assert user.names() == ["Lumen Tide", "Night Ferry", "Salt"]
    rows = {row["name"]: row for row in user.store.table(tables.watchlist)}
    assert (rows["Lumen Tide"]["line"], rows["Lumen Tide"]["source"]) == (3, "file")
    assert (rows["Salt"]["line"], rows["Salt"]["source"]) == (None, "beets")
    assert user.review() == {-1: "NOT_FOUND"}
    assert user.said == [
        "from_beets names 4 artists of the library, 3 of them new. Settling who they are costs "
        "3 requests (0 by an id that the library has, 3 by a search); then listing their releases "
        "costs at least 9, and each release one more."
    ]
    user.read()
    assert "costs 0 requests" in user.said[1]
    assert len(user.spotify.asked) == 4


def test_a_library_that_cannot_be_read_drops_nobody(user: User) -> None:
    user.spotify.add("Lumen Tide", "Night Ferry")
    user.library = lambda _: Counter({"Night Ferry": 2})
    user.home.watch(text="from_beets: {}\nartists:\n  - Lumen Tide\n")
    user.read()

    def gone(_: str) -> Counter[str]:
        raise HarmonyError(ErrorCode.VALIDATION_ERROR, Reason.NO_LIBRARY, "No library.")

    user.library = gone
    read = user.read()
    assert user.names() == ["Lumen Tide", "Night Ferry"]
    assert [problem["reason"] for problem in read.problems] == ["no_library"]


def test_a_library_that_names_nobody_drops_nobody(user: User) -> None:
    user.spotify.add("Night Ferry")
    user.library = lambda _: Counter({"Night Ferry": 2})
    user.home.watch(text="from_beets: {}\n")
    user.read()
    user.library = lambda _: Counter()
    read = user.read()
    assert user.names() == ["Night Ferry"]
    assert [problem["reason"] for problem in read.problems] == ["watchlist"]


def test_what_from_beets_costs_is_said_before_the_first_call(user: User) -> None:
    user.spotify.add("Lumen Tide", "Night Ferry", "Salt")
    user.library = lambda _: Counter({"Lumen Tide": 4, "Night Ferry": 3, "Salt": 2})
    user.artists_of_library = lambda: LibraryArtists([Credit("Night Ferry", artist_id(2))])
    user.home.watch(text="from_beets: {}\nartists:\n  - Lumen Tide\n")
    asked_before: list[int] = []

    def say(line: str) -> None:
        asked_before.append(len(user.spotify.asked))
        user.said.append(line)

    sources = watch.Sources(lambda: user.spotify, user.library, user.artists_of_library, say)
    read = watch.read(user.settings, user.store, sources, NOW)
    assert read.from_beets == watch.BeetsCost(artists=3, new=2, by_id=1, by_search=1, listings=5)
    assert "2 requests (1 by an id that the library has, 1 by a search)" in user.said[0]
    assert asked_before == [0]
    assert len(user.spotify.asked) == 1 + 2


def test_a_name_of_the_library_is_settled_by_the_line_that_the_user_pasted(user: User) -> None:
    user.spotify.add("Nagisa", "Nagisa", "Other")
    user.library = lambda _: Counter({"Nagisa": 2})
    user.home.watch(text="from_beets: {}\n")
    [review] = user.read().review
    assert f"`- {artist_id(2)}  # Nagisa`" in review["message"]
    user.home.watch(text=f"from_beets: {{}}\nartists:\n  - {artist_id(2)}  # Nagisa\n")
    read = user.read()
    assert ([row["artist_id"] for row in read.watched], read.review) == ([artist_id(2)], [])
    [_, name] = sorted(user.store.table(tables.watchlist_names), key=lambda row: row["text"])
    assert (name["text"], name["evidence"]) == ("Nagisa", "file")


# What the library knows


def test_an_id_that_the_library_has_settles_a_name_without_a_search(user: User) -> None:
    user.spotify.add("Nagisa", "Nagisa")
    user.artists_of_library = lambda: LibraryArtists([Credit("Nagisa", artist_id(2))])
    user.home.watch("Nagisa")
    [row] = user.read().watched
    assert (row["artist_id"], user.spotify.asked) == (artist_id(2), [artist_id(2)])
    [name] = user.store.table(tables.watchlist_names)
    assert name["evidence"] == "library"
    assert user.store.table(tables.spotify_artists)[0]["artist_id"] == artist_id(2)
    user.read()
    assert len(user.spotify.asked) == 1


def test_an_id_of_the_library_that_spotify_has_no_more_is_no_evidence(user: User) -> None:
    user.spotify.add("Nagisa")
    user.artists_of_library = lambda: LibraryArtists([Credit("Nagisa", artist_id(9))])
    user.home.watch("Nagisa")
    user.read()
    assert user.spotify.asked == [artist_id(9), "Nagisa"]
    assert user.names() == ["Nagisa"]


def test_two_ids_for_a_name_are_reviewed_without_a_request(user: User) -> None:
    credits_ = [Credit("Nagisa", artist_id(1)), Credit("Nagisa", artist_id(2))]
    user.artists_of_library = lambda: LibraryArtists(credits_)
    user.home.watch("Nagisa")
    [review] = user.read().review
    assert (review["code"], user.spotify.asked) == ("VALIDATION_ERROR", [])
    assert f"`- {artist_id(1)}  # Nagisa` or `- {artist_id(2)}  # Nagisa`" in review["message"]


def test_a_library_that_cannot_be_read_leaves_names_to_the_search(user: User) -> None:
    def broken() -> LibraryArtists:
        raise HarmonyError(ErrorCode.DEPENDENCY_ERROR, Reason.UNREADABLE, "Broken.")

    user.spotify.add("Nagisa", "Lumen Tide")
    user.artists_of_library = broken
    user.home.watch("Nagisa", "Lumen Tide")
    user.read()
    assert user.names() == ["Nagisa", "Lumen Tide"]
    assert user.said == ["Names are settled without the library's ids: Broken."]


def test_the_library_is_not_read_where_everybody_is_known(user: User) -> None:
    user.spotify.add("Nagisa")
    user.home.watch("Nagisa")
    user.read()
    user.artists_of_library = lambda: pytest.fail("read for nothing")
    user.read()


def test_a_name_that_nobody_settles_is_asked_about_ever_more_rarely(user: User) -> None:
    user.home.watch("Nobody")
    for day in range(61):
        user.read(NOW + timedelta(days=day))
    assert len(user.spotify.asked) == 7  # on the days 0, 1, 2, 4, 8, 16 and 32


# Naming artists for a run


def test_artists_are_named_by_id_link_key_or_name(user: User) -> None:
    user.spotify.add("Lumen Tide")
    user.home.watch("Lumen Tide")
    [row] = user.read().watched
    for text in (
        artist_id(1),
        f"spotify:artist:{artist_id(1)}",
        f"https://open.spotify.com/artist/{artist_id(1)}?si=x",
        row["partition_key"],
        " lumen TIDE ",
    ):
        assert watch.chosen([text, text], [row]) == ([row], [])
    rows, problems = watch.chosen(["spotify:album:x", "Nobody", "Lumen Tide"], [row])
    assert rows == [row]
    assert [problem["artist"] for problem in problems] == ["spotify:album:x", "Nobody"]


def test_the_store_is_not_written_once_the_run_is_over(home: Home, tmp_path: Path) -> None:
    user = User(home, Store.open(home.url))
    user.spotify.add("Lumen Tide")
    home.watch("Lumen Tide")

    def over() -> None:
        raise HarmonyError(ErrorCode.CONFLICT, Reason.RUN_OVER, "Over.")

    user.store = Store(user.store.engine, over)
    with pytest.raises(HarmonyError) as refused:
        user.read()
    assert refused.value.reason is Reason.RUN_OVER
    assert user.store.table(tables.watchlist) == []
