"""How many calls RDS takes in a while: a bucket that refills on the cloud's clock."""

from __future__ import annotations

import threading

from .clock import Clock


class Throttle:
    """`limit` is {"burst", "per_second"} in AWS seconds, or None for none, as long as nobody asks for one."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self.limit = None

    @property
    def limit(self) -> dict[str, float] | None:
        return self._limit

    @limit.setter
    def limit(self, limit: dict[str, float] | None) -> None:
        with self._lock:
            self._limit = limit
            self._left, self._at = (limit or {}).get("burst", 0.0), self._clock.now()
            # How many calls were refused since the limit was set.
            self.refused = 0

    def takes_one_more(self) -> bool:
        with self._lock:
            if self._limit is None:
                return True
            now = self._clock.now()
            self._left = min(self._limit["burst"], self._left + (now - self._at) * self._limit["per_second"])
            self._at = now
            if self._left < 1:
                self.refused += 1
                return False
            self._left -= 1
            return True
