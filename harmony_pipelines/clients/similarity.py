"""Whether two pictures show the same, whatever their size, format and compression."""

from harmony_pipelines.clients.images import ImageLimits, thumbnail

_EDGE = 16
_MOST_STEPS = 0.2
"""The share of a difference hash in which two copies of a picture may differ."""

_MOST_COLOUR = 16
"""How far apart their colours may be on average, of 255: a hash sees none, and nothing flat."""

_NOTICEABLE = 6
"""Brightness that neighbours must differ by to count: below it lies the noise of compression."""


def look_alike(one: bytes, other: bytes, limits: ImageLimits | None = None) -> bool:
    """Whether two pictures are perceptually the same; a HarmonyError if one cannot be decoded."""
    first, second = (thumbnail(data, _EDGE, limits) for data in (one, other))
    apart = sum(abs(a - b) for a, b in zip(first, second, strict=True)) / len(first)
    if apart > _MOST_COLOUR:
        return False
    differ = [a != b for a, b in zip(_steps(first), _steps(second), strict=True)]
    return sum(differ) <= _MOST_STEPS * len(differ)


def _steps(pixels: bytes) -> list[int]:
    """A difference hash: whether brightness falls (-1), stays or rises (1) to the right and down.

    Three values where the usual hash has two, since in flat areas its bits are chance.
    """
    grey = [sum(pixels[at : at + 3]) // 3 for at in range(0, len(pixels), 3)]
    right = [(at, at + 1) for at in range(len(grey)) if (at + 1) % _EDGE]
    down = [(at, at + _EDGE) for at in range(len(grey) - _EDGE)]
    return [_step(grey[b] - grey[a]) for a, b in (*right, *down)]


def _step(change: int) -> int:
    return 0 if abs(change) < _NOTICEABLE else (1 if change > 0 else -1)
