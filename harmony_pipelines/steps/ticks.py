"""Whether a schedule starts its job now, or why it waits; nothing is called, little is read."""

from datetime import UTC, datetime

from harmony_pipelines.clients.backlog import Backlog
from harmony_pipelines.clients.catalogue import Catalogue, utc_text
from harmony_pipelines.clients.discographies import how_many_due
from harmony_pipelines.clients.locks import holder_of
from harmony_pipelines.clients.quota import ISRCS, Quota, QuotaLimits
from harmony_pipelines.clients.spotify import BODIES
from harmony_pipelines.domain.errors import HarmonyError, Reason
from harmony_pipelines.settings import Settings
from harmony_pipelines.steps.pending import LISTINGS


def why_not_refresh(settings: Settings, now: datetime) -> str | None:
    """Why no refresh is started: nothing is due, or Spotify may not be asked; None: start it.

    Bodies and ISRCs that wait are work too, though no artist is due: each has its own budget.
    """
    store = Catalogue.open(settings.database_url)
    try:
        due, next_due_at, last_attempt_at = how_many_due(store, now)
        limits = QuotaLimits(
            daily_requests=settings.spotify_daily_requests,
            by_family={ISRCS: settings.spotify_isrc_daily_requests},
        )
        quota, waiting = Quota(store.engine, limits), Backlog(store, now)
        refusals: list[str] = []
        for family, what, is_there in (
            (LISTINGS, f"{due} artists wait", due or _was_edited(settings, last_attempt_at)),
            (BODIES, "album bodies wait", waiting.is_body_waiting()),
            (
                ISRCS,
                "ISRCs wait",
                settings.spotify_isrc_daily_requests and waiting.is_track_waiting(),
            ),
        ):
            if is_there:
                refusal = quota.why_not(family)
                if refusal is None:
                    return None
                refusals.append(_wait(refusal, what))
        nothing = f"Nothing is due; the next artist is at {next_due_at or 'no time'}."
        return refusals[0] if refusals else nothing
    finally:
        store.close()


def _wait(refusal: HarmonyError, what: str) -> str:
    why = "Cooldown" if refusal.reason is Reason.COOLDOWN else "Budget spent"
    return f"{why}, {what}. {refusal.message}"


def why_not_alone(settings: Settings, work: str) -> str | None:
    """Which run, also one on the command line, is at the work just now; None: nobody."""
    holder = holder_of(settings.locks_dir / f"{work}.lock")
    return f"A run is at it already: {holder.run_id or 'one just started'}." if holder else None


def _was_edited(settings: Settings, last_attempt_at: str | None) -> bool:
    """Whether the watchlist is newer than what any run made of it."""
    if last_attempt_at is None:
        return True  # nobody was ever looked at: the run says what is missing, if anything is
    try:
        edited = datetime.fromtimestamp(settings.watchlist_path.stat().st_mtime, UTC)
    except OSError:
        return False
    return utc_text(edited) > last_attempt_at
