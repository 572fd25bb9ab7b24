"""The tags of DB instances and snapshots as they count for authorization: some minutes late.

"it might take several minutes for your tag updates to be reflected in access policies" (RDS User Guide, "Tagging
Amazon RDS resources") [A12]. Taken for tags given at creation and for tags taken away, too.
"""

from __future__ import annotations

import weakref

from rds.clock import Clock
from rds.records import Record


class Tags:
    """What was seen of each record's tags, and when, in AWS seconds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: weakref.WeakKeyDictionary[Record, list[tuple[float, dict[str, str]]]] = weakref.WeakKeyDictionary()

    def note(self, record: Record, *, is_new: bool = False) -> None:
        """Looks at the record's tags: to be called when they may have changed."""
        seen = self._seen.get(record)
        tags = {tag["Key"]: tag.get("Value", "") for tag in record.tags}
        if seen is None:
            # What was here before anybody looked, a seed for example, has had its tags for long.
            self._seen[record] = [(float("-inf"), {} if is_new else tags)]
        if self._seen[record][-1][1] != tags:
            self._seen[record].append((self._clock.now(), tags))

    def counted(self, record: Record, delay_seconds: float) -> dict[str, str]:
        """The tags that the record had so long ago."""
        self.note(record)
        moment = self._clock.now() - delay_seconds
        return next(tags for time, tags in reversed(self._seen[record]) if time <= moment)
