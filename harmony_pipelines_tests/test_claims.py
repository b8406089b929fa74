import contextlib
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psutil
import pytest

from harmony_pipelines.claims import ARTWORK, Claims, claimed
from harmony_pipelines.clients.locks import holder_of
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError
from harmony_pipelines_tests.conftest import Home

HOLD = """
import sys, time
from pathlib import Path
from harmony_pipelines.clients.locks import Holder, held
from harmony_pipelines.clients.processes import identity
with held(Path(sys.argv[1]), Holder(sys.argv[2], identity())):
    print("held", flush=True)
    time.sleep(600)
"""


@dg.job
def job_of_ours() -> None:
    """Any job."""


@contextlib.contextmanager
def stopped_holder(path: Path, run_id: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that holds the lock for a run and is stopped, as by SIGSTOP or a closed lid."""
    command = [sys.executable, "-c", HOLD, str(path), run_id]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        os.kill(child.pid, signal.SIGSTOP)
        try:
            yield child
        finally:
            child.kill()


def claim_in_a_run(instance: dg.DagsterInstance, path: Path) -> HarmonyError | None:
    """Claim within an op; the refusal if there is one."""
    refusals: list[HarmonyError] = []

    @dg.op
    def claims_it(context: dg.OpExecutionContext) -> None:
        try:
            with claimed(context, path):
                holder = holder_of(path)
                assert holder
                assert holder.run_id == context.run.run_id
        except HarmonyError as refused:
            refusals.append(refused)

    @dg.job
    def only_that() -> None:
        claims_it()

    assert only_that.execute_in_process(instance=instance).success
    return refusals[0] if refusals else None


def test_the_process_of_a_run_that_dagster_ended_is_ended_and_its_lock_taken(tmp_path, instance):
    path = tmp_path / "artwork.lock"
    over = instance.create_run_for_job(job_of_ours, status=dg.DagsterRunStatus.FAILURE).run_id
    with stopped_holder(path, over) as child:
        assert claim_in_a_run(instance, path) is None
        assert not psutil.pid_exists(child.pid)


@pytest.mark.parametrize("note", [b"", b'{"run_id": "a-run", "worker": "nowhere"}', b"{broken"])
def test_a_lock_that_does_not_say_yet_who_holds_it_is_refused(tmp_path, instance, note):
    path = tmp_path / "artwork.lock"
    with path.open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        held.write(note)
        held.flush()
        refused = claim_in_a_run(instance, path)
    assert refused is not None
    assert refused.code is ErrorCode.CONFLICT


@pytest.mark.parametrize("known", [True, False])
def test_a_run_that_is_not_over_keeps_its_lock_and_its_process(tmp_path, instance, known):
    path = tmp_path / "artwork.lock"
    status = dg.DagsterRunStatus.STARTED
    at_work = instance.create_run_for_job(job_of_ours, status=status).run_id
    with stopped_holder(path, at_work if known else "of-another-dagster-home") as child:
        refused = claim_in_a_run(instance, path)
        assert refused
        assert refused.code is ErrorCode.CONFLICT
        assert child.poll() is None


def test_a_claim_lasts_until_the_run_s_last_step_and_no_longer(
    home: Home, instance: dg.DagsterInstance
):
    lock = home.folder / "locks" / f"{ARTWORK}.lock"
    seen: list[bool] = []

    @dg.op
    def claims_it(context: dg.OpExecutionContext, claims: Claims) -> None:
        claims.claim(context, ARTWORK)
        claims.claim(context, ARTWORK)

    @dg.op(ins={"before": dg.In(dg.Nothing)})
    def comes_after(claims: Claims) -> None:
        seen.append(holder_of(lock) is not None)

    @dg.job(resource_defs={"claims": Claims()})
    def both() -> None:
        comes_after(claims_it())

    assert both.execute_in_process(instance=instance).success
    assert seen == [True]
    assert holder_of(lock) is None
