from pathlib import Path

import pytest

from harmony_pipelines.clients.beets_config import BeetsConfig
from harmony_pipelines.clients.beets_library import BeetsLibrary
from harmony_pipelines.clients.beets_query import album_artists
from harmony_pipelines.demo.library import make_library
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> BeetsLibrary:
    made = make_library(tmp_path_factory.mktemp("beets"))
    return BeetsLibrary(BeetsConfig(made.database, made.music_directory))


def refusal(library: BeetsLibrary, query: str, seconds: float = 60) -> HarmonyError:
    with pytest.raises(HarmonyError) as refused:
        album_artists(library, query, Deadline.after(seconds))
    return refused.value


def test_beets_own_queries_say_whose_albums_count(library: BeetsLibrary) -> None:
    everybody = album_artists(library, "", Deadline.after(60))
    assert everybody["Lumen Tide"] > 1
    alone = album_artists(library, 'albumartist:"lumen tide" year:1900..2100', Deadline.after(60))
    assert alone == {"Lumen Tide": everybody["Lumen Tide"]}
    assert album_artists(library, "albumartist:nobody", Deadline.after(60)) == {}


def test_the_library_and_the_user_s_configuration_are_left_alone(
    library: BeetsLibrary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.joinpath("config.yaml").write_text("plugins: [there-is-no-such-plugin\n")
    monkeypatch.setenv("BEETSDIR", str(tmp_path))
    folder = library.config.database.parent
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert album_artists(library, "", Deadline.after(60))
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


def test_a_query_that_beets_does_not_understand_is_said(library: BeetsLibrary) -> None:
    error = refusal(library, "albumartist::[")
    assert (error.code, error.reason) == (ErrorCode.VALIDATION_ERROR, Reason.WATCHLIST)
    assert "albumartist::[" in error.message


def test_a_query_ends_with_the_run_s_time(library: BeetsLibrary) -> None:
    endless = "albumartist::^((.+)+)+§$"
    assert refusal(library, endless, seconds=2).code is ErrorCode.DEADLINE_EXCEEDED


def test_a_database_that_beets_cannot_open_is_said(tmp_path: Path) -> None:
    database = tmp_path / "library.db"
    database.write_bytes(b"no database at all" * 100)
    error = refusal(BeetsLibrary(BeetsConfig(database, tmp_path)), "")
    assert (error.code, error.reason) == (ErrorCode.DEPENDENCY_ERROR, Reason.LIBRARY_SCHEMA)


def test_without_a_library_the_way_to_name_one_is_said(tmp_path: Path) -> None:
    error = refusal(BeetsLibrary(BeetsConfig(tmp_path / "no.db", tmp_path)), "")
    assert error.reason is Reason.NO_LIBRARY
