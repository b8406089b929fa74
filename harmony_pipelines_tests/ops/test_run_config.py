"""What the ops on artwork may be told, in a run's configuration."""

from typing import Any

import dagster as dg
import pytest

from harmony_pipelines.definitions import defs
from harmony_pipelines.demo.library import make_library
from harmony_pipelines_tests.conftest import Home, failure_in

PLAN = "embedded_artwork", "ops", "plan_covers", "config"
EMBED = "embedded_artwork", "ops", "embed_covers", "config"
RESTORE = "restore_covers", "config"


def run(instance: dg.DagsterInstance, path: tuple[str, ...], config: Any) -> Any:
    job = "restore_artwork" if path == RESTORE else "embed_artwork"
    for name in reversed(path):
        config = {name: config}
    return defs.resolve_job_def(job).execute_in_process(
        run_config={"ops": config}, instance=instance, raise_on_error=False
    )


@pytest.fixture
def empty(home: Home) -> None:
    """A user with an empty library."""
    home.demo.library.parent.mkdir()
    make_library(home.demo.library.parent, [])


@pytest.mark.usefixtures("empty")
@pytest.mark.parametrize("path", [PLAN, RESTORE])
@pytest.mark.parametrize(
    ("albums", "named"),
    [
        (["x"], "'x'"),
        ([""], "''"),
        (["-1"], "'-1'"),
        (["1.0"], "'1.0'"),
        (["1", "0"], "'0'"),
        (["9" * 4000], "999…"),
        ([str(n) for n in range(1, 10_002)], "10001"),
        (["4711"], "4711"),
        ([str(n) for n in range(1, 10_001)], ", …"),
    ],
)
def test_albums_that_cannot_be_are_refused_with_code_and_field(
    instance: dg.DagsterInstance, path: tuple[str, ...], albums: list[str], named: str
) -> None:
    failed = failure_in(run(instance, path, {"albums": albums}))
    assert (failed["code"], failed["details"]["reason"]) == ("VALIDATION_ERROR", "run_config")
    assert "`albums`" in failed["message"]
    assert named in failed["message"]
    assert len(failed["message"]) < 400


@pytest.mark.usefixtures("empty")
@pytest.mark.parametrize("run_id", ["x" * 5000, "a\nb", "unknown"])
def test_a_run_that_cannot_be_is_refused_with_code_and_field(
    instance: dg.DagsterInstance, run_id: str
) -> None:
    failed = failure_in(run(instance, RESTORE, {"run_id": run_id}))
    assert (failed["code"], failed["details"]["reason"]) == ("VALIDATION_ERROR", "run_config")
    assert "run" in failed["message"]
    assert len(failed["message"]) < 400


@pytest.mark.parametrize(
    ("path", "config", "named"),
    [
        (PLAN, {"policy": "biggest"}, "policy"),
        (PLAN, {"policy": 3}, "policy"),
        (PLAN, {"albums": "1"}, "albums"),
        (PLAN, {"albums": [1]}, "albums"),
        (PLAN, {"dry_run": "yes"}, "dry_run"),
        (PLAN, {"accept_shrink": 1}, "accept_shrink"),
        (EMBED, {"dry_run": True}, "dry_run"),
        (RESTORE, {"run_id": 7}, "run_id"),
        (RESTORE, {"everything": "all"}, "everything"),
    ],
)
def test_a_value_of_the_wrong_type_or_in_the_wrong_place_never_becomes_a_run(
    instance: dg.DagsterInstance, path: tuple[str, ...], config: Any, named: str
) -> None:
    with pytest.raises(dg.DagsterInvalidConfigError, match=named):
        run(instance, path, config)


@pytest.mark.parametrize("path", [PLAN, RESTORE])
def test_every_field_says_what_it_is(path: tuple[str, ...]) -> None:
    job = defs.resolve_job_def("embed_artwork" if path == PLAN else "restore_artwork")
    field: Any = job.run_config_schema.config_type.fields["ops"]  # pyright: ignore[reportAttributeAccessIssue]
    for name in path:
        field = field.config_type.fields[name]
    fields = field.config_type.fields
    assert len(fields) >= 3
    assert all(len(described.description) > 20 for described in fields.values())
