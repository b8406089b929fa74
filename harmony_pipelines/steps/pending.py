"""What is still to be done at Spotify, what of it may be done now, and how long it all takes."""

from collections import Counter
from datetime import datetime

import sqlalchemy as sa

from harmony_pipelines.clients import tables
from harmony_pipelines.clients.backlog import Backlog
from harmony_pipelines.clients.catalogue import Catalogue
from harmony_pipelines.clients.discographies import how_many_due, without_baseline
from harmony_pipelines.clients.quota import FAMILIES, ISRCS, RESERVE, Quota
from harmony_pipelines.clients.spotify import BODIES
from harmony_pipelines.clients.spotify_abilities import ALBUMS_A_BATCH, App
from harmony_pipelines.domain.cadence import days_until_done

LISTINGS = "artist_albums"


def may_be_read(store: Catalogue, quota: Quota, now: datetime) -> bool:
    """Whether a body or an ISRC waits for which there is budget."""
    waiting = Backlog(store, now)
    is_body = quota.why_not(BODIES) is None and waiting.is_body_waiting()
    return is_body or (quota.why_not(ISRCS) is None and waiting.is_track_waiting())


def is_any_due(store: Catalogue, now: datetime) -> bool:
    """Whether any artist is due."""
    return how_many_due(store, now)[0] > 0


def new_releases(store: Catalogue, run_id: str) -> int:
    """How many new releases a run found, without those that are hidden."""
    news = tables.new_releases
    return store.count(news, news.c.run_id == run_id, news.c.hidden_reason.is_(None))


def numbers(store: Catalogue, quota: Quota, app: App, now: datetime) -> dict[str, int | float]:
    """What is pending, what is left of the budgets, the cooldown, and the days to go.

    The estimate counts what is known: of an artist that was never listed, a page of each group.
    """
    bodies, needed = requests_needed(store, app)
    budgets = {family: quota.budget(family) for family in FAMILIES}
    isrcs = Backlog(store, now).how_many_tracks() if budgets[ISRCS] else 0
    return {
        "listings_pending": how_many_due(store, now)[0],
        "bodies_pending": bodies,
        "isrcs_pending": isrcs,
        "estimate_days": days_until_done(
            needed, {family: budget - budget // RESERVE for family, budget in budgets.items()}
        ),
        "cooldown_seconds": round(quota.cooldown_left()),
        **{f"budget_left_{family}": quota.left(family) for family in FAMILIES},
    }


def requests_needed(store: Catalogue, app: App) -> tuple[int, Counter[str]]:
    """How many bodies are pending, and the requests by family until all that is known is there."""
    state, watchlist = tables.refresh_state, tables.watchlist
    [row] = store.rows(
        sa.select(sa.func.coalesce(sa.func.sum(state.c.bodies_pending), 0).label("bodies"))
        .join(watchlist, watchlist.c.artist_id == state.c.artist_id)
        .where(watchlist.c.paused == 0, state.c.status != "gone")
    )
    pages = without_baseline(store)
    a_call = ALBUMS_A_BATCH if app.abilities(lambda: None).batches else 1
    calls = -(-row["bodies"] // a_call)
    return row["bodies"], Counter({BODIES: calls, LISTINGS: sum(pages), "artists": len(pages)})
