"""The one place where an error of ours becomes a `dagster.Failure`, code and message kept."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.errors import DagsterUserCodeProcessError
from dagster_shared.error import SerializableErrorInfo

from harmony_pipelines.clients.file_errors import file_error, is_of_the_machine
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason
from harmony_pipelines.last_word import one_line, say_last


class _WithoutTracebackError(DagsterUserCodeProcessError):
    """What Dagster shows of an error of this kind is what the error says; here: its message."""

    def __init__(self, message: str) -> None:
        shown = SerializableErrorInfo(f"{message}\n", stack=[], cls_name="Failure")
        super().__init__(message, user_code_process_error_infos=[shown])


class Told(dg.Failure, _WithoutTracebackError):  # noqa: N818
    """A failure whose message is enough."""


@contextmanager
def reported() -> Iterator[None]:
    """Turn whatever goes wrong inside into a `dagster.Failure` with `code` and `message`.

    What is ours to foresee carries no traceback, and neither does a fault of the machine (a full
    disk, no descriptor left) or of Dagster's own storage, wherever it is met; all else is an
    INTERNAL_ERROR and keeps it.
    """
    try:
        with _as_failures():
            yield
    except dg.Failure as told:
        say_last(f"Failed: {told.description}")
        raise


@contextmanager
def _as_failures() -> Iterator[None]:
    try:
        yield
    except dg.Failure:
        raise
    except HarmonyError as error:
        raise failure(error.as_dict()) from None
    except OSError as error:
        if not is_of_the_machine(error):
            raise _bug(error) from error
        raise failure(file_error(_place(error), error).as_dict()) from None
    except Exception as error:
        told = _of_dagsters_storage(error)
        if told is None:
            raise _bug(error) from error
        raise failure(told.as_dict()) from None


def _of_dagsters_storage(error: Exception) -> HarmonyError | None:
    """What an error of a database says that is not ours, and so is Dagster's; None of others."""
    from sqlalchemy.exc import DBAPIError

    from harmony_pipelines.clients.database import dagster_storage_error

    if not isinstance(error, DBAPIError):
        return None
    return dagster_storage_error(error, os.environ.get("DAGSTER_HOME", ""))


def _bug(error: Exception) -> dg.Failure:
    what = f"{type(error).__name__} where none was foreseen"
    message = f"{what}; please report it with the traceback."
    return failure(HarmonyError(ErrorCode.INTERNAL_ERROR, Reason.BUG, message).as_dict())


def _place(error: OSError) -> Path:
    """Where a fault of the machine was met, as far as the system says."""
    return Path(os.fsdecode(error.filename)) if error.filename else Path("A file")


def _plain(details: object) -> Any:
    """The details as JSON has them, whatever they hold."""
    return json.loads(json.dumps(details, default=str))


def failure(error: Mapping[str, Any], **metadata: dg.MetadataValue) -> dg.Failure:
    """The `dagster.Failure` of an error given as `{code, message, details}`; never retried.

    Only that of an INTERNAL_ERROR shows its traceback.
    """
    message = one_line(error["message"])
    kind = dg.Failure if error["code"] == ErrorCode.INTERNAL_ERROR else Told
    return kind(
        description=f"{error['code']}: {message}",
        metadata={
            "code": error["code"],
            "message": message,
            "details": dg.MetadataValue.json(_plain(error.get("details") or {})),
            **metadata,
        },
        allow_retries=False,
    )
