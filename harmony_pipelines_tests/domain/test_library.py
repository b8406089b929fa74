import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony_pipelines.domain.library import LibraryPaths, shrank

paths = st.binary(max_size=30)


@pytest.mark.parametrize("music", [b"/srv/music", b"/srv/music/"])
def test_a_relative_path_hangs_on_the_music_directory(music):
    assert LibraryPaths(music).here(b"A/1.mp3") == b"/srv/music/A/1.mp3"


def test_a_relative_path_hangs_on_the_root_if_that_is_the_music_directory():
    assert LibraryPaths(b"/").here(b"A/1.mp3") == b"/A/1.mp3"


@given(path=paths)
def test_an_absolute_path_stays_as_it_is_without_a_path_map(path):
    assert LibraryPaths(b"/srv").here(b"/" + path) == b"/" + path


@given(path=paths)
def test_every_path_becomes_absolute(path):
    assert LibraryPaths(b"/srv", [(b"/music", b"/mnt")]).here(path).startswith(b"/")


@pytest.mark.parametrize(
    ("stored", "here"),
    [
        (b"/music/A/1.mp3", b"/mnt/nas/A/1.mp3"),
        (b"/music", b"/mnt/nas"),
        (b"/music-old/1.mp3", b"/music-old/1.mp3"),
        (b"/music/lossless/1.flac", b"/mnt/flac/1.flac"),
        (b"/music/lossless2/1.flac", b"/mnt/nas/lossless2/1.flac"),
    ],
)
def test_the_longest_mapped_folder_wins_and_half_a_name_is_no_folder(stored, here):
    paths = LibraryPaths(b"/", [(b"/music/", b"/mnt/nas"), (b"/music/lossless", b"/mnt/flac/")])

    assert paths.here(stored) == here


def test_a_whole_machine_can_be_mapped():
    assert LibraryPaths(b"/", [(b"/", b"/mnt/other")]).here(b"/m/1.mp3") == b"/mnt/other/m/1.mp3"
    assert LibraryPaths(b"/", [(b"/m", b"/")]).here(b"/m") == b"/"


def test_the_music_directory_of_another_machine_is_mapped_too():
    assert LibraryPaths(b"/music", [(b"/music", b"/mnt")]).here(b"A/1.mp3") == b"/mnt/A/1.mp3"


@pytest.mark.parametrize(
    ("before", "now", "is_guarded"),
    [(0, 0, False), (0, 9, False), (100, 80, False), (100, 79, True), (1, 0, True), (5, 9, False)],
)
def test_a_library_shrank_when_more_than_a_fifth_is_gone(before, now, is_guarded):
    assert shrank(before, now) is is_guarded
