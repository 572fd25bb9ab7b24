"""A table of a task, and what DescribeTableStatistics says of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Any

from psycopg import sql

from .decoding import Change, Key, quoted

# Ordinary tables, partitions among them, with their columns, the types of these, which take no update, and the key if
# the log tells it. What DMS keeps for itself is left out.
TABLES = """
    SELECT n.nspname, c.relname,
        ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0
            AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum),
        ARRAY(SELECT format_type(a.atttypid, a.atttypmod) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0
            AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum),
        ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attidentity = 'a'),
        ARRAY(SELECT a.attname::text FROM pg_index i, unnest(i.indkey::int2[]) WITH ORDINALITY k(number, place)
            JOIN pg_attribute a ON a.attnum = k.number
            WHERE i.indrelid = c.oid AND i.indisprimary AND a.attrelid = c.oid
                AND i.indimmediate AND c.relreplident <> 'n' ORDER BY k.place)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND c.relname !~ '^awsdms_'
        AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
    ORDER BY 1, 2"""
# The types without a length, which DMS takes for large objects.
CUT_OFF = {"text": "left({}, {})", "character varying": "left({}, {})", "bytea": "substr({}, 1, {})"}


class Table:
    def __init__(
        self, schema: str, name: str, columns: list[str], types: list[str], fixed: list[str], key: list[str]
    ) -> None:
        self.schema, self.name, self.columns, self.fixed, self.key = schema, name, columns, fixed, key
        self._types = types
        self.identifier = sql.Identifier(schema, name)
        self.column_list = sql.SQL(", ").join(map(sql.Identifier, columns))
        self.state = "Before load"
        self.validation = "Not enabled"
        self.counts = dict.fromkeys(
            (
                "FullLoadRows",
                "Inserts",
                "Updates",
                "Deletes",
                "AppliedInserts",
                "AppliedUpdates",
                "AppliedDeletes",
            ),
            0,
        )
        self.updated_at = time.time()
        self._lock = threading.Lock()
        # Keys to compare again, and keys of rows that differ.
        self._touched: set[Key] = set()
        self.pending = 0
        self.failed: set[Key] = set()

    @property
    def shown(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def full(self) -> str:
        return f"{quoted(self.schema)}.{quoted(self.name)}"

    def select(self, longest_value_bytes: int | None) -> sql.Composed:
        """Its rows, with long values cut off in limited LOB mode: without a word (User Guide, "Limited LOB mode")."""
        values: list[sql.Composable] = []
        for column, kind in zip(self.columns, self._types, strict=True):
            value: sql.Composable = sql.Identifier(column)
            if longest_value_bytes is not None and kind in CUT_OFF:
                value = sql.SQL(CUT_OFF[kind]).format(value, sql.Literal(longest_value_bytes))
            values.append(value)
        return sql.SQL("SELECT {} FROM ONLY {}").format(sql.SQL(", ").join(values), self.identifier)

    def fail(self) -> None:
        self.state = self.validation = "Table error"

    def complete(self, rows: int, *, is_validated: bool) -> None:
        self.counts["FullLoadRows"] = rows
        if is_validated:
            self.validation = "Pending validation" if self.key else "No primary key"
            self.pending = rows if self.key else 0
        self.state = "Table completed"

    def count(self, change: Change, prefix: str = "") -> None:
        self.counts[f"{prefix}{change.action.title()}s"] += 1
        self.updated_at = time.time()

    def count_applied(self, change: Change) -> None:
        self.count(change, "Applied")

    def touch(self, keys: Iterable[Key]) -> None:
        """Their rows are about to change, so that what was found equal no longer counts."""
        with self._lock:
            self._touched.update(keys)
            if self.key and self.validation == "Validated":
                self.validation = "Pending records"
            self.pending = max(self.pending, len(self._touched))

    def take_touched(self) -> set[Key]:
        with self._lock:
            taken, self._touched = self._touched, set()
            return taken

    def settle(self, failed: set[Key], plays: dict[str, Any]) -> None:
        """What a comparison found; rows that were touched meanwhile are still to be compared."""
        with self._lock:
            self.failed = failed - self._touched
            self.pending = len(self._touched) + bool(plays["pending"])
            bad = self.failed or plays["mismatches"]
            self.validation = "Mismatched records" if bad else "Pending records" if self.pending else "Validated"

    def statistics(self, plays: dict[str, Any]) -> dict[str, Any]:
        invented = bool(plays["mismatches"]) and bool(self.key) and self.state == "Table completed"
        return self.counts | {
            "SchemaName": self.schema,
            "TableName": self.name,
            "TableState": self.state,
            "Ddls": 0,
            "AppliedDdls": 0,
            "FullLoadErrorRows": 0,
            "FullLoadCondtnlChkFailedRows": 0,
            "LastUpdateTime": self.updated_at,
            "ValidationState": self.validation,
            "ValidationPendingRecords": self.pending,
            "ValidationFailedRecords": max(len(self.failed), int(invented)),
            "ValidationSuspendedRecords": 0,
        }
