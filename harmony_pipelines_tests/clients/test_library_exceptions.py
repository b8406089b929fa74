"""Whatever a library raises at our boundary comes out in the error vocabulary.

Each class is really raised, by a fake at the edge: a network, an adapter, a database, a decoder,
an interpreter. The classes are found by walking the libraries, so a new one is tried as well.
"""

import ast
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpcore
import httpx
import pytest
import requests
import spotipy
from requests.adapters import BaseAdapter
from sqlalchemy import event, exc

from harmony_pipelines.clients.addresses import AllowedHosts
from harmony_pipelines.clients.beets_config import BeetsConfig
from harmony_pipelines.clients.beets_library import BeetsLibrary
from harmony_pipelines.clients.beets_query import album_artists
from harmony_pipelines.clients.bounded_http import BoundedHttp, Surroundings
from harmony_pipelines.clients.database import open_engine, reading
from harmony_pipelines.clients.embedding import EmbedOptions, embed_front
from harmony_pipelines.clients.images import examine
from harmony_pipelines.clients.patience import Patience
from harmony_pipelines.clients.quota import Quota, QuotaLimits
from harmony_pipelines.clients.safe_write import WriteOptions
from harmony_pipelines.clients.schema import bring_up_to_date
from harmony_pipelines.clients.spotify_calls import SpotifyCalls
from harmony_pipelines.clients.spotify_config import SpotifyConfig
from harmony_pipelines.clients.spotify_refusals import Question
from harmony_pipelines.clients.spotify_session import BoundedSession
from harmony_pipelines.demo.library import make_library
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason
from harmony_pipelines_tests.audio_files import a_jpeg, sample
from harmony_pipelines_tests.clients.library_exceptions import exceptions_of, made

PACKAGE = Path(__file__).parents[2] / "harmony_pipelines"
CONFIG = SpotifyConfig("id", "a-secret", market="DE")


def every(library: str) -> Any:
    classes = exceptions_of(library)
    assert classes, library
    return pytest.mark.parametrize(
        "kind", classes, ids=lambda kind: f"{kind.__module__}.{kind.__qualname__}"
    )


class _RaisingNetwork(httpcore.NetworkBackend):
    def __init__(self, error: Exception) -> None:
        self._error = error

    def connect_tcp(self, *_: object, **__: object) -> httpcore.NetworkStream:
        raise self._error


@every("httpcore")
def test_httpcore(kind: type[Exception]) -> None:
    surroundings = Surroundings(
        look_up=lambda host, port: ["93.184.215.14"],
        network=_RaisingNetwork(made(kind)),
        sleep=lambda seconds: None,
    )
    http = BoundedHttp(None, AllowedHosts.parse("archive.org"), surroundings)
    with pytest.raises(HarmonyError) as told:
        http.get("https://archive.org/a.jpg", Deadline.after(20))

    late = issubclass(kind, httpcore.TimeoutException) and kind is not httpcore.ConnectTimeout
    broken = issubclass(kind, httpcore.ProtocolError)
    assert told.value.reason is (
        Reason.TIMEOUT if late else Reason.BAD_ANSWER if broken else Reason.CONNECTION_FAILED
    )


def test_of_httpx_only_its_urls_are_used_whose_one_exception_is_a_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    used = {
        node.attr
        for file in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "httpx"
    }
    assert used == {"URL", "InvalidURL"}

    def no_url(_: str) -> None:
        raise httpx.InvalidURL("odd")

    monkeypatch.setattr(httpx, "URL", no_url)
    with pytest.raises(HarmonyError) as told:
        BoundedHttp().get("https://archive.org", Deadline.after(5))
    assert (told.value.code, told.value.reason) == (
        ErrorCode.BLOCKED_HOST,
        Reason.URL_NOT_ALLOWED,
    )


class _RaisingAdapter(BaseAdapter):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def send(self, *_: object, **__: object) -> requests.Response:
        raise self._error

    def close(self) -> None:
        pass


@every("requests")
def test_requests(kind: type[Exception]) -> None:
    assert _over_the_session(kind).code in (
        ErrorCode.DEPENDENCY_ERROR,
        ErrorCode.DEADLINE_EXCEEDED,
    )


@every("urllib3")
def test_urllib3(kind: type[Exception]) -> None:
    assert _over_the_session(kind).code in (
        ErrorCode.DEPENDENCY_ERROR,
        ErrorCode.DEADLINE_EXCEEDED,
    )


def _over_the_session(kind: type[Exception]) -> HarmonyError:
    session = BoundedSession(CONFIG, Patience(Deadline.after(20)))
    session.mount("https://", _RaisingAdapter(made(kind)))
    with pytest.raises(HarmonyError) as told:
        session.request("GET", "https://api.spotify.com/v1/artists/1?secret=query")
    assert "secret=query" not in told.value.message
    return told.value


def test_a_fault_of_ours_below_spotipy_keeps_its_own_name() -> None:
    session = BoundedSession(CONFIG, Patience(Deadline.after(20)))
    session.mount("https://", _RaisingAdapter(ZeroDivisionError("ours")))
    with pytest.raises(ZeroDivisionError):
        session.request("GET", "https://api.spotify.com/v1/artists/1")


@every("spotipy")
@pytest.mark.parametrize("at", ["_get", "get_access_token"])
def test_spotipy(
    kind: type[Exception], at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raising(*_: object, **__: object) -> None:
        raise made(kind)

    def token(*_: object, **__: object) -> str:
        return "a-token"

    monkeypatch.setattr(spotipy.SpotifyClientCredentials, "get_access_token", token)
    owner = spotipy.Spotify if at == "_get" else spotipy.SpotifyClientCredentials
    monkeypatch.setattr(owner, at, raising)
    engine = open_engine(f"sqlite:///{tmp_path}/harmony.db")
    bring_up_to_date(engine)
    patience = Patience(Deadline.after(60), sleep=lambda seconds: None)
    calls = SpotifyCalls(CONFIG, Quota(engine, QuotaLimits(per_second=10_000)), patience)

    with pytest.raises(HarmonyError) as told:
        calls.ask(Question("artists", "artists/1", "artist 1"))
    engine.dispose()
    assert (told.value.code, told.value.reason) == (
        ErrorCode.DEPENDENCY_ERROR,
        Reason.BAD_ANSWER,
    )


_OF_THE_DATABASE = (exc.DBAPIError, exc.DisconnectionError, exc.TimeoutError)


@every("sqlalchemy")
def test_sqlalchemy(kind: type[Exception], tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/harmony.db")

    @event.listens_for(engine, "before_cursor_execute")
    def _raise(*_: object) -> None:
        raise made(kind)

    of_the_database = issubclass(kind, _OF_THE_DATABASE)
    with pytest.raises(HarmonyError if of_the_database else kind) as told:  # noqa: SIM117
        with reading(engine) as connection:
            connection.exec_driver_sql("SELECT 1")
    engine.dispose()
    if of_the_database:
        assert isinstance(told.value, HarmonyError)
        assert told.value.as_dict()["details"]["reason"] == "database"  # type: ignore[index]
        assert told.value.code is ErrorCode.DEPENDENCY_ERROR


@every("PIL")
def test_pillow(kind: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image
    from PIL.JpegImagePlugin import JpegImageFile

    picture = io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "JPEG")
    examine(picture.getvalue())

    def raising(*_: object) -> None:
        raise made(kind)

    monkeypatch.setattr(JpegImageFile, "load", raising)
    with pytest.raises(HarmonyError) as told:
        examine(picture.getvalue())
    assert (told.value.code, told.value.reason) == (
        (ErrorCode.PAYLOAD_TOO_LARGE, Reason.TOO_MANY_PIXELS)
        if issubclass(kind, Image.DecompressionBombError)
        else (ErrorCode.UNSUPPORTED_MEDIA, Reason.BROKEN_IMAGE)
    )


@every("mutagen")
def test_mutagen_where_it_reads_the_new_file(
    kind: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _the_second_look_raises(kind, tmp_path, monkeypatch)


@every("mediafile")
def test_mediafile_where_it_reads_the_new_file(
    kind: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _the_second_look_raises(kind, tmp_path, monkeypatch)


def _the_second_look_raises(
    kind: type[Exception], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that takes the old file and not the new one: the file is left as it was."""
    import mediafile

    file = sample("tone.flac", folder)
    before, looked = file.read_bytes(), iter(range(10))
    reader = mediafile.MediaFile

    def raising(opened: Any) -> Any:
        if next(looked):
            raise made(kind)
        return reader(opened)

    monkeypatch.setattr(mediafile, "MediaFile", raising)
    options = EmbedOptions(
        write=WriteOptions((folder,), room=0), journal=lambda _: None, keep_old=lambda _: None
    )
    with pytest.raises(HarmonyError) as told:
        embed_front(file, a_jpeg(), options)
    assert (told.value.code, told.value.reason) == (
        ErrorCode.INTERNAL_ERROR,
        Reason.VERIFICATION,
    )
    assert file.read_bytes() == before
    assert list(folder.iterdir()) == [file]


_INTERPRETER = """\
#!{python} -I
import sys
if "beets" in sys.argv[-1]:
    import beets.library
    from importlib import import_module
    sys.path.append({project!r})
    from harmony_pipelines_tests.clients.library_exceptions import made
    class Library:
        def __init__(self, *_):
            raise made(getattr(import_module({module!r}), {name!r}))
    beets.library.Library = Library
exec(sys.argv[-1])
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BeetsLibrary]:
    demo = make_library(tmp_path_factory.mktemp("beets"))
    yield BeetsLibrary(BeetsConfig(demo.database, demo.music_directory))


@pytest.mark.slow
@every("beets")
def test_beets_which_runs_in_a_process_of_its_own(
    kind: type[Exception], library: BeetsLibrary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    filled = _INTERPRETER.format(
        python=sys.executable,
        project=str(PACKAGE.parent),
        module=kind.__module__,
        name=kind.__qualname__,
    )
    python.write_text(filled)
    python.chmod(0o700)
    monkeypatch.setattr("sys.executable", os.fspath(python))

    with pytest.raises(HarmonyError) as told:
        album_artists(library, "", Deadline.after(60))
    assert (told.value.code, told.value.reason) == (
        (ErrorCode.VALIDATION_ERROR, Reason.WATCHLIST)
        if issubclass(kind, ValueError)
        else (ErrorCode.DEPENDENCY_ERROR, Reason.LIBRARY_SCHEMA)
    )
    assert "Traceback" not in told.value.message
