"""What one run at a time may do: whoever comes second ends as CONFLICT and touches nothing."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import PrivateAttr

from harmony_pipelines.runs import Context
from harmony_pipelines.settings import load_settings

if TYPE_CHECKING:
    from harmony_pipelines.domain.errors import HarmonyError

REFRESH = "refresh"
"""Settling the watchlist, and refreshing the artists that are due."""

ARTWORK = "artwork"
"""Writing into audio files, and what leads up to it."""


class Claims(dg.ConfigurableResource):
    """The claims of one run; they last until its steps are over, or its process is."""

    _held: ExitStack = PrivateAttr(default_factory=ExitStack)
    _names: set[str] = PrivateAttr(default_factory=set)

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator["Claims"]:
        """Release the claims when the steps that share this resource are over."""
        claims = Claims()
        with claims._held:
            yield claims

    def claim(self, context: Context, work: str) -> None:
        """Claim the work for this run; CONFLICT, naming the run, if another is at it.

        From the first claim on, each event of the run is told at less cost.
        """
        from harmony_pipelines.event_log import event_log_kept_open

        if work not in self._names:
            settings = load_settings()
            settings.prepare_home()
            self._held.enter_context(claimed(context, settings.locks_dir / f"{work}.lock"))
            if not self._names:
                self._held.enter_context(event_log_kept_open(context.instance))
            self._names.add(work)


@contextmanager
def claimed(context: Context, path: Path) -> Iterator[None]:
    """Hold the lock for this run.

    A holder whose run Dagster has ended may write no more, whatever it waits for; its process is
    ended and the lock taken over.
    """
    from harmony_pipelines.clients.locks import Holder, held
    from harmony_pipelines.clients.processes import identity
    from harmony_pipelines.domain.errors import ErrorCode, HarmonyError

    me = Holder(context.run.run_id, identity())
    with ExitStack() as stack:
        try:
            stack.enter_context(held(path, me))
        except HarmonyError as refused:
            if refused.code is not ErrorCode.CONFLICT or not _ended(context, refused):
                raise
            context.log.warning(f"Run {refused.details['run_id']} was over; its process is ended.")
            stack.enter_context(held(path, me))
        yield


def _ended(context: Context, refused: "HarmonyError") -> bool:
    """End the process of a holder whose run is over; whether it is gone."""
    from harmony_pipelines.clients import processes

    run = context.instance.get_run_by_id(str(refused.details["run_id"]))
    worker = processes.find(str(refused.details["worker"]))
    if run is None or not run.is_finished or worker is None or worker.pid == os.getpid():
        return False
    return not processes.kill([*processes.family(worker, run.run_id), worker])
