"""The catalogue as the Web API's JSON: full and simplified objects, pages, the two app profiles."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from harmony_pipelines.demo.catalogue_data import Catalogue
from harmony_pipelines.demo.entities import ALBUM_GROUPS, Album, Artist, Image, Track

Json = dict[str, Any]

EVERY_MARKET = ("DE", "GB", "JP", "NZ", "US")
EMBEDDED_TRACKS = 50
_REMOVED_IN_DEVELOPMENT = {
    "album": {"album_group", "available_markets", "label", "popularity"},
    "artist": {"followers", "popularity"},
    "track": {"available_markets", "linked_from", "popularity"},
}


class SpotifyJson:
    """Renders the catalogue with every address on `base_url`."""

    def __init__(self, catalogue: Catalogue, base_url: str) -> None:
        self._catalogue = catalogue
        self._base_url = base_url

    def artist(self, artist: Artist) -> Json:
        """The full artist."""
        return self._artist_reference(artist.artist_id) | {
            "followers": {"href": None, "total": artist.followers},
            "genres": list(artist.genres),
            "images": self._images(artist.images or []),
            "popularity": artist.popularity,
        }

    def simple_album(self, album: Album, group: str | None = None) -> Json:
        """The album as listings and tracks carry it; only listings know a group."""
        body = self._reference("album", album.album_id, album.name) | {
            "album_type": album.album_type,
            "total_tracks": self._total_tracks(album),
            "available_markets": list(album.markets or EVERY_MARKET),
            "images": self._images(album.images or []),
            "release_date": album.release_date,
            "release_date_precision": album.release_date_precision,
            "artists": [self._artist_reference(artist_id) for artist_id in album.artist_ids],
        }
        return body | ({"album_group": group} if group else {})

    def album(self, album: Album) -> Json:
        """The full album with its first tracks."""
        return self.simple_album(album) | {
            "tracks": self.album_tracks(album, limit=EMBEDDED_TRACKS, offset=0, query={}),
            "copyrights": [dict(line) for line in album.copyrights or ()],
            "external_ids": {"upc": album.upc} if album.upc else {},
            "genres": [],
            "label": album.label,
            "popularity": album.popularity,
        }

    def album_tracks(
        self, album: Album, *, limit: int, offset: int, query: Mapping[str, str]
    ) -> Json:
        """One page of the album's simplified tracks."""
        tracks = album.tracks[offset : offset + limit]
        return self.page(
            f"/albums/{album.album_id}/tracks",
            [self._simple_track(track, album) for track in tracks],
            total=len(album.tracks),
            query={**query, "offset": str(offset), "limit": str(limit)},
        )

    def track(self, track: Track, album: Album) -> Json:
        """The full track."""
        return self._simple_track(track, album) | {
            "album": self.simple_album(album),
            "external_ids": {"isrc": track.isrc} if track.isrc else {},
            "popularity": track.popularity,
        }

    def discography(self, artist_id: str, groups: Sequence[str], query: Mapping[str, str]) -> Json:
        """One page of an artist's albums: by group, the newest of each group first."""
        catalogue = self._catalogue
        listed = [
            (album, album.groups[artist_id])
            for album in catalogue.albums.values()
            if album.groups.get(artist_id) in groups and _is_sold_in(album, query.get("market"))
        ]
        listed.sort(key=lambda pair: pair[0].release_date, reverse=True)
        listed.sort(key=lambda pair: ALBUM_GROUPS.index(pair[1]))
        limit, offset = int(query["limit"]), int(query["offset"])
        page = self.page(
            f"/artists/{artist_id}/albums",
            [
                self.simple_album(album, group)
                for album, group in listed[offset : offset + limit]
                if album.album_id not in catalogue.ghosts
            ],
            total=len(listed),
            query=query,
        )
        return page | {"total": catalogue.reported_totals.get(artist_id, len(listed))}

    def page(
        self, path: str, items: Sequence[Json], *, total: int, query: Mapping[str, str]
    ) -> Json:
        """Spotify's page object around `items`; `query` holds at least `limit` and `offset`."""
        limit, offset = int(query["limit"]), int(query["offset"])

        def address(start: int) -> str:
            return f"{self._base_url}/v1{path}?" + urlencode({**query, "offset": start}, safe=",:")

        return {
            "href": address(offset),
            "limit": limit,
            "next": address(offset + limit) if offset + limit < total else None,
            "offset": offset,
            "previous": address(max(0, offset - limit)) if offset else None,
            "total": total,
            "items": list(items),
        }

    def _simple_track(self, track: Track, album: Album) -> Json:
        return self._reference("track", track.track_id, track.name) | {
            "artists": [self._artist_reference(artist_id) for artist_id in track.artist_ids],
            "available_markets": list(album.markets or EVERY_MARKET),
            "disc_number": track.disc_number,
            "duration_ms": track.duration_ms,
            "explicit": track.explicit,
            "is_local": False,
            "preview_url": None,
            "track_number": track.track_number,
        }

    def _artist_reference(self, artist_id: str) -> Json:
        return self._reference("artist", artist_id, self._catalogue.artists[artist_id].name)

    def _reference(self, kind: str, spotify_id: str, name: str) -> Json:
        return {
            "external_urls": {"spotify": f"https://open.spotify.com/{kind}/{spotify_id}"},
            "href": f"{self._base_url}/v1/{kind}s/{spotify_id}",
            "id": spotify_id,
            "name": name,
            "type": kind,
            "uri": f"spotify:{kind}:{spotify_id}",
        }

    def _images(self, images: Sequence[Image]) -> list[Json]:
        return [
            {
                "url": f"{self._base_url}/image/{image.image_id}",
                "height": image.height,
                "width": image.width,
            }
            for image in images
        ]

    @staticmethod
    def _total_tracks(album: Album) -> int:
        return len(album.tracks) if album.total_tracks is None else album.total_tracks


def as_development_app_sees(body: Any) -> Any:
    """The same JSON without the fields that development apps lost in February 2026."""
    if isinstance(body, list):
        return [as_development_app_sees(item) for item in body]
    if not isinstance(body, dict):
        return body
    removed = _REMOVED_IN_DEVELOPMENT.get(body.get("type", ""), set())
    return {
        name: as_development_app_sees(value) for name, value in body.items() if name not in removed
    }


def _is_sold_in(album: Album, market: str | None) -> bool:
    return market is None or album.markets is None or market in album.markets
