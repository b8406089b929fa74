"""The library's own id of an album's artist, which the report of what is missing passes on."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0003"


def upgrade() -> None:
    """Add it; the next snapshot fills it."""
    op.add_column("beets_albums", sa.Column("mb_albumartistid", sa.Text()))
