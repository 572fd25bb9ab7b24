"""Faults that befall chosen AWS calls: one mechanism for everything that can go wrong with a call.

A rule says which call it means and what happens to it:

    {"operation": "CopyDBSnapshot", "app_id": "rds-encrypt.copy-encrypted", "call": 1,
     "when": "after", "action": {"type": "lost"}}

`operation`   its name, of any service.
`app_id`      optional: only calls of the function with this AWS_SDK_UA_APP_ID.
`naming`      optional: only calls that name this identifier, or one that it begins (`orders`: `orders-encrypted`),
              so that tests of different instances can share a cloud;
`call`        the number of the call, counted from 1 since the rule was made, among those that match;
`from_call`   or: that call and all later ones. Without either: the first call.
`when`        "before" the effect (default) or "after" it.
`action`      one of:
    {"type": "throttle"}                        the error Throttling
    {"type": "error", "code", "message", "status"}   an AWS error; message and status are optional
    {"type": "http", "status"}                  an HTTP error that no AWS error comes with
    {"type": "reset"}                           the connection is reset
    {"type": "lost"}                            the connection closes without a reply
    {"type": "slow", "seconds"}                 so many wall seconds pass; the effect (when: before) or
                                                the reply (when: after) comes although the client may have gone
    {"type": "status", "status"}                the call's resource changes to that status and stays in it
    {"type": "fields", "fields"}                the call's resource has these fields from now on, whatever the call says
    {"type": "vanish"}                          the call's resource is gone
    {"type": "promote"}                         the call's resource, a replica, is made an instance of its own
    {"type": "play", "plays"}                   the call's deployment, or DMS task, behaves so (PLAYS in deployment.py,
                                                in dms/records.py)
    {"type": "run", "command"}                  the command (a list) is run to its end
    {"type": "kill"}                            the process that made the call is killed
    {"type": "stop", "endpoint", "execution_arn" or "state_machine_arns"}
                                                StopExecution for the execution, or for all that run of those
`status`, `fields`, `vanish`, `promote` and `play` change what the call made, or else what it names first; `resource` in
the action names another: {"instance": "…"}, {"snapshot": "…"}, {"deployment_of": "…"} (an instance, by its identifier)
or {"green_of": "…"} (an instance, by blue's identifier). After throttle, error, http,
reset, lost and kill before the effect, the effect does not happen; after the others the call goes on.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import boto3

from . import lifecycle, operations
from .calls import Reply
from .network import processes_with_connection
from .records import ServiceError

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from .calls import Call
    from .cloud import Cloud
    from .records import Fields

Action = dict[str, Any]
RULE_KEYS = {"operation", "app_id", "naming", "call", "from_call", "when", "action"}
# Parameters that name a call's resource before its effect, the likeliest first.
NAMING_PARAMETERS = (
    ("snapshot", "DBSnapshotIdentifier"),
    ("snapshot", "SourceDBSnapshotIdentifier"),
    ("snapshot", "TargetDBSnapshotIdentifier"),
    ("instance", "DBInstanceIdentifier"),
    ("deployment", "BlueGreenDeploymentIdentifier"),
)


class Faults:
    """The rules in force. The first rule that matches a call befalls it."""

    def __init__(self, cloud: Cloud, cloud_id: str) -> None:
        self.cloud = cloud
        self.cloud_id = cloud_id
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self.rules: list[Fault] = []

    def add(self, rule: dict[str, Any]) -> Fault:
        fault = Fault(self, next(self._numbers), rule)
        with self._lock:
            self.rules.append(fault)
        return fault

    def remove(self, number: int | None = None) -> None:
        """Takes one rule away, or all."""
        with self._lock:
            self.rules = [fault for fault in self.rules if number not in (None, fault.number)]

    def next_for(self, call: Call) -> Fault | None:
        """Counts the call in every rule that means it; the first that is due."""
        with self._lock:
            due = [fault for fault in self.rules if fault.is_due(call)]
        return due[0] if due else None


class Fault:
    """One rule and how often it was met."""

    def __init__(self, faults: Faults, number: int, rule: dict[str, Any]) -> None:
        if unknown := set(rule) - RULE_KEYS:
            raise ValueError(f"unknown key {sorted(unknown)[0]}: a rule has {', '.join(sorted(RULE_KEYS))}")
        action = rule.get("action")
        if not isinstance(action, dict) or action.get("type") not in ACTIONS:
            raise ValueError(f"action.type must be one of {', '.join(ACTIONS)}")
        if "operation" not in rule or rule.get("when", "before") not in ("before", "after"):
            raise ValueError("a rule needs an operation, and when is before or after")
        self._faults, self.number, self.rule = faults, number, rule
        self.calls = self.befallen = 0

    def is_due(self, call: Call) -> bool:
        if call.operation != self.rule["operation"] or self.rule.get("app_id", call.app_id) != call.app_id:
            return False
        if not self._is_named_in(call):
            return False
        self.calls += 1
        first = self.rule.get("from_call")
        due = self.calls >= first if first else self.calls == self.rule.get("call", 1)
        self.befallen += due
        return bool(due)

    def _is_named_in(self, call: Call) -> bool:
        name = self.rule.get("naming")
        if name is None:
            return True
        texts = [value.split(":")[-1] for value in call.parameters.values() if isinstance(value, str)]
        # A deployment's identifier says nothing, so the call names the instances that it is about.
        for deployment in filter(None, map(self._faults.cloud.records.deployments.get, texts)):
            texts = [*texts, *(instance.identifier for instance in deployment.members())]
        # Nor does the ARN of a resource of DMS, whose name says it.
        texts = [*texts, *(name for text in texts for name in self._faults.cloud.dms.identifiers(text))]
        return any(text == name or text.startswith(f"{name}-") for text in texts)

    def befall(self, moment: str, call: Call, environ: WSGIEnvironment) -> Reply | None:
        """What the client gets in place of the call's own reply, or None where that goes on."""
        if moment != self.rule.get("when", "before"):
            return None
        action = self.rule["action"]
        return ACTIONS[action["type"]](self._faults, action, call, environ)

    def describe(self) -> Fields:
        return self.rule | {"number": self.number, "calls": self.calls, "befallen": self.befallen}


def _throttle(_faults: Faults, _action: Action, call: Call, _environ: WSGIEnvironment) -> Reply:
    return call.error("Throttling", "Rate exceeded")


def _error(_faults: Faults, action: Action, call: Call, _environ: WSGIEnvironment) -> Reply:
    return call.error(action["code"], action.get("message", "asked for by a fault rule"), action.get("status"))


def _http(_faults: Faults, action: Action, _call: Call, _environ: WSGIEnvironment) -> Reply:
    return Reply(action["status"], [("Content-Type", "text/plain")], b"asked for by a fault rule")


def _reset(_faults: Faults, _action: Action, _call: Call, environ: WSGIEnvironment) -> Reply:
    # A linger time of 0 makes the kernel send RST instead of FIN.
    environ["werkzeug.socket"].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return _hang_up(environ)


def _lost(_faults: Faults, _action: Action, _call: Call, environ: WSGIEnvironment) -> Reply:
    with contextlib.suppress(OSError):
        environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
    return _hang_up(environ)


def _hang_up(environ: WSGIEnvironment) -> Reply:
    environ["werkzeug.socket"].close()
    return NoReply()


class NoReply(Reply):
    """The connection is closed; the server must not write to it."""

    def __init__(self) -> None:
        super().__init__(0, [], b"")

    def send(self, _start_response: StartResponse) -> Iterable[bytes]:
        raise ConnectionAbortedError("closed by a fault rule")


def _slow(_faults: Faults, action: Action, _call: Call, _environ: WSGIEnvironment) -> None:
    time.sleep(action["seconds"])


def _status(faults: Faults, action: Action, call: Call, _environ: WSGIEnvironment) -> None:
    record = _resource(faults.cloud, action, call)
    with faults.cloud.records.lock:
        lifecycle.halt(faults.cloud, record)
        record.status = action["status"]


def _fields(faults: Faults, action: Action, call: Call, _environ: WSGIEnvironment) -> None:
    record = _resource(faults.cloud, action, call)
    with faults.cloud.records.lock:
        record.fields |= action["fields"]


def _vanish(faults: Faults, action: Action, call: Call, _environ: WSGIEnvironment) -> None:
    faults.cloud.discard(_resource(faults.cloud, action, call))


def _promote(faults: Faults, action: Action, call: Call, _environ: WSGIEnvironment) -> None:
    with faults.cloud.records.lock:
        operations.outside_request(faults.cloud).promote(_resource(faults.cloud, action, call))


def _play(faults: Faults, action: Action, call: Call, _environ: WSGIEnvironment) -> None:
    plays = _resource(faults.cloud, action, call).plays
    if unknown := set(action["plays"]) - set(plays):
        raise ValueError(f"unknown play {sorted(unknown)[0]}")
    plays.update(action["plays"])


def _run(_faults: Faults, action: Action, _call: Call, _environ: WSGIEnvironment) -> None:
    subprocess.run(action["command"], check=True, stdin=subprocess.DEVNULL)


def _kill(faults: Faults, action: Action, call: Call, environ: WSGIEnvironment) -> Reply:
    for process_id in processes_with_connection(call.client_port, int(environ["SERVER_PORT"])):
        # Never anything but a function of this very cloud.
        if f"RDS_ENCRYPT_LOCAL_CLOUD={faults.cloud_id}".encode() in _environment(process_id):
            os.kill(process_id, signal.SIGKILL)
    return _lost(faults, action, call, environ)


@functools.cache
def _step_functions(endpoint: str, region: str) -> Any:
    """Made once: it takes long enough for a caller to give up."""
    return boto3.client(
        "stepfunctions",
        endpoint_url=endpoint,
        region_name=region,
        aws_access_key_id="123456789012",
        aws_secret_access_key="local",
    )


def _stop(faults: Faults, action: Action, _call: Call, _environ: WSGIEnvironment) -> None:
    client = _step_functions(action["endpoint"], faults.cloud.region)
    arns = (
        [action["execution_arn"]]
        if "execution_arn" in action
        else [
            execution["executionArn"]
            for machine in action["state_machine_arns"]
            for execution in client.list_executions(stateMachineArn=machine, statusFilter="RUNNING")["executions"]
        ]
    )
    for arn in arns:
        client.stop_execution(executionArn=arn)


ACTIONS = {
    "throttle": _throttle,
    "error": _error,
    "http": _http,
    "reset": _reset,
    "lost": _lost,
    "slow": _slow,
    "status": _status,
    "fields": _fields,
    "vanish": _vanish,
    "promote": _promote,
    "play": _play,
    "run": _run,
    "kill": _kill,
    "stop": _stop,
}


def _resource(cloud: Cloud, action: Action, call: Call) -> Any:
    if named := action.get("resource"):
        ((kind, identifier),) = named.items()
        return getattr(cloud.records, kind)(identifier)
    records = [call.added] if call.added else [record for record in call.records if not isinstance(record, str)]
    if records:
        return records[0]
    for kind, parameter in NAMING_PARAMETERS:
        with contextlib.suppress(KeyError, ServiceError):
            return getattr(cloud.records, kind)(call.parameters[parameter])
    raise LookupError(f"{call.operation} names no instance, snapshot or deployment for {action}")


def _environment(process_id: int) -> list[bytes]:
    with open(f"/proc/{process_id}/environ", "rb") as environ:
        return environ.read().split(b"\0")
