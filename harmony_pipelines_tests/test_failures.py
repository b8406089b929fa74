from pathlib import Path

import dagster as dg
import pytest

from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason
from harmony_pipelines.failures import failure, reported


def test_an_error_of_ours_becomes_a_failure_with_code_message_and_details() -> None:
    error = HarmonyError(
        ErrorCode.NOT_FOUND, Reason.UNKNOWN_ARTIST, "Spotify does not know X.", file=Path("a/b")
    )
    with pytest.raises(dg.Failure) as failed, reported():
        raise error
    found = {name: value.value for name, value in failed.value.metadata.items()}
    assert found == {
        "code": "NOT_FOUND",
        "message": "Spotify does not know X.",
        "details": {"reason": "unknown_artist", "file": "a/b"},
    }
    assert failed.value.description == "NOT_FOUND: Spotify does not know X."
    assert failed.value.allow_retries is False
    assert failed.value.__cause__ is None


def test_what_nobody_foresaw_is_an_internal_error_that_keeps_its_traceback() -> None:
    with pytest.raises(dg.Failure) as failed, reported():
        raise KeyError("secret")
    assert failed.value.metadata["code"].value == "INTERNAL_ERROR"
    assert failed.value.metadata["details"].value == {"reason": "bug"}
    assert "secret" not in str(failed.value.description)
    assert isinstance(failed.value.__cause__, KeyError)


def test_a_failure_stays_as_it_is() -> None:
    said = failure({"code": "CONFLICT", "message": "Locked."})
    with pytest.raises(dg.Failure) as failed, reported():
        raise said
    assert failed.value is said


def test_an_interrupt_is_nobody_s_failure() -> None:
    with pytest.raises(KeyboardInterrupt), reported():
        raise KeyboardInterrupt


def test_a_name_in_the_message_cannot_steer_the_terminal_that_prints_it() -> None:
    told = failure({"code": "NOT_FOUND", "message": "\x1b[2Ja\nb.flac is gone"})
    assert told.description == "NOT_FOUND:  [2Ja b.flac is gone"
    assert told.metadata["message"].value == " [2Ja b.flac is gone"


def _logged(error: Exception) -> str:
    @dg.op
    def fails() -> None:
        with reported():
            raise error

    @dg.job
    def job() -> None:
        fails()

    done = job.execute_in_process(raise_on_error=False)
    [failed] = [e for e in done.all_events if e.event_type_value == "STEP_FAILURE"]
    assert failed.step_failure_data.user_failure_data is not None
    return failed.step_failure_data.error_display_string


def test_only_an_internal_error_shows_a_traceback_in_the_run_s_log() -> None:
    foreseen = HarmonyError(ErrorCode.NOT_FOUND, Reason.UNKNOWN_ARTIST, "Spotify does not know X.")
    assert _logged(foreseen) == "NOT_FOUND: Spotify does not know X.\n"
    assert "Stack Trace" in _logged(KeyError("x"))
