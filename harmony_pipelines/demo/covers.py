"""Covers for the invented albums, drawn from a seed: always the same, all of them different."""

import colorsys
import hashlib
import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

_FULL_EDGE = 640
_PATCHES = 5
_FIRST_LETTER_NOT_IN_THE_FONT = 0x250  # Pillow carries a Latin font only


@dataclass(frozen=True)
class Cover:
    """What is to be drawn."""

    seed: str
    title: str
    byline: str
    size: tuple[int, int]
    image_format: str = "JPEG"


def draw_cover(cover: Cover) -> bytes:
    """The encoded picture; other sizes of the same seed show the same picture."""
    from PIL import Image

    drawn = _clouds(cover.seed)
    _rings(drawn, cover.seed)
    _lettering(drawn, cover)
    sized = drawn.resize(cover.size, Image.Resampling.LANCZOS)
    encoded = io.BytesIO()
    sized.save(encoded, cover.image_format, **({"quality": 88} if _is_jpeg(cover) else {}))
    return encoded.getvalue()


def _is_jpeg(cover: Cover) -> bool:
    return cover.image_format == "JPEG"


def _clouds(seed: str) -> "Image.Image":
    """Soft patches of light, different enough for a perceptual hash to tell two covers apart."""
    from PIL import Image, ImageOps

    tones = hashlib.sha256(f"tones:{seed}".encode()).digest()[: _PATCHES**2]
    patches = Image.frombytes("L", (_PATCHES, _PATCHES), tones)
    hue = _fraction(seed, "hue")
    return ImageOps.colorize(
        patches.resize((_FULL_EDGE, _FULL_EDGE), Image.Resampling.BICUBIC),
        black=_colour(hue, 0.8, 0.22),
        white=_colour(hue + 0.08 + 0.25 * _fraction(seed, "step"), 0.6, 0.8),
    )


def _rings(drawn: "Image.Image", seed: str) -> None:
    from PIL import ImageDraw

    pen = ImageDraw.Draw(drawn, "RGBA")
    angle = math.tau * _fraction(seed, "angle")
    x = _FULL_EDGE * (0.5 + 0.3 * math.cos(angle))
    y = _FULL_EDGE * (0.4 + 0.2 * math.sin(angle))
    for radius in range(40, 40 + 45 * (3 + int(4 * _fraction(seed, "rings"))), 45):
        pen.ellipse(
            (x - radius, y - radius, x + radius, y + radius), outline=(255, 255, 255, 110), width=9
        )


def _lettering(drawn: "Image.Image", cover: Cover) -> None:
    from PIL import ImageDraw

    pen = ImageDraw.Draw(drawn)
    for text, size, baseline in ((cover.title, 64, 520), (cover.byline, 30, 580)):
        if all(ord(letter) < _FIRST_LETTER_NOT_IN_THE_FONT for letter in text):
            font = _font_that_fits(pen, text, size)
            pen.text((40, baseline), text, fill="white", font=font, anchor="ls")


def _font_that_fits(
    pen: "ImageDraw.ImageDraw", text: str, size: int
) -> "ImageFont.FreeTypeFont | ImageFont.ImageFont":
    from PIL import ImageFont

    width = pen.textlength(text, font=ImageFont.load_default(size))
    return ImageFont.load_default(min(size, size * (_FULL_EDGE - 80) / max(width, 1)))


def _colour(hue: float, saturation: float, value: float) -> str:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, saturation, value)
    return f"#{int(255 * red):02x}{int(255 * green):02x}{int(255 * blue):02x}"


def _fraction(seed: str, what: str) -> float:
    return int.from_bytes(hashlib.sha256(f"{what}:{seed}".encode()).digest()[:4], "big") / 2**32
