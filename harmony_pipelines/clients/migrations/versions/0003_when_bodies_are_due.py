"""When an album's body is to be read, and by what a changed listing is known."""

from datetime import datetime

import sqlalchemy as sa
from alembic import op

from harmony_pipelines.domain.cadence import BODY_LASTS

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add them; what is stored is due as long after it was read as any body."""
    op.add_column("spotify_albums", sa.Column("listed_as", sa.Text()))
    op.add_column("spotify_albums", sa.Column("body_due_at", sa.Text()))
    op.create_index("spotify_albums_by_body_due", "spotify_albums", ["body_due_at"])
    _fill(op.get_bind())


def _fill(connection: sa.Connection) -> None:
    found = connection.execute(
        sa.text("SELECT artist_id, album_id, first_seen_at, fetched_at FROM spotify_albums")
    )
    rows = [
        {"artist": artist, "album": album, "due": _due(first_seen_at, fetched_at)}
        for artist, album, first_seen_at, fetched_at in found
    ]
    if rows:
        connection.execute(
            sa.text(
                "UPDATE spotify_albums SET body_due_at = :due "
                "WHERE artist_id = :artist AND album_id = :album"
            ),
            rows,
        )


def _due(first_seen_at: str, fetched_at: str | None) -> str:
    if not fetched_at:
        return first_seen_at
    due = datetime.fromisoformat(fetched_at) + BODY_LASTS
    return due.strftime("%Y-%m-%dT%H:%M:%SZ")
