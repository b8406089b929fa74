import io
from itertools import combinations

import pytest

from harmony_pipelines.clients.images import ImageLimits
from harmony_pipelines.clients.similarity import look_alike
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError
from harmony_pipelines_tests.small_library import flat, picture

_SEEDS = ("Night Ferry", "Salt and Static", "Little Meridian", "Star Atlas", "Cartographers")


def again(data: bytes, edge: int, image_format: str, quality: int) -> bytes:
    """The picture at another size, compressed once more."""
    from PIL import Image

    encoded = io.BytesIO()
    sized = Image.open(io.BytesIO(data)).resize((edge, edge))
    sized.save(encoded, image_format, quality=quality)
    return encoded.getvalue()


@pytest.mark.parametrize("seed", _SEEDS)
@pytest.mark.parametrize(
    ("edge", "image_format", "quality"),
    [(64, "JPEG", 75), (300, "JPEG", 30), (1200, "WEBP", 90), (500, "PNG", 0)],
)
def test_a_copy_of_any_size_and_format_is_the_same_picture(
    seed: str, edge: int, image_format: str, quality: int
) -> None:
    one = picture(seed, 640)
    assert look_alike(one, again(one, edge, image_format, quality))


def test_different_covers_are_different_pictures() -> None:
    for one, other in combinations(_SEEDS, 2):
        assert not look_alike(picture(one, 640), picture(other, 300)), (one, other)


def test_flat_pictures_are_told_apart_by_their_colour() -> None:
    colours = ("white", "black", "red", "#808080")
    for one, other in combinations(colours, 2):
        assert not look_alike(flat(64, one), flat(90, other)), (one, other)
    assert look_alike(flat(64, "red"), flat(90, "#fa0202", "PNG"))


def test_a_mirrored_and_a_turned_cover_are_other_pictures() -> None:
    from PIL import Image, ImageOps

    one = picture("Night Ferry", 640)
    for change in (ImageOps.mirror, ImageOps.flip, lambda image: image.rotate(90)):
        encoded = io.BytesIO()
        change(Image.open(io.BytesIO(one))).save(encoded, "JPEG")
        assert not look_alike(one, encoded.getvalue())


def test_what_cannot_be_decoded_is_an_error_and_not_an_answer() -> None:
    with pytest.raises(HarmonyError) as caught:
        look_alike(picture(), b"<html>")
    assert caught.value.code is ErrorCode.UNSUPPORTED_MEDIA
    with pytest.raises(HarmonyError):
        look_alike(picture(), picture(), ImageLimits(max_edge=100))
