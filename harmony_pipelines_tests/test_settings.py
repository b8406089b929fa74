import dataclasses
import re
import typing
from io import StringIO
from pathlib import Path

import dagster as dg
import pytest
from dotenv import dotenv_values
from hypothesis import given
from hypothesis import strategies as st

from harmony_pipelines.domain.covers import cover_sources
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason
from harmony_pipelines.settings import SETTINGS, Settings, load_settings

EXAMPLE = Path(__file__).parents[1] / ".env.example"
NAMES = sorted(setting.name for setting in SETTINGS.values())
SECRET = "pa55word-of-somebody"


def refused(**environ: str) -> HarmonyError:
    with pytest.raises(HarmonyError) as raised:
        load_settings(environ)
    assert (raised.value.code, raised.value.reason) == (ErrorCode.VALIDATION_ERROR, Reason.SETTING)
    return raised.value


def fault_names(error: HarmonyError) -> list[str]:
    faults = typing.cast(list[dict[str, str]], error.details["faults"])
    return [fault["name"] for fault in faults]


def test_nothing_has_to_be_set_to_load_the_defaults():
    settings = load_settings({})
    assert settings.home == Path("~/.local/share/harmony-pipelines").expanduser()
    assert settings.database_url == f"sqlite:///{settings.home}/harmony.db"
    assert settings.watchlist_path == settings.home / "watchlist.yaml"
    assert settings.covers_dir == settings.home / "covers"
    assert settings.album_groups == ("album", "single")
    assert settings.artwork_max_bytes == 10 * 1024**2
    assert settings.artwork_max_rewrite_bytes == 20 * 1024**3
    assert settings.run_max_seconds == 3600
    assert (settings.path_map, settings.notify_urls, settings.ui_allowed_hosts) == ((), (), ())
    assert settings.warnings == ()


def test_every_field_is_a_setting_and_every_setting_a_field():
    assert [*SETTINGS, "warnings"] == [each.name for each in dataclasses.fields(Settings)]


def test_every_secret_is_left_out_of_what_is_shown():
    hidden = [each.name for each in dataclasses.fields(Settings) if not each.repr]
    assert hidden == [name for name, setting in SETTINGS.items() if setting.secret]


def test_the_example_names_every_setting_with_its_default():
    lines = EXAMPLE.read_text().splitlines()
    listed = [re.fullmatch(r"(#?)([A-Z_]+)=(.*)", line) for line in lines]
    found = {line[2]: (line[3], line[1]) for line in listed if line}
    required = ("SPOTIPY_CLIENT_ID", "SPOTIPY_CLIENT_SECRET", "HARMONY_SPOTIFY_MARKET")
    assert found == {
        setting.name: (setting.default or "", "" if setting.name in required else "#")
        for setting in SETTINGS.values()
    }
    assert list(found)[:3] == list(required)


def test_the_example_explains_every_setting_in_the_settings_words():
    prose = " ".join(
        line.removeprefix("# ") for line in EXAMPLE.read_text().splitlines() if line[:2] == "# "
    )
    for setting in SETTINGS.values():
        assert setting.about.removeprefix("Required. ") in prose


def test_taking_the_comment_signs_out_of_the_example_changes_nothing():
    lines = re.sub(r"(?m)^#(?=[A-Z])", "", EXAMPLE.read_text())
    written = {name: text or "" for name, text in dotenv_values(stream=StringIO(lines)).items()}
    assert set(written) == set(NAMES)
    assert load_settings(written) == load_settings({})


def test_all_faults_are_said_at_once_with_value_and_range():
    error = refused(HARMONY_UI_PORT="0", HARMONY_MISSING="all", HARMONY_SPOTIFY_MARKET="Germany")
    assert fault_names(error) == ["HARMONY_SPOTIFY_MARKET", "HARMONY_MISSING", "HARMONY_UI_PORT"]
    assert "'0' and must be a whole number from 1 to 65535" in error.message
    assert "'all' and must be one of albums, albums_eps, everything" in error.message
    assert "'Germany'" in error.message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SPOTIPY_CLIENT_SECRET", f"{SECRET}\nx"),
        ("HARMONY_DATABASE_URL", f"mysql://me:{SECRET}@host/db"),
        ("HARMONY_NOTIFY_URLS", SECRET),
        ("HARMONY_HEARTBEAT_URL", f"ftp://host/{SECRET}"),
        ("HARMONY_SPOTIFY_API_URL", f"https://me:{SECRET}@host"),
    ],
)
def test_no_secret_is_shown_in_a_fault(name, value):
    error = refused(**{name: value})
    assert fault_names(error) == [name]
    assert SECRET not in f"{error} {error.details}"


def test_no_secret_is_shown_by_the_settings():
    settings = load_settings(
        {
            "SPOTIPY_CLIENT_ID": "app",
            "SPOTIPY_CLIENT_SECRET": SECRET,
            "HARMONY_DATABASE_URL": f"postgresql://me:{SECRET}@host/db",
            "HARMONY_NOTIFY_URLS": f"ntfy://{SECRET}@host/topic",
            "HARMONY_HEARTBEAT_URL": f"https://hc.example/{SECRET}",
        }
    )
    credentials = settings.spotify_credentials()
    assert credentials.client_secret == SECRET
    assert settings.database_url == f"postgresql://me:{SECRET}@host/db"
    assert SECRET not in f"{settings} {settings!r} {credentials} {credentials!r}"


def test_an_unknown_name_is_a_warning_with_the_nearest_one():
    (warning,) = load_settings({"HARMONY_UI_PROT": SECRET, "OTHER": "x"}).warnings
    assert "HARMONY_UI_PROT" in warning
    assert "HARMONY_UI_PORT" in warning
    assert SECRET not in warning


def test_a_name_that_is_none_any_more_is_said_beside_what_is_missing_for_it():
    with pytest.raises(HarmonyError) as unset:
        load_settings({"HARMONY_MARKET": "DE"}).spotify_market()
    with pytest.raises(HarmonyError) as wrong:
        load_settings({"HARMONY_MARKET": "DE", "HARMONY_UI_PORT": "0"})

    for raised in (unset, wrong):
        assert "HARMONY_MARKET is not a setting" in raised.value.message
        assert "the nearest that is one is HARMONY_" in raised.value.message


@pytest.mark.parametrize("empty", ["", "  ", "\t"])
def test_an_empty_setting_is_not_set(empty: str):
    assert load_settings(dict.fromkeys(NAMES, empty)) == load_settings({})


@pytest.mark.parametrize(
    ("environ", "missing"),
    [
        ({}, ["SPOTIPY_CLIENT_ID", "SPOTIPY_CLIENT_SECRET"]),
        ({"SPOTIPY_CLIENT_ID": "x"}, ["SPOTIPY_CLIENT_SECRET"]),
        ({"SPOTIPY_CLIENT_SECRET": "x"}, ["SPOTIPY_CLIENT_ID"]),
    ],
)
def test_missing_credentials_are_named_when_they_are_needed(environ, missing):
    with pytest.raises(HarmonyError) as raised:
        load_settings(environ).spotify_credentials()
    error = raised.value
    assert (error.code, error.reason) == (ErrorCode.AUTH_REQUIRED, Reason.MISSING_CREDENTIALS)
    assert error.details["missing"] == missing
    assert all(name in error.message for name in missing)


def test_a_market_is_needed_only_when_spotify_is_asked():
    with pytest.raises(HarmonyError, match="HARMONY_SPOTIFY_MARKET is not set") as raised:
        load_settings({}).spotify_market()
    assert raised.value.code == ErrorCode.VALIDATION_ERROR
    assert load_settings({"HARMONY_SPOTIFY_MARKET": " de "}).spotify_market() == "DE"


def test_only_who_writes_extended_gets_its_budget():
    def budget(**environ: str) -> tuple[int, float, int]:
        settings = load_settings(environ)
        return (
            settings.spotify_daily_requests,
            settings.spotify_requests_per_second,
            settings.spotify_concurrency,
        )

    assert budget() == budget(HARMONY_SPOTIFY_PROFILE="auto") == (400, 1, 1)
    assert budget(HARMONY_SPOTIFY_PROFILE="Extended") == (20000, 4, 8)
    assert budget(HARMONY_SPOTIFY_PROFILE="extended", HARMONY_SPOTIFY_CONCURRENCY="2")[2] == 2


def test_relative_paths_hang_on_the_home(tmp_path):
    settings = load_settings(
        {
            "HARMONY_HOME": str(tmp_path),
            "HARMONY_WATCHLIST": "lists/mine.yaml",
            "HARMONY_DECISIONS": "/elsewhere/decisions.yaml",
            "HARMONY_BEETS_LIBRARY": "~/music.db",
            "HARMONY_DATABASE_URL": "sqlite:///data.db",
        }
    )
    assert settings.watchlist_path == tmp_path / "lists/mine.yaml"
    assert settings.decisions_path == Path("/elsewhere/decisions.yaml")
    assert settings.beets_library == Path.home() / "music.db"
    assert settings.database_url == f"sqlite:///{tmp_path}/data.db"


@pytest.mark.parametrize(
    ("name", "value", "field", "expected"),
    [
        ("HARMONY_ARTWORK_MAX_BYTES", "1 mib", "artwork_max_bytes", 1024**2),
        ("HARMONY_ARTWORK_MAX_BYTES", "500kB", "artwork_max_bytes", 500_000),
        ("HARMONY_ARTWORK_MAX_BYTES", "1048576", "artwork_max_bytes", 1024**2),
        ("HARMONY_BEETS_UPDATE", "Yes", "beets_update", True),
        ("HARMONY_BEETS_UPDATE", "0", "beets_update", False),
        ("HARMONY_ARTWORK_SEARCH", "on", "artwork_search", True),
        ("HARMONY_ALBUM_GROUPS", "single, album,single", "album_groups", ("single", "album")),
        (
            "HARMONY_PATH_MAP",
            "/a=/b, /c d/ = /e",
            "path_map",
            ((Path("/a"), Path("/b")), (Path("/c d"), Path("/e"))),
        ),
        (
            "HARMONY_ARTWORK_HOSTS",
            "I.scdn.co,127.0.0.1:8080,[::1]:80",
            "artwork_hosts",
            ("i.scdn.co", "127.0.0.1:8080", "[::1]:80"),
        ),
        (
            "HARMONY_NOTIFY_URLS",
            "mailto://a.b?to=x,y ntfy://h/t,json://h",
            "notify_urls",
            ("mailto://a.b?to=x,y", "ntfy://h/t", "json://h"),
        ),
        (
            "HARMONY_SPOTIFY_API_URL",
            "http://localhost:80/v1/",
            "spotify_api_url",
            "http://localhost:80/v1",
        ),
        ("HARMONY_TIMEZONE", "Europe/Berlin", "timezone", "Europe/Berlin"),
        ("HARMONY_EMBED_CRON", "0  4 * *  mon-fri", "embed_cron", "0 4 * * mon-fri"),
        ("HARMONY_UI_HOST", "::1", "ui_host", "::1"),
        (
            "HARMONY_BEETS_LIBRARY",
            "/音楽\u3000集/a\udcff.db",
            "beets_library",
            Path("/音楽\u3000集/a\udcff.db"),
        ),
    ],
)
def test_what_is_written_is_understood(name, value, field, expected):
    assert getattr(load_settings({name: value}), field) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HARMONY_HOME", "relative"),
        ("HARMONY_HOME", "~nobody-of-that-name/x"),
        ("HARMONY_WATCHLIST", "a\0b"),
        ("HARMONY_SPOTIFY_MARKET", "UK"),
        ("HARMONY_SPOTIFY_MARKET", "ÄÖ"),
        ("HARMONY_SPOTIFY_CONCURRENCY", "1.5"),
        ("HARMONY_SPOTIFY_CONCURRENCY", "٣"),
        ("HARMONY_SPOTIFY_REQUESTS_PER_SECOND", "nan"),
        ("HARMONY_SPOTIFY_REQUESTS_PER_SECOND", "inf"),
        ("HARMONY_SPOTIFY_API_URL", "api.spotify.com"),
        ("HARMONY_SPOTIFY_API_URL", "https://"),
        ("HARMONY_SPOTIFY_API_URL", "https://host:99999"),
        ("HARMONY_SPOTIFY_API_URL", "file:///etc/passwd"),
        ("HARMONY_DATABASE_URL", "sqlite://"),
        ("HARMONY_DATABASE_URL", "sqlite:///:memory:"),
        ("HARMONY_DATABASE_URL", "sqlite:///harmony.db?mode=ro"),
        ("HARMONY_DATABASE_URL", "sqlite:///harmony.db?timeout=abc"),
        ("HARMONY_DATABASE_URL", "harmony.db"),
        ("HARMONY_DATABASE_URL", "sqlite:///~nobody-of-that-name/harmony.db"),
        ("HARMONY_ALBUM_GROUPS", "album,albums"),
        ("HARMONY_ALBUM_GROUPS", ","),
        ("HARMONY_PATH_MAP", "/a"),
        ("HARMONY_PATH_MAP", "/a=b"),
        ("HARMONY_PATH_MAP", "/a=/b=/c"),
        ("HARMONY_PATH_MAP", "/a=/b,/a=/c"),
        ("HARMONY_BEETS_UPDATE", "maybe"),
        ("HARMONY_MISSING", "\udcff"),
        ("HARMONY_ARTWORK_MAX_BYTES", "10 apples"),
        ("HARMONY_ARTWORK_MAX_BYTES", "1TiB"),
        ("HARMONY_ARTWORK_HOSTS", "https://i.scdn.co"),
        ("HARMONY_ARTWORK_HOSTS", "host:99999"),
        ("HARMONY_TIMEZONE", "Mars/Olympus"),
        ("HARMONY_TIMEZONE", "../../etc/passwd"),
        ("HARMONY_UI_HOST", "host:80"),
        ("HARMONY_RUN_MAX_SECONDS", "9" * 30),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(name, value):
    assert fault_names(refused(**{name: value})) == [name]


@pytest.mark.parametrize(
    "line",
    ["12 * * * *", "*/15 0-6,22 1,15 jan-mar,12 *", "0 5 1 * *", "0 0 29 feb *", "0 0 * * sun,7"],
)
def test_a_cron_line_that_is_accepted_makes_a_dagster_schedule(line):
    cron = load_settings({"HARMONY_REFRESH_CRON": line}).refresh_cron
    assert dg.ScheduleDefinition(job_name="some_job", cron_schedule=cron).cron_schedule == line


@pytest.mark.parametrize(
    "line",
    [
        "hourly",
        "* * * *",
        "* * * * * *",
        "60 * * * *",
        "5-1 * * * *",
        "*/0 * * * *",
        "5/10 * * * *",
        "0 0 31 2,4 *",
        "0 0 0 * *",
        "0 0 * * 8",
        "a * * * *",
        ", * * * *",
        "1- * * * *",
    ],
)
def test_a_cron_line_that_is_never_due_is_refused(line):
    assert fault_names(refused(HARMONY_REFRESH_CRON=line)) == ["HARMONY_REFRESH_CRON"]


def test_limits_that_do_not_lie_within_each_other_are_refused():
    error = refused(
        HARMONY_RUN_MAX_SECONDS="60",
        HARMONY_ARTWORK_DEADLINE_SECONDS="50",
        HARMONY_ARTWORK_READ_SECONDS="51",
    )
    assert fault_names(error) == [
        "HARMONY_ARTWORK_DEADLINE_SECONDS",
        "HARMONY_ARTWORK_READ_SECONDS",
    ]
    assert "at most 80% of HARMONY_RUN_MAX_SECONDS, that is 48" in error.message


def test_a_default_limit_gives_way_to_a_shorter_one_that_is_written():
    settings = load_settings({"HARMONY_RUN_MAX_SECONDS": "5"})
    assert settings.artwork_deadline_seconds == 4
    assert settings.artwork_read_seconds == 4
    assert settings.artwork_connect_seconds == 4


@given(st.sampled_from(NAMES), st.text(max_size=30))
def test_whatever_is_written_is_understood_or_refused_by_name(name: str, value: str):
    try:
        load_settings({name: value})
    except HarmonyError as error:
        assert fault_names(error) == [name]


def test_every_source_of_covers_can_be_named_and_no_other(tmp_path: Path) -> None:
    names = [source.name for source in cover_sources("https://coverartarchive.org")]
    environ = {"HARMONY_HOME": str(tmp_path), "HARMONY_ARTWORK_SOURCES": ",".join(names[::-1])}
    assert load_settings(environ).artwork_sources == tuple(names[::-1])
    error = refused(HARMONY_HOME=str(tmp_path), HARMONY_ARTWORK_SOURCES="elsewhere")
    assert all(name in error.message for name in names)
