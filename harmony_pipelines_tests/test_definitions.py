import os
import subprocess
import sys

import dagster as dg
import pytest

from harmony_pipelines.definitions import defs
from harmony_pipelines.ops.soundness import CHECKS
from harmony_pipelines.runs import MAX_RUNTIME_TAG
from harmony_pipelines.told import DEVELOPMENT

GROUPS = {
    "watchlist": "spotify",
    "spotify_artists": "spotify",
    "spotify_albums": "spotify",
    "spotify_tracks": "spotify",
    "new_releases": "reports",
    "beets_albums": "beets",
    "beets_tracks": "beets",
    "album_matches": "reports",
    "missing_from_library": "reports",
    "embedded_artwork": "artwork",
}
JOBS = {
    "refresh_catalogue",
    "embed_artwork",
    "restore_artwork",
    "apply_retention",
    "check_setup",
}


def jobs() -> list[dg.JobDefinition]:
    return [job for job in defs.resolve_all_job_defs() if not job.name.startswith("__")]


def test_everything_loads() -> None:
    dg.Definitions.validate_loadable(defs)


def test_every_asset_is_there_described_and_in_its_group() -> None:
    specs = {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}
    assert {name: spec.group_name for name, spec in specs.items()} == GROUPS
    assert all(spec.description for spec in specs.values())


def test_every_asset_tells_its_columns_owner_and_kinds() -> None:
    for spec in defs.resolve_all_asset_specs():
        schema = spec.metadata["dagster/column_schema"]
        assert all(column.description for column in schema.columns)
        assert spec.owners
        assert spec.kinds


def test_all_that_is_read_or_compared_says_when_it_is_stale() -> None:
    for spec in defs.resolve_all_asset_specs():
        name = spec.key.to_user_string()
        assert (spec.freshness_policy is not None) == (name != "embedded_artwork"), name


def test_the_code_is_linked_in_development_only() -> None:
    code = (
        "from harmony_pipelines.definitions import defs; "
        "print(['dagster/code_references' in spec.metadata "
        "for spec in defs.resolve_all_asset_specs()])"
    )
    for mark, told in ((None, "[False"), ("1", "[True")):
        env = {name: value for name, value in os.environ.items() if name != DEVELOPMENT}
        env |= {DEVELOPMENT: mark} if mark else {}
        done = subprocess.run(
            [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
        )
        assert done.stdout.startswith(told)


def test_the_catalogue_s_assets_have_a_partition_for_each_artist() -> None:
    for spec in defs.resolve_all_asset_specs():
        name = spec.key.to_user_string()
        is_partitioned = isinstance(spec.partitions_def, dg.DynamicPartitionsDefinition)
        assert is_partitioned == name.startswith("spotify_")
        if isinstance(spec.partitions_def, dg.DynamicPartitionsDefinition):
            assert spec.partitions_def.name == "artists"


def test_every_job_is_described_and_has_a_time_limit() -> None:
    found = {job.name: job for job in jobs()}
    assert found.keys() >= JOBS
    for job in found.values():
        assert job.description
        assert int(job.tags[MAX_RUNTIME_TAG]) > 0


def test_every_op_of_a_job_is_described() -> None:
    for job in jobs():
        for node in job.graph.iterate_op_defs():
            assert node.description, node.name


def test_configuration_that_no_op_would_read_is_refused() -> None:
    for job in defs.resolve_all_job_defs():
        for node in job.graph.iterate_op_defs():
            assert isinstance(node.config_schema.config_type, dg.Shape), node.name


def test_every_field_of_a_run_s_configuration_is_described() -> None:
    from harmony_pipelines.ops.catalogue import RefreshArtistsConfig

    fields = RefreshArtistsConfig.model_fields
    assert set(fields) == {"artists", "full_sweep", "max_requests"}
    assert all(field.description for field in fields.values())


def test_every_field_of_covers_to_embed_is_described() -> None:
    from harmony_pipelines.ops.covers import PlanCoversConfig

    fields = PlanCoversConfig.model_fields
    assert set(fields) == {"albums", "policy", "dry_run", "accept_shrink"}
    assert all(field.description for field in fields.values())


def test_every_field_of_what_is_restored_is_described() -> None:
    from harmony_pipelines.ops.restore import RestoreCoversConfig

    fields = RestoreCoversConfig.model_fields
    assert set(fields) == {"run_id", "albums", "everything"}
    assert all(field.description for field in fields.values())


def test_every_check_is_described() -> None:
    checks = {key.name for key in defs.resolve_asset_graph().asset_check_keys}
    on_tables = {check.name for check in CHECKS}
    assert checks == on_tables | {"every_due_artist_was_refreshed", "every_line_names_an_artist"}
    for definition in defs.asset_checks or []:
        for spec in definition.check_specs:  # pyright: ignore[reportAttributeAccessIssue]
            assert spec.description


def test_a_resource_shows_nothing_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPOTIPY_CLIENT_SECRET", "s3cr3t-that-nobody-may-see")
    assert "s3cr3t" not in repr(defs.resources) + str(defs.resources)


@pytest.mark.slow
def test_loading_imports_nothing_heavy() -> None:
    heavy = [
        "apprise",
        "beets",
        "feedgenerator",
        "httpx",
        "mutagen",
        "pandas",
        "PIL",
        "rapidfuzz",
        "spotipy",
        "sqlalchemy",
    ]
    code = (
        "import sys, harmony_pipelines.definitions; "
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
