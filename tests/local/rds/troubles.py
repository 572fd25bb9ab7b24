"""What befalls logical replication when a test asks for it: `POST /local/instances/<id>/replication` in control.py."""

from __future__ import annotations

import abc
import subprocess
from typing import TYPE_CHECKING

from .sql import name, text
from .streaming import SESSION_END_MILLISECONDS_MAX

if TYPE_CHECKING:
    from .records import Instance


class Troubles(abc.ABC):
    """What PostgresStorage does to replication; of instances without a server there is none."""

    def __init__(self) -> None:
        # The sessions that hold locks.
        self._holding: dict[str, list[subprocess.Popen[str]]] = {}

    @abc.abstractmethod
    def _sql(self, instance: Instance, statements: str, database: str = "postgres") -> str: ...

    @abc.abstractmethod
    def _session(self, instance: Instance, database: str) -> subprocess.Popen[str]: ...

    def drop_slot(self, instance: Instance, slot: str) -> None:
        """The slot is gone, whoever reads it; a KeyError where there is none."""
        dropped = self._sql(
            instance,
            f"""
            SELECT pg_terminate_backend(active_pid, {SESSION_END_MILLISECONDS_MAX})
            FROM pg_replication_slots WHERE slot_name = {text(slot)} AND active;
            SELECT count(pg_drop_replication_slot(slot_name)) FROM pg_replication_slots WHERE slot_name = {text(slot)};
            """,
        )
        if dropped != "1":
            raise KeyError(slot)

    def terminate_walsenders(self, instance: Instance) -> int:
        """Cuts everybody who replicates from the instance; how many these were. They come back by themselves."""
        return int(
            self._sql(
                instance,
                f"SELECT count(pg_terminate_backend(pid, {SESSION_END_MILLISECONDS_MAX})) FROM pg_stat_replication",
            )
        )

    def hold_apply(self, instance: Instance, database: str, table: str) -> None:
        """Lets nobody write into the table, so that a subscription never gets past the next change of it."""
        session = self._session(instance, database)
        assert session.stdin and session.stdout
        session.stdin.write(f"BEGIN; LOCK TABLE {table} IN EXCLUSIVE MODE; SELECT 'held';\n")
        session.stdin.flush()
        answer = session.stdout.readline().strip()
        if answer != "held":
            session.kill()
            session.wait()
            raise ValueError(f"{name(database)}: {answer}")
        self._holding.setdefault(instance.data_name, []).append(session)

    def release_apply(self, instance: Instance) -> None:
        """Lets everything go that hold_apply holds."""
        for session in self._holding.pop(instance.data_name, []):
            session.communicate()
