import hashlib
import io
import struct
import subprocess
import sys
import threading
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageDraw

from harmony_pipelines.clients.images import Cover, ImageLimits, as_format, examine
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason

REPOSITORY = Path(__file__).parents[2]
FOREIGN = [REPOSITORY.parent / "shared" / "media" / name for name in ("pillow", "image-rs")]


def picture(size: tuple[int, int] = (64, 48), mode: str = "RGB") -> Image.Image:
    image = Image.linear_gradient("L").resize(size).convert("RGB")
    ImageDraw.Draw(image).ellipse((5, 5, 40, 40), fill=(200, 30, 90))
    image = image.convert(mode)
    if mode == "RGBA":
        image.putalpha(Image.linear_gradient("L").resize(size))
    return image


def drawn(mode: str, kind: str, edge: int, **options: object) -> Callable[[], bytes]:
    return lambda: saved(picture((edge, edge), mode), kind, **options)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    written = io.BytesIO()
    image.save(written, kind, **options)
    return written.getvalue()


def animated(kind: str) -> bytes:
    return saved(picture(), kind, save_all=True, append_images=[picture().rotate(90)])


STILL = {
    "jpeg": (saved(picture(), "JPEG"), "image/jpeg", False),
    "progressive jpeg": (saved(picture(), "JPEG", progressive=True), "image/jpeg", False),
    "cmyk jpeg": (saved(picture(mode="CMYK"), "JPEG"), "image/jpeg", False),
    "grey jpeg": (saved(picture(mode="L"), "JPEG"), "image/jpeg", False),
    "png": (saved(picture(), "PNG"), "image/png", False),
    "palette png": (saved(picture(mode="P"), "PNG"), "image/png", False),
    "transparent png": (saved(picture(mode="RGBA"), "PNG"), "image/png", True),
    "lossy webp": (saved(picture(), "WEBP"), "image/webp", False),
    "lossless webp": (saved(picture(), "WEBP", lossless=True), "image/webp", False),
    "transparent webp": (saved(picture(mode="RGBA"), "WEBP"), "image/webp", True),
}


def refusal(data: bytes, limits: ImageLimits | None = None) -> HarmonyError:
    with pytest.raises(HarmonyError) as refused:
        examine(data, limits)
    return refused.value


def png_header(width: int, height: int) -> bytes:
    return png(struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), b"")


def png(header: bytes, pixels: bytes) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    whole = chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + whole


_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2))
_PASSES = ((0, 0, 1, 1),), (*_ADAM7, (0, 1, 1, 2))


def black_png(edge: int, colour: int, channels: int, interlaced: bool) -> bytes:
    """A PNG of 16 bits a channel, which Pillow itself does not write."""
    packer, packed = zlib.compressobj(1), bytearray()
    for left, top, right, down in _PASSES[interlaced]:
        row = bytes(1 + 2 * channels * len(range(left, edge, right)))
        for _ in range(top, edge, down):
            packed += packer.compress(row)
    header = struct.pack(">IIBBBBB", edge, edge, 16, colour, 0, 0, interlaced)
    return png(header, bytes(packed + packer.flush()))


def test_a_png_of_16_bits_is_a_cover_interlaced_or_not() -> None:
    for interlaced in (False, True):
        cover = examine(black_png(50, 6, 4, interlaced))
        assert (cover.mime, cover.width, cover.has_transparency) == ("image/png", 50, True)


# What passes


@pytest.mark.parametrize("kind", STILL)
def test_a_whole_picture_is_a_cover_of_what_its_bytes_say(kind: str) -> None:
    data, mime, transparent = STILL[kind]
    sha256 = hashlib.sha256(data).hexdigest()
    assert examine(data) == Cover(mime, 64, 48, sha256, len(data), transparent)


def test_a_jpeg_of_several_pictures_is_taken_for_its_first() -> None:
    cover = examine(saved(picture(), "MPO", save_all=True, append_images=[picture((9, 9))]))
    assert (cover.mime, cover.width, cover.height) == ("image/jpeg", 64, 48)


def test_odd_exif_data_warns_nobody() -> None:
    odd = b"Exif\0\0MM\0*\0\0\0\x08\0\x02\x01\x12\0\x03\0\0\0\x01\0\x01\0\0"
    odd += b"\x01\x1a\0\x05\0\0\0\x09\xff"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert examine(saved(picture(), "JPEG", exif=odd)).width == 64


# What does not


@pytest.mark.parametrize("data", [b"", b"<html>", b"\xff\xd8", b"RIFF\0\0\0\0WAVE", b"\x89PN"])
def test_what_is_no_picture_is_not_an_image(data: bytes) -> None:
    error = refusal(data)
    assert (error.code, error.reason) == (ErrorCode.UNSUPPORTED_MEDIA, Reason.NOT_AN_IMAGE)


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "AVIF", "JPEG2000"])
def test_a_picture_of_another_format_is_told_by_its_name(kind: str) -> None:
    Image.init()
    if kind not in Image.SAVE:
        pytest.skip(f"this Pillow writes no {kind}")
    error = refusal(saved(picture(), kind))
    assert (error.code, error.reason) == (ErrorCode.UNSUPPORTED_MEDIA, Reason.IMAGE_FORMAT)
    assert kind[:4] in error.message


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_an_animated_picture_is_refused(kind: str) -> None:
    error = refusal(animated(kind))
    assert (error.code, error.reason) == (ErrorCode.UNSUPPORTED_MEDIA, Reason.IMAGE_FORMAT)


@pytest.mark.parametrize("kind", STILL)
@pytest.mark.parametrize("part", [0.3, 0.5, 0.9])
def test_a_picture_that_was_cut_is_broken(kind: str, part: float) -> None:
    data = STILL[kind][0]
    assert refusal(data[: int(len(data) * part)]).reason is Reason.BROKEN_IMAGE


def test_a_jpeg_without_its_end_is_broken() -> None:
    assert refusal(STILL["jpeg"][0][:-2]).reason is Reason.BROKEN_IMAGE


def test_a_png_whose_checksum_is_wrong_is_broken() -> None:
    data = bytearray(STILL["png"][0])
    data[-20] ^= 1
    assert refusal(bytes(data)).reason is Reason.BROKEN_IMAGE


@pytest.mark.parametrize("magic", [b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP"])
def test_nothing_but_magic_is_broken(magic: bytes) -> None:
    assert refusal(magic).reason is Reason.BROKEN_IMAGE


@pytest.mark.parametrize(
    ("width", "height"), [(5001, 5000), (8193, 10), (10, 8193), (65535, 65535)]
)
def test_a_picture_too_large_is_refused_by_its_header(width: int, height: int) -> None:
    error = refusal(png_header(width, height))
    assert (error.code, error.reason) == (ErrorCode.PAYLOAD_TOO_LARGE, Reason.TOO_MANY_PIXELS)
    assert (error.details["width"], error.details["height"]) == (width, height)


def test_a_picture_within_the_limits_is_refused_for_its_lack_of_pixels_only() -> None:
    assert refusal(png_header(5000, 5000)).reason is Reason.BROKEN_IMAGE


def test_the_users_own_limits_count() -> None:
    data = STILL["jpeg"][0]
    assert refusal(data, ImageLimits(max_pixels=64 * 48 - 1)).reason is Reason.TOO_MANY_PIXELS
    assert refusal(data, ImageLimits(max_edge=63)).reason is Reason.TOO_MANY_PIXELS
    assert examine(data, ImageLimits(max_pixels=64 * 48, max_edge=64)).width == 64


def test_kinds_that_need_more_memory_are_held_to_fewer_pixels() -> None:
    limits = ImageLimits(max_pixels=64 * 48)
    for kind in ("cmyk jpeg", "lossy webp", "lossless webp"):
        assert refusal(STILL[kind][0], limits).reason is Reason.TOO_MANY_PIXELS


def test_a_jpeg_of_endless_scans_is_refused_before_it_is_decoded() -> None:
    data = STILL["progressive jpeg"][0]
    scan = data[data.rindex(b"\xff\xda") : -2]
    error = refusal(data[:-2] + scan * 200 + data[-2:])
    assert error.reason is Reason.IMAGE_FORMAT


@pytest.mark.parametrize("folder", FOREIGN, ids=lambda folder: folder.name)
def test_every_odd_picture_of_other_projects_is_a_cover_or_a_harmony_error(folder: Path) -> None:
    if not folder.is_dir():
        pytest.skip("runs where ../shared is")
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    seen: set[str] = set()
    for path in files:
        try:
            seen.add(examine(path.read_bytes()).mime)
        except HarmonyError as error:
            seen.add(str(error.reason))
    assert {"image/jpeg", "image/png", "image/webp", "not_an_image"} <= seen


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(STILL)), st.data())
def test_cut_and_flipped_bytes_make_a_cover_or_a_harmony_error(
    kind: str, draw: st.DataObject
) -> None:
    data = bytearray(STILL[kind][0])
    for _ in range(draw.draw(st.integers(1, 4))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    cut = draw.draw(st.one_of(st.just(len(data)), st.integers(0, len(data))))
    try:
        examine(bytes(data[:cut]))
    except HarmonyError as error:
        assert error.code in (ErrorCode.UNSUPPORTED_MEDIA, ErrorCode.PAYLOAD_TOO_LARGE)


@given(st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF1234WEBP"]), st.binary())
def test_any_bytes_at_all_are_refused_with_a_harmony_error(magic: bytes, data: bytes) -> None:
    assert refusal(magic + data).code is ErrorCode.UNSUPPORTED_MEDIA


def test_many_threads_get_the_same_answers() -> None:
    found: list[Cover] = []
    data = STILL["jpeg"][0]
    threads = [threading.Thread(target=lambda: found.append(examine(data))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [examine(data)] * 8


# Where a container cannot hold it


@pytest.mark.parametrize("kind", STILL)
def test_a_picture_that_is_the_format_already_comes_back_as_it_is(kind: str) -> None:
    data, mime, _ = STILL[kind]
    assert as_format(data, examine(data), mime) is data


@pytest.mark.parametrize(
    ("kind", "mime"), [("lossy webp", "image/jpeg"), ("transparent webp", "image/png")]
)
def test_webp_becomes_jpeg_or_where_it_is_transparent_png(kind: str, mime: str) -> None:
    data = STILL[kind][0]
    cover = examine(data)
    assert cover.substitute_mime == mime
    converted = as_format(data, cover, mime)
    made = examine(converted)
    assert (made.mime, made.width, made.height) == (mime, 64, 48)
    assert made.has_transparency is cover.has_transparency
    before, after = (Image.open(io.BytesIO(each)).convert("RGBA") for each in (data, converted))
    furthest = max(ImageChops.difference(before, after).tobytes())
    assert furthest < (40 if mime == "image/jpeg" else 1)


@pytest.mark.parametrize(
    ("kind", "mime"),
    [("png", "image/jpeg"), ("jpeg", "image/png"), ("transparent webp", "image/jpeg")],
)
def test_nothing_else_is_converted(kind: str, mime: str) -> None:
    data = STILL[kind][0]
    with pytest.raises(HarmonyError) as refused:
        as_format(data, examine(data), mime)
    assert refused.value.reason is Reason.IMAGE_FORMAT


# Memory

MEASURE = """
import sys
from pathlib import Path
from harmony_pipelines.clients.images import as_format, examine, thumbnail
from harmony_pipelines_tests.clients.peak_memory import peak_mib
data = Path(sys.argv[1]).read_bytes()
before = peak_mib()
cover = examine(data)
if cover.mime == "image/webp":
    as_format(data, cover, cover.substitute_mime)
thumbnail(data, 16)
print(peak_mib() - before)
"""
LARGEST: dict[str, Callable[[], bytes]] = {
    "jpeg": drawn("RGB", "JPEG", 5000),
    "progressive-jpeg": drawn("RGB", "JPEG", 5000, progressive=True, subsampling=0),
    "cmyk-jpeg": drawn("CMYK", "JPEG", 4677, subsampling=0),
    "progressive-cmyk-jpeg": drawn("CMYK", "JPEG", 4677, progressive=True, subsampling=0),
    "mpo": lambda: saved(picture((5000, 5000)), "MPO", save_all=True, append_images=[picture()]),
    "png": drawn("RGBA", "PNG", 5000, compress_level=1),
    "palette-png": drawn("P", "PNG", 5000, compress_level=1),
    "16-bit-png": lambda: black_png(5000, 6, 4, interlaced=False),
    "interlaced-16-bit-png": lambda: black_png(5000, 6, 4, interlaced=True),
    "lossy-webp": drawn("RGB", "WEBP", 3118, method=0),
    "lossless-webp": drawn("RGB", "WEBP", 3118, method=0, lossless=True, quality=0),
    "transparent-webp": drawn("RGBA", "WEBP", 3118, method=0),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", LARGEST)
def test_the_largest_picture_allowed_is_decoded_within_192_mib(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "picture"
    path.write_bytes(LARGEST[kind]())
    command = [sys.executable, "-c", MEASURE, str(path)]
    run = subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=True, timeout=60)
    assert float(run.stdout) < 192
    print(f"| {kind} | {float(run.stdout):.0f} MiB |")  # `-s -n 0` shows it
