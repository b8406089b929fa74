"""What is left of a limit, and the smaller of two limits."""

import time
from collections.abc import Callable

from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason


class Deadline:
    """A moment by which work must be over; passed down so that every wait takes what is left."""

    def __init__(self, at: float, clock: Callable[[], float], what: str) -> None:
        self._at = at
        self._clock = clock
        self._what = what

    @classmethod
    def after(
        cls, seconds: float, what: str = "the run", *, clock: Callable[[], float] = time.monotonic
    ) -> "Deadline":
        """The deadline `seconds` from now; `what` is named when it has passed."""
        return cls(clock() + seconds, clock, what)

    def sooner(self, seconds: float, what: str) -> "Deadline":
        """The earlier of this deadline and `seconds` from now."""
        at = self._clock() + seconds
        return Deadline(at, self._clock, what) if at < self._at else self

    def left(self) -> float:
        """Seconds left, never below zero."""
        return max(0.0, self._at - self._clock())

    @property
    def passed(self) -> bool:
        """Whether nothing is left."""
        return self.left() <= 0

    def limit(self, seconds: float) -> float:
        """The smaller of `seconds` and what is left; raises DEADLINE_EXCEEDED if nothing is."""
        self.check()
        return min(seconds, self.left())

    def check(self) -> None:
        """Raise DEADLINE_EXCEEDED if nothing is left."""
        if self.passed:
            raise HarmonyError(
                ErrorCode.DEADLINE_EXCEEDED,
                Reason.DEADLINE,
                f"The time limit of {self._what} has passed.",
                what=self._what,
            )
