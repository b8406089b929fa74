"""How long a caller waits, and what ends its waiting early."""

import threading
from collections.abc import Callable

from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason


class Patience:
    """A deadline, and an event that ends every wait before it: the run is over."""

    def __init__(
        self,
        deadline: Deadline,
        stop: threading.Event | None = None,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        self.deadline = deadline
        self._stop = stop or threading.Event()
        self._sleep = sleep or self._stop.wait

    def within(self, deadline: Deadline) -> "Patience":
        """The same patience with another deadline."""
        return Patience(deadline, self._stop, self._sleep)

    @property
    def is_over(self) -> bool:
        """Whether the run is over or the deadline has passed."""
        return self._stop.is_set() or self.deadline.passed

    def check(self) -> None:
        """Raise if the run is over or the deadline has passed."""
        if self._stop.is_set():
            raise HarmonyError(
                ErrorCode.CONFLICT,
                Reason.RUN_OVER,
                "The run is over; Spotify is asked nothing more.",
            )
        self.deadline.check()

    def wait(self, seconds: float) -> None:
        """Wait, at most to the deadline; raises as soon as nothing more may be asked."""
        self._sleep(self.deadline.limit(seconds))
        self.check()
