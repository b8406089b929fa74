"""The image gate: is it a picture we may embed, and is it small enough to decode."""

import hashlib
import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from harmony_pipelines.clients.front_cover import mime_of
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

JPEG, PNG, WEBP = "image/jpeg", "image/png", "image/webp"

_OTHER_FORMATS = (
    (0, b"GIF8", "GIF"),
    (0, b"BM", "BMP"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (4, b"ftypavi", "AVIF"),
    (4, b"ftyphei", "HEIC"),
    (4, b"ftypmif1", "HEIF"),
    (4, b"jP  ", "JPEG 2000"),
    (4, b"JXL ", "JPEG XL"),
)
_JPEG_MAX_SCANS = 100
_JPEG_QUALITY = 95
_PREVIEW_QUALITY = 60
_WORKING_BYTES_PER_PIXEL = 7
"""What decoding may take for each pixel of the limit: 25 million make 167 MiB."""
_WEBP_BYTES_PER_PIXEL = 18
_one_at_a_time = threading.Lock()


@dataclass(frozen=True)
class ImageLimits:
    """How large a picture may be, read from its header before anything is decoded.

    Some kinds need more memory for a pixel and are held to fewer, so that decoding stays below
    192 MiB at the default: WebP to 7/18 of `max_pixels`, JPEG in CMYK to 7/8.
    """

    max_pixels: int = 25_000_000
    max_edge: int = 8192


@dataclass(frozen=True)
class Cover:
    """What the gate found of a picture that may be embedded as it is."""

    mime: str
    width: int
    height: int
    sha256: str
    bytes_count: int
    has_transparency: bool

    @property
    def substitute_mime(self) -> str:
        """The format to convert to where a container cannot hold this one."""
        return PNG if self.has_transparency else JPEG


def examine(data: bytes, limits: ImageLimits | None = None) -> Cover:
    """What the picture is, after decoding all of it; UNSUPPORTED_MEDIA or PAYLOAD_TOO_LARGE if not.

    A file of several pictures is embedded with all of them, and players differ in what they show:
    animated PNG and WebP are refused. A JPEG that cameras followed by further pictures (MPO) is a
    JPEG to every player, and is taken for its first.
    """
    mime = _mime(data)
    with _one_at_a_time, _speaking_of(mime):
        image = _opened(data, mime)
        width, height = image.size
        _refuse_too_large(image, mime, limits or ImageLimits())
        if getattr(image, "is_animated", False):
            raise _refused(Reason.IMAGE_FORMAT, f"is an animated {mime}; only still ones are taken")
        _decode_whole(image, data, mime)
        return Cover(
            mime,
            width,
            height,
            hashlib.sha256(data).hexdigest(),
            len(data),
            image.has_transparency_data,
        )


def as_format(data: bytes, cover: Cover, mime: str) -> bytes:
    """The examined picture as `mime`, for a container that cannot hold what it is.

    Only WebP is ever converted, to its `substitute_mime`: JPEG at quality 95, or PNG, which alone
    keeps transparency. A picture that is `mime` already comes back as it is.
    """
    if cover.mime == mime:
        return data
    if cover.mime != WEBP or mime != cover.substitute_mime:
        raise _refused(Reason.IMAGE_FORMAT, f"is {cover.mime} and is not converted to {mime}")
    with _one_at_a_time, _speaking_of(cover.mime):
        image = _opened(data, cover.mime)
        written = io.BytesIO()
        image.save(
            written,
            "PNG" if mime == PNG else "JPEG",
            quality=_JPEG_QUALITY,
            icc_profile=image.info.get("icc_profile"),
        )
    return written.getvalue()


def thumbnail(data: bytes, edge: int, limits: ImageLimits | None = None) -> bytes:
    """The picture, once it passed the gate, as `edge` by `edge` pixels of three bytes: RGB."""
    cover = examine(data, limits)
    with _one_at_a_time, _speaking_of(cover.mime):
        image = _opened(data, cover.mime)
        image.draft("RGB", (4 * edge, 4 * edge))
        return b"".join(_row(image, at, edge) for at in range(edge))


def preview(data: bytes, edge: int, limits: ImageLimits | None = None) -> bytes:
    """A picture of any shape as a small JPEG of `edge` by `edge` pixels, to be looked at."""
    from PIL import Image

    written = io.BytesIO()
    small = Image.frombytes("RGB", (edge, edge), thumbnail(data, edge, limits))
    small.save(written, "JPEG", quality=_PREVIEW_QUALITY, optimize=True)
    return written.getvalue()


def _row(image: "ImageFile", at: int, edge: int) -> bytes:
    """One row of a thumbnail; to convert the picture whole would take its memory twice."""
    from PIL.Image import Resampling

    width, height = image.size
    top, bottom = at * height / edge, (at + 1) * height / edge
    first = int(top)
    band = image.crop((0, first, width, ceil(bottom))).convert("RGB")
    box = (0, top - first, width, bottom - first)
    return band.resize((edge, 1), Resampling.BOX, box).tobytes()


def _mime(data: bytes) -> str:
    mime = mime_of(data)
    if mime in (JPEG, PNG, WEBP):
        return mime
    for start, magic, name in _OTHER_FORMATS:
        if data.startswith(magic, start):
            raise _refused(Reason.IMAGE_FORMAT, f"is {name}; only JPEG, PNG and WebP are taken")
    said = "is empty" if not data else "is no picture: it begins with " + ascii(bytes(data[:16]))
    raise _refused(Reason.NOT_AN_IMAGE, said)


def _opened(data: bytes, mime: str) -> "ImageFile":
    """The picture with its header read.

    By the format's own class: `Image.open` would warn of large pictures, apply limits of its own
    and turn a JPEG of several pictures into another format.
    """
    from PIL.JpegImagePlugin import JpegImageFile
    from PIL.PngImagePlugin import PngImageFile
    from PIL.WebPImagePlugin import WebPImageFile

    reader = {JPEG: JpegImageFile, PNG: PngImageFile, WEBP: WebPImageFile}[mime]
    return reader(io.BytesIO(data))


def _refuse_too_large(image: "ImageFile", mime: str, limits: ImageLimits) -> None:
    needed = _bytes_per_pixel(image, mime)
    pixels = min(limits.max_pixels, limits.max_pixels * _WORKING_BYTES_PER_PIXEL // needed)
    width, height = image.size
    if width * height > pixels or max(width, height) > limits.max_edge:
        raise HarmonyError(
            ErrorCode.PAYLOAD_TOO_LARGE,
            Reason.TOO_MANY_PIXELS,
            f"The picture of {width} x {height} is larger than the {pixels} pixels, or the edge of "
            f"{limits.max_edge}, allowed for {mime}. HARMONY_ARTWORK_MAX_PIXELS and "
            "HARMONY_ARTWORK_MAX_EDGE set the limits.",
            width=width,
            height=height,
        )


def _bytes_per_pixel(image: "ImageFile", mime: str) -> int:
    if mime == WEBP:
        return _WEBP_BYTES_PER_PIXEL
    if mime == PNG:
        return 4
    return 2 * len(image.getbands())  # a JPEG of several scans waits whole for its last


def _decode_whole(image: "ImageFile", data: bytes, mime: str) -> None:
    if mime == JPEG:
        if data.count(b"\xff\xda") > _JPEG_MAX_SCANS:  # each costs a pass over all pixels
            raise _refused(Reason.IMAGE_FORMAT, f"is a JPEG of over {_JPEG_MAX_SCANS} scans")
        # Every coefficient is still read, but an eighth of the edge is enough to see it fail.
        image.draft(None, (max(1, image.width // 8), max(1, image.height // 8)))
    if mime == PNG:
        _opened(data, mime).verify()  # the checksums, which load() ignores
    image.load()


@contextmanager
def _speaking_of(mime: str) -> Iterator[None]:
    """Turn whatever a decoder says of odd bytes into a HarmonyError, its warnings into nothing.

    `catch_warnings` is not safe with threads; the filter names Pillow's modules only, so that
    nothing else is lost if another thread changes the filters meanwhile.
    """
    from PIL.Image import DecompressionBombError

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        try:
            yield
        except HarmonyError:
            raise
        except DecompressionBombError as error:
            message = f"The picture is larger than Pillow decodes: {error}."
            raise HarmonyError(
                ErrorCode.PAYLOAD_TOO_LARGE, Reason.TOO_MANY_PIXELS, message, mime=mime
            ) from error
        except Exception as error:  # over odd bytes decoders raise all there is
            said = str(error) or type(error).__name__
            raise _refused(Reason.BROKEN_IMAGE, f"is a damaged {mime}: {said}") from error


def _refused(reason: Reason, what: str) -> HarmonyError:
    return HarmonyError(ErrorCode.UNSUPPORTED_MEDIA, reason, f"The picture {what}.")
