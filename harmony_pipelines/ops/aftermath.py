"""What follows once covers are embedded: cover files beside the tracks, and the user's beets."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harmony_pipelines.domain.covers import Plan
from harmony_pipelines.domain.errors import HarmonyError
from harmony_pipelines.metadata import table
from harmony_pipelines.resources import BeetsResource
from harmony_pipelines.runs import Context, run_deadline
from harmony_pipelines.settings import Settings, load_settings

if TYPE_CHECKING:
    from harmony_pipelines.steps.cover_files import CoverFiles
    from harmony_pipelines.steps.file_work import FileWork
    from harmony_pipelines.steps.restore_covers import Wanted

_UPDATE_SHARE = 0.95
"""The share of the run's time by which beets has looked at the changed albums, or is stopped."""


@dataclass(frozen=True)
class Aftermath:
    """What the UI shows of it, and the rows of results that came of it."""

    metadata: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)


def follow_up(context: Context, plan: Plan, work: "FileWork", beets: BeetsResource) -> Aftermath:
    """Do what the user's settings ask for once the run's files are right."""
    settings = load_settings()
    metadata, rows = {}, []
    if settings.artwork_cover_file:
        files = _cover_files(plan, work)
        metadata |= _told_of(files)
        rows += files.rows.values()
    if settings.beets_update:
        metadata["beet update"] = _update(context, settings, beets, [*work.rows.values()])
    return Aftermath(metadata, rows)


def follow_up_undo(
    context: Context, wanted: "Wanted", work: "FileWork", beets: BeetsResource
) -> Aftermath:
    """Take our cover files back with the covers, whatever the settings say now."""
    from harmony_pipelines.steps.cover_files import CoverFiles, our_cover_files

    settings = load_settings()
    files = CoverFiles.beside(work)
    ours = our_cover_files(work.stores.catalogue, run_id=wanted.run_id, albums=wanted.albums)
    files.take_back(ours)
    metadata = _told_of(files) if ours else {}
    if settings.beets_update:
        metadata["beet update"] = _update(context, settings, beets, [*work.rows.values()])
    return Aftermath(metadata, [*files.rows.values()])


def _cover_files(plan: Plan, work: "FileWork") -> "CoverFiles":
    from harmony_pipelines.steps.cover_files import CoverFiles

    files = CoverFiles.beside(work)
    files.put(plan.open_albums, is_named=plan.is_named)
    return files


def _told_of(files: "CoverFiles") -> dict[str, Any]:
    done = ("written", "removed")
    left = [row for row in files.rows.values() if row["status"] not in done]
    return {
        **{f"cover files {what}": files.counts[what] for what in (*done, "deferred")},
        "folders left alone": table(left, ("path", "code", "reason", "message"), len(left)),
    }


def _update(
    context: Context, settings: Settings, beets: BeetsResource, rows: list[dict[str, Any]]
) -> str:
    """Let beets see what changed; that it could not is no failure of what was embedded."""
    from harmony_pipelines.clients.beets_command import BeetsCommand

    done = (row for row in rows if row["status"] in ("embedded", "restored"))
    albums = sorted({row["beets_album_id"] for row in done if row["beets_album_id"]})
    if not albums:
        return "nothing changed"
    library, deadline = beets.library(settings), run_deadline(context, settings, _UPDATE_SHARE)
    command = BeetsCommand(library.config, settings.beets_dir)
    try:
        with library.private_copy(deadline) as copy:
            command.refuse_to_migrate(copy, deadline)
        updated = command.update(albums, deadline)
    except HarmonyError as error:
        context.log.warning(error.message)
        return f"{error.code} ({error.reason}): {error.message}"
    if updated.left_out:
        context.log.warning(
            f"`beet update` was not run for the albums {', '.join(map(str, updated.left_out))}: "
            "beets does not find each of their files, and would drop from its library what it "
            "does not find."
        )
    return f"{updated.albums} albums, {len(updated.left_out)} left out"
