"""One search each for albums whose artist is not watched, where HARMONY_ARTWORK_SEARCH is on."""

from contextlib import ExitStack
from typing import Any

from harmony_pipelines.domain.errors import ErrorCode
from harmony_pipelines.ops import reports
from harmony_pipelines.resources import CatalogueResource, SpotifyResource
from harmony_pipelines.runs import Context, run_deadline, still_running
from harmony_pipelines.settings import load_settings
from harmony_pipelines.steps import compare
from harmony_pipelines.steps.search_albums import matched, search_albums

_SHARE = 0.25
"""Of the run's time: covers are to be found and embedded in the rest."""

_USERS_TO_MEND = (ErrorCode.AUTH_REQUIRED, ErrorCode.VALIDATION_ERROR, ErrorCode.CONFLICT)


def search(
    context: Context, catalogue: CatalogueResource, spotify: SpotifyResource
) -> dict[str, Any]:
    """Search, match again with what was found, and return what the UI shows of it.

    What did not fit the budget, the cooldown or the time waits for another run, and this one goes
    on: other sources may have the covers.
    """
    settings = load_settings()
    if not settings.artwork_search:
        return {}
    store = catalogue.open(settings, still_running(context))
    deadline = run_deadline(context, settings, _SHARE)
    with ExitStack() as opened:
        searched = search_albums(
            store, lambda: opened.enter_context(spotify.client(settings, store, deadline))
        )
    if searched.stopped and searched.stopped.code in _USERS_TO_MEND:
        raise searched.stopped
    if searched.stopped:
        context.log.warning(
            f"{searched.waiting} albums wait to be searched: {searched.stopped.message}"
        )
    found = reports.matches_metadata(compare.match(store, settings)) if searched.asked else {}
    return found | {
        "searched": len(searched.asked),
        "matched by search": matched(store, searched),
        "search waiting": searched.waiting,
    }
