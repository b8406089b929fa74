import hashlib
import os
from dataclasses import replace
from pathlib import Path

import mutagen.flac
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmony_pipelines.clients.delta import Delta
from harmony_pipelines.clients.embedding import EmbedOptions, WayBack, embed_front, put_back
from harmony_pipelines.clients.pictures import read_front
from harmony_pipelines.clients.safe_write import WriteOptions
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason
from harmony_pipelines_tests.audio_files import (
    SAMPLES,
    SHARED,
    a_jpeg,
    a_png,
    replace_front,
    sample,
)

_ANY_FILE = pytest.mark.parametrize("file", [*SAMPLES, *SHARED], ids=lambda path: path.name)


@_ANY_FILE
def test_a_cover_is_embedded_once_and_the_old_one_is_handed_over(
    file: Path, tmp_path: Path
) -> None:
    copy = tmp_path / f"copy{file.suffix}"
    copy.write_bytes(file.read_bytes())
    kept: list[bytes] = []
    options = _options(tmp_path, kept)
    old = read_front(copy)

    first = embed_front(copy, a_jpeg(50_000), options)
    assert (first.changed, first.old) == (True, old)
    stamp = (copy.stat().st_mtime_ns, copy.stat().st_ino)
    again = embed_front(copy, a_jpeg(50_000), options)
    assert not again.changed
    assert (copy.stat().st_mtime_ns, copy.stat().st_ino) == stamp
    embed_front(copy, a_png(), options)

    assert kept == [*([old.data] if old else []), a_jpeg(50_000).data]
    assert list(tmp_path.iterdir()) == [copy]


def test_a_file_named_as_another_kind_is_embedded_by_its_bytes(tmp_path: Path) -> None:
    for name, called in (("tone.flac", "a.mp3"), ("tone.mp3", "b.flac"), ("tone.opus", "c.ogg")):
        file = sample(name, tmp_path, called=called)
        assert embed_front(file, a_jpeg(), _options(tmp_path)).changed


def test_a_cover_goes_back_to_none(tmp_path: Path) -> None:
    for path in SAMPLES:
        file = sample(path.name, tmp_path)
        embed_front(file, a_jpeg(), _options(tmp_path))
        assert embed_front(file, None, _options(tmp_path)).changed
        assert read_front(file) is None
        assert not embed_front(file, None, _options(tmp_path)).changed


def test_another_cover_than_the_expected_one_stays(tmp_path: Path) -> None:
    file = sample("tone.flac", tmp_path)
    embed_front(file, a_png(), _options(tmp_path))
    before = file.read_bytes()
    with pytest.raises(HarmonyError) as caught:
        embed_front(file, a_jpeg(), replace(_options(tmp_path), only_over="0" * 64))
    assert (caught.value.code, caught.value.reason) == (
        ErrorCode.CONFLICT,
        Reason.CHANGED_MEANWHILE,
    )
    assert file.read_bytes() == before


def test_a_picture_that_cannot_be_kept_is_not_displaced(tmp_path: Path) -> None:
    def full(_: bytes) -> None:
        raise HarmonyError(ErrorCode.DEPENDENCY_ERROR, Reason.DISK_FULL, "the store is full")

    file = sample("tone.mp3", tmp_path)
    replace_front(file, a_png())
    before = file.read_bytes()
    with pytest.raises(HarmonyError, match="the store is full"):
        embed_front(file, a_jpeg(), replace(_options(tmp_path), keep_old=full))
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


@_ANY_FILE
def test_a_file_is_put_back_byte_for_byte_after_one_cover_and_after_two(
    file: Path, tmp_path: Path
) -> None:
    copy = tmp_path / f"copy{file.suffix}"
    copy.write_bytes(file.read_bytes())
    for covers in ([a_jpeg()], [a_png(), a_jpeg(60_000)]):
        kept: list[bytes] = []
        ways: list[WayBack] = []
        options = replace(_options(tmp_path, kept), journal=ways.append)
        for cover in covers:
            embed_front(copy, cover, options)
        done = put_back(copy, _deltas(ways, kept), options)
        assert done
        assert done.changed
        assert copy.read_bytes() == file.read_bytes()
        assert kept[-1] == covers[-1].data
        assert list(tmp_path.iterdir()) == [copy]


def test_a_file_that_others_changed_is_not_put_back(tmp_path: Path) -> None:
    file = sample("tone.mp3", tmp_path)
    ways: list[WayBack] = []
    options = replace(_options(tmp_path), journal=ways.append)
    embed_front(file, a_jpeg(), options)
    ours = file.read_bytes()
    for other in (ours + b"more", ours[:-1] + b"!"):
        file.write_bytes(other)
        assert put_back(file, _deltas(ways, []), options) is None
        assert file.read_bytes() == other


def test_deltas_that_do_not_meet_lead_nowhere(tmp_path: Path) -> None:
    file = sample("tone.mp3", tmp_path)
    kept: list[bytes] = []
    ways: list[WayBack] = []
    options = replace(_options(tmp_path, kept), journal=ways.append)
    for cover in (a_jpeg(), a_png(), a_jpeg(9000)):
        embed_front(file, cover, options)
    last, _, first = _deltas(ways, kept)
    assert put_back(file, [last, first], options) is None
    assert put_back(file, [], options) is None


@pytest.mark.parametrize("before", [1, 2])
def test_what_earlier_releases_kept_leads_back_too(before: int, tmp_path: Path) -> None:
    file = sample("tone.mp3", tmp_path)
    states: list[bytes] = [file.read_bytes()]
    kept: list[bytes] = []
    ways: list[WayBack] = []
    options = replace(_options(tmp_path, kept), journal=ways.append)
    for cover in (a_jpeg(), a_png()):
        embed_front(file, cover, options)
        states.append(file.read_bytes())
    known = [hashlib.sha256(state).hexdigest() for state in states]
    deltas = _deltas(ways, kept)
    for at, (delta, picture) in enumerate(reversed(deltas[-before:])):
        deltas[1 - at] = (replace(delta, old_hash=known[at], new_hash=known[at + 1]), picture)
    assert put_back(file, deltas, options)
    assert file.read_bytes() == states[0]


@pytest.mark.parametrize("is_of_before", [False, True])
def test_what_others_changed_between_two_covers_leads_nowhere(
    is_of_before: bool, tmp_path: Path
) -> None:
    file = sample("tone.flac", tmp_path)
    first = hashlib.sha256(file.read_bytes()).hexdigest()
    kept: list[bytes] = []
    ways: list[WayBack] = []
    options = replace(_options(tmp_path, kept), journal=ways.append)
    embed_front(file, a_jpeg(), options)
    second, size = hashlib.sha256(file.read_bytes()).hexdigest(), file.stat().st_size
    tags = mutagen.flac.FLAC(file)
    tags["title"] = "changed since, in the padding"
    tags.save()
    assert file.stat().st_size == size
    embed_front(file, a_png(), options)
    ours = file.read_bytes()
    last, (delta, picture) = _deltas(ways, kept)
    if is_of_before:
        delta = replace(delta, old_hash=first, new_hash=second)
    assert put_back(file, [last, (delta, picture)], options) is None
    assert file.read_bytes() == ours


def _deltas(ways: list[WayBack], kept: list[bytes]) -> list[tuple[Delta, bytes]]:
    """What leads back, the newest first, with the picture that each needs."""
    pictures = {hashlib.sha256(data).hexdigest(): data for data in kept}
    deltas = [way.delta for way in reversed(ways) if way.delta]
    return [(d, pictures[d.picture_sha256] if d.picture_sha256 else b"") for d in deltas]


def test_a_file_that_gets_shorter_while_it_is_read_is_left_alone(tmp_path: Path) -> None:
    file = sample("tone.mp3", tmp_path)
    replace_front(file, a_png())

    def cut(_: bytes) -> None:
        os.truncate(file, 100)

    with pytest.raises(HarmonyError) as caught:
        embed_front(file, a_jpeg(), replace(_options(tmp_path), keep_old=cut))
    assert caught.value.reason is Reason.CHANGED_MEANWHILE
    assert file.stat().st_size == 100
    assert list(tmp_path.iterdir()) == [file]


def test_errors_name_the_file_and_not_its_copy(tmp_path: Path) -> None:
    file = sample("tone.mp3", tmp_path)
    with pytest.raises(HarmonyError) as caught:
        embed_front(file, replace(a_jpeg(), mime="image/webp"), _options(tmp_path))
    assert "tone.mp3" in caught.value.message
    assert ".harmony-" not in str(caught.value.as_dict())


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_damaged_file_gets_its_cover_and_back_or_stays_byte_for_byte(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    found = data.draw(st.sampled_from(SAMPLES))
    raw = bytearray(found.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    folder = tmp_path_factory.mktemp("odd")
    file = folder / found.name
    file.write_bytes(raw[: data.draw(st.integers(len(raw) // 2, len(raw)))])
    before = file.read_bytes()
    kept: list[bytes] = []
    ways: list[WayBack] = []
    options = replace(_options(folder, kept), journal=ways.append)
    try:
        assert embed_front(file, a_jpeg(), options).changed
        assert put_back(file, _deltas(ways, kept), options)
    except HarmonyError as error:
        assert error.reason is not Reason.VERIFICATION or not ways
    assert file.read_bytes() == before
    assert list(folder.iterdir()) == [file]


def _options(folder: Path, kept: list[bytes] | None = None) -> EmbedOptions:
    keep = (kept if kept is not None else []).append
    return EmbedOptions(
        write=WriteOptions((folder,), room=0), journal=lambda _: None, keep_old=keep
    )
