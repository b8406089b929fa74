from pathlib import Path

import pytest

from harmony_pipelines.clients.home import network_file_system, prepare_home
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason

MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
nas:/home /mnt/nas\\040drive nfs4 rw 0 0
/dev/sdb1 /mnt/nas\\040drive/local ext4 rw 0 0
"""


@pytest.fixture
def mounts(tmp_path: Path) -> Path:
    path = tmp_path / "mounts"
    path.write_text(MOUNTS)
    return path


def test_the_home_is_made_for_its_owner_only(tmp_path):
    home = tmp_path / "new" / "home"
    prepare_home(home)
    assert home.stat().st_mode & 0o777 == 0o700
    prepare_home(home)


def test_a_home_that_is_a_file_is_a_wrong_setting(tmp_path):
    home = tmp_path / "home"
    home.touch()
    with pytest.raises(HarmonyError) as raised:
        prepare_home(home)
    assert raised.value.reason == Reason.SETTING
    assert str(home) in raised.value.message


def test_a_home_that_the_machine_does_not_let_us_make_is_read_only_or_an_input_error():
    with pytest.raises(HarmonyError) as raised:
        prepare_home(Path("/proc/harmony-pipelines-home"))
    assert raised.value.code == ErrorCode.DEPENDENCY_ERROR


def test_a_home_on_a_network_file_system_is_refused(mounts):
    with pytest.raises(HarmonyError, match="nfs4") as raised:
        prepare_home(Path("/mnt/nas drive/harmony"), mounts)
    assert (raised.value.code, raised.value.reason) == (
        ErrorCode.VALIDATION_ERROR,
        Reason.SETTING,
    )


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/mnt/nas drive", "nfs4"),
        ("/mnt/nas drive/a/b", "nfs4"),
        ("/mnt/nas drive/local/a", None),
        ("/mnt/nas drives", None),
        ("/home", None),
    ],
)
def test_the_nearest_mount_says_where_a_path_lies(mounts, path, kind):
    assert network_file_system(Path(path), mounts) == kind


def test_a_machine_that_lists_no_mounts_is_trusted(tmp_path):
    assert network_file_system(tmp_path, tmp_path / "none") is None
