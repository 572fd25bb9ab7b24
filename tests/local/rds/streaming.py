"""Read replicas of PostgreSQL: standbys that stream the log of their source, each through a slot of its own.

That is how RDS replicates where the engine stays on its major version ("physical replication", RDS User Guide,
"Overview of Amazon RDS Blue/Green Deployments"). A slot holds the source's log back for as long as its replica
does not take it, here as there.
"""

from __future__ import annotations

import abc
import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .records import Instance

if TYPE_CHECKING:
    from .records import Record

# The servers' part of a switchover takes wall time, however fast the cloud's clock runs.
REPLAY_WALL_SECONDS = 10
# How long a session may take to end, in wall milliseconds.
SESSION_END_MILLISECONDS_MAX = 5_000


class Streaming(abc.ABC):
    """What PostgresStorage does with replicas; `FileStorage` has the same methods."""

    @abc.abstractmethod
    def start(self, instance: Instance) -> None: ...

    @abc.abstractmethod
    def is_running(self, instance: Instance) -> bool: ...

    @abc.abstractmethod
    def _base_backup(self, instance: Instance, target: Record, *options: str) -> None: ...

    @abc.abstractmethod
    def _sql(self, instance: Instance, statements: str, database: str = "postgres") -> str: ...

    def replicate(self, source: Instance, replica: Instance) -> None:
        """Makes the replica of a base backup, and starts it."""
        replica.follow(source)
        self._base_backup(source, replica, "--write-recovery-conf", "--create-slot", "--slot", _slot(replica))
        self.start(replica)

    def promote(self, replica: Instance, position: str = "0/0", wall_seconds: float = 0) -> bool:
        """The replica becomes a server of its own, and takes writes, if it replays the log up to there in time.

        One session, which looks often: clients are waiting.
        """
        return (
            self._sql(
                replica,
                f"""
            DO $$
            DECLARE deadline timestamptz := clock_timestamp() + interval '{max(wall_seconds, REPLAY_WALL_SECONDS)} s';
            BEGIN
                WHILE pg_last_wal_replay_lsn() < '{position}' LOOP
                    IF clock_timestamp() > deadline THEN RETURN; END IF;
                    PERFORM pg_sleep(0.002);
                END LOOP;
                PERFORM pg_promote(false);
                WHILE pg_is_in_recovery() LOOP PERFORM pg_sleep(0.002); END LOOP;
            END $$;
            SELECT pg_is_in_recovery();
        """,
            )
            == "f"
        )

    def detach(self, replica: Instance) -> None:
        """It is nobody's replica any more, and its source keeps no log for it."""
        source = replica.follows
        replica.unfollow()
        if source and self.is_running(source):
            with contextlib.suppress(RuntimeError):
                self._sql(
                    source,
                    f"""
                    SELECT pg_terminate_backend(active_pid, {SESSION_END_MILLISECONDS_MAX})
                    FROM pg_replication_slots WHERE slot_name = '{_slot(replica)}' AND active;
                    SELECT pg_drop_replication_slot(slot_name)
                    FROM pg_replication_slots WHERE slot_name = '{_slot(replica)}';
                """,
                )

    def external_replication(self, instance: Instance) -> str | None:
        """Why blue's own replication forbids a deployment, or None: a publisher or subscriber of somebody's."""
        logical = self._sql(
            instance,
            """
            SELECT (SELECT count(*) FROM pg_replication_slots WHERE slot_type = 'logical')
                 + (SELECT count(*) FROM pg_subscription)""",
        )
        return "external replication on the blue primary instance" if logical != "0" else None

    def guardrail(self, replica: Instance, long_write_seconds: float) -> str | None:
        """Why a switchover to the replica must not begin, or None ("Switchover guardrails")."""
        source = replica.follows
        if source is None:
            return "unhealthy replication on the green environment"
        streaming = self._sql(
            source,
            f"""
            SELECT count(*) FROM pg_replication_slots JOIN pg_stat_replication ON pid = active_pid
            WHERE slot_name = '{_slot(replica)}' AND state = 'streaming'""",
        )
        if streaming != "1":
            return "unhealthy replication on the green environment"
        long_writes = self._sql(
            source,
            f"""
            SELECT count(*) FROM pg_stat_activity
            WHERE backend_type = 'client backend' AND backend_xid IS NOT NULL
              AND clock_timestamp() - xact_start > interval '{long_write_seconds} s'""",
        )
        return "long-running active writes on the blue primary instance" if long_writes != "0" else None

    def freeze(self, instance: Instance) -> str:
        """Ends all sessions for good, and every later one may only read; the place up to which it has written.

        The endpoint is closed by then, so no session comes after the last one has ended. Only what is flushed is
        sent, and pg_switch_wal flushes what a session without synchronous_commit has left in memory.
        """
        instance.is_frozen = True
        return self._sql(
            instance,
            f"""
            ALTER SYSTEM SET default_transaction_read_only = on;
            SELECT pg_reload_conf();
            SELECT pg_terminate_backend(pid, {SESSION_END_MILLISECONDS_MAX}) FROM pg_stat_activity
            WHERE backend_type = 'client backend' AND pid <> pg_backend_pid();
            SELECT pg_switch_wal();
        """,
        )

    def thaw(self, instance: Instance) -> None:
        instance.is_frozen = False
        self._sql(instance, "ALTER SYSTEM RESET default_transaction_read_only; SELECT pg_reload_conf();")


def _slot(replica: Instance) -> str:
    return "rds_" + replica.data_name
