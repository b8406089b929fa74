import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import event

from harmony_pipelines.clients import tables
from harmony_pipelines.clients.catalogue import Catalogue, utc_text
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason


def row(album_id: int, name: str = "x") -> dict[str, object]:
    return {"beets_album_id": album_id, "album": name}


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/harmony.db"


@pytest.fixture
def store(url: str) -> Iterator[Catalogue]:
    store = Catalogue.open(url)
    yield store
    store.close()


def test_a_moment_is_utc_text() -> None:
    assert utc_text(datetime(2026, 11, 20, 9, 5, 7, 999, tzinfo=UTC)) == "2026-11-20T09:05:07Z"


def test_rows_are_replaced_whole(store: Catalogue) -> None:
    store.replace(tables.beets_albums, (row(number) for number in range(12_000)))
    assert store.count(tables.beets_albums) == 12_000
    store.replace(tables.beets_albums, [row(7)])
    assert [found["beets_album_id"] for found in store.table(tables.beets_albums)] == [7]
    store.replace(tables.beets_albums, [])
    assert store.table(tables.beets_albums) == []


def test_what_is_there_already_is_not_written_again(store: Catalogue) -> None:
    written: list[str] = []

    @event.listens_for(store.engine, "before_cursor_execute")
    def _note(_: object, __: object, statement: str, *___: object) -> None:
        written.extend(word for word in ("INSERT", "DELETE") if statement.startswith(word))

    rows = [row(number) for number in range(3000)]
    store.replace(tables.beets_albums, rows)
    written.clear()
    store.replace(tables.beets_albums, rows)
    assert written == []
    store.replace(tables.beets_albums, [*rows[:7], row(7, "y"), *rows[9:], row(3000)])
    found = {each["beets_album_id"]: each["album"] for each in store.table(tables.beets_albums)}
    assert (len(found), found[7], found[3000], 8 in found) == (3000, "y", "x", False)


def test_rows_that_share_the_first_column_of_the_key_come_together(store: Catalogue) -> None:
    def lack(artist: str, album: str) -> dict[str, str]:
        return {"artist_id": artist, "album_id": album, "track_id": ""}

    together = [lack(artist, f"s{number:04}") for artist in "ab" for number in range(1100)]
    store.replace(tables.missing_from_library, together)
    assert store.count(tables.missing_from_library) == 2200
    with pytest.raises(ValueError, match="artist_id"):
        store.replace(tables.missing_from_library, [*together, lack("a", "last")])
    assert store.count(tables.missing_from_library) == 2200


def test_several_tables_are_replaced_together_or_not_at_all(store: Catalogue) -> None:
    store.replace(tables.beets_albums, [row(1)])
    twice = [{"beets_item_id": 1}, {"beets_item_id": 1}]
    with pytest.raises(HarmonyError):
        store.replace_all({tables.beets_albums: [row(2)], tables.beets_tracks: twice})
    assert [found["beets_album_id"] for found in store.table(tables.beets_albums)] == [1]


def test_saved_rows_are_inserted_or_changed(store: Catalogue) -> None:
    store.save(tables.beets_albums, [row(1), row(2)])
    store.save(tables.beets_albums, [row(2, "y"), row(3)])
    assert [found["album"] for found in store.table(tables.beets_albums)] == ["x", "y", "x"]
    assert store.count(tables.beets_albums, tables.beets_albums.c.album == "x") == 2


def test_the_guard_is_asked_before_each_commit(store: Catalogue) -> None:
    asked: list[int] = []

    def guard() -> None:
        asked.append(store.count(tables.beets_albums))
        if len(asked) > 1:
            raise HarmonyError(ErrorCode.CONFLICT, Reason.RUN_OVER, "Over.")

    guarded = Catalogue(store.engine, guard)
    guarded.replace(tables.beets_albums, [row(1)])
    for write in (
        lambda: guarded.replace(tables.beets_albums, [row(2)]),
        lambda: guarded.save(tables.beets_albums, [row(2)]),
    ):
        with pytest.raises(HarmonyError):
            write()
    assert [found["beets_album_id"] for found in store.table(tables.beets_albums)] == [1]
    assert asked == [0, 1, 1]


def test_many_may_open_a_new_database_at_once(url: str) -> None:
    faults: list[BaseException] = []

    def open_it() -> None:
        try:
            store = Catalogue.open(url)
            store.save(tables.beets_albums, [row(1)])
            store.close()
        except HarmonyError as error:
            faults.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
