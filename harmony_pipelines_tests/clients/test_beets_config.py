from pathlib import Path

import pytest

from harmony_pipelines.clients.beets_config import find_config
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason


def written(folder, text):
    (folder / "config.yaml").write_text(text)
    return folder


def test_what_is_named_needs_no_configuration_of_beets(tmp_path):
    broken = written(tmp_path, "library: [")
    pair = (Path("/music"), Path("/mnt/music"))

    config = find_config(Path("/a/b.db"), Path("/music"), [pair], broken)

    assert config.database == Path("/a/b.db")
    assert config.music_directory == Path("/music")
    assert config.path_map == (pair,)


def test_the_configuration_of_beets_says_where_the_library_is(tmp_path):
    config = find_config(
        beets_dir=written(
            tmp_path, "library: /data/music.db\ndirectory: ~/Tunes\nplugins: embedart"
        )
    )

    assert config.database == Path("/data/music.db")
    assert config.music_directory == Path.home() / "Tunes"


def test_what_is_named_beats_the_configuration_of_beets(tmp_path):
    folder = written(tmp_path, "library: /data/music.db\ndirectory: /data/music")

    assert find_config(Path("/a/b.db"), beets_dir=folder).database == Path("/a/b.db")
    assert find_config(Path("/a/b.db"), beets_dir=folder).music_directory == Path("/data/music")
    assert find_config(None, Path("/m"), beets_dir=folder).database == Path("/data/music.db")


@pytest.mark.parametrize(
    "text", ["", "# nothing", "- a list", "library:\ndirectory: ''", "just text"]
)
def test_a_configuration_that_does_not_say_leaves_the_defaults_of_beets(tmp_path, text):
    config = find_config(beets_dir=written(tmp_path, text))

    assert config.database == tmp_path / "library.db"
    assert config.music_directory == Path.home() / "Music"


def test_without_any_configuration_the_defaults_of_beets_hold(tmp_path):
    assert find_config(beets_dir=tmp_path / "none").database == tmp_path / "none" / "library.db"


def test_relative_paths_hang_on_the_folder_of_beets(tmp_path):
    config = find_config(beets_dir=written(tmp_path, "library: lib/music.db\ndirectory: music"))

    assert config.database == tmp_path / "lib" / "music.db"
    assert config.music_directory == tmp_path / "music"


def test_odd_yaml_that_beets_accepts_is_accepted_and_nothing_in_it_is_run(tmp_path):
    odd = (
        "paths:\n  default: %first{$albumartist}/$album\n"
        "x: !!python/object/apply:os.system ['touch ran']\n"
        "include: other.yaml\nlibrary: /data/music.db\n"
    )

    assert find_config(beets_dir=written(tmp_path, odd)).database == Path("/data/music.db")
    assert [file.name for file in tmp_path.iterdir()] == ["config.yaml"]


@pytest.mark.parametrize("content", [b"library: [", b"\tlibrary: x", b"library: \xff\xfe\xfa"])
def test_a_broken_configuration_is_named_with_the_way_around_it(tmp_path, content):
    (tmp_path / "config.yaml").write_bytes(content)

    with pytest.raises(HarmonyError) as refused:
        find_config(beets_dir=tmp_path)

    assert (refused.value.code, refused.value.reason) == (
        ErrorCode.VALIDATION_ERROR,
        Reason.SETTING,
    )
    assert str(tmp_path / "config.yaml") in refused.value.message
    assert "HARMONY_BEETS_LIBRARY" in refused.value.message
