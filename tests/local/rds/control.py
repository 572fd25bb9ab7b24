"""The control API: JSON over HTTP under /local/, on the port of the AWS services.

GET    /local/                           {"cloud_id", "time_scale", "storage", "database_roots": PEM of whom the
                                         endpoints' certificates are from}
POST   /local/reset                      empties the cloud: records, faults, calls, settings, and moto
GET    /local/settings                   the settings
PATCH  /local/settings                   changes some: time_scale; durations (AWS seconds by name, see
                                         lifecycle.py); progress_shape (linear, stalled, stuck, falling, absent);
                                         quotas (DBInstances, ManualSnapshots, AllocatedStorage);
                                         undeletable_statuses; copy_of_deleted_source (failed or gone);
                                         copies_keep_slots (false: a restore of PostgreSQL has no replication slots);
                                         seed_lsn_error (bytes by which rds_tools.logical_seed_lsn() of a restore is
                                         wrong; null: it tells nothing);
                                         copies_keep_binlogs (false: a restore of MariaDB has no binary log of its
                                         source's);
                                         publish_metrics (a datapoint a minute); copies_at_a_time;
                                         api_rate ({"burst", "per_second"} of calls of RDS; null for no limit);
                                         retired_versions ("postgres 13.7"), majors_past_support ("mysql 5.7");
                                         tag_delay_seconds (until a tag counts for authorization);
                                         blue_green (PLAYS in deployment.py), dms_plays (PLAYS in dms/records.py)
GET    /local/instances                  all of them, also hidden ones (/local/snapshots, /local/deployments too)
GET    /local/instances/<id>             one: {"fields", "data"}; data of file-backed ones only
PUT    /local/instances/<id>             makes it at once, `available` unless the fields say otherwise:
                                         {"fields": any of DBInstance, "port", "master_password", "parameters",
                                         "iam_users": roles that log in by a token (PostgreSQL), "server": true for
                                         a real server behind the engine mariadb}.
                                         Groups that it names are made too, and it becomes a replica of the
                                         instance that it names as its source. `parameters`, {name: value}, are
                                         set in its parameter group (of-<id>, unless it names one). 409 if it is
                                         there.
PUT    /local/snapshots/<id>             makes a snapshot likewise; DBInstanceIdentifier in the fields names
                                         an instance whose data and settings it takes, as of now
PATCH  /local/instances/<id>             sets {"fields", "connections", "free_storage_bytes", "lag_seconds"}; a status
                                         set here stays until a request changes it; the others are for CloudWatch
DELETE /local/instances/<id>             takes it away at once
PUT    /local/instances/<id>/data        {"data": text}: a client's write to a file-backed instance
POST   /local/instances/<id>/replication what befalls a PostgreSQL server's: {"drop_slot": name} drops it, whoever
                                         reads it; {"terminate_walsenders": true} cuts all who do; {"hold_apply":
                                         {"database", "table"}} lets no subscription write into the table until
                                         {"release_apply": true}
POST   /local/instances/<id>/maintenance applies what waits for the maintenance window
DELETE /local/metrics                    forgets CloudWatch's datapoints
GET    /local/faults                     the rules, with how many calls they met and befell
POST   /local/faults                     adds a rule (see faults.py); returns it with its number
DELETE /local/faults[/<number>]          takes all rules away, or one
GET    /local/calls?after=<number>       the AWS calls made, oldest first
DELETE /local/calls                      forgets them
PUT    /local/roles                      what the functions' roles allow: {<AWS_SDK_UA_APP_ID>: {"principal":
                                         ARN, "policies": [document, …]}}; whoever is not in it is not judged
GET    /local/roles                      {<AWS_SDK_UA_APP_ID>: {"unused": what of the role no call has needed,
                                         "refused": what it does not allow, whatever tags there were}}
DELETE /local/refusals                   forgets what the roles did not allow
POST   /local/judgement                  whether a role allows {"app_id", "asks": [{"action", "resource",
                                         "context": {…}, "denial": [code, message]}, …]}: {"denial": null or
                                         [code or null, message]}
GET    /local/events?after=<number>      the EventBridge events that RDS has sent
POST   /local/events                     sends an event of any service of AWS's: {"source", "detail-type", "detail"}
PUT    /local/replies/<operation>        the result (in botocore's shape) that an RDS operation gives from now on
DELETE /local/replies/<operation>        back to its own
"""

from __future__ import annotations

import difflib
import json
import sys
import traceback
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from moto.cloudwatch.models import cloudwatch_backends
from moto.core.utils import get_service_model
from moto.moto_api._internal.models import moto_api_backend

from iam.asks import Ask

from . import deployment, lifecycle, operations, seeds
from .records import Deployment, Instance, ServiceError, Snapshot

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from iam.guard import Guard

    from .calls import Calls
    from .cloud import Cloud
    from .faults import Faults
    from .records import Fields, Record

KINDS = {"instances": Instance, "snapshots": Snapshot, "deployments": Deployment}


class BadRequest(Exception):
    """Says what is wrong with a request and what would be right."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class Control:
    """WSGI application for /local/; everything else goes on to `application`."""

    def __init__(self, application: WSGIApplication, cloud: Cloud, calls: Calls, faults: Faults, guard: Guard) -> None:
        self._application, self.cloud, self.calls, self.faults, self.guard = application, cloud, calls, faults, guard

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if not environ["PATH_INFO"].startswith("/local/"):
            return self._application(environ, start_response)
        text = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        try:
            body = json.loads(text) if text else {}
            status, result = (
                200,
                self._answer(environ["REQUEST_METHOD"], environ["PATH_INFO"], parse_qs(environ["QUERY_STRING"]), body),
            )
        except BadRequest as error:
            status, result = error.status, {"error": str(error)}
        except ServiceError as error:
            status, result = 404 if "NotFound" in error.code else 409, {"error": str(error)}
        except (KeyError, TypeError, ValueError) as error:
            status, result = 400, {"error": f"{type(error).__name__}: {error}"}
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            status, result = 500, {"error": f"{type(error).__name__}: {error}"}
        reply = json.dumps(result, default=_to_json).encode()
        start_response(f"{status} .", [("Content-Type", "application/json"), ("Content-Length", str(len(reply)))])
        return [reply]

    def _answer(self, method: str, path: str, query: dict[str, list[str]], body: dict[str, Any]) -> Any:
        parts: list[Any] = path.removeprefix("/local/").strip("/").split("/")
        handler = getattr(self, f"_{method.lower()}_{parts[0] or 'root'}", None)
        if parts[0] in KINDS:
            handler = getattr(
                self,
                "_" + "_".join([method.lower(), *(["record"] if len(parts) > 1 else ["records"]), *parts[2:]]),
                None,
            )
            parts = [KINDS[parts[0]], *parts[1:2]]
        else:
            parts = parts[1:]
        if handler is None:
            raise BadRequest(f"there is no {method} {path}: see {__name__}", 404)
        return handler(
            *parts,
            **({"after": int(query["after"][0])} if "after" in query else {}),
            **({"body": body} if method in ("PUT", "POST", "PATCH") else {}),
        )

    # ---- the cloud

    def _get_root(self) -> Fields:
        return {
            "cloud_id": self.faults.cloud_id,
            "time_scale": self.cloud.clock.scale,
            "storage": "postgres" if self.cloud.postgres else "files",
            "database_roots": self.cloud.authority.root,
        }

    def _post_reset(self, body: dict[str, Any]) -> Fields:  # noqa: ARG002 (each request hands one over)
        self.faults.remove()
        self.cloud.reset()
        moto_api_backend.reset()
        self.calls.record.clear()
        return {}

    def _get_settings(self) -> Fields:
        return (
            {"time_scale": self.cloud.clock.scale, "quotas": self.cloud.records.quotas}
            | {name: getattr(self.cloud, name) for name in CLOUD_SETTINGS}
            | {"api_rate": self.cloud.throttle.limit}
        )

    def _patch_settings(self, body: dict[str, Any]) -> Fields:
        known = self._get_settings()
        _check_keys(body, known, "setting")
        for name in ("blue_green", "dms_plays", "durations", "quotas"):
            _check_keys(body.get(name, {}), known[name], name)
        if body.get("progress_shape", "linear") not in lifecycle.PROGRESS_SHAPES:
            raise BadRequest(f"progress_shape is one of {', '.join(lifecycle.PROGRESS_SHAPES)}")
        if "api_rate" in body:
            self.cloud.throttle.limit = body["api_rate"]
        if "time_scale" in body:
            self.cloud.clock.scale = body["time_scale"]
        with self.cloud.records.lock:
            self.cloud.records.quotas |= body.get("quotas", {})
            self.cloud.durations |= body.get("durations", {})
            self.cloud.blue_green |= body.get("blue_green", {})
            self.cloud.dms_plays |= body.get("dms_plays", {})
            for name in CLOUD_SETTINGS - {"blue_green", "dms_plays", "durations"}:
                setattr(self.cloud, name, body.get(name, known[name]))
        return self._get_settings()

    def _delete_metrics(self) -> Fields:
        cloudwatch_backends[self.cloud.account_id][self.cloud.region].metric_data.clear()
        return {}

    # ---- instances and snapshots

    def _get_records(self, kind: type[Record]) -> list[Fields]:
        # A copy: records come and go meanwhile.
        return [self._show(record) for record in list(self.cloud.records.table(kind).values())]

    def _get_record(self, kind: type[Record], identifier: str) -> Fields:
        return self._show(self._record(kind, identifier))

    def _put_record(self, kind: type[Record], identifier: str, body: dict[str, Any]) -> Fields:
        _check_keys(body, {"fields", "port", "master_password", "parameters", "iam_users", "server"}, "key")
        fields = body.get("fields", {})
        _check_fields(kind, fields)
        maker = operations.outside_request(self.cloud)
        if body.get("server") and (kind is not Instance or fields.get("Engine") != "mariadb"):
            raise BadRequest("server: only an instance of the engine mariadb is asked whether it has one")
        if kind is Instance:
            instance = seeds.instance(
                maker,
                identifier,
                fields,
                body.get("port"),
                body.get("master_password", "seeded-password"),
                body.get("parameters", {}),
                body.get("server", False),
            )
            record: Record = instance
            for user in body.get("iam_users", []):
                if self.cloud.postgres is None:
                    raise BadRequest("iam_users: there are no servers")
                self.cloud.postgres.create_iam_user(instance, user)
        elif kind is Snapshot:
            record = seeds.snapshot(maker, identifier, fields)
        else:
            raise BadRequest("a deployment is made by CreateBlueGreenDeployment")
        return self._show(record)

    def _patch_record(self, kind: type[Record], identifier: str, body: dict[str, Any]) -> Fields:
        _check_keys(body, {"fields", *(MEASURED if kind is Instance else ())}, "key")
        fields = body.get("fields", {})
        _check_fields(kind, fields)
        record = self._record(kind, identifier)
        with self.cloud.records.lock:
            if kind.STATUS in fields:
                lifecycle.halt(self.cloud, record)
            record.fields |= fields
            for name in MEASURED & set(body):
                setattr(record, name, body[name])
        return self._show(record)

    def _delete_record(self, kind: type[Record], identifier: str) -> Fields:
        self.cloud.discard(self._record(kind, identifier))
        return {}

    def _put_record_data(self, kind: type[Record], identifier: str, body: dict[str, Any]) -> Fields:
        record = self._record(kind, identifier)
        self.cloud.storage_of(record).write(record, body["data"])
        return self._show(record)

    def _post_record_maintenance(self, kind: type[Record], identifier: str, body: dict[str, Any]) -> Fields:  # noqa: ARG002
        instance = self._record(kind, identifier)
        seeds.open_maintenance_window(operations.outside_request(self.cloud), instance)
        return self._show(instance)

    def _post_record_replication(self, kind: type[Record], identifier: str, body: dict[str, Any]) -> Fields:
        instance = self._record(kind, identifier)
        postgres = self.cloud.postgres
        if postgres is None or self.cloud.storage_of(instance) is not postgres:
            raise BadRequest(f"{identifier} has no PostgreSQL server")
        _check_keys(body, {"drop_slot", "terminate_walsenders", "hold_apply", "release_apply", "cut_after"}, "key")
        if "drop_slot" in body:
            postgres.drop_slot(instance, body["drop_slot"])
        if "terminate_walsenders" in body:
            return {"terminated": postgres.terminate_walsenders(instance)}
        if "cut_after" in body:
            self.cloud.endpoints.cut_after(identifier, body["cut_after"])
        if "hold_apply" in body:
            postgres.hold_apply(instance, **body["hold_apply"])
        if "release_apply" in body:
            postgres.release_apply(instance)
        return {}

    def _record(self, kind: type[Record], identifier: str) -> Any:
        record = self.cloud.records.table(kind).get(identifier.lower())
        if record is None:
            raise BadRequest(f"there is no {kind.KIND} {identifier}", 404)
        return record

    def _show(self, record: Record) -> Fields:
        if isinstance(record, Deployment):
            return {"fields": deployment.describe(record, self.cloud.records)}
        storage = self.cloud.storage_of(record)
        data = storage.read(record) if storage is self.cloud.files else None
        return {
            "fields": lifecycle.describe(self.cloud, record),
            "data": data,
            "hidden": getattr(record, "hidden", False),
        }

    # ---- faults, calls

    def _get_faults(self) -> list[Fields]:
        return [fault.describe() for fault in self.faults.rules]

    def _post_faults(self, body: dict[str, Any]) -> Fields:
        return self.faults.add(body).describe()

    def _delete_faults(self, number: str | None = None) -> Fields:
        self.faults.remove(int(number) if number else None)
        return {}

    def _get_calls(self, after: int = 0) -> list[Fields]:
        return [call.describe() for call in self.calls.record if call.number > after]

    def _delete_calls(self) -> Fields:
        self.calls.record.clear()
        return {}

    # ---- roles

    def _get_roles(self) -> Fields:
        return {
            str(app_id): {"unused": sorted(role.unused), "refused": sorted(role.refused)}
            for app_id, role in self.guard.roles.items()
        }

    def _put_roles(self, body: dict[str, Any]) -> Fields:
        self.guard.learn(body)
        return {}

    def _delete_refusals(self) -> Fields:
        for role in self.guard.roles.values():
            role.forget_refusals()
        return {}

    def _post_judgement(self, body: dict[str, Any]) -> Fields:
        role = self.guard.roles.get(body["app_id"])
        asks = [
            Ask(
                ask["action"],
                ask["resource"],
                tuple(ask.get("context", {}).items()),
                tuple(ask.get("denial", ())) or None,
            )
            for ask in body["asks"]
        ]
        return {"denial": role and role.denial(asks)}

    # ---- events, replies

    def _get_events(self, after: int = 0) -> list[Fields]:
        return [event for event in self.cloud.events if event["number"] > after]

    def _post_events(self, body: dict[str, Any]) -> Fields:
        self.cloud.send(body)
        return {}

    def _put_replies(self, operation: str, body: dict[str, Any]) -> Fields:
        shape = get_service_model("rds").operation_model(operation).output_shape
        _check_keys(body, shape.members, "field")
        self.cloud.replies[operation] = body
        return {}

    def _delete_replies(self, operation: str) -> Fields:
        self.cloud.replies.pop(operation, None)
        return {}


# Of an instance: what CloudWatch says of it.
MEASURED = {"connections", "free_storage_bytes", "lag_seconds"}
CLOUD_SETTINGS = {
    "blue_green",
    "dms_plays",
    "durations",
    "progress_shape",
    "undeletable_statuses",
    "copies_keep_slots",
    "seed_lsn_error",
    "copies_keep_binlogs",
    "copy_of_deleted_source",
    "copies_at_a_time",
    "publish_metrics",
    "retired_versions",
    "majors_past_support",
    "tag_delay_seconds",
}


def _check_fields(kind: type[Record], fields: Fields) -> None:
    _check_keys(fields, get_service_model("rds").shape_for(kind.SHAPE).members, "field")


def _check_keys(given: Iterable[str], known: Iterable[str], what: str) -> None:
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1, 0)
            raise BadRequest(f"unknown {what} {name}: did you mean {near[0]}?" if near else f"unknown {what} {name}")


def _to_json(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
