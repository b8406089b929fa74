"""The tables as they were before the catalogue had a version."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "album_matches",
        sa.Column("beets_album_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("album_id", sa.Text()),
        sa.Column("score", sa.Float()),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("message", sa.Text()),
        sa.Column("candidates", sa.Text()),
        sa.Column("decided_by", sa.Text()),
        sa.PrimaryKeyConstraint("beets_album_id"),
    )
    op.create_table(
        "artwork_results",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("beets_album_id", sa.BigInteger()),
        sa.Column("album_id", sa.Text()),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("code", sa.Text()),
        sa.Column("reason", sa.Text()),
        sa.Column("message", sa.Text()),
        sa.Column("source", sa.Text()),
        sa.Column("source_url", sa.Text()),
        sa.Column("bytes", sa.BigInteger()),
        sa.Column("width", sa.BigInteger()),
        sa.Column("height", sa.BigInteger()),
        sa.Column("sha256", sa.Text()),
        sa.Column("old_sha256", sa.Text()),
        sa.Column("sequence", sa.BigInteger()),
        sa.PrimaryKeyConstraint("run_id", "path"),
    )
    with op.batch_alter_table("artwork_results") as batch_op:
        batch_op.create_index("artwork_results_in_order", ["sequence"], unique=False)

    op.create_table(
        "beets_albums",
        sa.Column("beets_album_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("albumartist", sa.Text()),
        sa.Column("album", sa.Text()),
        sa.Column("year", sa.BigInteger()),
        sa.Column("original_year", sa.BigInteger()),
        sa.Column("comp", sa.BigInteger()),
        sa.Column("mb_albumid", sa.Text()),
        sa.Column("mb_releasegroupid", sa.Text()),
        sa.Column("barcode", sa.Text()),
        sa.Column("spotify_album_id", sa.Text()),
        sa.Column("artpath", sa.Text()),
        sa.Column("tracks", sa.BigInteger()),
        sa.Column("missing_files", sa.BigInteger()),
        sa.PrimaryKeyConstraint("beets_album_id"),
    )
    op.create_table(
        "beets_tracks",
        sa.Column("beets_item_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("beets_album_id", sa.BigInteger()),
        sa.Column("path", sa.Text()),
        sa.Column("title", sa.Text()),
        sa.Column("artist", sa.Text()),
        sa.Column("disc", sa.BigInteger()),
        sa.Column("track", sa.BigInteger()),
        sa.Column("duration_ms", sa.BigInteger()),
        sa.Column("isrc", sa.Text()),
        sa.Column("size", sa.BigInteger()),
        sa.Column("mtime", sa.BigInteger()),
        sa.Column("has_front", sa.BigInteger()),
        sa.Column("front_sha256", sa.Text()),
        sa.Column("front_width", sa.BigInteger()),
        sa.Column("front_height", sa.BigInteger()),
        sa.Column("front_code", sa.Text()),
        sa.Column("front_reason", sa.Text()),
        sa.Column("front_tried", sa.Text()),
        sa.PrimaryKeyConstraint("beets_item_id"),
    )
    with op.batch_alter_table("beets_tracks") as batch_op:
        batch_op.create_index("beets_tracks_by_album", ["beets_album_id"], unique=False)

    op.create_table(
        "cover_failures",
        sa.Column("source_url", sa.Text(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("tried_at", sa.Text(), nullable=False),
        sa.Column("next_attempt_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("source_url"),
    )
    op.create_table(
        "missing_from_library",
        sa.Column("artist_id", sa.Text(), nullable=False),
        sa.Column("album_id", sa.Text(), nullable=False),
        sa.Column("track_id", sa.Text(), nullable=False),
        sa.Column("artist_name", sa.Text()),
        sa.Column("name", sa.Text()),
        sa.Column("album_type", sa.Text()),
        sa.Column("release_date", sa.Text()),
        sa.Column("total_tracks", sa.BigInteger()),
        sa.Column("spotify_url", sa.Text()),
        sa.Column("reason", sa.Text()),
        sa.Column("hidden_reason", sa.Text()),
        sa.PrimaryKeyConstraint("artist_id", "album_id", "track_id"),
    )
    op.create_table(
        "new_releases",
        sa.Column("artist_id", sa.Text(), nullable=False),
        sa.Column("album_id", sa.Text(), nullable=False),
        sa.Column("artist_name", sa.Text()),
        sa.Column("name", sa.Text()),
        sa.Column("album_type", sa.Text()),
        sa.Column("album_group", sa.Text()),
        sa.Column("release_date", sa.Text()),
        sa.Column("spotify_url", sa.Text()),
        sa.Column("image_url", sa.Text()),
        sa.Column("first_seen_at", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text()),
        sa.Column("hidden_reason", sa.Text()),
        sa.Column("recent", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("artist_id", "album_id"),
    )
    op.create_table(
        "refresh_state",
        sa.Column("artist_id", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("code", sa.Text()),
        sa.Column("reason", sa.Text()),
        sa.Column("message", sa.Text()),
        sa.Column("attempts", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("last_attempt_at", sa.Text()),
        sa.Column("last_complete_at", sa.Text()),
        sa.Column("last_listed_at", sa.Text()),
        sa.Column("materialised_at", sa.Text()),
        sa.Column("baseline_at", sa.Text()),
        sa.Column("next_due_at", sa.Text()),
        sa.Column("market", sa.Text()),
        sa.Column("groups", sa.Text()),
        sa.Column("bodies_pending", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("requests", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("artist_id"),
    )
    op.create_table(
        "spotify_albums",
        sa.Column("artist_id", sa.Text(), nullable=False),
        sa.Column("album_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text()),
        sa.Column("artists", sa.Text()),
        sa.Column("album_type", sa.Text()),
        sa.Column("album_group", sa.Text()),
        sa.Column("release_date", sa.Text()),
        sa.Column("release_date_precision", sa.Text()),
        sa.Column("total_tracks", sa.BigInteger()),
        sa.Column("upc", sa.Text()),
        sa.Column("label", sa.Text()),
        sa.Column("image_url", sa.Text()),
        sa.Column("image_width", sa.BigInteger()),
        sa.Column("image_height", sa.BigInteger()),
        sa.Column("spotify_url", sa.Text()),
        sa.Column("first_seen_at", sa.Text(), nullable=False),
        sa.Column("last_seen_at", sa.Text(), nullable=False),
        sa.Column("removed_at", sa.Text()),
        sa.Column("fetched_at", sa.Text()),
        sa.PrimaryKeyConstraint("artist_id", "album_id"),
    )
    op.create_table(
        "spotify_artists",
        sa.Column("artist_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text()),
        sa.Column("genres", sa.Text()),
        sa.Column("image_url", sa.Text()),
        sa.Column("spotify_url", sa.Text()),
        sa.Column("fetched_at", sa.Text()),
        sa.Column("popularity", sa.BigInteger()),
        sa.Column("followers", sa.BigInteger()),
        sa.PrimaryKeyConstraint("artist_id"),
    )
    op.create_table(
        "spotify_tracks",
        sa.Column("artist_id", sa.Text(), nullable=False),
        sa.Column("track_id", sa.Text(), nullable=False),
        sa.Column("album_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text()),
        sa.Column("artists", sa.Text()),
        sa.Column("disc_number", sa.BigInteger()),
        sa.Column("track_number", sa.BigInteger()),
        sa.Column("duration_ms", sa.BigInteger()),
        sa.Column("explicit", sa.BigInteger()),
        sa.Column("isrc", sa.Text()),
        sa.Column("spotify_url", sa.Text()),
        sa.PrimaryKeyConstraint("artist_id", "track_id"),
    )
    with op.batch_alter_table("spotify_tracks") as batch_op:
        batch_op.create_index("spotify_tracks_by_album", ["artist_id", "album_id"], unique=False)

    op.create_table(
        "watchlist",
        sa.Column("artist_id", sa.Text(), nullable=False),
        sa.Column("partition_key", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("line", sa.BigInteger()),
        sa.Column("source", sa.Text()),
        sa.Column("groups", sa.Text()),
        sa.Column("paused", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("added_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("artist_id"),
    )
    op.create_table(
        "watchlist_names",
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("artist_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("resolved_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("text"),
    )
    op.create_table(
        "watchlist_review",
        sa.Column("line", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("candidates", sa.Text()),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("first_seen_at", sa.Text(), nullable=False),
        sa.Column("checked_at", sa.Text()),
        sa.PrimaryKeyConstraint("line"),
    )
