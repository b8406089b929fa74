"""Every setting: its name, default and valid range, read and checked by one function.

Nothing is read at import. A run, a tick or `make dev` calls `load_settings` when it starts.
"""

import difflib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from zoneinfo import ZoneInfo

from harmony_pipelines.clients.addresses import DEFAULT_HOSTS
from harmony_pipelines.clients.home import prepare_home
from harmony_pipelines.domain import setting_values as values
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason
from harmony_pipelines.domain.setting_values import Kind

if TYPE_CHECKING:
    import sqlalchemy as sa

_LONGEST_SHOWN = 80
_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Setting:
    """One environment variable; its default is text as the user would write it."""

    name: str
    kind: Kind[Any]
    default: str | None
    about: str
    extended: str | None = None
    """The default where the user wrote the profile `extended`."""
    unset: object = None
    """The value where there is neither a text nor a default."""
    secret: bool = False


def _expanded_path(text: str) -> Path:
    if _CONTROL_CHARACTER.search(text):
        raise ValueError(text)
    try:
        return Path(text).expanduser()
    except RuntimeError as error:  # ~somebody who is not a user of this machine
        raise ValueError(text) from error


def _home_path(text: str) -> Path:
    home = _expanded_path(text)
    if not home.is_absolute():
        raise ValueError(text)
    return home


def _database_url(text: str) -> "sa.URL":
    import sqlalchemy as sa
    from sqlalchemy.exc import ArgumentError

    try:
        url = sa.make_url(text)
    except ArgumentError as error:
        raise ValueError(text) from error
    lasting = url.database and not url.database.startswith((":memory:", "file:"))
    if url.get_backend_name() not in ("sqlite", "postgresql") or not lasting:
        raise ValueError(text)
    if url.query and url.get_backend_name() == "sqlite":  # such as ?mode=ro, which would be ignored
        raise ValueError(text)
    _expanded_path(url.database or "")
    return url


def _time_zone(text: str) -> str:
    try:
        return ZoneInfo(text).key
    except (OSError, KeyError) as error:
        raise ValueError(text) from error


_PATH = Kind(_expanded_path, "a path, absolute or relative to HARMONY_HOME")
_HOME = Kind(_home_path, "an absolute path")
_DATABASE = Kind(_database_url, "sqlite:///<path> or postgresql://<user>@<host>/<database>")
_TIME_ZONE = Kind(_time_zone, "a time zone such as Europe/Berlin or UTC")
_SECONDS = values.decimal(0.1, 3600)


class SpotifyCredentials(NamedTuple):
    """What a Spotify app signs in with."""

    client_id: str
    client_secret: str

    def __repr__(self) -> str:
        """Without the secret."""
        return f"SpotifyCredentials(client_id={self.client_id!r})"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the user has set, checked, and the defaults for the rest."""

    spotify_client_id: str | None
    spotify_client_secret: str | None = field(repr=False)
    market: str | None
    home: Path
    dagster_home: Path
    database_url: str = field(repr=False)
    watchlist_path: Path
    decisions_path: Path
    spotify_profile: str
    spotify_daily_requests: int
    spotify_requests_per_second: float
    spotify_concurrency: int
    spotify_isrc_daily_requests: int
    spotify_api_url: str
    spotify_accounts_url: str
    coverartarchive_url: str
    album_groups: tuple[str, ...]
    appears_on_max: int
    missing: str
    retention_days: int
    run_history_days: int
    beets_dir: Path | None
    beets_library: Path | None
    music_directory: Path | None
    path_map: tuple[tuple[Path, Path], ...]
    beets_update: bool
    artwork_sources: tuple[str, ...]
    artwork_search: bool
    artwork_policy: str
    artwork_hardlinks: str
    artwork_cover_file: bool
    artwork_max_rewrite_bytes: int
    artwork_undo_max_bytes: int
    artwork_hosts: tuple[str, ...]
    artwork_connect_seconds: float
    artwork_read_seconds: float
    artwork_deadline_seconds: float
    artwork_max_bytes: int
    artwork_max_pixels: int
    artwork_max_edge: int
    artwork_max_redirects: int
    artwork_concurrency: int
    run_max_seconds: int
    refresh_cron: str
    embed_cron: str
    retention_cron: str
    timezone: str
    notify_urls: tuple[str, ...] = field(repr=False)
    notify_on: tuple[str, ...]
    heartbeat_url: str | None = field(repr=False)
    ui_host: str
    ui_port: int
    ui_allowed_hosts: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    @property
    def covers_dir(self) -> Path:
        """Where downloaded covers wait to be embedded."""
        return self.home / "covers"

    @property
    def undo_dir(self) -> Path:
        """Where the pictures that were replaced are kept."""
        return self.home / "undo"

    @property
    def locks_dir(self) -> Path:
        """Where the lock files lie."""
        return self.home / "locks"

    @property
    def reports_dir(self) -> Path:
        """Where reports are written."""
        return self.home / "reports"

    def spotify_credentials(self) -> SpotifyCredentials:
        """What to sign in with; raises AUTH_REQUIRED naming what is missing."""
        client_id, secret = self.spotify_client_id, self.spotify_client_secret
        if client_id and secret:
            return SpotifyCredentials(client_id, secret)
        given = {"SPOTIPY_CLIENT_ID": client_id, "SPOTIPY_CLIENT_SECRET": secret}
        missing = [name for name, value in given.items() if not value]
        raise HarmonyError(
            ErrorCode.AUTH_REQUIRED,
            Reason.MISSING_CREDENTIALS,
            f"{' and '.join(missing)} must be set to those of your Spotify app: write them into "
            ".env (developer.spotify.com/dashboard shows them).",
            missing=missing,
        )

    def spotify_market(self) -> str:
        """The country to ask Spotify about; raises VALIDATION_ERROR if none is set."""
        if self.market:
            return self.market
        must_be = values.country().must_be
        raise _refusal([Fault("HARMONY_SPOTIFY_MARKET", "", must_be)], self.warnings)

    def prepare_home(self) -> None:
        """Create HARMONY_HOME for its owner only, or say why it cannot be used."""
        prepare_home(self.home)


SETTINGS: Mapping[str, Setting] = {
    "spotify_client_id": Setting(
        "SPOTIPY_CLIENT_ID",
        values.plain_text(),
        None,
        "Required. The client id of your Spotify app (developer.spotify.com/dashboard).",
    ),
    "spotify_client_secret": Setting(
        "SPOTIPY_CLIENT_SECRET",
        values.plain_text(),
        None,
        "Required. The client secret of the same app.",
        secret=True,
    ),
    "market": Setting(
        "HARMONY_SPOTIFY_MARKET",
        values.country(),
        None,
        "Required. The country whose catalogue counts, such as DE.",
    ),
    "home": Setting(
        "HARMONY_HOME",
        _HOME,
        "~/.local/share/harmony-pipelines",
        "Where database, covers, undo store, reports and locks live; not on a network drive.",
    ),
    "dagster_home": Setting(
        "DAGSTER_HOME",
        _PATH,
        "dagster",
        "Where `make dev` keeps Dagster's own state; below HARMONY_HOME if it is not set.",
    ),
    "database_url": Setting(
        "HARMONY_DATABASE_URL",
        _DATABASE,
        "sqlite:///$HARMONY_HOME/harmony.db",
        "The catalogue's SQL database.",
        secret=True,
    ),
    "watchlist_path": Setting(
        "HARMONY_WATCHLIST", _PATH, "watchlist.yaml", "The artists to follow."
    ),
    "decisions_path": Setting(
        "HARMONY_DECISIONS",
        _PATH,
        "decisions.yaml",
        "What you decided about matches and covers.",
    ),
    "spotify_profile": Setting(
        "HARMONY_SPOTIFY_PROFILE",
        values.choice("auto", "development", "extended"),
        "auto",
        "What your Spotify app may do: auto finds out once whether it may ask for several albums "
        "at once, and spends no more; write extended only if it has the extended quota.",
    ),
    "spotify_daily_requests": Setting(
        "HARMONY_SPOTIFY_DAILY_REQUESTS",
        values.whole(1, 1_000_000),
        "400",
        "Requests in 24 hours for each family of endpoints (extended: 20000); lower it if "
        "other programs use your apps.",
        extended="20000",
    ),
    "spotify_requests_per_second": Setting(
        "HARMONY_SPOTIFY_REQUESTS_PER_SECOND",
        values.decimal(0.01, 100_000),
        "1",
        "The pace of Spotify requests (extended: 4).",
        extended="4",
    ),
    "spotify_concurrency": Setting(
        "HARMONY_SPOTIFY_CONCURRENCY",
        values.whole(1, 32),
        "1",
        "Spotify calls in flight (extended: 8).",
        extended="8",
    ),
    "spotify_isrc_daily_requests": Setting(
        "HARMONY_SPOTIFY_ISRC_DAILY_REQUESTS",
        values.whole(0, 1_000_000),
        "0",
        "Requests in 24 hours to fetch ISRCs, one a track; 0 fetches none.",
    ),
    "spotify_api_url": Setting(
        "HARMONY_SPOTIFY_API_URL",
        values.web_url(),
        "https://api.spotify.com/v1",
        "Spotify's Web API, or a compatible server.",
    ),
    "spotify_accounts_url": Setting(
        "HARMONY_SPOTIFY_ACCOUNTS_URL",
        values.web_url(),
        "https://accounts.spotify.com",
        "Where Spotify gives out tokens.",
    ),
    "coverartarchive_url": Setting(
        "HARMONY_COVERARTARCHIVE_URL",
        values.web_url(),
        "https://coverartarchive.org",
        "The Cover Art Archive.",
    ),
    "album_groups": Setting(
        "HARMONY_ALBUM_GROUPS",
        values.choices("album", "single", "compilation", "appears_on"),
        "album,single",
        "The album groups to follow where the watchlist names none: album, single, "
        "compilation, appears_on.",
    ),
    "appears_on_max": Setting(
        "HARMONY_APPEARS_ON_MAX",
        values.whole(0, 1000),
        "50",
        "At most so many appears_on entries for each artist.",
    ),
    "missing": Setting(
        "HARMONY_MISSING",
        values.choice("albums", "albums_eps", "everything"),
        "albums_eps",
        "What counts as missing from the library: albums, albums_eps or everything.",
    ),
    "retention_days": Setting(
        "HARMONY_RETENTION_DAYS",
        values.whole(1, 36_500),
        "365",
        "Spotify content that was not refreshed for so long is forgotten.",
    ),
    "run_history_days": Setting(
        "HARMONY_RUN_HISTORY_DAYS",
        values.whole(1, 36_500),
        "90",
        "Dagster runs older than this are deleted.",
    ),
    "beets_dir": Setting("BEETSDIR", _PATH, None, "beets' own folder, if it is not the usual one."),
    "beets_library": Setting(
        "HARMONY_BEETS_LIBRARY",
        _PATH,
        None,
        "The beets database file, if it is not the one of your beets configuration.",
    ),
    "music_directory": Setting(
        "HARMONY_MUSIC_DIRECTORY",
        _PATH,
        None,
        "The folder that relative paths in the beets database hang on.",
    ),
    "path_map": Setting(
        "HARMONY_PATH_MAP",
        values.path_map(),
        None,
        "Folders as beets knows them and where they are here: /music=/mnt/nas/music.",
        unset=(),
    ),
    "beets_update": Setting(
        "HARMONY_BEETS_UPDATE",
        values.switch(),
        "off",
        "Run your own `beet update` on the albums whose files were changed.",
    ),
    "artwork_sources": Setting(
        "HARMONY_ARTWORK_SOURCES",
        values.choices("library", "coverartarchive", "spotify"),
        "library,coverartarchive,spotify",
        "Where covers come from, in this order.",
    ),
    "artwork_search": Setting(
        "HARMONY_ARTWORK_SEARCH",
        values.switch(),
        "off",
        "Look albums of artists you do not watch up on Spotify, by one search each.",
    ),
    "artwork_policy": Setting(
        "HARMONY_ARTWORK_POLICY",
        values.choice("missing", "larger", "never"),
        "missing",
        "missing: only where there is no cover; larger: replace smaller ones too; never.",
    ),
    "artwork_hardlinks": Setting(
        "HARMONY_ARTWORK_HARDLINKS",
        values.choice("skip", "break"),
        "skip",
        "Files with hard links: skip them, or break the link and write.",
    ),
    "artwork_cover_file": Setting(
        "HARMONY_ARTWORK_COVER_FILE",
        values.switch(),
        "off",
        "Write the cover as a file into the album's folder too.",
    ),
    "artwork_max_rewrite_bytes": Setting(
        "HARMONY_ARTWORK_MAX_REWRITE_BYTES",
        values.size("1", "1000TiB"),
        "20GiB",
        "A run stops after rewriting so much audio; the next one goes on.",
    ),
    "artwork_undo_max_bytes": Setting(
        "HARMONY_ARTWORK_UNDO_MAX_BYTES",
        values.size("0", "1000TiB"),
        "5GiB",
        "Room for pictures that were replaced; when it is full, replacing stops.",
    ),
    "artwork_hosts": Setting(
        "HARMONY_ARTWORK_HOSTS",
        values.hosts(),
        DEFAULT_HOSTS,
        "Hosts that covers may come from, their subdomains included; host:port allows plain "
        "http and any address for that one.",
    ),
    "artwork_connect_seconds": Setting(
        "HARMONY_ARTWORK_CONNECT_SECONDS", _SECONDS, "5", "Limit for connecting."
    ),
    "artwork_read_seconds": Setting(
        "HARMONY_ARTWORK_READ_SECONDS", _SECONDS, "10", "Limit for each wait for data."
    ),
    "artwork_deadline_seconds": Setting(
        "HARMONY_ARTWORK_DEADLINE_SECONDS",
        _SECONDS,
        "30",
        "Limit for a whole download: DNS, connecting, redirects and body.",
    ),
    "artwork_max_bytes": Setting(
        "HARMONY_ARTWORK_MAX_BYTES",
        values.size("1", "100MiB"),
        "10MiB",
        "The largest download.",
    ),
    "artwork_max_pixels": Setting(
        "HARMONY_ARTWORK_MAX_PIXELS",
        values.whole(1, 100_000_000),
        "25000000",
        "The largest picture, in pixels.",
    ),
    "artwork_max_edge": Setting(
        "HARMONY_ARTWORK_MAX_EDGE",
        values.whole(1, 65_535),
        "8192",
        "The longest edge of a picture, in pixels.",
    ),
    "artwork_max_redirects": Setting(
        "HARMONY_ARTWORK_MAX_REDIRECTS",
        values.whole(0, 10),
        "3",
        "Redirects that are followed.",
    ),
    "artwork_concurrency": Setting(
        "HARMONY_ARTWORK_CONCURRENCY", values.whole(1, 16), "4", "Downloads in flight."
    ),
    "run_max_seconds": Setting(
        "HARMONY_RUN_MAX_SECONDS",
        values.whole(1, 604_800),
        "3600",
        "A run ends after so long, however it was started.",
    ),
    "refresh_cron": Setting(
        "HARMONY_REFRESH_CRON", values.cron(), "12 * * * *", "When the catalogue is refreshed."
    ),
    "embed_cron": Setting(
        "HARMONY_EMBED_CRON", values.cron(), "0 4 * * *", "When covers are embedded."
    ),
    "retention_cron": Setting(
        "HARMONY_RETENTION_CRON", values.cron(), "0 5 1 * *", "When old content is forgotten."
    ),
    "timezone": Setting(
        "HARMONY_TIMEZONE",
        _TIME_ZONE,
        None,
        "The time zone of the three lines above; the system's.",
    ),
    "notify_urls": Setting(
        "HARMONY_NOTIFY_URLS",
        values.service_urls(),
        None,
        "Where notifications go: Apprise addresses such as ntfy://host/topic, comma separated.",
        unset=(),
        secret=True,
    ),
    "notify_on": Setting(
        "HARMONY_NOTIFY_ON",
        values.choices("failure", "recovery", "new_releases", "artwork", "review"),
        "failure,recovery",
        "What is notified: failure, recovery, new_releases, artwork, review.",
    ),
    "heartbeat_url": Setting(
        "HARMONY_HEARTBEAT_URL",
        values.secret_url(),
        None,
        "Called after every run or skip that was as it should be.",
        secret=True,
    ),
    "ui_host": Setting(
        "HARMONY_UI_HOST", values.host(), "127.0.0.1", "The address the web UI listens on."
    ),
    "ui_port": Setting(
        "HARMONY_UI_PORT", values.whole(1, 65_535), "3000", "The port of the web UI."
    ),
    "ui_allowed_hosts": Setting(
        "HARMONY_UI_ALLOWED_HOSTS",
        values.hosts(),
        None,
        "More host names under which the web UI may be called.",
        unset=(),
    ),
}
"""What the user may set, by its field of `Settings`."""


class Fault(NamedTuple):
    """A setting that cannot be used, its value as it may be shown, and what it must be."""

    name: str
    value: str
    must_be: str

    def __str__(self) -> str:
        """The fault as part of a sentence."""
        state = f"is {self.value!r}" if self.value else "is not set"
        return f"{self.name} {state} and must be {self.must_be}"


def schedule_setting(field: str) -> str:
    """A cron line or the time zone, which Dagster must know when it loads the schedules.

    One that cannot be used is the default here: code that does not load could not say why. The
    tick reads all settings and skips with what is wrong.
    """
    setting = SETTINGS[field]
    given = _given(os.environ).get(setting.name)
    try:
        return setting.kind.read(given or setting.default or _system_time_zone())
    except ValueError:
        return setting.default or _system_time_zone()


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Every setting from the environment; raises one VALIDATION_ERROR that lists all faults."""
    given = _given(os.environ if environ is None else environ)
    read, faults = _read(given)
    faults += _fit_limits(read, given)
    unknown = _unknown_names(given)
    if faults:
        raise _refusal(faults, unknown)
    read["timezone"] = read["timezone"] or _system_time_zone()
    return Settings(**_hung_on_home(read), warnings=unknown)


def _given(environ: Mapping[str, str]) -> dict[str, str]:
    stripped = {name: text.strip() for name, text in environ.items()}
    return {name: text for name, text in stripped.items() if text}


def _read(given: Mapping[str, str]) -> tuple[dict[str, Any], list[Fault]]:
    extended = given.get("HARMONY_SPOTIFY_PROFILE", "").lower() == "extended"
    read: dict[str, Any] = {}
    faults: list[Fault] = []
    for name, setting in SETTINGS.items():
        default = setting.extended if extended and setting.extended else setting.default
        text = given.get(setting.name, default)
        try:
            read[name] = setting.unset if text is None else setting.kind.read(text)
        except ValueError:
            faults.append(Fault(setting.name, _shown(setting, text), setting.kind.must_be))
    return read, faults


def _shown(setting: Setting, text: str | None) -> str:
    if setting.secret or "@" in (text or ""):
        return "(not shown)"
    printable = (text or "").encode("utf-8", "backslashreplace").decode()
    return printable if len(printable) <= _LONGEST_SHOWN else f"{printable[:_LONGEST_SHOWN]}…"


@dataclass(frozen=True)
class _Fence:
    """A limit that must lie within another, as a part of it."""

    inner: str
    outer: str
    share: float = 1.0


_FENCES = (
    # A run stops by itself at 80 % of its limit: a longer download would never end well.
    _Fence("artwork_deadline_seconds", "run_max_seconds", 0.8),
    _Fence("artwork_connect_seconds", "artwork_deadline_seconds"),
    _Fence("artwork_read_seconds", "artwork_deadline_seconds"),
)


def _fit_limits(read: dict[str, Any], given: Mapping[str, str]) -> list[Fault]:
    """The limits the user wrote that do not fit; a default that does not fit is lowered."""
    names = {name: setting.name for name, setting in SETTINGS.items()}
    faults: list[Fault] = []
    for fence in _FENCES:
        if fence.inner not in read or fence.outer not in read:
            continue
        inner, most = read[fence.inner], read[fence.outer] * fence.share
        if inner <= most:
            continue
        if names[fence.inner] in given:
            must_be = f"at most {fence.share:.0%} of {names[fence.outer]}, that is {most:g}"
            faults.append(Fault(names[fence.inner], f"{inner:g}", must_be))
        else:
            read[fence.inner] = most
    return faults


def _hung_on_home(read: Mapping[str, Any]) -> dict[str, Any]:
    home: Path = read["home"]
    placed = {
        name: home / value if isinstance(value, Path) else value for name, value in read.items()
    }
    return placed | {"database_url": _located(read["database_url"], home)}


def _located(url: "sa.URL", home: Path) -> str:
    if url.get_backend_name() == "sqlite":
        database = (url.database or "").replace("$HARMONY_HOME", str(home))
        url = url.set(database=str(home / Path(database).expanduser()))
    return url.render_as_string(hide_password=False)


def _system_time_zone() -> str:
    zone = Path("/etc/localtime").resolve().as_posix().partition("zoneinfo/")[2]
    for name in (os.environ.get("TZ", "").lstrip(":"), zone):
        try:
            return _time_zone(name)
        except ValueError:
            continue
    return "UTC"


def _unknown_names(given: Mapping[str, str]) -> tuple[str, ...]:
    known = [setting.name for setting in SETTINGS.values()]
    return tuple(
        f"{name} is not a setting and does nothing{_nearest(name, known)}."
        for name in sorted(given)
        if name.startswith("HARMONY_") and name not in known
    )


def _nearest(name: str, known: list[str]) -> str:
    found = difflib.get_close_matches(name, known, n=1)
    return f"; the nearest that is one is {found[0]}" if found else ""


def _refusal(faults: list[Fault], unknown: tuple[str, ...]) -> HarmonyError:
    said = f"{'; '.join(map(str, faults))}. Correct this in .env or in the environment."
    return HarmonyError(
        ErrorCode.VALIDATION_ERROR,
        Reason.SETTING,
        " ".join((said, *unknown)),
        faults=[fault._asdict() for fault in faults],
    )
