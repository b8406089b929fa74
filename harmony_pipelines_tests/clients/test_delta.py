import hashlib
import json
import zlib
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony_pipelines.clients.delta import (
    Delta,
    FormerFile,
    Readable,
    WholeFile,
    delta_between,
    hash_of_file,
    write_out,
)
from harmony_pipelines.clients.pictures import read_front
from harmony_pipelines_tests.audio_files import SAMPLES, SHARED, a_jpeg, a_png, replace_front

PIECES = st.lists(st.binary(max_size=3000), min_size=1, max_size=6)


@pytest.mark.parametrize("file", [*SAMPLES, *SHARED], ids=lambda path: path.name)
def test_a_few_bytes_lead_back_from_a_file_with_a_cover(file: Path, tmp_path: Path) -> None:
    old = tmp_path / f"old{file.suffix}"
    new = tmp_path / f"new{file.suffix}"
    old.write_bytes(file.read_bytes())
    replace_front(old, a_png(30_000))
    front = read_front(old)
    assert front
    new.write_bytes(old.read_bytes())
    replace_front(new, a_jpeg(50_000))
    delta = delta_between(old, new, front.data)
    assert delta
    most = 2000 if file.suffix not in (".ogg", ".opus") else 34_000  # a picture in base 64
    assert len(delta.packed()) < most
    assert (delta.old_hash, delta.new_hash) == (hash_of_file(old), hash_of_file(new))
    assert rebuilt(new, (delta, front.data)) == old.read_bytes()


@given(PIECES, PIECES, st.binary(max_size=3000), st.data())
def test_whatever_the_two_are_the_old_one_comes_back(
    tmp_path_factory: pytest.TempPathFactory,
    old: list[bytes],
    new: list[bytes],
    picture: bytes,
    data: st.DataObject,
) -> None:
    folder = tmp_path_factory.mktemp("files")
    shared = data.draw(st.lists(st.sampled_from([*old, picture])))
    one, other = folder / "one", folder / "other"
    one.write_bytes(b"".join(old))
    other.write_bytes(b"".join([*new, *shared]))
    delta = delta_between(one, other, picture or None)
    assert delta
    assert rebuilt(other, (delta, picture)) == one.read_bytes()


def test_several_lead_back_one_after_the_other(tmp_path: Path) -> None:
    files = [tmp_path / str(number) for number in range(4)]
    for number, file in enumerate(files):
        file.write_bytes(bytes([number]) * 5000 * (4 - number) + b"the same" * 300_000)
    ways = [(_delta(old, new), b"") for old, new in pairwise(files)]
    assert rebuilt(files[3], *reversed(ways)) == files[0].read_bytes()


def test_what_has_nothing_in_common_has_no_delta(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    with one.open("wb") as file:
        for _ in range(65):
            file.write(b"\1" * (1 << 20))
    other.write_bytes(b"")
    assert delta_between(one, other, None) is None


def test_a_delta_of_an_earlier_release_has_its_hashes_as_sha256(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_bytes(b"old" * 5000)
    new.write_bytes(b"new" + old.read_bytes())
    head = {
        "old_sha256": hashlib.sha256(old.read_bytes()).hexdigest(),
        "old_size": 15_000,
        "new_sha256": hashlib.sha256(new.read_bytes()).hexdigest(),
        "new_size": 15_003,
        "picture_sha256": None,
        "picture_at": 0,
        "runs": [[1, 15_000, False]],
    }
    delta = Delta.unpacked(zlib.compress(json.dumps(head).encode() + b"\n"))
    assert hash_of_file(old, delta.old_hash) == delta.old_hash != hash_of_file(old)
    assert hash_of_file(new, delta.new_hash) == delta.new_hash
    with new.open("rb") as file:
        assert FormerFile(WholeFile(file), delta).read_at(0, 20_000) == old.read_bytes()


def rebuilt(newest: Path, *ways: tuple[Delta, bytes]) -> bytes:
    """The oldest file, by way of deltas that were packed."""
    to = newest.with_name("rebuilt")
    with newest.open("rb") as file:
        whole: Readable = WholeFile(file)
        for delta, picture in ways:
            whole = FormerFile(whole, Delta.unpacked(delta.packed()), picture)
        write_out(whole, to)
    assert hash_of_file(to) == ways[-1][0].old_hash
    return to.read_bytes()


def _delta(old: Path, new: Path) -> Delta:
    delta = delta_between(old, new, None)
    assert delta
    return delta
