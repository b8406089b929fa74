import base64
import io
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmony_pipelines.clients.front_cover import NewCover
from harmony_pipelines.clients.pictures import accepted_mimes, read_front, tags_without_front
from harmony_pipelines.clients.pictures_flac import PictureBlock
from harmony_pipelines.clients.pictures_id3 import Id3Tag
from harmony_pipelines.clients.pictures_ogg import Page, pages
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
_V3, _V4 = b"ID3\x03\x00", b"ID3\x04\x00"


@_ANY_FILE
def test_a_cover_reads_back_and_all_else_in_the_tags_is_the_same(
    file: Path, tmp_path: Path
) -> None:
    copy = _copy(file, tmp_path)
    rest = tags_without_front(copy)
    for cover in (a_jpeg(), a_png(90_000), a_jpeg(300_000, seed=3)):
        replace_front(copy, cover)
        found = read_front(copy)
        assert found is not None
        assert (found.data, found.mime) == (cover.data, cover.mime)
        assert (found.width, found.height) == (cover.width, cover.height)
        assert tags_without_front(copy) == rest


@pytest.mark.parametrize(
    "name", ["tone.mp3", "tone.flac", "tone.m4a", "tone-alac.m4a", "tone.ogg", "tone.opus"]
)
def test_taking_our_cover_out_again_gives_the_very_bytes_of_before(
    name: str, tmp_path: Path
) -> None:
    file = sample(name, tmp_path)
    before = file.read_bytes()
    replace_front(file, a_jpeg(150_000))
    replace_front(file, None)
    assert file.read_bytes() == before


def test_taking_a_cover_out_where_none_is_changes_nothing(tmp_path: Path) -> None:
    for path in SAMPLES:
        file = sample(path.name, tmp_path)
        replace_front(file, None)
        assert file.read_bytes() == path.read_bytes()


def test_the_bytes_decide_what_kind_of_file_it_is(tmp_path: Path) -> None:
    file = sample("tone.flac", tmp_path, called="really-flac.mp3")
    replace_front(file, a_jpeg())
    assert file.read_bytes().startswith(b"fLaC")
    assert read_front(file) is not None


_NOISE_LIKE_A_FRAME = bytes((1 << 16) - 300) + b"\xff\xfb\x90\x64" + bytes(296)
"""Four bytes that look like the head of an MPEG frame, which would end behind these."""


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", Reason.NOT_AUDIO),
        (b"<html>not found</html>" * 50, Reason.NOT_AUDIO),
        (b"ID3\x03\0\0\0\0\0\0" + b"\0" * 4000, Reason.NOT_AUDIO),
        (_NOISE_LIKE_A_FRAME, Reason.NOT_AUDIO),
        (_NOISE_LIKE_A_FRAME[:-1], Reason.NOT_AUDIO),
        (_NOISE_LIKE_A_FRAME + bytes(5000), Reason.NOT_AUDIO),
        (b"RF64\xff\xff\xff\xffWAVEds64" + b"\0" * 100, Reason.AUDIO_FORMAT),
        (b"FRM8" + b"\0" * 100, Reason.AUDIO_FORMAT),
        (b"\x1aE\xdf\xa3" + b"\0" * 100, Reason.AUDIO_FORMAT),
        (b"OggS" + b"\0" * 24 + b"\x7fFLAC" + b"\0" * 100, Reason.AUDIO_FORMAT),
        (
            struct.pack(">I8s", 12, b"ftypheic") + struct.pack(">I4s", 8, b"mdat"),
            Reason.AUDIO_FORMAT,
        ),
        (b"fLaC", Reason.BROKEN_TAG),
        (b"OggS" + b"\0" * 24 + b"\x01vorbis", Reason.BROKEN_TAG),
    ],
)
def test_what_takes_no_cover_is_refused_and_untouched(
    content: bytes, reason: Reason, tmp_path: Path
) -> None:
    file = tmp_path / "song.mp3"
    file.write_bytes(content)
    with pytest.raises(HarmonyError) as caught:
        replace_front(file, a_jpeg())
    assert (caught.value.code, caught.value.reason) == (ErrorCode.UNSUPPORTED_MEDIA, reason)
    assert "song.mp3" in caught.value.message
    assert file.read_bytes() == content


def test_a_picture_that_players_do_not_show_is_refused(tmp_path: Path) -> None:
    file = sample("tone.mp3", tmp_path)
    assert accepted_mimes(file) == {"image/jpeg", "image/png"}
    with pytest.raises(HarmonyError) as caught:
        replace_front(file, NewCover(b"RIFF....WEBP", "image/webp", 1, 1))
    assert caught.value.reason is Reason.IMAGE_FORMAT


@pytest.mark.parametrize(("name", "too_many"), [("tone.flac", 16 << 20), ("tone.opus", 11 << 20)])
def test_a_picture_too_large_for_the_container_is_refused(
    name: str, too_many: int, tmp_path: Path
) -> None:
    file = sample(name, tmp_path)
    with pytest.raises(HarmonyError) as caught:
        replace_front(file, NewCover(bytes(too_many), "image/jpeg", 1, 1))
    assert caught.value.code is ErrorCode.PAYLOAD_TOO_LARGE
    assert read_front(file) is None


def test_a_picture_of_almost_sixteen_mebibytes_fits_into_flac(tmp_path: Path) -> None:
    file = sample("tone.flac", tmp_path)
    cover = NewCover(bytes((16 << 20) - 100), "image/jpeg", 1, 1)
    replace_front(file, cover)
    found = read_front(file)
    assert found is not None
    assert len(found.data) == len(cover.data)


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(HarmonyError) as caught:
        read_front(tmp_path / "gone.mp3")
    assert caught.value.reason is Reason.FILE_MISSING


class TestId3:
    def test_version_unknown_frames_and_odd_texts_stay_as_they_are(self, tmp_path: Path) -> None:
        frames = [_v3("TYER", b"\x031999\0\0"), _v3("NCON", b"??"), _v3("TIT2", b"\x01\xfe\xff\0A")]
        file = _mp3(tmp_path, _tag(_V3, b"".join(frames) + bytes(64)))
        replace_front(file, a_jpeg())
        raw = file.read_bytes()
        assert raw.startswith(_V3)
        assert b"".join(frames) + _v3("APIC", b"\0image/jpeg\0\x03\0" + a_jpeg().data) in raw
        replace_front(file, None)
        assert file.read_bytes() == _tag(_V3, b"".join(frames) + bytes(64)) + _audio()

    def test_the_oldest_version_gets_its_own_kind_of_frame(self, tmp_path: Path) -> None:
        old = b"TT2\0\0\x03\0Ab"
        file = _mp3(tmp_path, _tag(b"ID3\x02\x00", old))
        replace_front(file, a_png())
        assert old + b"PIC" in file.read_bytes()
        assert _front(file) == a_png().data

    def test_a_back_cover_is_not_touched(self, tmp_path: Path) -> None:
        back = _v3("APIC", b"\0image/jpg\0\x04back\0" + a_png().data)
        file = _mp3(tmp_path, _tag(_V3, back))
        assert read_front(file) is None
        replace_front(file, a_jpeg())
        assert back in file.read_bytes()
        assert _front(file) == a_jpeg().data

    def test_a_lone_untyped_picture_is_the_cover_and_keeps_its_words(self, tmp_path: Path) -> None:
        words = b"\x01image/jpg\0\0\xff\xfeH\0i\0\0\0"
        tag = _tag(_V3, _v3("APIC", words + a_png().data))
        file = _mp3(tmp_path, tag)
        assert _front(file) == a_png().data
        replace_front(file, a_jpeg())
        assert words.replace(b"jpg", b"jpeg") + a_jpeg().data in file.read_bytes()

    def test_a_link_to_a_picture_is_no_cover(self, tmp_path: Path) -> None:
        link = _v3("APIC", b"\0-->\0\x03\0http://example.org/a.jpg")
        assert read_front(_mp3(tmp_path, _tag(_V3, link))) is None

    def test_plain_sizes_of_old_itunes_are_understood_and_kept(self, tmp_path: Path) -> None:
        text = b"TIT2" + struct.pack(">I", 300) + b"\0\0" + b"\x03" + b"x" * 299
        file = _mp3(tmp_path, _tag(_V4, text))
        replace_front(file, a_jpeg(1000))
        assert text + b"APIC" + struct.pack(">I", 14 + len(a_jpeg(1000).data)) in file.read_bytes()
        assert _front(file) == a_jpeg(1000).data

    @pytest.mark.parametrize("version", [_V3, _V4])
    def test_an_unsynchronised_tag_stays_so(self, version: bytes, tmp_path: Path) -> None:
        title = _v3("TIT2", b"\0abc") if version == _V3 else b"TIT2\0\0\0\x04\0\0\0abc"
        file = _mp3(tmp_path, _tag(version, title, flags=0x80))
        replace_front(file, a_jpeg())
        tag = file.read_bytes()[: -len(_audio())]
        assert b"\xff\xe0" not in tag
        assert b"\xff\xfb" not in tag
        assert _front(file) == a_jpeg().data

    def test_a_footer_follows_the_size_of_the_tag(self, tmp_path: Path) -> None:
        head = b"\x04\0\x10\0\0\0\x0e"
        tag = b"ID3" + head + b"TIT2\0\0\0\x04\0\0\0abc" + b"3DI" + head
        file = _mp3(tmp_path, tag)
        replace_front(file, a_jpeg())
        assert _front(file) == a_jpeg().data
        replace_front(file, None)
        assert file.read_bytes() == tag + _audio()

    def test_tags_behind_the_audio_stay(self, tmp_path: Path) -> None:
        behind = _ape(b"\x03\0\0\0\0\0\0\0Mood\0abc") + b"TAG" + b"x" * 125
        file = _mp3(tmp_path, b"")
        file.write_bytes(file.read_bytes() + behind)
        replace_front(file, a_jpeg())
        assert file.read_bytes().endswith(_audio() + behind)
        assert tags_without_front(file)[-1] == behind

    def test_a_tag_with_a_checksum_is_refused(self, tmp_path: Path) -> None:
        extended = struct.pack(">IHII", 10, 0x8000, 0, 0)
        file = _mp3(tmp_path, _tag(_V3, extended + _v3("TIT2", b"\0a"), flags=0x40))
        with pytest.raises(HarmonyError, match="checksum"):
            replace_front(file, a_jpeg())

    @given(st.binary(max_size=200))
    def test_any_bytes_are_a_tag_or_a_value_error(self, body: bytes) -> None:
        try:
            tag = Id3Tag.parse(_tag(_V4, body))
        except (ValueError, struct.error):
            return
        assert Id3Tag.parse(tag.with_front(a_jpeg(100)).render()).rest() == tag.rest()


class TestFlac:
    def test_other_pictures_and_an_id3_tag_in_front_stay(self, tmp_path: Path) -> None:
        raw = sample("tone.flac", tmp_path).read_bytes()
        back = PictureBlock(
            4, b"image/png", "zurück".encode(), (7, 8, 9, 10), a_png().data
        ).render()
        end_of_streaminfo = 8 + 34
        block = b"\x06" + len(back).to_bytes(3, "big") + back
        id3 = _tag(_V3, _v3("TIT2", b"\0a"))
        file = tmp_path / "a.flac"
        file.write_bytes(id3 + raw[:end_of_streaminfo] + block + raw[end_of_streaminfo:])
        replace_front(file, a_jpeg())
        assert file.read_bytes().startswith(id3 + raw[:end_of_streaminfo] + block)
        assert _front(file) == a_jpeg().data

    def test_our_picture_has_true_measures(self, tmp_path: Path) -> None:
        file = sample("tone.flac", tmp_path)
        replace_front(file, a_jpeg())
        assert struct.pack(">4I", 600, 500, 24, 0) in file.read_bytes()

    def test_a_block_with_a_wrong_length_is_refused(self, tmp_path: Path) -> None:
        file = sample("tone.flac", tmp_path)
        raw = bytearray(file.read_bytes())
        raw[4] |= 0x80
        file.write_bytes(raw)
        with pytest.raises(HarmonyError, match="wrong length"):
            replace_front(file, a_jpeg())


class TestOgg:
    @pytest.mark.parametrize("name", ["tone.ogg", "tone.opus"])
    def test_a_broken_picture_entry_stays_as_it_is(self, name: str, tmp_path: Path) -> None:
        file = sample(name, tmp_path)
        replace_front(file, a_jpeg(900))
        broken = file.read_bytes()
        entry = b"METADATA_BLOCK_PICTURE=" + b"AAAAAw"
        at = broken.index(entry)
        file.write_bytes(broken[:at] + entry[:-6] + b"!" * 6 + broken[at + len(entry) :])
        assert read_front(file) is None
        replace_front(file, a_png())
        assert b"METADATA_BLOCK_PICTURE=!!!!!!" in file.read_bytes()
        assert _front(file) == a_png().data

    def test_opus_gets_no_measures_and_vorbis_true_ones(self, tmp_path: Path) -> None:
        for name, measures in (("tone.opus", (0, 0, 0)), ("tone.ogg", (600, 500, 24))):
            file = sample(name, tmp_path)
            replace_front(file, a_jpeg(600))
            entry = file.read_bytes().split(b"METADATA_BLOCK_PICTURE=")[1]
            start = base64.b64decode(entry[:80])
            assert struct.unpack(">3I", start[22:34]) == measures

    @pytest.mark.parametrize("name", ["tone.ogg", "tone.opus"])
    def test_pages_behind_the_cover_stay_whole_and_a_broken_one_broken(
        self, name: str, tmp_path: Path
    ) -> None:
        file = sample(name, tmp_path)
        raw = bytearray(file.read_bytes())
        raw[-1] ^= 1
        file.write_bytes(raw)
        with file.open("rb") as opened:
            *_, before = pages(opened)
        replace_front(file, a_jpeg(200_000))
        with file.open("rb") as opened:
            *whole, after = pages(opened)
        assert after.number > before.number
        assert all(page.is_whole for page in whole)
        assert after.checksum ^ after.right_checksum() == before.checksum ^ before.right_checksum()

    @given(lengths=st.lists(st.integers(0, 255 * 255), min_size=1, max_size=20), data=st.data())
    def test_pages_are_read_as_far_as_they_are_whole(
        self, lengths: list[int], data: st.DataObject
    ) -> None:
        written: list[Page] = []
        raw = data.draw(st.binary(max_size=50))
        for number, length in enumerate(lengths):
            lacing = b"\xff" * (length // 255) + bytes([length % 255]) * (length < 255 * 255)
            page = Page(len(raw), 0, number, 7, number, lacing, bytes([number]) * length)
            written.append(page._replace(checksum=page.right_checksum()))
            raw += page.render()
        end = data.draw(st.integers(written[0].start, len(raw)))
        found = list(pages(io.BytesIO(raw[:end]), written[0].start))
        assert found == [page for page in written if page.start + page.length <= end]

    def test_pages_cut_off_in_the_middle_are_refused(self, tmp_path: Path) -> None:
        file = sample("tone.ogg", tmp_path)
        raw = file.read_bytes()
        last = raw.rindex(b"OggS")
        file.write_bytes(raw[:last] + b"junk" + raw[last:])
        with pytest.raises(HarmonyError, match="between its pages"):
            replace_front(file, a_jpeg(200_000))
        assert file.read_bytes() == raw[:last] + b"junk" + raw[last:]


class TestMp4:
    def test_only_the_first_of_several_covers_is_replaced(self, tmp_path: Path) -> None:
        file = sample("tone.m4a", tmp_path)
        replace_front(file, a_png(500))
        first = b"data" + struct.pack(">2I", 14, 0) + a_png(500).data
        raw = file.read_bytes()
        assert first in raw
        replace_front(file, a_jpeg(500))
        assert b"data" + struct.pack(">2I", 13, 0) + a_jpeg(500).data in file.read_bytes()
        assert first not in file.read_bytes()

    def test_fragments_are_refused(self, tmp_path: Path) -> None:
        file = sample("tone.m4a", tmp_path)
        file.write_bytes(file.read_bytes() + struct.pack(">I4s", 8, b"moof"))
        with pytest.raises(HarmonyError) as caught:
            replace_front(file, a_jpeg())
        assert caught.value.reason is Reason.AUDIO_FORMAT


@settings(max_examples=150)
@given(st.data())
def test_no_damage_to_a_file_raises_anything_but_our_own_errors(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    raw = bytearray(data.draw(st.sampled_from(SAMPLES)).read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, min(len(raw), 1500) - 1))
        raw[at] = data.draw(st.integers(0, 255))
    file = tmp_path_factory.mktemp("odd") / "odd.mp3"
    file.write_bytes(raw[: data.draw(st.integers(1, len(raw)))])
    try:
        replace_front(file, a_jpeg())
        assert read_front(file) is not None
    except HarmonyError as error:
        assert error.code is ErrorCode.UNSUPPORTED_MEDIA


def _copy(file: Path, folder: Path) -> Path:
    copy = folder / f"copy{file.suffix}"
    copy.write_bytes(file.read_bytes())
    return copy


def _front(file: Path) -> bytes | None:
    found = read_front(file)
    return found.data if found else None


def _audio() -> bytes:
    return next(path for path in SAMPLES if path.name == "tone.mp3").read_bytes()


def _mp3(folder: Path, tag: bytes) -> Path:
    file = folder / "song.mp3"
    file.write_bytes(tag + _audio())
    return file


def _tag(start: bytes, body: bytes, flags: int = 0) -> bytes:
    size = bytes(len(body) >> shift & 0x7F for shift in (21, 14, 7, 0))
    return start + bytes([flags]) + size + body


def _v3(name: str, content: bytes) -> bytes:
    return name.encode() + struct.pack(">I", len(content)) + b"\0\0" + content


def _ape(item: bytes) -> bytes:
    head, foot = (
        b"APETAGEX" + struct.pack("<4I8x", 2000, len(item) + 32, 1, flags)
        for flags in (0xA0000000, 0x80000000)
    )
    return head + item + foot
