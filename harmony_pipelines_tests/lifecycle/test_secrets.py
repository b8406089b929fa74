"""Secrets are planted, everything is logged, and whatever was stored or printed is searched."""

import base64
import sqlite3
import traceback
import urllib.request
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest

from harmony_pipelines.definitions import defs
from harmony_pipelines.demo import faults
from harmony_pipelines.demo.catalogue_data import Catalogue
from harmony_pipelines.demo.exchange import Answer, error_answer
from harmony_pipelines.demo.home import DemoHome
from harmony_pipelines.demo.spotify_server import SpotifyServer
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.errors import HarmonyError
from harmony_pipelines.resources import CatalogueResource, SpotifyResource
from harmony_pipelines.settings import Settings, load_settings
from harmony_pipelines_tests.lifecycle import planted
from harmony_pipelines_tests.lifecycle.dev_process import dev, wait_until
from harmony_pipelines_tests.lifecycle.planted import everything_below, found_in
from harmony_pipelines_tests.lifecycle.user import DEFINITIONS, User
from harmony_pipelines_tests.webhook import Webhook, webhook

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

_SHOWN = """{
  instance { info runLauncher { name } }
  repositoriesOrError { ... on RepositoryConnection { nodes {
    allTopLevelResourceDetails { name description resourceType
      configFields { name description defaultValueAsJson } configuredValues { key value type } }
    pipelines { name runTags { key value } presets { runConfigYaml } } } } }
  runsOrError { ... on Runs { results { runId runConfigYaml tags { key value }
    eventConnection { events {
      ... on MessageEvent { message }
      ... on ErrorEvent { error { message stack errorChain { error { message stack } } } }
      ... on DisplayableEvent { label description metadataEntries { label description
        ... on TextMetadataEntry { text } ... on JsonMetadataEntry { jsonString }
        ... on MarkdownMetadataEntry { mdStr } ... on UrlMetadataEntry { url }
        ... on TableMetadataEntry { table { records } } } } } } } } }
}"""


class Planted:
    """A user with a secret in each setting that holds one, and all that was printed to them."""

    def __init__(self, user: User, hook: Webhook) -> None:
        self.user, self.hook = user, hook
        self.printed: dict[str, bytes] = {}
        self.logs = user.home.folder / "logs"
        netloc = f"127.0.0.1:{hook.port}"
        user.environment |= {
            **planted.log_all(self.logs, user.home.dagster_home),
            "HARMONY_NOTIFY_URLS": f"json://user:{quote(planted.NOTIFY_PASSWORD, safe='')}"
            f"@{netloc}/{planted.NOTIFY_PATH}",
            "HARMONY_HEARTBEAT_URL": f"http://user:{quote(planted.BEAT_PASSWORD, safe='')}"
            f"@{netloc}/{planted.BEAT_PATH}",
        }

    def job(self, name: str) -> int:
        code, _, printed = self.user.dagster("job", "execute", *DEFINITIONS, "-j", name)
        self.printed[f"printed by {name}, {len(self.printed)}"] = printed.encode()
        return code

    def leaks(self) -> list[str]:
        texts = everything_below(self.user.home.database.parent, self.user.home.dagster_home)
        texts |= {"the log of all loggers": (self.logs / "all.log").read_bytes()}
        return found_in(texts | self.printed, planted.ALL | tokens_of(self.user.server))


@pytest.fixture
def user(tmp_path: Path) -> Iterator[User]:
    (tmp_path / "user").mkdir()
    user = User(tmp_path / "user")
    user.server.client_secret = planted.CLIENT_SECRET
    with user:
        yield user


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with webhook() as hook:
        yield hook


@pytest.fixture
def hidden(user: User, hook: Webhook) -> Planted:
    return Planted(user, hook)


def tokens_of(server: SpotifyServer) -> dict[str, str]:
    """The access tokens that it gave out."""
    return {f"token {number}": each for number, each in enumerate(server._tokens._good_until)}


def echo(server: SpotifyServer) -> faults.Fault:
    """A server that says what it was sent, as no good one does."""
    known = quote(planted.CLIENT_SECRET, safe="")

    def fault(_: Answer) -> Answer:
        tokens = " ".join(server._tokens._good_until)
        return error_answer(503, f"{planted.CLIENT_SECRET} {known} {tokens}")

    return fault


def test_the_search_finds_a_secret_in_each_form_and_place(tmp_path: Path) -> None:
    secret = planted.CLIENT_SECRET
    header = base64.b64encode(f"demo-client:{secret}".encode()).decode()
    with sqlite3.connect(tmp_path / "a.db") as connection:
        connection.execute("CREATE TABLE t (a, b)")
        packed = zlib.compress(secret.encode())
        connection.execute("INSERT INTO t VALUES (?, ?)", ("x" * 9000 + header, packed))
    (tmp_path / "b.txt").write_text(quote(secret, safe=""))

    found = found_in(everything_below(tmp_path), {"secret": secret})

    assert {each.rpartition("/")[2] for each in found} == {"a.db: t", "a.db", "b.txt"}
    assert len([each for each in found if each.endswith("a.db: t")]) == 2


def test_runs_that_succeed_and_fail_store_and_print_no_secret(hidden: Planted) -> None:
    user = hidden.user
    hidden.job("check_setup")  # red: there is no daemon to tell of killed runs
    assert hidden.job("refresh_catalogue") == 0
    assert hidden.job("embed_artwork") == 0
    assert hidden.hook.beats > 0

    for family in ("artists", "artist_albums", "albums", "token"):
        user.server.faults.add(family, echo(user.server), times=None)
    user.server.expire_tokens()
    hidden.hook.status, taken = 500, len(hidden.hook.messages)
    assert hidden.job("check_setup") == 1
    user.make_all_due()
    assert hidden.job("refresh_catalogue") == 1

    user.server.faults.clear()
    user.environment["SPOTIPY_CLIENT_SECRET"] += "x"
    user.make_all_due()
    assert hidden.job("refresh_catalogue") == 1

    assert tokens_of(user.server)
    assert len(hidden.hook.messages) == taken
    assert b"urllib3" in (hidden.logs / "all.log").read_bytes()
    assert hidden.leaks() == []


def test_a_database_that_cannot_be_reached_keeps_its_password(hidden: Planted) -> None:
    password = quote(planted.DATABASE_PASSWORD, safe="")
    hidden.user.environment["HARMONY_DATABASE_URL"] = (
        f"postgresql+psycopg2://harmony:{password}@127.0.0.1:1/harmony"
    )
    for name in ("check_setup", "refresh_catalogue", "embed_artwork", "apply_retention"):
        assert hidden.job(name) == 1

    assert hidden.leaks() == []


def test_the_ui_and_its_processes_show_no_secret(hidden: Planted) -> None:
    with dev(hidden.user.environment) as ui:
        first = ui.launch("refresh_catalogue")
        wait_until(lambda: ui.runs()[first] == "SUCCESS", 120)
        hidden.user.server.faults.add("artist_albums", echo(hidden.user.server), times=None)
        hidden.user.make_all_due()
        second = ui.launch("refresh_catalogue")
        wait_until(lambda: ui.runs()[second] == "FAILURE", 120)
        commands = "\n".join(ui.processes().values())
        hidden.printed |= {"GraphQL": str(ui.ask(_SHOWN)).encode(), "commands": commands.encode()}
        for page in ("server_info", f"download_debug/{first}", f"download_debug/{second}"):
            with urllib.request.urlopen(f"{ui.address}/{page}", timeout=60) as answer:
                hidden.printed[page] = answer.read()
        hidden.printed["printed by make dev"] = ui.stop().encode()

    assert "runConfigYaml" in hidden.printed["GraphQL"].decode()
    assert hidden.leaks() == []


_SPOILT = {
    "expired": faults.token_expired(),
    "a page": faults.html_page(502),
    "null": faults.null_body(),
    "half": faults.half_body(),
    "cut off": faults.cut_off(),
    "reset": faults.connection_reset(),
    "echo": None,
}


@pytest.mark.parametrize("family", ["token", "artists"])
@pytest.mark.parametrize("spoilt", _SPOILT)
def test_no_exception_of_a_call_and_none_behind_it_shows_a_secret(
    family: str, spoilt: str, tmp_path: Path
) -> None:
    with SpotifyServer(Catalogue.load(), client_secret=planted.CLIENT_SECRET) as server:
        settings = settings_of(tmp_path, server)
        store = CatalogueResource().open(settings)
        with SpotifyResource().trial(settings, store, Deadline.after(20), 9) as client:
            artist = next(iter(server.catalogue.artists))
            client.artist(artist)
            if family == "token":
                server.expire_tokens()
            server.faults.add(family, _SPOILT[spoilt] or echo(server), times=None)
            with pytest.raises(HarmonyError) as raised:
                client.artist(artist)
        store.close()
        tokens = tokens_of(server)

    assert found_in(dict(_chain(raised.value)), planted.ALL | tokens) == []


def _chain(error: BaseException | None) -> Iterator[tuple[str, bytes]]:
    """Each exception behind this one, those that would not be printed too."""
    if error is None:
        return
    said = [repr(error), str(error), repr(error.args), *traceback.format_exception(error)]
    yield repr(type(error)), "\n".join(said).encode()
    yield from _chain(error.__cause__)
    yield from _chain(error.__context__)


def settings_of(folder: Path, server: SpotifyServer) -> Settings:
    password = quote(planted.DATABASE_PASSWORD, safe="")
    hook = f"user:{quote(planted.NOTIFY_PASSWORD, safe='')}@127.0.0.1/{planted.NOTIFY_PATH}"
    beat = f"user:{quote(planted.BEAT_PASSWORD, safe='')}@127.0.0.1/{planted.BEAT_PATH}"
    environment = {
        **DemoHome(folder).environment(server),
        "HARMONY_NOTIFY_URLS": f"json://{hook}",
        "HARMONY_HEARTBEAT_URL": f"http://{beat}",
    }
    remote = f"postgresql+psycopg2://harmony:{password}@127.0.0.1/harmony"
    hidden = load_settings({**environment, "HARMONY_DATABASE_URL": remote})
    return replace(hidden, database_url=load_settings(environment).database_url)


def test_nothing_that_holds_a_secret_shows_it(tmp_path: Path) -> None:
    with SpotifyServer(Catalogue.load(), client_secret=planted.CLIENT_SECRET) as server:
        settings = settings_of(tmp_path, server)
        store = CatalogueResource().open(settings)
        password = quote(planted.DATABASE_PASSWORD, safe="")
        remote = f"postgresql://harmony:{password}@127.0.0.1/harmony"
        with SpotifyResource().client(settings, store, Deadline.after(20)) as client:
            client.artist(next(iter(server.catalogue.artists)))
            shown = [
                *(defs.resources or {}).values(),
                replace(settings, database_url=remote),
                settings.spotify_credentials(),
                SpotifyResource().config(settings),
                client,
                *vars(client).values(),
                store,
            ]
        store.close()
        tokens = tokens_of(server)
    texts = {f"{number} {type(each)}": f"{each!r} {each}" for number, each in enumerate(shown)}

    assert tokens
    encoded = {name: text.encode() for name, text in texts.items()}
    assert found_in(encoded, planted.ALL | tokens) == []
