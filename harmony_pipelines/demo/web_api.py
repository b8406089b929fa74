"""The Web API's catalogue endpoints, with the limits and gaps of each app profile."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from harmony_pipelines.demo.catalogue_data import Catalogue
from harmony_pipelines.demo.entities import ALBUM_GROUPS
from harmony_pipelines.demo.exchange import Query, Refusal
from harmony_pipelines.demo.search import found_albums, found_artists, found_tracks
from harmony_pipelines.demo.spotify_json import Json, SpotifyJson, as_development_app_sees

_BATCH_SIZES = {"albums": 20, "artists": 50, "tracks": 50}


@dataclass(frozen=True)
class PageLimits:
    """The most a page may hold and what it holds unasked."""

    most: int
    default: int


class WebApi:
    """Answers from the catalogue, as an app of the profile gets them."""

    def __init__(self, catalogue: Catalogue, url: str, profile: str) -> None:
        self._catalogue = catalogue
        self._is_development = profile == "development"
        self._json = SpotifyJson(catalogue, url)
        self._listing_limits = PageLimits(10, 5) if self._is_development else PageLimits(50, 20)

    def content(self, family: str, query: Query, spotify_id: str | None) -> Json:
        """The JSON for one address."""
        market = query.parameters.get("market")
        if market is not None and not re.fullmatch("[A-Z]{2}", market):
            raise Refusal(400, "Invalid market code")
        with self._catalogue.lock:
            content = self._content(family, query, spotify_id)
        return as_development_app_sees(content) if self._is_development else content

    def _content(self, family: str, query: Query, spotify_id: str | None) -> Json:
        if family == "search":
            return self._search(query)
        if spotify_id is None:
            return self._batch(family, query)
        _check_id(spotify_id)
        views: dict[str, Callable[[Query, str], Json | None]] = {
            "artists": lambda _, artist_id: self._artist(artist_id),
            "artist_albums": self._artist_albums,
            "albums": lambda _, album_id: self._album(album_id),
            "album_tracks": self._album_tracks,
            "tracks": lambda _, track_id: self._track(track_id),
        }
        content = views[family](query, spotify_id)
        if content is None:
            raise Refusal(404, "Resource not found")
        return content

    def _artist(self, artist_id: str) -> Json | None:
        artist = self._catalogue.artists.get(artist_id)
        return self._json.artist(artist) if artist else None

    def _album(self, album_id: str) -> Json | None:
        album = self._catalogue.albums.get(album_id)
        return self._json.album(album) if album else None

    def _track(self, track_id: str) -> Json | None:
        found = self._catalogue.track(track_id)
        return self._json.track(found[1], found[0]) if found else None

    def _artist_albums(self, query: Query, artist_id: str) -> Json | None:
        if artist_id not in self._catalogue.artists:
            return None
        limit, offset = _page_of(query, self._listing_limits)
        groups = (query.parameters.get("include_groups") or ",".join(ALBUM_GROUPS)).split(",")
        if not set(groups) <= set(ALBUM_GROUPS):
            raise Refusal(400, "Invalid album type")
        parameters = {**query.parameters, "limit": str(limit), "offset": str(offset)}
        return self._json.discography(artist_id, groups, parameters)

    def _album_tracks(self, query: Query, album_id: str) -> Json | None:
        album = self._catalogue.albums.get(album_id)
        if album is None:
            return None
        limit, offset = _page_of(query, PageLimits(50, 20))
        return self._json.album_tracks(album, limit=limit, offset=offset, query=query.parameters)

    def _batch(self, family: str, query: Query) -> Json:
        if self._is_development:
            raise Refusal(403, "Forbidden")
        ids = query.parameters.get("ids", "").split(",")
        if len(ids) > _BATCH_SIZES[family]:
            raise Refusal(400, "Too many ids requested")
        for spotify_id in ids:
            _check_id(spotify_id)
        view = {"artists": self._artist, "albums": self._album, "tracks": self._track}[family]
        return {family: [view(spotify_id) for spotify_id in ids]}

    def _search(self, query: Query) -> Json:
        text = query.parameters.get("q", "").strip()
        if not text:
            raise Refusal(400, "No search query")
        kinds = query.parameters.get("type", "").split(",")
        renderers: dict[str, Callable[[], list[Json]]] = {
            "artist": lambda: [self._json.artist(a) for a in found_artists(self._catalogue, text)],
            "album": lambda: [
                self._json.simple_album(a) for a in found_albums(self._catalogue, text)
            ],
            "track": lambda: [
                self._json.track(t, a) for a, t in found_tracks(self._catalogue, text)
            ],
        }
        if not set(kinds) <= set(renderers):
            raise Refusal(400, "Bad search type field")
        limit, offset = _page_of(query, self._listing_limits)
        parameters = {**query.parameters, "limit": str(limit), "offset": str(offset)}
        pages: Json = {}
        for kind in kinds:
            items = renderers[kind]()
            shown = items[offset : offset + limit]
            pages[f"{kind}s"] = self._json.page(
                "/search", shown, total=len(items), query=parameters
            )
        return pages


def _page_of(query: Query, limits: PageLimits) -> tuple[int, int]:
    limit = _whole_number(query, "limit", limits.default)
    if not 1 <= limit <= limits.most:
        raise Refusal(400, "Invalid limit")
    return limit, _whole_number(query, "offset", 0)


def _whole_number(query: Query, name: str, default: int) -> int:
    text = query.parameters.get(name, str(default))
    if not re.fullmatch("[0-9]{1,6}", text):
        raise Refusal(400, f"Invalid {name}")
    return int(text)


def _check_id(spotify_id: str) -> None:
    if not re.fullmatch("[0-9A-Za-z]{22}", spotify_id):
        raise Refusal(400, "Invalid base62 id")
