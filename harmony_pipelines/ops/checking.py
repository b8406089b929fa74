"""The op of `check_setup`: one table of what is right, what is wrong, and what to do about it."""

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from harmony_pipelines.automation import is_daemon_alive, switched_off
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason
from harmony_pipelines.domain.setup import (
    Finding,
    State,
    good,
    noted,
    requests_of_strangers,
    wrong,
)
from harmony_pipelines.failures import failure, reported
from harmony_pipelines.last_word import one_line, say_last, show_before_last
from harmony_pipelines.launcher import missing_fences
from harmony_pipelines.metadata import table
from harmony_pipelines.ops.writing import seconds_to_rewrite
from harmony_pipelines.resources import BeetsResource, SpotifyResource
from harmony_pipelines.runs import run_deadline
from harmony_pipelines.settings import Settings, load_settings

if TYPE_CHECKING:
    from harmony_pipelines.clients.catalogue import Catalogue
    from harmony_pipelines.domain.deadline import Deadline
    from harmony_pipelines.steps.check_setup import Library

_COLUMNS = ("", "what", "how it is", "what to do")
_STYLES = {State.OK: "green", State.NOTE: "yellow", State.WRONG: "bold red"}
_SWITCH_ON = (
    "Switch on what you want in the UI, under Automation, or with `dagster schedule start NAME` "
    "and `dagster sensor start NAME` (with -m harmony_pipelines.definitions)."
)


@dg.op(
    out=dg.Out(dg.Nothing),
    description="Looks at settings, Spotify app, watchlist, library, disks, notifications, "
    "schedules and daemon. It asks Spotify at most three times, sends one test message to each of "
    "HARMONY_NOTIFY_URLS, and writes one small file, which it removes again.",
    config_schema={},
)
def look_at_setup(
    context: dg.OpExecutionContext, spotify: SpotifyResource, beets: BeetsResource
) -> dg.Output[None]:
    """Show the table; red if anything in it is wrong."""
    with reported():
        looked = [*_look(context, spotify, beets), *_dagster(context)]
        looked.sort(key=lambda each: each.state is not State.WRONG)
        show_before_last(lambda: _print(looked))
        shown = _table(looked)
        faults = [each for each in looked if each.state is State.WRONG]
        if faults:
            raise failure(_summary(faults, len(looked)), setup=shown)
        said = f"All {len(looked)} lines of the set-up are as they should be."
        context.log.info(said)
        say_last(said)
        counts = {str(state): sum(each.state is state for each in looked) for state in State}
        return dg.Output(None, metadata={"setup": shown, **counts})


def _look(
    context: dg.OpExecutionContext, spotify: SpotifyResource, beets: BeetsResource
) -> Iterator[Finding]:
    from harmony_pipelines.steps import check_setup as check
    from harmony_pipelines.steps.check_notices import check_notifications

    try:
        settings = load_settings()
    except HarmonyError as error:  # nothing below can be looked at
        yield wrong("Settings", error)
        return
    deadline = run_deadline(context, settings)
    yield from check.check_settings(settings, Path.cwd())
    yield from check.check_home(settings)
    yield check.check_catalogue(settings)
    watchlist, lines = check.check_watchlist(settings)
    yield watchlist
    yield check.check_decisions(settings)
    told, library = check.check_library(settings, lambda: beets.library(settings), deadline)
    yield from told
    yield from check.check_file_system(library)
    yield from check_notifications(settings)
    with ExitStack() as opened, suppress(HarmonyError):  # the catalogue's own line says it
        store = opened.enter_context(check.catalogue_as_it_is(settings))
        booked = store or opened.enter_context(check.catalogue_in_memory())
        yield from _spotify(settings, spotify, booked, deadline)
        review = check.lines_to_review(store)
        if review:
            yield noted(
                "Watchlist",
                f"Lines that name nobody for certain: {len(review)}.",
                "Write the artist's id or link into them; the asset `watchlist` lists them.",
            )
        if lines or store:
            yield _requests(settings, spotify, booked, lines - len(review))
        if library.tracks:
            yield _files(settings, library, store)


def _spotify(
    settings: Settings, spotify: SpotifyResource, booked: "Catalogue", deadline: "Deadline"
) -> list[Finding]:
    from harmony_pipelines.steps.check_spotify import MOST_CALLS, check_spotify

    with ExitStack() as opened:
        return check_spotify(
            settings,
            lambda: opened.enter_context(spotify.trial(settings, booked, deadline, MOST_CALLS)),
        )


def _requests(
    settings: Settings, spotify: SpotifyResource, booked: "Catalogue", lines: int
) -> Finding:
    """The requests and days until all of the watchlist is there, as far as it can be known."""
    from harmony_pipelines.clients import tables
    from harmony_pipelines.domain.cadence import days_until_done
    from harmony_pipelines.steps.pending import requests_needed

    _, needed = requests_needed(booked, spotify.app(settings, booked))
    strangers = max(0, lines - booked.count(tables.watchlist))
    needed.update(requests_of_strangers(strangers))
    if not needed.total():
        return good("Forecast: Spotify", "Everything of the watched artists is there.")
    budgets = dict.fromkeys(needed, settings.spotify_daily_requests)
    guess = f", most of them a guess for {strangers} new lines" if strangers else ""
    return noted(
        "Forecast: Spotify",
        f"About {needed.total()} requests until complete{guess}: "
        f"{days_until_done(needed, budgets):g} days at {settings.spotify_daily_requests} a day "
        "of each kind.",
    )


def _files(settings: Settings, library: "Library", store: "Catalogue | None") -> Finding:
    """The files and bytes that covers would be written into."""
    from harmony_pipelines.steps.check_setup import known_tracks, size

    files, written, unseen = library.without_cover(known_tracks(store))
    if not files or settings.artwork_policy == "never":
        return good("Forecast: covers", "There is nothing to write.")
    nights = -(-written // settings.artwork_max_rewrite_bytes)
    minutes = seconds_to_rewrite(files, written) / 60
    return noted(
        "Forecast: covers",
        f"At most {files} files, {size(written)} to rewrite in {nights} runs, about "
        f"{minutes:.0f} minutes; {unseen} of them no run has looked into yet.",
        "`dry_run` of embed_artwork says it exactly.",
    )


def _dagster(context: dg.OpExecutionContext) -> Iterator[Finding]:
    """DAGSTER_HOME, and what runs by itself in it; without one, in that of `make dev`."""
    home, own = os.environ.get("DAGSTER_HOME"), _home_of_make_dev()
    with ExitStack() as opened:
        if home:
            instance = context.instance
            yield _home(instance, home)
        else:
            yield noted(
                "DAGSTER_HOME",
                "not set: Dagster forgets this run, and the UI will not show it.",
                f"export DAGSTER_HOME={own} to work in that of `make dev`.",
            )
            if not own or not own.joinpath("dagster.yaml").is_file():
                return
            instance = opened.enter_context(dg.DagsterInstance.from_config(str(own)))
        yield from _by_itself(context, instance)


def _home_of_make_dev() -> Path | None:
    with suppress(HarmonyError):
        return load_settings().dagster_home
    return None


def _home(instance: dg.DagsterInstance, home: str) -> Finding:
    lacks = " and ".join(missing_fences(instance))
    if not lacks or instance.is_ephemeral:
        return good("DAGSTER_HOME", home)
    fault = (
        f"Take {lacks} over from the project's dagster.yaml into {home}/dagster.yaml, or start "
        "with `make dev`: without, a run that dies or stays queued is noticed late or never."
    )
    error = HarmonyError(ErrorCode.VALIDATION_ERROR, Reason.SETTING, fault)
    return wrong("DAGSTER_HOME", error, f"{home} lacks {lacks}.")


def _by_itself(context: dg.OpExecutionContext, instance: dg.DagsterInstance) -> Iterator[Finding]:
    from dagster._check import CheckError  # no public way to ask whether there is one

    try:
        repository = context.repository_def
    except CheckError:  # a run of the job object alone
        return
    on: list[str] = []
    for what, those in (
        ("Schedules", repository.schedule_defs),
        ("Sensors", repository.sensor_defs),
    ):
        off = switched_off(instance, those)
        running = [each.name for each in those if each.name not in off]
        on += running
        said = "; ".join(
            f"{state}: {', '.join(names)}"
            for state, names in (("on", running), ("off", off))
            if names
        )
        if said:
            yield noted(what, said, _SWITCH_ON) if off else good(what, said)
    if is_daemon_alive(instance):
        yield good("Daemon", "It is alive.")
    elif on:
        fault = f"Start `make dev`: nothing ticks {', '.join(on)}."
        error = HarmonyError(ErrorCode.DEPENDENCY_ERROR, Reason.CONNECTION_FAILED, fault)
        yield wrong("Daemon", error, "It does not run.")
    else:
        yield noted("Daemon", "It does not run, and nothing is switched on.", "`make dev` runs it.")


def _summary(faults: list[Finding], looked: int) -> dict[str, Any]:
    names = ", ".join(dict.fromkeys(each.subject for each in faults))
    first, more = faults[0], len(faults) - 1
    return {
        "code": str(first.code),
        "message": f"{len(faults)} of {looked} lines of the set-up are wrong: {names}. "
        f"{first.subject}: {first.to_do}" + (f" (and {more} more)" if more else ""),
        "details": {"reason": str(first.reason), "wrong": [each.subject for each in faults]},
    }


def _rows(looked: Iterable[Finding]) -> list[dict[str, Any]]:
    return [
        dict(zip(_COLUMNS, (each.state, each.subject, each.found, each.to_do), strict=True))
        for each in looked
    ]


def _table(looked: list[Finding]) -> dg.MarkdownMetadataValue:
    return table(_rows(looked), _COLUMNS, len(looked))


def _print(looked: list[Finding]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=box.HORIZONTALS, pad_edge=False, show_header=False)
    shown.add_column()
    shown.add_column(ratio=1, overflow="fold")
    shown.add_column(ratio=3, overflow="fold")
    for each in looked:
        to_do = ["", f"→ {one_line(each.to_do)}"] if each.to_do else [""]
        told = Text(one_line(each.found), end="").append("\n".join(to_do), "bold")
        shown.add_row(Text(each.state, _STYLES[each.state]), Text(one_line(each.subject)), told)
    Console().print(shown)
