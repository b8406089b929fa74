"""The checks of whole tables: what each says of which asset; their statements are `steps`'."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

from harmony_pipelines.domain.errors import HarmonyError
from harmony_pipelines.metadata import table
from harmony_pipelines.runs import Context
from harmony_pipelines.settings import Settings

if TYPE_CHECKING:
    from harmony_pipelines.clients.catalogue import Catalogue

_ERROR, _WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN


@dataclass(frozen=True)
class Check:
    """A sentence that must be true of an asset's table.

    A warning where Spotify's own data or the user's habits may break it, else an error.
    """

    asset: str
    name: str
    description: str
    severity: dg.AssetCheckSeverity = _ERROR
    lasts: bool = True
    """Whether it goes on holding until a refresh writes: no other work or time may break it."""

    @property
    def key(self) -> dg.AssetCheckKey:
        """Its name to Dagster."""
        return dg.AssetCheckKey(dg.AssetKey(self.asset), self.name)

    def evaluate(self, store: "Catalogue", settings: Settings) -> dict[str, Any]:
        """Whether it holds, and the rows that break it, as arguments of a result."""
        from harmony_pipelines.steps import soundness

        find = getattr(soundness, self.name)
        found = find(soundness.World(store, settings, datetime.now(UTC)))
        return {
            "passed": not found.whole,
            "severity": self.severity,
            "metadata": {
                "found": found.whole,
                "rows": table(found.rows, found.columns, found.whole),
            },
        }


CHECKS = (
    Check("watchlist", "every_partition_is_one_artist", "No two artists share a partition key."),
    Check("spotify_artists", "artists_are_stored_once", "No artist is stored twice."),
    Check("spotify_albums", "albums_are_stored_once", "No album of an artist is stored twice."),
    Check(
        "spotify_albums",
        "every_album_belongs_to_an_artist",
        "No album is an orphan: its artist was refreshed.",
    ),
    Check(
        "spotify_albums",
        "complete_albums_have_all_their_tracks",
        "Where an album's body is stored, as many tracks are as it says it has.",
        _WARN,
    ),
    Check("spotify_albums", "upcs_have_their_shape", "A UPC has 8 to 14 digits.", _WARN),
    Check(
        "spotify_albums",
        "release_dates_parse_by_their_precision",
        "A release date is a year, a month or a day, as its precision says.",
        _WARN,
    ),
    Check(
        "spotify_albums",
        "listings_are_as_fresh_as_their_cadence",
        "No artist that was listed before is overdue by more than two days. Dagster's own "
        "freshness is the asset's, not the artist's.",
        _WARN,
        lasts=False,
    ),
    Check(
        "spotify_albums",
        "no_daily_budget_was_exceeded",
        "No family of Spotify's endpoints was called more often in 24 hours than the budget then "
        "in force allowed: HARMONY_SPOTIFY_DAILY_REQUESTS, or less where Spotify's quota was less.",
        lasts=False,
    ),
    Check("spotify_tracks", "tracks_are_stored_once", "No track of an artist is stored twice."),
    Check(
        "spotify_tracks",
        "every_track_belongs_to_an_album",
        "No track is an orphan: its album is stored.",
    ),
    Check(
        "spotify_tracks",
        "isrcs_have_their_shape",
        "An ISRC has a country, a registrant, a year and a number.",
        _WARN,
    ),
    Check("new_releases", "releases_are_told_once", "No release of an artist is news twice."),
    Check(
        "album_matches",
        "every_match_names_a_known_album",
        "Both albums of a match exist: in the library, and in the catalogue or a search.",
        lasts=False,
    ),
    Check(
        "embedded_artwork",
        "nothing_outside_the_library_was_touched",
        "Every file that a run changed lies in a folder of the library, as the settings name them "
        "now.",
        lasts=False,
    ),
)


def log_checks(
    context: Context,
    store: "Catalogue",
    settings: Settings,
    assets: Collection[str],
    *,
    written: bool = True,
) -> None:
    """Evaluate the checks of the assets that an op brought up to date, as their own run would.

    Where the run has `written` nothing, what was seen to hold since the last write is left as it
    was seen. What cannot be evaluated just now says so in the log and holds up nothing.
    """
    checks = [check for check in CHECKS if check.asset in assets]
    still_hold = set[dg.AssetCheckKey]() if written else _still_hold(context, store, checks)
    for check in checks:
        if check.key in still_hold:
            continue
        try:
            told = check.evaluate(store, settings)
        except HarmonyError as error:
            context.log.error(f"{check.name} was not checked. {error.code}: {error.message}")
            continue
        context.log_event(
            dg.AssetCheckEvaluation(  # pyright: ignore[reportArgumentType] (taken, not annotated)
                asset_key=dg.AssetKey(check.asset), check_name=check.name, **told
            )
        )


def _still_hold(context: Context, store: "Catalogue", checks: list[Check]) -> set[dg.AssetCheckKey]:
    """The checks that passed after the last refresh that wrote, also one that was killed."""
    from harmony_pipelines.steps.soundness import last_written

    lasting = [check.key for check in checks if check.lasts]
    last = last_written(store)
    found = context.instance.event_log_storage.get_latest_asset_check_execution_by_key(lasting)
    return {
        key
        for key, record in found.items()
        if record.event and record.status.value == "SUCCEEDED" and record.event.timestamp >= last
    }
