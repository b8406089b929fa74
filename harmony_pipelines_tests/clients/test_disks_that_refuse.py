"""Disks that do not let a file be replaced: refused with a reason, the file untouched.

Real ones: mounted for one process only, where the system lets a user do that.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harmony_pipelines.clients.embedding import EmbedOptions, embed_front
from harmony_pipelines.clients.safe_write import WriteOptions
from harmony_pipelines.domain.errors import HarmonyError
from harmony_pipelines_tests.audio_files import a_jpeg, sample

_OWN_MOUNTS = ["unshare", "--user", "--map-root-user", "--mount"]
_EMBED = """
import json
import subprocess
import sys
from pathlib import Path

from harmony_pipelines_tests.clients.test_disks_that_refuse import refusal
from harmony_pipelines_tests.audio_files import sample

def mount(*words):
    subprocess.run(["mount", *words], check=True)

folder = Path(sys.argv[1])
"""
_DISKS = {
    "full": (
        "mount('-t', 'tmpfs', '-o', 'size=100k', 'none', str(folder))\n"
        "file = sample('tone.flac', folder)\n",
        "disk_full",
    ),
    "read-only": (
        "file = sample('tone.flac', folder)\n"
        "mount('--bind', str(folder), str(folder))\n"
        "mount('-o', 'remount,ro,bind', str(folder))\n"
        "file = folder / file.name\n",
        "read_only",
    ),
    "of another device": (
        "file = sample('tone.flac', folder)\nmount('--bind', str(file), str(file))\n",
        "cross_device",
    ),
}

pytestmark = pytest.mark.slow


def refusal(file: Path) -> dict[str, object]:
    """What embedding is refused with, and whether the file and its folder are as they were."""
    before, names = file.read_bytes(), os.listdir(file.parent)  # noqa: PTH208
    options = EmbedOptions(
        write=WriteOptions((file.parent,), room=0), journal=lambda _: None, keep_old=lambda _: None
    )
    try:
        embed_front(file, a_jpeg(150_000), options)
    except HarmonyError as error:
        untouched = file.read_bytes() == before and os.listdir(file.parent) == names  # noqa: PTH208
        return error.as_dict() | {"reason": error.reason, "untouched": untouched}
    return {"reason": "none"}


@pytest.mark.parametrize("kind", _DISKS)
def test_a_disk_that_refuses_is_named_and_nothing_is_written(kind: str, tmp_path: Path) -> None:
    if (
        shutil.which("unshare") is None
        or subprocess.run([*_OWN_MOUNTS, "true"], check=False).returncode
    ):
        pytest.skip("this system lets no user mount anything")
    made, reason = _DISKS[kind]
    script = _EMBED + made + "print(json.dumps(refusal(file)))"
    done = subprocess.run(
        [*_OWN_MOUNTS, sys.executable, "-B", "-c", script, str(tmp_path)],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[2],
    )
    told = json.loads(done.stdout)
    assert (told["code"], told["reason"]) == ("DEPENDENCY_ERROR", reason)
    assert told["untouched"]
    assert "tone.flac" in told["message"]


@pytest.fixture
def immutable(tmp_path: Path) -> Iterator[Path]:
    """A file in a folder; either may be made immutable, which only root may."""
    file = sample("tone.flac", tmp_path)
    yield file
    for path in (tmp_path, file):
        subprocess.run(["chattr", "-i", str(path)], check=False, stderr=subprocess.DEVNULL)


@pytest.mark.skipif(shutil.which("chattr") is None, reason="there is no chattr here")
@pytest.mark.parametrize("what", ["file", "folder"])
def test_what_is_immutable_is_refused(immutable: Path, what: str) -> None:
    path = immutable if what == "file" else immutable.parent
    made = subprocess.run(["chattr", "+i", str(path)], check=False, stderr=subprocess.DEVNULL)
    if made.returncode:
        pytest.skip("only root may make files immutable, and not on every file system")
    told = refusal(immutable)
    assert (told["code"], told["reason"]) == ("DEPENDENCY_ERROR", "read_only")
    assert told["untouched"]
