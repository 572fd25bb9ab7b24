"""Row validation: every row once, then again the rows that change.

A row that differs may only be under way: it is bad if it still differs once the task has read on beyond where the
source's log ended at the comparison, and nothing has touched it since.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from .decoding import Key, quoted

if TYPE_CHECKING:
    import psycopg

    from .replication import Replication
    from .tables import Table

PAUSE_SECONDS = 0.1
CHUNK_ROWS = 20_000
KEYS_AT_ONCE = 500
# How often a row that differs is looked at again, each time once the task has gone on beyond it, however long
# that takes.
LOOKS = 3


class Validation:
    def __init__(self, replication: Replication) -> None:
        self._replication = replication

    def run(self) -> None:
        replication = self._replication
        with replication.connect(replication.source) as source, replication.connect(replication.target) as target:
            ends = (source, target)
            compared: set[Table] = set()
            while not replication.is_over():
                for table in replication.tables.values():
                    if not table.key or table.state != "Table completed" or replication.is_over():
                        continue
                    suspects = table.take_touched() | table.failed
                    if table not in compared:
                        compared.add(table)
                        suspects |= self._compare(ends, table)
                    table.settle(self._confirmed(ends, table, suspects), dict(replication.plays))
                replication.wait(PAUSE_SECONDS)

    def _confirmed(self, ends: tuple[psycopg.Connection[Any], ...], table: Table, suspects: set[Key]) -> set[Key]:
        for _ in range(LOOKS):
            suspects = self._differing(ends, table, suspects)
            if not suspects:
                break
            self._read_on(ends[0])
        return suspects

    def _read_on(self, source: psycopg.Connection[Any]) -> None:
        (end,) = source.execute("SELECT pg_current_wal_insert_lsn() - '0/0'").fetchone() or (0,)
        while self._replication.applied < end and not self._replication.is_over():
            self._replication.wait(PAUSE_SECONDS / 2)

    def _compare(self, ends: tuple[psycopg.Connection[Any], ...], table: Table) -> set[Key]:
        """Keys of rows that differ: by hashes of chunks, and of the rows in those that do."""
        key = ", ".join(map(quoted, table.key))
        literal = " || ', ' || ".join(f"quote_literal({quoted(column)})" for column in table.key)
        suspects: set[Key] = set()
        after: str | None = None
        while not self._replication.is_over():
            where = f"WHERE ({key}) > ({after})" if after else "WHERE true"
            page = f"SELECT {literal} FROM {table.full} {where} ORDER BY {key} OFFSET {CHUNK_ROWS - 1} LIMIT 1"
            last = ends[0].execute(page.encode()).fetchone()
            where += f" AND ({key}) <= ({last[0]})" if last else ""
            sums = f"SELECT count(*), sum(hashtextextended(x::text, 0)::numeric) FROM ONLY {table.full} x {where}"
            if len({end.execute(sums.encode()).fetchone() for end in ends}) > 1:
                suspects |= self._differing_where(ends, table, where)
            if not last:
                break
            after = last[0]
        return suspects

    def _differing(self, ends: tuple[psycopg.Connection[Any], ...], table: Table, suspects: set[Key]) -> set[Key]:
        key = ", ".join(map(quoted, table.key))
        differing: set[Key] = set()
        for part in _parts(suspects, KEYS_AT_ONCE):
            wanted = ", ".join(f"({', '.join(values)})" for values in part)
            differing |= self._differing_where(ends, table, f"WHERE ({key}) IN ({wanted})")
        return differing

    def _differing_where(self, ends: tuple[psycopg.Connection[Any], ...], table: Table, where: str) -> set[Key]:
        literals = ", ".join(f"quote_literal({quoted(column)})" for column in table.key)
        rows = f"SELECT {literals}, hashtextextended(x::text, 0) FROM ONLY {table.full} x {where}".encode()
        source, target = ({row[:-1]: row[-1] for row in end.execute(rows)} for end in ends)
        return {key for key in source.keys() | target.keys() if source.get(key) != target.get(key)}


def _parts(keys: Iterable[Key], size: int) -> Iterable[list[Key]]:
    rest = iter(keys)
    while part := list(itertools.islice(rest, size)):
        yield part
