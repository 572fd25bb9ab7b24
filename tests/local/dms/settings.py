"""What a task's settings and table mappings say, as far as they are imitated.

"Specifying task settings" and "Using table mapping to specify task settings" (DMS User Guide). Defaults are DMS's own,
which are careless: an error is logged, and the row left out.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import json
from typing import Any

from .records import DmsError

STOP = "STOP_TASK"
PREPARATIONS = ("DO_NOTHING", "TRUNCATE_BEFORE_LOAD")


@dataclasses.dataclass(frozen=True)
class Settings:
    truncates: bool
    validates: bool
    # A table that cannot be loaded stops the task, and not itself alone.
    stops_on_table_error: bool
    # The same of a change that the target does not take, by action.
    stops_on_change: dict[str, bool]
    stops_on_truncate: bool
    stops_without_tables: bool
    # In limited LOB mode, longer values are cut off at so many bytes.
    longest_value_bytes: int | None
    # Of the control tables.
    control_schema: str


def settings(text: str | None) -> Settings:
    given = _json(text or "{}", "task settings")
    load, errors = given.get("FullLoadSettings", {}), given.get("ErrorBehavior", {})
    metadata = given.get("TargetMetadata", {})
    preparation = load.get("TargetTablePrepMode", "DO_NOTHING")
    if preparation not in PREPARATIONS:
        raise DmsError(
            "InvalidParameterValueException",
            f"The local cloud prepares tables by {' or '.join(PREPARATIONS)}, not by {preparation}.",
        )
    is_limited = metadata.get("SupportLobs", True) and not metadata.get("FullLobMode", False)
    return Settings(
        truncates=preparation == "TRUNCATE_BEFORE_LOAD",
        validates=given.get("ValidationSettings", {}).get("EnableValidation", False),
        stops_on_table_error=errors.get("TableErrorPolicy", "SUSPEND_TABLE") == STOP,
        stops_on_change={
            action: errors.get(f"ApplyError{action.title()}Policy", "LOG_ERROR") == STOP
            for action in ("INSERT", "UPDATE", "DELETE")
        },
        stops_on_truncate=errors.get("ApplyErrorFailOnTruncationDdl", False),
        stops_without_tables=errors.get("FailOnNoTablesCaptured", True),
        longest_value_bytes=metadata.get("LobMaxSize", 32) * 1024 if is_limited else None,
        # "Control table task settings" (DMS User Guide) [A106].
        control_schema=given.get("ControlTablesSettings", {}).get("ControlSchema") or "public",
    )


@dataclasses.dataclass(frozen=True)
class Mappings:
    """Which tables a task is for: (whether they are, pattern of the schema, pattern of the table), …"""

    rules: list[tuple[bool, str, str]]

    def choose(self, schema: str, table: str) -> bool:
        """An exclusion wins."""
        chosen = [
            includes
            for includes, schemas, tables in self.rules
            if fnmatch.fnmatchcase(schema, schemas) and fnmatch.fnmatchcase(table, tables)
        ]
        return bool(chosen) and all(chosen)


def mappings(text: str) -> Mappings:
    rules = []
    for rule in _json(text, "table mappings").get("rules", []):
        if rule["rule-type"] != "selection":
            raise DmsError("InvalidParameterValueException", "The local cloud knows selection rules alone.")
        named = rule["object-locator"]
        patterns = [named[name].replace("%", "*") for name in ("schema-name", "table-name")]
        rules.append((rule["rule-action"] != "exclude", patterns[0], patterns[1]))
    if not any(includes for includes, _, _ in rules):
        raise DmsError("InvalidParameterValueException", "The table mappings include no table.")
    return Mappings(rules)


def _json(text: str, what: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise DmsError("InvalidParameterValueException", f"Invalid {what}: they are no JSON document.")
    return document
