from pathlib import Path

import pytest

from harmony_pipelines.clients.audio_payload import common_fingerprint, fingerprint
from harmony_pipelines.clients.pictures_ogg import pages
from harmony_pipelines.domain.errors import HarmonyError, Reason
from harmony_pipelines_tests.audio_files import SAMPLES, SHARED, a_jpeg, replace_front, sample

_ANY_FILE = pytest.mark.parametrize("file", [*SAMPLES, *SHARED], ids=lambda path: path.name)


@_ANY_FILE
def test_a_cover_does_not_change_the_fingerprint(file: Path, tmp_path: Path) -> None:
    copy = tmp_path / f"copy{file.suffix}"
    copy.write_bytes(file.read_bytes())
    before = fingerprint(copy)
    replace_front(copy, a_jpeg(200_000))
    assert fingerprint(copy) == common_fingerprint(file, copy) == before


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("tone.mp3", "c067923b98f9d456c47061559406103e1d60b6e7a74ca7385b0becdd2285d433"),
        ("tone.opus", "91cc94b726220dc29793d05d76a7a343c1c480e7255a62f8ccb9b699ecaeb43b"),
        ("tone.ogg", "5b9c59248dba60927b7ffb0d5d06e945533ede2a45e37d54f68a953ab6bae677"),
        ("tone.mp3", "blake3:d4b2720c65ae56749875028a971348faec6fe2d57eff6227451e2d570305a4ab"),
        ("tone.opus", "blake3:e72a6f3a7d864df3851d030c0dec0e218441a0468d330c9d91325fc887832498"),
    ],
)
def test_what_was_known_by_any_kind_of_fingerprint_is_known_again(
    name: str, known: str, tmp_path: Path
) -> None:
    assert fingerprint(sample(name, tmp_path), known) == known


@pytest.mark.parametrize("file", SAMPLES, ids=lambda path: path.name)
def test_one_other_bit_of_audio_changes_the_fingerprint(file: Path, tmp_path: Path) -> None:
    copy = tmp_path / file.name
    raw = bytearray(file.read_bytes())
    at = raw.find(b"mdat") + 100 if b"mdat" in raw else len(raw) - 300
    raw[at] ^= 1
    copy.write_bytes(raw)
    assert fingerprint(copy) != fingerprint(file)
    assert common_fingerprint(file, copy) is None


def test_audio_that_ends_sooner_is_not_the_same(tmp_path: Path) -> None:
    file, copy = sample("tone.mp3", tmp_path), tmp_path / "copy.mp3"
    copy.write_bytes(file.read_bytes()[:-400])
    assert common_fingerprint(file, copy) is None
    assert common_fingerprint(copy, file) is None


@pytest.mark.parametrize("name", ["tone.m4a", "tone-alac.m4a"])
def test_an_offset_that_did_not_move_with_the_audio_is_seen(name: str, tmp_path: Path) -> None:
    file = sample(name, tmp_path)
    before = fingerprint(file)
    raw = bytearray(file.read_bytes())
    first_offset = raw.index(b"stco") + 12
    raw[first_offset + 3] ^= 4
    file.write_bytes(raw)
    assert fingerprint(file) != before


@pytest.mark.parametrize("name", ["tone.ogg", "tone.opus"])
def test_a_page_with_a_wrong_number_or_checksum_is_seen(name: str, tmp_path: Path) -> None:
    file = sample(name, tmp_path)
    before = fingerprint(file)
    with file.open("rb") as opened:
        last = list(pages(opened))[-1].start
    for field in (last + 18, last + 22):
        raw = bytearray(sample(name, tmp_path).read_bytes())
        raw[field] ^= 1
        file.write_bytes(raw)
        assert fingerprint(file) != before


def test_tags_behind_the_audio_are_not_audio(tmp_path: Path) -> None:
    file = sample("tone.mp3", tmp_path)
    before = fingerprint(file)
    file.write_bytes(file.read_bytes() + b"TAG" + bytes(125))
    assert fingerprint(file) == before


def test_a_wav_without_a_length_of_its_sound_is_refused(tmp_path: Path) -> None:
    file = sample("tone.wav", tmp_path)
    raw = bytearray(file.read_bytes())
    at = raw.index(b"data") + 4
    raw[at : at + 4] = b"\xff\xff\xff\xff"
    file.write_bytes(raw)
    with pytest.raises(HarmonyError) as caught:
        fingerprint(file)
    assert caught.value.reason is Reason.BROKEN_TAG
