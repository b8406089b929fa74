"""What each column of the public tables holds, as the UI shows it; the tests hold it to the tables.

A type is `text` unless another is said; times are UTC ISO 8601 text, lists JSON.
"""

from collections.abc import Mapping
from typing import NamedTuple


class Column(NamedTuple):
    """What a column holds, its type, and the columns of other assets that it comes from."""

    about: str
    type: str = "text"
    source: tuple[tuple[str, str], ...] = ()


def _from(asset: str, column: str, about: str, kind: str = "text") -> Column:
    return Column(about, kind, ((asset, column),))


_NUMBER, _SWITCH, _TIME, _LIST = "integer", "0 or 1", "time", "JSON list"
_ALBUMS, _TRACKS = "spotify_albums", "spotify_tracks"
_ARTIST_ID = Column("Spotify's id of the artist.")
_ALBUM_ID = Column("Spotify's id of the album.")
_LINK = Column("Where Spotify shows it.")

COLUMNS: Mapping[str, Mapping[str, Column]] = {
    "watchlist": {
        "artist_id": _ARTIST_ID,
        "partition_key": Column("The artist's partition; fixed at first sight."),
        "name": Column("As Spotify has it."),
        "line": Column(
            "Where in watchlist.yaml; null if only the library names the artist.", _NUMBER
        ),
        "source": Column("What named the artist: the file or the library."),
        "groups": Column("The album groups that are followed.", _LIST),
        "paused": Column("Kept, but not asked for.", _SWITCH),
        "added_at": Column("When it was first seen on the watchlist.", _TIME),
    },
    "spotify_artists": {
        "artist_id": _ARTIST_ID,
        "name": Column("The artist's name."),
        "genres": Column("As Spotify has them.", _LIST),
        "image_url": Column("The artist's largest picture."),
        "spotify_url": _LINK,
        "fetched_at": Column("When Spotify was last asked about the artist.", _TIME),
        "popularity": Column("0 to 100; null where the app may not see it.", _NUMBER),
        "followers": Column("Null where the app may not see them.", _NUMBER),
    },
    "spotify_albums": {
        "artist_id": _from("watchlist", "artist_id", "The watched artist."),
        "album_id": _ALBUM_ID,
        "name": Column("The album's title; null if retention forgot it."),
        "artists": Column("Ids and names of its artists.", _LIST),
        "album_type": Column("What it is: album, single, compilation."),
        "album_group": Column("How it relates to the artist: the types, or appears_on."),
        "release_date": Column("A year, month or day."),
        "release_date_precision": Column("year, month or day."),
        "total_tracks": Column("How many tracks Spotify says it has.", _NUMBER),
        "upc": Column("Its bar code; null until its body is fetched."),
        "label": Column("Its label; null until its body is fetched."),
        "image_url": Column("Its largest cover."),
        "image_width": Column("Pixels.", _NUMBER),
        "image_height": Column("Pixels.", _NUMBER),
        "spotify_url": _LINK,
        "first_seen_at": Column("When a listing first had it.", _TIME),
        "last_seen_at": Column("When a listing last had it.", _TIME),
        "removed_at": Column("When two listings in a row no longer had it.", _TIME),
        "fetched_at": Column("When its body was read; null: listed, body pending.", _TIME),
        "listed_as": Column("A fingerprint of its entry in the listing, to see a change by."),
        "body_due_at": Column("When its body is worth another request.", _TIME),
    },
    "spotify_tracks": {
        "artist_id": _from("watchlist", "artist_id", "The watched artist."),
        "track_id": Column("Spotify's id of the track."),
        "album_id": _from(_ALBUMS, "album_id", "The album it is on."),
        "name": Column("The track's title."),
        "artists": Column("Ids and names of its artists.", _LIST),
        "disc_number": Column("From 1.", _NUMBER),
        "track_number": Column("From 1, on its disc.", _NUMBER),
        "duration_ms": Column("Milliseconds.", _NUMBER),
        "explicit": Column("As Spotify marks it.", _SWITCH),
        "isrc": Column("The recording's code; null until fetched, empty if Spotify has none."),
        "spotify_url": _LINK,
    },
    "new_releases": {
        "artist_id": _from(_ALBUMS, "artist_id", "The watched artist."),
        "album_id": _from(_ALBUMS, "album_id", "What is new."),
        "artist_name": _from("spotify_artists", "name", "The artist's name then."),
        "name": _from(_ALBUMS, "name", "The album's title then."),
        "album_type": _from(_ALBUMS, "album_type", "album, single, compilation."),
        "album_group": _from(_ALBUMS, "album_group", "How it relates to the artist."),
        "release_date": _from(_ALBUMS, "release_date", "A year, month or day."),
        "spotify_url": _from(_ALBUMS, "spotify_url", "Where Spotify shows it."),
        "image_url": _from(_ALBUMS, "image_url", "Its largest cover."),
        "first_seen_at": _from(_ALBUMS, "first_seen_at", "When it was found.", _TIME),
        "run_id": Column("The run that found it."),
        "hidden_reason": Column("Why it is not shown; null: it is."),
        "recent": Column("It is from just before the artist was first looked at.", _SWITCH),
        "told_at": Column("When a notification was made of it, or it was too old for one.", _TIME),
    },
    "beets_albums": {
        "beets_album_id": Column("beets' own id.", _NUMBER),
        "albumartist": Column("As beets has it."),
        "album": Column("The album's title."),
        "year": Column("Of this release.", _NUMBER),
        "original_year": Column("Of the first release.", _NUMBER),
        "comp": Column("Whether it is a compilation.", _SWITCH),
        "mb_albumid": Column("MusicBrainz' id of the release."),
        "mb_releasegroupid": Column("MusicBrainz' id of the release group."),
        "barcode": Column("As beets has it."),
        "spotify_album_id": Column("Where beets was told it."),
        "artpath": Column("The album's own cover file."),
        "tracks": Column("How many the library has.", _NUMBER),
        "missing_files": Column("Tracks whose file is not there.", _NUMBER),
        "mb_albumartistid": Column("MusicBrainz' id of the album's artist."),
    },
    "beets_tracks": {
        "beets_item_id": Column("beets' own id.", _NUMBER),
        "beets_album_id": _from("beets_albums", "beets_album_id", "Null: no album.", _NUMBER),
        "path": Column("Absolute, on this machine."),
        "title": Column("The track's title."),
        "artist": Column("As beets has it."),
        "disc": Column("From 1.", _NUMBER),
        "track": Column("From 1.", _NUMBER),
        "duration_ms": Column("Milliseconds.", _NUMBER),
        "isrc": Column("The recording's code."),
        "size": Column("Bytes; null: the file is not there.", _NUMBER),
        "mtime": Column("Nanoseconds since 1970.", _NUMBER),
        "has_front": Column("Whether it has a front cover; null: not looked into.", _SWITCH),
        "front_sha256": Column("Of its front cover."),
        "front_width": Column("Pixels.", _NUMBER),
        "front_height": Column("Pixels.", _NUMBER),
        "front_code": Column("Why no cover can be put into it."),
        "front_reason": Column("The stable word for that."),
        "front_tried": Column("What was tried on it and not taken."),
    },
    "album_matches": {
        "beets_album_id": _from("beets_albums", "beets_album_id", "The library's album.", _NUMBER),
        "album_id": _from(_ALBUMS, "album_id", "The Spotify album it is; null if none is certain."),
        "score": Column("0 to 1; 1 is equal.", "float"),
        "verdict": Column("matched, unsure, ambiguous or unmatched."),
        "reason": Column("A stable word for why."),
        "message": Column("Why, as a sentence."),
        "candidates": Column("The albums that came into question, best first.", _LIST),
        "decided_by": Column("What decided it: an id, a bar code, titles, or you."),
    },
    "missing_from_library": {
        "artist_id": _from(_ALBUMS, "artist_id", "The watched artist."),
        "album_id": _from(_ALBUMS, "album_id", "What is missing, or what a missing track is on."),
        "track_id": _from(_TRACKS, "track_id", "The missing track; empty for a whole album."),
        "artist_name": _from("spotify_artists", "name", "The artist's name."),
        "name": Column(
            "The album's or track's title.", "text", ((_ALBUMS, "name"), (_TRACKS, "name"))
        ),
        "album_type": _from(_ALBUMS, "album_type", "album, single, compilation."),
        "release_date": _from(_ALBUMS, "release_date", "A year, month or day."),
        "total_tracks": _from(_ALBUMS, "total_tracks", "How many tracks it has.", _NUMBER),
        "spotify_url": _from(_ALBUMS, "spotify_url", "Where Spotify shows it."),
        "reason": Column("album or track."),
        "hidden_reason": Column("Why it does not count; null: it does."),
    },
    "embedded_artwork": {
        "run_id": Column("The run that did it."),
        "path": _from("beets_tracks", "path", "The file."),
        "beets_album_id": _from("beets_tracks", "beets_album_id", "Its album.", _NUMBER),
        "album_id": _from("album_matches", "album_id", "The Spotify album it was matched with."),
        "status": Column("embedded, skipped, failed or restored."),
        "code": Column("Why it failed or was left alone."),
        "reason": Column("The stable word for that."),
        "message": Column("What to do about it."),
        "source": Column("Where the cover is from: library, coverartarchive, spotify."),
        "source_url": Column("The very place."),
        "bytes": Column("The cover's size.", _NUMBER),
        "width": Column("Pixels.", _NUMBER),
        "height": Column("Pixels.", _NUMBER),
        "sha256": Column("Of the cover that is in it now."),
        "old_sha256": Column("Of the cover that was in it."),
        "sequence": Column("Grows with each commit.", _NUMBER),
    },
}
"""By asset; the rows of `embedded_artwork` are in the table `artwork_results`."""
