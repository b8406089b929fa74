"""The ops of `refresh_catalogue`: watchlist, then artists, then reports, then what went wrong."""

from typing import Any

import dagster as dg
from pydantic import Field

from harmony_pipelines.claims import REFRESH, Claims
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason
from harmony_pipelines.failures import reported
from harmony_pipelines.resources import BeetsResource, CatalogueResource, SpotifyResource
from harmony_pipelines.runs import RETRY_TAG

MOST_ARTISTS = 250
"""The most artists that one run refreshes; the next run takes the next ones."""

MOST_REQUESTS = 100_000

Outcome = dict[str, Any]


class RefreshArtistsConfig(dg.Config):
    """Which artists a run refreshes; by default those that are due."""

    artists: list[str] = Field(
        default=[],
        description=f"Refresh just these (at most {MOST_ARTISTS}), due or not: artist ids, URIs, "
        "links, partition keys or names as the watchlist has them. Empty: those that are due.",
    )
    full_sweep: bool = Field(
        default=False,
        description="Read listings to their end, which also finds what was added with an old "
        "date; with no artists named, those whose listings were read longest ago, due or not.",
    )
    max_requests: int | None = Field(
        default=None,
        description=f"Stop after this many requests to Spotify (1 to {MOST_REQUESTS}); the rest "
        "stays due. "
        "Empty: as many as HARMONY_SPOTIFY_DAILY_REQUESTS leaves.",
    )

    def check(self) -> None:
        """Raise VALIDATION_ERROR where a value is out of its range.

        pydantic's own bounds would fail the step with a traceback and without a code.
        """
        if len(self.artists) > MOST_ARTISTS:
            raise _out_of_range("artists", f"hold at most {MOST_ARTISTS}", len(self.artists))
        if self.max_requests is not None and not 1 <= self.max_requests <= MOST_REQUESTS:
            raise _out_of_range("max_requests", f"be from 1 to {MOST_REQUESTS}", self.max_requests)


def _out_of_range(name: str, must: str, given: int) -> HarmonyError:
    return HarmonyError(
        ErrorCode.VALIDATION_ERROR,
        Reason.RUN_CONFIG,
        f"`{name}` of refresh_artists must {must}, not {given}. Correct it in the run's "
        "configuration.",
    )


@dg.op(description="Reads watchlist.yaml and settles who is meant by each line.", config_schema={})
def resolve_watchlist(
    context: dg.OpExecutionContext,
    catalogue: CatalogueResource,
    spotify: SpotifyResource,
    beets: BeetsResource,
    claims: Claims,
) -> Outcome:
    """Bring the watchlist up to date; returns what that cost and what went wrong with it."""
    from harmony_pipelines.ops import watching

    with reported():
        claims.claim(context, REFRESH)
        found = watching.read_watchlist(context, watching.Resources(catalogue, spotify, beets))
        context.log_event(watching.event(found))
        return watching.outcome(found)


@dg.op(
    description="Refreshes the artists that are due, then reads album bodies and ISRCs that wait."
)
def refresh_artists(  # noqa: PLR0913  Dagster hands resources over as arguments
    context: dg.OpExecutionContext,
    config: RefreshArtistsConfig,
    watchlist_outcome: Outcome,
    catalogue: CatalogueResource,
    spotify: SpotifyResource,
    claims: Claims,
) -> Outcome:
    """Commit and materialise artist by artist; returns counts and what went wrong."""
    from harmony_pipelines.ops import refreshing

    with reported():
        config.check()
        claims.claim(context, REFRESH)
        order = refreshing.Order(
            config.artists,
            config.full_sweep,
            config.max_requests,
            MOST_ARTISTS,
            retry=RETRY_TAG in context.run.tags,
        )
        refreshed = refreshing.refresh(context, order.after(watchlist_outcome), catalogue, spotify)
        outcome = refreshing.joined(watchlist_outcome, refreshed)
        context.add_output_metadata(refreshing.numbers(outcome))
        return outcome


@dg.op(
    description="Brings new_releases, album_matches and missing_from_library up to date.",
    config_schema={},
)
def compare_with_library(
    context: dg.OpExecutionContext,
    outcome: Outcome,
    catalogue: CatalogueResource,
    beets: BeetsResource,
) -> Outcome:
    """Report over what is there, whatever went wrong before."""
    from harmony_pipelines.ops import refreshing, reports

    with reported():
        numbers = refreshing.numbers(outcome)
        problems = reports.bring_up_to_date(context, catalogue, beets, numbers)
        return {**outcome, "problems": [*outcome["problems"], *problems]}


@dg.op(
    description="Ends the run red if anything failed, and says which artists and why.",
    config_schema={},
)
def report_refresh(context: dg.OpExecutionContext, outcome: Outcome) -> None:
    """Log the check, failed where an artist failed; raise, or sum the run up in one line."""
    from harmony_pipelines.ops import refreshing

    with reported():
        refreshing.say(context, outcome)
        refreshing.log_check(context, outcome)
        refreshing.raise_if_red(outcome)
