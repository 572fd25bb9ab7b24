"""One task between two PostgreSQL databases, as an ordinary client of both.

A slot with an exported snapshot, the tables truncated and loaded as that snapshot has them, then what the slot tells,
in the order of the source's transactions and none by halves. Triggers and foreign keys of the target are its own: they
count unless the endpoint's AfterConnectScript switches them off. validation.py compares the rows meanwhile.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import select
import struct
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator, MutableMapping
from datetime import datetime
from typing import Any

import psycopg
from psycopg import pq, sql

from . import decoding
from .settings import Mappings, Settings
from .tables import TABLES, Table
from .validation import Validation

# How values are written must not depend on what a role or a database is set to.
SESSION = "-c timezone=UTC -c datestyle=ISO -c intervalstyle=postgres -c extra_float_digits=1 -c bytea_output=hex"
# Between two looks at a stream that is silent.
IDLE_SECONDS = 0.02
CONFIRM_SECONDS = 0.2
TRANSACTIONS_AT_ONCE = 100
# For how long a task that is told to stop may go on before what it waits for is cancelled.
JOIN_SECONDS = 1
POSTGRES_EPOCH = 946_684_800
# Where DMS keeps what it could not apply or found to differ (User Guide, "Control table task settings").
CONTROL_TABLES = """
    CREATE TABLE IF NOT EXISTS {schema}.awsdms_apply_exceptions ("TASK_NAME" varchar(128) NOT NULL,
        "TABLE_OWNER" varchar(128) NOT NULL, "TABLE_NAME" varchar(128) NOT NULL, "ERROR_TIME" timestamp NOT NULL,
        "STATEMENT" text NOT NULL, "ERROR" text NOT NULL);
    CREATE TABLE IF NOT EXISTS {schema}.awsdms_validation_failures_v1 ("TASK_NAME" varchar(128) NOT NULL,
        "TABLE_OWNER" varchar(128) NOT NULL, "TABLE_NAME" varchar(128) NOT NULL, "FAILURE_TIME" timestamp NOT NULL,
        "KEY_TYPE" varchar(128) NOT NULL, "KEY" text NOT NULL, "FAILURE_TYPE" varchar(128) NOT NULL,
        "DETAILS" text NOT NULL);"""


@dataclasses.dataclass(frozen=True)
class Transaction:
    """Of the source, as its slot tells it: where it ends, its COMMIT, and its changes."""

    position: int
    commit: str
    lines: list[str]


class Failed(Exception):
    """The task fails with this message."""


class Replication:
    """What a task does. `plays` are those of the task, `changed` is told each status that it comes to by itself."""

    def __init__(
        self,
        name: str,
        ends: tuple[dict[str, Any], dict[str, Any]],
        after_connect: str | None,
        settings: Settings,
        mappings: Mappings,
        plays: MutableMapping[str, Any],
        changed: Callable[[str], None],
    ) -> None:
        self.name, self.source, self.target = name, ends[0], ends[1]
        self.after_connect, self.settings, self.mappings = after_connect, settings, mappings
        self.plays, self._changed = plays, changed
        self._control_schema = sql.Identifier(settings.control_schema)
        self.tables: dict[tuple[str, str], Table] = {}
        self.slot: str | None = None
        self.failure: str | None = None
        self.load_started_at: float | None = None
        self.load_ended_at: float | None = None
        # What CloudWatch has of it.
        self.incoming = 0
        self.latency_seconds = 0.0
        # Up to where the source's log was read, and applied; the first goes on while the source is silent.
        self.read = self.applied = 0
        self._ended = threading.Event()
        self._leader: threading.Thread | None = None
        self._validator: threading.Thread | None = None
        self._connections: list[psycopg.Connection[Any]] = []

    # ---- what the control plane asks for

    def start(self, *, resume: bool) -> None:
        """Begins anew, or goes on with the slot and the tables that it stopped with."""
        self.stop()
        self._ended.clear()
        self.failure = None
        self._leader = threading.Thread(
            target=self._lead, kwargs={"resume": resume}, daemon=True, name=f"DMS task {self.name}"
        )
        self._leader.start()

    def stop(self) -> None:
        """Ends its threads, and waits for them. The slot stays, and with it the source's log."""
        self._ended.set()
        while self._leader and self._leader.is_alive():
            self._leader.join(JOIN_SECONDS)
            for connection in list(self._connections):
                # It may wait for somebody's transaction. Not cancel(), which would hold up the forwarder that it goes
                # by: that is another thread of this process.
                with contextlib.suppress(psycopg.Error):
                    connection.cancel_safe(timeout=JOIN_SECONDS)

    def close(self) -> None:
        """Stops, and drops the slot as well as it can: a source that does not answer keeps it [A105]."""
        self.stop()
        if self.slot:
            with contextlib.suppress(psycopg.Error), psycopg.connect(**self.source, autocommit=True) as source:
                source.execute("SELECT pg_drop_replication_slot(%s)", [self.slot])
            self.slot = None

    def progress(self) -> dict[str, Any]:
        """ReplicationTaskStats."""
        states = [table.state for table in self.tables.values()]
        loaded = states.count("Table completed")
        moments = {"FullLoadStartDate": self.load_started_at, "FullLoadFinishDate": self.load_ended_at}
        return {
            "FullLoadProgressPercent": 100 if self.load_ended_at else 100 * loaded // max(len(states), 1),
            "TablesLoaded": loaded,
            "TablesLoading": states.count("Full load"),
            "TablesQueued": states.count("Before load"),
            "TablesErrored": states.count("Table error"),
        } | {name: moment for name, moment in moments.items() if moment}

    # ---- at work

    def is_over(self) -> bool:
        return self._ended.is_set()

    def wait(self, seconds: float) -> None:
        self._ended.wait(seconds)

    def connect(self, end: dict[str, Any], **options: Any) -> psycopg.Connection[Any]:
        connection = psycopg.connect(**end, autocommit=True, options=SESSION, application_name="awsdms", **options)
        self._connections.append(connection)
        return connection

    def connect_target(self) -> psycopg.Connection[Any]:
        connection = self.connect(self.target)
        if self.after_connect:
            connection.execute(self.after_connect.encode())
        return connection

    def _lead(self, *, resume: bool) -> None:
        self._guard(lambda: self._run(resume=resume))
        if self._validator:
            self._validator.join()
        while self._connections:
            self._connections.pop().close()

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            if not self._ended.is_set():
                if not isinstance(error, (Failed, psycopg.Error)):
                    traceback.print_exc(file=sys.stderr)
                self.failure = str(error).strip()
                self._ended.set()
                self._changed("failed")

    def _run(self, *, resume: bool) -> None:
        stream = self.connect(self.source, replication="database")
        if not resume:
            snapshot = self._create_slot(stream)
            self._list_tables()
            self._changed("running")
            self._load(snapshot)
        else:
            self._changed("running")
        if self.is_over():
            return
        if self.settings.validates:
            self._validator = threading.Thread(target=self._guard, args=(Validation(self).run,), daemon=True)
            self._validator.start()
        self._replicate(stream)

    def _create_slot(self, stream: psycopg.Connection[Any]) -> str:
        """Named as DMS does, so that nobody can foresee it; the snapshot's name."""
        with self.connect(self.source) as source:
            (oid,) = source.execute("SELECT oid FROM pg_database WHERE datname = current_database()").fetchone() or (0,)
        readable = re.sub(r"\W", "_", self.name.lower())[:16]
        slot = f"{readable}_{oid:08}_{str(uuid.uuid4()).replace('-', '_')}"[:63]
        command = f"CREATE_REPLICATION_SLOT \"{slot}\" LOGICAL test_decoding (SNAPSHOT 'export')"
        result = stream.pgconn.exec_(command.encode())
        if result.status != pq.ExecStatus.TUPLES_OK:
            raise Failed(result.error_message.decode())
        self.slot, self.read, self.applied = slot, 0, 0
        return (result.get_value(0, 2) or b"").decode()

    def _list_tables(self) -> None:
        self.tables.clear()
        with self.connect(self.source) as source:
            for row in source.execute(TABLES):
                if self.mappings.choose(row[0], row[1]):
                    self.tables[row[0], row[1]] = Table(*row)
        if not self.tables and self.settings.stops_without_tables:
            raise Failed("No tables were found at task initialization.")

    # ---- the full load

    def _load(self, snapshot: str) -> None:
        self.load_started_at, self.load_ended_at = time.time(), None
        with self.connect(self.source) as source, self.connect_target() as target:
            target.execute(sql.SQL(CONTROL_TABLES).format(schema=self._control_schema))
            source.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            source.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(snapshot))
            for table in self.tables.values():
                if self.plays["fails"] == "load":
                    raise Failed("The task was told to fail during its load.")
                if self.is_over():
                    return
                try:
                    self._load_table(source, target, table)
                except psycopg.Error as error:
                    if source.broken or target.broken:
                        raise
                    # One by one: a table that a foreign key references refuses, whatever the session's role is.
                    table.fail()
                    if self.settings.stops_on_table_error:
                        raise Failed(f"Table {table.shown} could not be loaded: {error}") from None
            source.execute("COMMIT")
        self.load_ended_at = time.time()

    def _load_table(self, source: psycopg.Connection[Any], target: psycopg.Connection[Any], table: Table) -> None:
        table.state = "Full load"
        if self.settings.truncates:
            target.execute(sql.SQL("TRUNCATE {}").format(table.identifier))
        out = table.select(self.settings.longest_value_bytes)
        with source.cursor() as reading, target.cursor() as writing:
            with (
                reading.copy(sql.SQL("COPY ({}) TO STDOUT (FORMAT binary)").format(out)) as rows,
                writing.copy(
                    sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(table.identifier, table.column_list)
                ) as into,
            ):
                for block in rows:
                    into.write(block)
            table.complete(writing.rowcount, is_validated=self.settings.validates)

    # ---- the changes

    def _replicate(self, stream: psycopg.Connection[Any]) -> None:
        raw = stream.pgconn
        command = (
            f'START_REPLICATION SLOT "{self.slot}" LOGICAL 0/0 ("include-timestamp" \'on\', "skip-empty-xacts" \'on\')'
        )
        result = raw.exec_(command.encode())
        if result.status != pq.ExecStatus.COPY_BOTH:
            raise Failed(result.error_message.decode())
        lines: list[str] = []
        # As many as have come: each transaction of the target takes a few turns of the interpreter's lock.
        transactions: list[Transaction] = []
        confirmed_at = 0.0
        with self.connect_target() as target:
            while not self.is_over():
                if self.plays["fails"] == "changes":
                    raise Failed("The task was told to fail while it replicated.")
                if time.monotonic() - confirmed_at > CONFIRM_SECONDS:
                    confirmed_at = time.monotonic()
                    self._confirm(raw)
                size, data = raw.get_copy_data(1)
                is_keepalive = size > 0 and bytes(data[:1]) == b"k"
                if transactions and (size == 0 or is_keepalive or len(transactions) >= TRANSACTIONS_AT_ONCE):
                    self._apply(target, transactions)
                    transactions = []
                if size == 0:
                    select.select([raw.socket], [], [], IDLE_SECONDS)
                    raw.consume_input()
                elif size < 0:
                    raise Failed(f"The source ended the stream: {raw.error_message.decode().strip()}")
                elif is_keepalive:
                    # Up to there nothing more will come.
                    (self.read,) = struct.unpack(">Q", data[1:9])
                    self.applied = max(self.applied, self.read)
                else:
                    (position,) = struct.unpack(">Q", data[1:9])
                    line = bytes(data[25:]).decode()
                    if line.startswith("BEGIN"):
                        lines = []
                    elif line.startswith("COMMIT"):
                        transactions.append(Transaction(position, line, lines))
                    else:
                        lines.append(line)

    def _confirm(self, raw: pq.abc.PGconn) -> None:
        """Tells the source what it need not keep, and asks how far it has read."""
        now = int((time.time() - POSTGRES_EPOCH) * 1e6)
        raw.put_copy_data(struct.pack(">cQQQqB", b"r", self.applied, self.applied, self.applied, now, 1))
        raw.flush()

    def _apply(self, target: psycopg.Connection[Any], transactions: list[Transaction]) -> None:
        """All of them or nothing; after a resume, nothing of what was applied before it."""
        transactions = [one for one in transactions if one.position > self.applied]
        work = [part for one in transactions for part in self._work(one.lines)]
        self.incoming = len(work)
        for table, change, _ in work:
            table.touch(change.keys(table.key) if table.key else [])
        if work:
            try:
                with target.transaction():
                    self._apply_at_once(target, [statement for _, _, statement in work])
            except (psycopg.Error, _NoSuchRow) as error:
                if target.broken:
                    raise
                self._apply_one_by_one(target, work, str(error))
        for table, change, _ in work:
            table.count_applied(change)
        self.incoming = 0
        if transactions:
            last = transactions[-1]
            self.read = self.applied = last.position
            at = re.search(r"\(at (.*)\)$", last.commit)
            self.latency_seconds = (
                max(0.0, time.time() - datetime.fromisoformat(_whole_offset(at[1])).timestamp()) if at else 0
            )

    def _work(self, lines: list[str]) -> Iterator[tuple[Table, decoding.Change, str]]:
        """What a transaction's lines are to change at the target."""
        for change in filter(None, map(decoding.change, lines)):
            table = self.tables.get((change.schema, change.table))
            if table is None or table.state == "Table error":
                continue
            if change.action == "TRUNCATE":
                if self.settings.stops_on_truncate:
                    raise Failed(f"Table {table.shown} was truncated at the source.")
                continue
            table.count(change)
            # "UPDATE and DELETE operations for tables without a primary key are ignored" (User Guide, PostgreSQL as a
            # source).
            if table.key or change.action == "INSERT":
                statement = decoding.statement(change, table.key, table.columns, table.fixed)
                if statement:
                    yield table, change, statement

    def _apply_at_once(self, target: psycopg.Connection[Any], statements: list[str]) -> None:
        cursor = target.execute("; ".join(statements).encode())
        while True:
            if cursor.rowcount == 0:
                raise _NoSuchRow("a row that was changed at the source is not there")
            if not cursor.nextset():
                return

    def _apply_one_by_one(
        self, target: psycopg.Connection[Any], work: list[tuple[Table, decoding.Change, str]], reason: str
    ) -> None:
        """As far as the error policies let it."""
        for table, change, statement in work:
            self._apply_one(target, table, change, statement, reason)

    def _apply_one(
        self, target: psycopg.Connection[Any], table: Table, change: decoding.Change, statement: str, reason: str
    ) -> None:
        try:
            with target.transaction():
                self._apply_at_once(target, [statement])
        except (psycopg.Error, _NoSuchRow) as error:
            if target.broken:
                raise
            if self.settings.stops_on_change[change.action]:
                message = f"{change.action} of a row of {table.shown} could not be applied: {str(error) or reason}"
                raise Failed(message) from None
            target.execute(
                sql.SQL("INSERT INTO {schema}.awsdms_apply_exceptions VALUES (%s, %s, %s, now(), %s, %s)").format(
                    schema=self._control_schema
                ),
                [self.name, table.schema, table.name, statement, str(error)],
            )


class _NoSuchRow(Exception):
    """An update or a delete met nothing."""


def _whole_offset(moment: str) -> str:
    """PostgreSQL leaves the minutes of an offset out; Python before 3.11 wants them."""
    return moment if moment[-3] not in "+-" else f"{moment}:00"
