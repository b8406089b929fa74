import ast
import pickle
from itertools import pairwise
from pathlib import Path
from typing import TypeGuard

from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason

PROJECT = Path(__file__).parents[2]


def test_an_error_is_code_message_and_details_with_the_reason():
    error = HarmonyError(
        ErrorCode.RATE_LIMITED, Reason.COOLDOWN, "Wait until noon.", retry_after_s=60
    )

    assert error.as_dict() == {
        "code": "RATE_LIMITED",
        "message": "Wait until noon.",
        "details": {"reason": "cooldown", "retry_after_s": 60},
    }
    assert str(error) == "Wait until noon."


def test_an_error_stays_whole_between_processes():
    error = HarmonyError(ErrorCode.NOT_FOUND, Reason.NO_COVER, "No cover.", file="a.flac")

    assert pickle.loads(pickle.dumps(error)).as_dict() == error.as_dict()


def test_every_reason_is_a_word_of_its_own():
    assert all(reason == reason.lower() and " " not in reason for reason in Reason)
    assert len(set(Reason)) == len(Reason.__members__)


def _documented() -> list[tuple[str, str, str, str]]:
    table = (PROJECT / "docs" / "errors.md").read_text("utf-8").splitlines()
    rows = [line.strip("|").split("|") for line in table if line.startswith("| `")]
    return [(a.strip(" `"), b.strip(" `"), c.strip(), d.strip()) for a, b, c, d in rows]


def test_every_reason_is_in_the_documented_table_once_with_what_it_means_and_what_to_do() -> None:
    rows = _documented()
    assert sorted(reason for _, reason, _, _ in rows) == sorted(Reason)
    assert {code for code, _, _, _ in rows} == set(ErrorCode)
    assert all(meaning and remedy for _, _, meaning, remedy in rows)


def test_the_code_gives_each_reason_the_code_that_the_table_says() -> None:
    documented = {(code, reason) for code, reason, _, _ in _documented()}
    used = {
        (str(ErrorCode[first.attr]), str(Reason[second.attr]))
        for file in (PROJECT / "harmony_pipelines").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Call | ast.Tuple)
        for first, second in pairwise(node.args if isinstance(node, ast.Call) else node.elts)
        if _is_member(first, "ErrorCode") and _is_member(second, "Reason")
    }
    assert len(used) > 40
    assert used <= documented


def _is_member(node: ast.AST, of: str) -> TypeGuard[ast.Attribute]:
    return (
        isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == of
    )
