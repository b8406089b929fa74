import hashlib
import os
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony_pipelines.clients.content_store import ContentStore
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "home" / "covers"


@pytest.fixture
def store(folder: Path) -> ContentStore:
    return ContentStore(folder)


def place(folder: Path, sha256: str) -> Path:
    return folder / sha256[:2] / sha256


def missing(store: ContentStore, sha256: str) -> HarmonyError:
    with pytest.raises(HarmonyError) as refused:
        store.get(sha256)
    assert (refused.value.code, refused.value.reason) == (ErrorCode.NOT_FOUND, Reason.FILE_MISSING)
    return refused.value


@given(data=st.binary(max_size=100))
def test_what_was_put_is_got_by_its_hash(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    store = ContentStore(tmp_path_factory.getbasetemp() / "any")
    sha256 = store.put(data)
    assert sha256 == hashlib.sha256(data).hexdigest()
    assert store.get(sha256) == data


def test_files_lie_by_two_digits_and_only_their_owner_may_read_them(
    store: ContentStore, folder: Path
) -> None:
    sha256 = store.put(b"cover")
    path = place(folder, sha256)
    assert list(folder.rglob("*")) == [path.parent, path]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_what_is_there_is_not_written_again(store: ContentStore, folder: Path) -> None:
    path = place(folder, store.put(b"cover"))
    before = path.stat()
    store.put(b"cover")
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_what_was_never_put_is_missing(store: ContentStore) -> None:
    assert "0" * 64 in missing(store, "0" * 64).message


def test_a_damaged_file_is_removed_and_missing_until_it_is_put_again(
    store: ContentStore, folder: Path
) -> None:
    sha256 = store.put(b"cover")
    place(folder, sha256).write_bytes(b"c0ver")
    missing(store, sha256)
    assert not place(folder, sha256).exists()
    store.put(b"cover")
    assert store.get(sha256) == b"cover"


def test_putting_repairs_a_damaged_file(store: ContentStore, folder: Path) -> None:
    sha256 = store.put(b"cover")
    place(folder, sha256).write_bytes(b"")
    store.put(b"cover")
    assert store.get(sha256) == b"cover"


@pytest.mark.parametrize(
    "word", ["", "abc", "../" * 21 + "a", "A" * 64, "0" * 64 + "\n", "0" * 63 + "/"]
)
def test_only_a_hash_names_a_file(store: ContentStore, word: str) -> None:
    with pytest.raises(HarmonyError) as refused:
        store.get(word)
    assert refused.value.code is ErrorCode.VALIDATION_ERROR


def test_a_sweep_removes_old_litter_only(store: ContentStore, folder: Path) -> None:
    sha256 = store.put(b"cover")
    old, young = (place(folder, sha256).parent / f".tmp-{name}" for name in ("old", "young"))
    for path in (old, young):
        path.write_bytes(b"half")
    two_hours_ago = time.time() - 7200
    os.utime(old, (two_hours_ago, two_hours_ago))
    os.utime(place(folder, sha256), (0, 0))
    assert store.sweep() == 1
    assert (old.exists(), young.exists(), store.get(sha256)) == (False, True, b"cover")
    assert store.sweep(older_than_seconds=-1) == 1


def test_a_sweep_of_a_store_never_used_removes_nothing(store: ContentStore) -> None:
    assert store.sweep() == 0


def test_many_at_once_put_and_get_the_same(store: ContentStore, folder: Path) -> None:
    data = os.urandom(50_000)
    with ThreadPoolExecutor(8) as pool:
        hashes = set(pool.map(lambda _: store.put(data), range(40)))
    assert store.get(hashes.pop()) == data
    assert not hashes
    assert not list(folder.rglob(".tmp-*"))


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from harmony_pipelines.clients.content_store import ContentStore
from harmony_pipelines.domain.errors import HarmonyError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    ContentStore(Path(sys.argv[1])).put(bytes(5000))
except HarmonyError as error:
    print(error.code, error.reason)
"""


@pytest.mark.slow
def test_a_full_disk_is_said_and_leaves_no_litter(folder: Path) -> None:
    # A limit on file size stands in for a full disk: both stop a write in the middle.
    command = [sys.executable, "-c", FULL_DISK, str(folder)]
    run = subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=True, timeout=30)
    assert run.stdout.decode().split() == ["DEPENDENCY_ERROR", "disk_full"]
    assert [path for path in folder.rglob("*") if path.is_file()] == []


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    with pytest.raises(HarmonyError) as refused:
        ContentStore(tmp_path / "home" / "covers").put(b"cover")
    assert refused.value.details["path"]
