"""What the user decides in decisions.yaml, from the file to the audio files."""

import io
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from harmony_pipelines.clients.pictures import read_front
from harmony_pipelines.definitions import defs
from harmony_pipelines.demo.library import make_library
from harmony_pipelines.demo.library_data import load_library
from harmony_pipelines_tests.conftest import Home
from harmony_pipelines_tests.small_library import picture

RELEASE = "f5093c06-23e3-404f-aeaa-40f72885ee3a"


@pytest.fixture
def album(home: Home) -> Path:
    """The folder of the one album; a cover lies beside its tracks."""
    [album] = [album for album in load_library() if album.key == "salt-and-static"]
    library = make_library(home.demo.library.parent, [album], with_oddities=False)
    [scan] = library.music_directory.rglob("cover.jpg")
    return scan.parent


def decide(home: Home, text: str) -> None:
    home.folder.joinpath("decisions.yaml").write_text(text)


def run(
    instance: dg.DagsterInstance, job: str = "embed_artwork", **config: Any
) -> dg.ExecuteInProcessResult:
    plan: dict[str, Any] = {"embedded_artwork": {"ops": {"plan_covers": {"config": config}}}}
    ops = plan if job == "embed_artwork" else {"restore_covers": {"config": config}}
    return defs.resolve_job_def(job).execute_in_process(
        run_config={"ops": ops}, instance=instance, raise_on_error=False
    )


def covers(album: Path) -> set[bytes | None]:
    fronts = [read_front(file) for file in album.glob("*.opus")]
    return {front.data if front else None for front in fronts}


def warnings(instance: dg.DagsterInstance, result: dg.ExecuteInProcessResult) -> list[str]:
    return [entry.user_message for entry in instance.all_logs(result.run_id) if entry.level == 30]


def told(instance: dg.DagsterInstance, asset: str) -> dict[str, Any]:
    event = instance.get_latest_materialization_event(dg.AssetKey(asset))
    assert event
    assert event.asset_materialization
    return {name: value.value for name, value in event.asset_materialization.metadata.items()}


def test_decisions_about_no_album_are_said_with_their_lines(
    home: Home, instance: dg.DagsterInstance, album: Path
) -> None:
    decide(home, f"match:\n  1: never\n  77: never\ncover:\n  {RELEASE}: never\n  1: never\n")
    result = run(instance)
    assert result.success
    of_match, of_cover = warnings(instance, result)
    assert "below `match`" in of_match
    assert "line 3 (77)." in of_match
    assert "below `cover`" in of_cover
    assert f"line 5 ({RELEASE})." in of_cover
    assert "77" in told(instance, "album_matches")["match decisions for no album"]
    [planned] = [
        event.step_output_data.metadata
        for event in result.all_events
        if event.event_type_value == "STEP_OUTPUT" and "plan_covers" in str(event.step_key)
    ]
    assert RELEASE.replace("-", "\\-") in str(planned) or RELEASE in str(planned)


def test_decisions_about_albums_that_are_there_are_not_warned_of(
    home: Home, instance: dg.DagsterInstance, album: Path
) -> None:
    decide(home, "match: {1: never}\ncover: {1: never}\n")
    assert warnings(instance, run(instance)) == []


def test_a_cover_that_is_never_wanted_is_not_embedded(
    home: Home, instance: dg.DagsterInstance, album: Path
) -> None:
    decide(home, "cover: {1: never}\n")
    assert run(instance).success
    assert covers(album) == {None}
    assert run(instance, albums=["1"]).success
    assert covers(album) == {None}


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
def test_a_picture_of_the_users_beats_every_source(
    home: Home, instance: dg.DagsterInstance, album: Path, image_format: str
) -> None:
    scan = home.folder / "a scan"
    scan.write_bytes(picture("scan", image_format=image_format))
    decide(home, "cover: {1: a scan}\n")
    assert run(instance).success
    [embedded] = covers(album)
    assert embedded
    if image_format != "WEBP":
        assert embedded == scan.read_bytes()
    assert _size(embedded) == (300, 300)


def test_a_picture_of_the_users_that_is_not_there_fails_the_album_by_name(
    home: Home, instance: dg.DagsterInstance, album: Path
) -> None:
    decide(home, "cover: {1: no such.jpg}\n")
    assert not run(instance).success
    assert covers(album) == {None}
    assert "no such.jpg" in told(instance, "embedded_artwork")["left alone"]


def test_what_was_undone_never_comes_back_until_the_user_names_its_album(
    home: Home, instance: dg.DagsterInstance, album: Path
) -> None:
    scan = home.folder / "scan.jpg"
    scan.write_bytes(picture("scan"))
    assert run(instance).success
    wrong = covers(album)
    assert None not in wrong
    assert run(instance, "restore_artwork", albums=["1"]).success
    assert covers(album) == {None}
    for decided in ("", "match: {1: never}\n", "cover: {1: scan.jpg}\n"):
        decide(home, decided)
        for policy in ("missing", "larger"):
            assert run(instance, policy=policy).success
            assert covers(album) == {None}
    assert run(instance, albums=["1"]).success
    assert covers(album) == {picture("scan")}
    assert run(instance).success
    assert covers(album) == {picture("scan")}


def _size(data: bytes) -> tuple[int, int]:
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        return image.size
