"""Exact undo, cover files, album searches; the quota's tables, which made themselves before."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add them."""
    op.create_table(
        "spotify_calls",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("family", sa.Text(), nullable=False),
        sa.Column("called_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        if_not_exists=True,
    )
    op.create_index(
        "spotify_calls_by_family", "spotify_calls", ["family", "called_at"], if_not_exists=True
    )
    op.create_table(
        "spotify_state",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
        if_not_exists=True,
    )
    op.create_table(
        "album_searches",
        sa.Column("query", sa.Text(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("albums", sa.Text(), nullable=False),
        sa.Column("searched_at", sa.Text(), nullable=False),
        sa.Column("next_search_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("query"),
    )
    op.create_table(
        "artwork_undo",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("beets_item_id", sa.BigInteger()),
        sa.Column("size", sa.BigInteger()),
        sa.Column("audio", sa.Text()),
        sa.Column("delta", sa.Text()),
        sa.PrimaryKeyConstraint("run_id", "path"),
    )
    op.create_table(
        "cover_files",
        sa.Column("folder", sa.Text(), nullable=False),
        sa.Column("beets_album_id", sa.BigInteger()),
        sa.Column("path", sa.Text()),
        sa.Column("sha256", sa.Text()),
        sa.Column("code", sa.Text()),
        sa.Column("reason", sa.Text()),
        sa.Column("folder_changed", sa.BigInteger()),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("folder"),
    )
