"""The tables of the catalogue; public and versioned: a user's own tools may read them.

Times are UTC ISO 8601 text, lists JSON arrays in text, booleans 0 or 1, paths absolute and UTF-8
with other bytes as `%XX`.
"""

import sqlalchemy as sa

metadata = sa.MetaData()


def _text(name: str, *, key: bool = False, null: bool = True) -> sa.Column[str]:
    return sa.Column(name, sa.Text, primary_key=key, nullable=null and not key)


def _number(name: str, *, key: bool = False, null: bool = True) -> sa.Column[int]:
    return sa.Column(
        name, sa.BigInteger, primary_key=key, nullable=null and not key, autoincrement=False
    )


watchlist = sa.Table(
    "watchlist",
    metadata,
    _text("artist_id", key=True),
    _text("partition_key", null=False),
    _text("name", null=False),
    _number("line"),
    _text("source"),
    _text("groups"),
    _number("paused", null=False),
    _text("added_at", null=False),
)

watchlist_names = sa.Table(
    "watchlist_names",
    metadata,
    _text("text", key=True),
    _text("artist_id", null=False),
    _text("name", null=False),
    _text("evidence", null=False),
    _text("resolved_at", null=False),
)
"""Which artist a name of the watchlist was resolved to, and on what evidence."""

watchlist_review = sa.Table(
    "watchlist_review",
    metadata,
    _number("line", key=True),
    _text("text", null=False),
    _text("candidates"),
    _text("code", null=False),
    _text("message", null=False),
    _text("first_seen_at", null=False),
    _text("checked_at"),
)
"""The lines that name nobody for certain.

`line` is negative for an artist of the library that `from_beets` names: -1 is the first of them.
`checked_at` is when Spotify was last asked; it is null where there was nothing to ask.
"""

spotify_artists = sa.Table(
    "spotify_artists",
    metadata,
    _text("artist_id", key=True),
    _text("name"),
    _text("genres"),
    _text("image_url"),
    _text("spotify_url"),
    _text("fetched_at"),
    _number("popularity"),
    _number("followers"),
)

spotify_albums = sa.Table(
    "spotify_albums",
    metadata,
    _text("artist_id", key=True),
    _text("album_id", key=True),
    _text("name"),
    _text("artists"),
    _text("album_type"),
    _text("album_group"),
    _text("release_date"),
    _text("release_date_precision"),
    _number("total_tracks"),
    _text("upc"),
    _text("label"),
    _text("image_url"),
    _number("image_width"),
    _number("image_height"),
    _text("spotify_url"),
    _text("first_seen_at", null=False),
    _text("last_seen_at", null=False),
    _text("removed_at"),
    _text("fetched_at"),
    _text("listed_as"),
    _text("body_due_at"),
    sa.Index("spotify_albums_by_body_due", "body_due_at"),
)
"""Every release that was ever listed.

`listed_as` is a fingerprint of the listing's entry, by which a change is seen; `body_due_at` is
when the body is to be read, again or for the first time. The empty shell that Spotify leaves of a
withdrawn release has an empty `name` and the `release_date` "0000".
"""

spotify_tracks = sa.Table(
    "spotify_tracks",
    metadata,
    _text("artist_id", key=True),
    _text("track_id", key=True),
    _text("album_id", null=False),
    _text("name"),
    _text("artists"),
    _number("disc_number"),
    _number("track_number"),
    _number("duration_ms"),
    _number("explicit"),
    _text("isrc"),
    _text("spotify_url"),
    sa.Index("spotify_tracks_by_album", "artist_id", "album_id"),
)

new_releases = sa.Table(
    "new_releases",
    metadata,
    _text("artist_id", key=True),
    _text("album_id", key=True),
    _text("artist_name"),
    _text("name"),
    _text("album_type"),
    _text("album_group"),
    _text("release_date"),
    _text("spotify_url"),
    _text("image_url"),
    _text("first_seen_at", null=False),
    _text("run_id"),
    _text("hidden_reason"),
    _number("recent", null=False),
    _text("told_at"),
)
"""`told_at` is when a notification was made of it, or when it was too old for one."""

refresh_state = sa.Table(
    "refresh_state",
    metadata,
    _text("artist_id", key=True),
    _text("status", null=False),
    _text("code"),
    _text("reason"),
    _text("message"),
    _number("attempts", null=False),
    _text("last_attempt_at"),
    _text("last_complete_at"),
    _text("last_listed_at"),
    _text("materialised_at"),
    _text("baseline_at"),
    _text("next_due_at"),
    _text("market"),
    _text("groups"),
    _number("bodies_pending", null=False),
    _number("requests", null=False),
)
"""How each artist's last refresh ended.

`last_complete_at` is when a refresh last saw all that may be new, `last_listed_at` when the
listings were last read to their end: only then can it be seen that an album is gone.
`materialised_at` is the attempt of which Dagster was told last; null if there is more to tell.
An artist whose listing is whole while album bodies wait is `deferred`, with their number in
`bodies_pending`; `requests` are those of the last listing and of the bodies since.
"""

beets_albums = sa.Table(
    "beets_albums",
    metadata,
    _number("beets_album_id", key=True),
    _text("albumartist"),
    _text("album"),
    _number("year"),
    _number("original_year"),
    _number("comp"),
    _text("mb_albumid"),
    _text("mb_releasegroupid"),
    _text("barcode"),
    _text("spotify_album_id"),
    _text("artpath"),
    _number("tracks"),
    _number("missing_files"),
    _text("mb_albumartistid"),
)

beets_tracks = sa.Table(
    "beets_tracks",
    metadata,
    _number("beets_item_id", key=True),
    _number("beets_album_id"),
    _text("path"),
    _text("title"),
    _text("artist"),
    _number("disc"),
    _number("track"),
    _number("duration_ms"),
    _text("isrc"),
    _number("size"),
    _number("mtime"),
    _number("has_front"),
    _text("front_sha256"),
    _number("front_width"),
    _number("front_height"),
    _text("front_code"),
    _text("front_reason"),
    _text("front_tried"),
    sa.Index("beets_tracks_by_album", "beets_album_id"),
)

album_matches = sa.Table(
    "album_matches",
    metadata,
    _number("beets_album_id", key=True),
    _text("album_id"),
    sa.Column("score", sa.Float),
    _text("verdict", null=False),
    _text("reason"),
    _text("message"),
    _text("candidates"),
    _text("decided_by"),
)

missing_from_library = sa.Table(
    "missing_from_library",
    metadata,
    _text("artist_id", key=True),
    _text("album_id", key=True),
    _text("track_id", key=True),
    _text("artist_name"),
    _text("name"),
    _text("album_type"),
    _text("release_date"),
    _number("total_tracks"),
    _text("spotify_url"),
    _text("reason"),
    _text("hidden_reason"),
)

artwork_results = sa.Table(
    "artwork_results",
    metadata,
    _text("run_id", key=True),
    _text("path", key=True),
    _number("beets_album_id"),
    _text("album_id"),
    _text("status", null=False),
    _text("code"),
    _text("reason"),
    _text("message"),
    _text("source"),
    _text("source_url"),
    _number("bytes"),
    _number("width"),
    _number("height"),
    _text("sha256"),
    _text("old_sha256"),
    _number("sequence"),
    sa.Index("artwork_results_in_order", "sequence"),
)
"""What was done to which file; it is also the journal that undo reads, so rows stay.

`sequence` grows with each commit: the order in which the pictures of a file came and went.
"""

artwork_undo = sa.Table(
    "artwork_undo",
    metadata,
    _text("run_id", key=True),
    _text("path", key=True),
    _number("beets_item_id"),
    _number("size"),
    _text("audio"),
    _text("delta"),
)
"""How a change in `artwork_results` is undone to the last byte, also after the file was moved.

`size` is the changed file's, `audio` the fingerprint of its sound, by which it is known again;
`delta` is the SHA-256 of what leads back, which lies among the replaced pictures.
"""

cover_files = sa.Table(
    "cover_files",
    metadata,
    _text("folder", key=True),
    _number("beets_album_id"),
    _text("path"),
    _text("sha256"),
    _text("code"),
    _text("reason"),
    _number("folder_changed"),
    _text("run_id", null=False),
)
"""The cover files that we put beside tracks, and why we put none into a folder.

A file at `path` whose SHA-256 is another is not ours. `folder_changed` is the folder's time of
change in nanoseconds when we were done with it; null if we may not have ended.
"""

album_searches = sa.Table(
    "album_searches",
    metadata,
    _text("query", key=True),
    _number("attempts", null=False),
    _text("albums", null=False),
    _text("searched_at", null=False),
    _text("next_search_at", null=False),
)
"""What searches for albums of unwatched artists found, as JSON, and when each is due again."""

cover_failures = sa.Table(
    "cover_failures",
    metadata,
    _text("source_url", key=True),
    _number("attempts", null=False),
    _text("code", null=False),
    _text("tried_at", null=False),
    _text("next_attempt_at", null=False),
)
"""Sources of covers that failed, and when each is worth another try."""

spotify_calls = sa.Table(
    "spotify_calls",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    _text("family", null=False),
    sa.Column("called_at", sa.Double, nullable=False),
    sa.Index("spotify_calls_by_family", "family", "called_at"),
)
"""The calls to Spotify of the last day, by family; `called_at` in seconds since 1970."""

spotify_state = sa.Table(
    "spotify_state",
    metadata,
    _text("key", key=True),
    _text("value", null=False),
)
"""What all processes know of Spotify: pace, cooldown, learned budgets, what the app may do."""

problems = sa.Table(
    "problems",
    metadata,
    _text("code", key=True),
    _text("subject", key=True),
    _text("scope", null=False),
    _text("reason"),
    _text("message"),
    _text("run_id"),
    _text("began_at", null=False),
    _text("told_at", null=False),
    _text("until"),
)
"""The problems that have not ended, so that the user is told of each once and not at every run.

`scope` is who looks whether it has: a job, `artists` of which each refresh says, or `review`.
`until` is the end of a cooldown. Only kept where HARMONY_NOTIFY_URLS names a service.
"""

outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    _text("service", null=False),
    _text("event", null=False),
    _text("code"),
    _text("run_id"),
    _text("title", null=False),
    _text("body", null=False),
    _text("counts", null=False),
    _text("items", null=False),
    _text("created_at", null=False),
    _number("attempts", null=False),
    _text("next_attempt_at"),
    sa.Index("outbox_by_next_attempt", "next_attempt_at"),
)
"""Messages that wait for their service, whose name is made of its address without telling it."""
