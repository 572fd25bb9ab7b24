"""The lines of test_decoding, PostgreSQL's plugin that DMS reads a slot with, as statements for the target."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable

_IDENTIFIER = r'"(?:[^"]|"")*"|[^."\[:\s]+'
_TABLE = re.compile(rf"table ({_IDENTIFIER})\.({_IDENTIFIER}): (INSERT|UPDATE|DELETE|TRUNCATE):")
_COLUMN = re.compile(rf" ({_IDENTIFIER})\[((?:[^\[\]]|\[\])*)\]:('(?:[^']|'')*'|B'[01]*'|[^\s]+)")
_NEW_TUPLE = " new-tuple:"
# What a value that the row has, but the change has not, is shown as: the update left it alone.
_UNCHANGED = "unchanged-toast-datum"
# Numbers that only look like names until they are quoted.
_UNQUOTED = {"NaN", "Infinity", "-Infinity"}
# A row's values as SQL, by their columns.
Row = dict[str, str]
Key = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Change:
    """Of one row: its key before the change, where that is told, and its values after it."""

    schema: str
    table: str
    action: str
    old: Row | None
    new: Row | None

    def keys(self, columns: Iterable[str]) -> list[Key]:
        """Of the rows that it concerns: an update of the key concerns two."""
        rows = [row for row in (self.old, self.new) if row]
        return [
            tuple(_as_text(row[column]) for column in columns)
            for row in rows
            if all(column in row for column in columns)
        ]


def change(line: str) -> Change | None:
    """None for a line that is none, the begin and the end of a transaction for example."""
    head = _TABLE.match(line)
    if head is None:
        return None
    schema, table, action = _plain(head[1]), _plain(head[2]), head[3]
    rest, old = line[head.end() :], None
    if action == "TRUNCATE" or "(no-tuple-data)" in rest:
        return Change(schema, table, action, None, None)
    if rest.startswith(" old-key:"):
        rest = rest.removeprefix(" old-key:")
        end = 0
        # The first one that is not part of a value.
        while not rest.startswith(_NEW_TUPLE, end):
            column = _COLUMN.match(rest, end)
            if column is None:
                raise ValueError(f"unreadable change: {line[:200]}")
            end = column.end()
        old, rest = _row(rest[:end]), rest[end + len(_NEW_TUPLE) :]
    return Change(schema, table, action, old, _row(rest))


def statement(change: Change, key: list[str], columns: list[str], fixed: list[str]) -> str | None:
    """What brings the change to the target; None for one that changes nothing. `fixed` columns take no update."""
    target, new = f"{quoted(change.schema)}.{quoted(change.table)}", change.new or {}
    row = {column: value for column, value in new.items() if column in columns}
    if change.action == "INSERT":
        names = ", ".join(map(quoted, row))
        # An identity column keeps the source's value [A111].
        return f"INSERT INTO {target} ({names}) OVERRIDING SYSTEM VALUE VALUES ({', '.join(row.values())})"
    before = change.old or new
    where = " AND ".join(f"{quoted(column)} = {before[column]}" for column in key)
    if change.action == "DELETE":
        return f"DELETE FROM {target} WHERE {where}"
    changed = {column: value for column, value in row.items() if change.old or column not in key}
    settings = [f"{quoted(column)} = {value}" for column, value in changed.items() if column not in fixed]
    return f"UPDATE {target} SET {', '.join(settings)} WHERE {where}" if settings else None


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _row(text: str) -> Row:
    values = {_plain(column[1]): column[3] for column in _COLUMN.finditer(text)}
    return {
        column: f"'{value}'" if value in _UNQUOTED else value for column, value in values.items() if value != _UNCHANGED
    }


def _as_text(value: str) -> str:
    """As quote_literal writes it."""
    text = value.removeprefix("B")
    return text if text.startswith("'") else f"'{text}'"


def _plain(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
