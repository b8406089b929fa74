import subprocess
import sys
from pathlib import Path

import pytest

from harmony_pipelines.clients.locks import Holder, held, holder_of
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason

ME = Holder("my-run", "here:1:2.00")

HOLD = """
import sys, time
from pathlib import Path
from harmony_pipelines.clients.locks import Holder, held
with held(Path(sys.argv[1]), Holder("its-run", "here:3:4.00")):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "locks" / "refresh.lock"


def test_a_second_holder_is_refused_at_once_and_told_who_the_first_is(path):
    with held(path, ME), pytest.raises(HarmonyError) as refused, held(path, Holder("other", "")):
        pass
    assert (refused.value.code, refused.value.reason) == (ErrorCode.CONFLICT, Reason.LOCKED)
    assert refused.value.details["run_id"] == "my-run"
    assert "my-run" in refused.value.message


def test_it_can_be_asked_who_holds_it(path):
    assert holder_of(path) is None
    with held(path, ME):
        assert holder_of(path) == ME
    assert holder_of(path) is None


def test_nothing_is_left_of_a_lock_that_was_released(path):
    with held(path, ME):
        pass
    assert list(path.parent.iterdir()) == []
    with held(path, ME):
        pass


def test_a_lock_goes_with_its_process_however_that_ends(path):
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert holder_of(path) == Holder("its-run", "here:3:4.00")
        child.kill()
    assert holder_of(path) is None
    with held(path, ME):
        assert holder_of(path) == ME


@pytest.mark.parametrize("note", [b"", b"null", b"{", b"[1]", b'{"run_id": 1}', b"\xff"])
def test_an_odd_note_is_a_holder_without_a_name(path, note):
    with held(path, ME):
        path.write_bytes(note)
        assert holder_of(path) == Holder("", "")
        with pytest.raises(HarmonyError) as refused, held(path, ME):
            pass
    assert refused.value.code is ErrorCode.CONFLICT


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "locks").write_text("a file")
    with pytest.raises(HarmonyError), held(tmp_path / "locks" / "refresh.lock", ME):
        pass
