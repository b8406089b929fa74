"""The one place where an error of ours becomes a `dagster.Failure`, code and message kept."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import dagster as dg

from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason
from harmony_pipelines.last_word import one_line, say_last


@contextmanager
def reported() -> Iterator[None]:
    """Turn whatever goes wrong inside into a `dagster.Failure` with `code` and `message`.

    What is ours to foresee carries no traceback; what is not is an INTERNAL_ERROR and keeps it.
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
    except Exception as error:
        bug = HarmonyError(
            ErrorCode.INTERNAL_ERROR,
            Reason.BUG,
            f"{type(error).__name__} where none was foreseen; please report it with the traceback.",
        )
        raise failure(bug.as_dict()) from error


def _plain(details: object) -> Any:
    """The details as JSON has them, whatever they hold."""
    return json.loads(json.dumps(details, default=str))


def failure(error: Mapping[str, Any], **metadata: dg.MetadataValue) -> dg.Failure:
    """The `dagster.Failure` of an error given as `{code, message, details}`; never retried."""
    message = one_line(error["message"])
    return dg.Failure(
        description=f"{error['code']}: {message}",
        metadata={
            "code": error["code"],
            "message": message,
            "details": dg.MetadataValue.json(_plain(error.get("details") or {})),
            **metadata,
        },
        allow_retries=False,
    )
