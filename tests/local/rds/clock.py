"""The cloud's clock: AWS seconds that pass faster than wall seconds, at a scale that can change."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator


class Clock:
    """One AWS second lasts `scale` wall seconds."""

    def __init__(self, scale: float) -> None:
        self._changed = threading.Condition()
        self._scale = scale
        self._wall = time.monotonic()
        self._elapsed = 0.0

    @property
    def scale(self) -> float:
        return self._scale

    @scale.setter
    def scale(self, scale: float) -> None:
        if not scale > 0:
            raise ValueError(f"time_scale is {scale}: give a number above 0")
        with self._changed:
            self._elapsed = self.now()
            self._wall = time.monotonic()
            self._scale = scale
            self._changed.notify_all()

    def now(self) -> float:
        """AWS seconds since the clock was made."""
        return self._elapsed + (time.monotonic() - self._wall) / self._scale

    def sleep(self, seconds: float, interrupted: Callable[[], bool] = lambda: False) -> None:
        """Sleeps that many AWS seconds, at whatever scale, or until `interrupted` after a `wake`."""
        deadline = self.now() + seconds
        with self._changed:
            while (left := deadline - self.now()) > 0 and not interrupted():
                self._changed.wait(left * self._scale)

    def wake(self) -> None:
        """Lets every sleeper look again whether it was interrupted."""
        with self._changed:
            self._changed.notify_all()

    @contextlib.contextmanager
    def at_least(self, seconds: float, interrupted: Callable[[], bool] = lambda: False) -> Iterator[None]:
        """Stretches the block to that many AWS seconds: the work in it is part of the wait."""
        start = self.now()
        yield
        self.sleep(start + seconds - self.now(), interrupted)
