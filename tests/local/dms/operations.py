"""The operations of DMS that this product calls, in the place of moto's.

Codes are those of the API model, and so is what it says of each; where it is silent, the register is cited.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import moto.dms.urls
import psycopg
from moto.core.responses import ActionResult, BaseResponse, EmptyResult
from moto.ec2.models import ec2_backends
from moto.kms.models import kms_backends

from rds import calls
from rds.records import INACCESSIBLE_KEY, merged_tags, page, utc_now

from .records import (
    GONE,
    Connection,
    DmsError,
    DmsRecords,
    Endpoint,
    ReplicationInstance,
    Resource,
    SubnetGroup,
    T,
    Task,
    new_arn,
)
from .replication import Replication
from .settings import mappings, settings

if TYPE_CHECKING:
    from rds.cloud import Cloud
    from rds.records import Fields

# Without one in the request. "the default is the latest engine version available" (API model, EngineVersion).
ENGINE_VERSION = "3.6.1"
# By StartReplicationTaskType: the statuses that it starts from.
START_STATUSES = {
    "start-replication": {"ready"},
    "resume-processing": {"stopped", "failed"},
    "reload-target": {"stopped", "failed"},
}


class LocalDms(BaseResponse):
    cloud: Cloud

    def __init__(self) -> None:
        super().__init__(service_name="dms")

    # ---- subnet groups

    def create_replication_subnet_group(self) -> ActionResult:
        given = self._given()
        # Stored in lower case; "default" is taken (API model).
        name = _checked_name(given["ReplicationSubnetGroupIdentifier"].lower(), 255)
        with self.records.lock:
            self.records.check_free(SubnetGroup, name)
            subnets = ec2_backends[self.current_account][self.region].describe_subnets(subnet_ids=given["SubnetIds"])
            if len({subnet.availability_zone for subnet in subnets}) < 2:
                raise DmsError(
                    "ReplicationSubnetGroupDoesNotCoverEnoughAZs",
                    "The replication subnet group does not cover enough Availability Zones.",
                )
            group = SubnetGroup(
                {
                    "ReplicationSubnetGroupIdentifier": name,
                    "ReplicationSubnetGroupDescription": given["ReplicationSubnetGroupDescription"],
                    "VpcId": subnets[0].vpc_id,
                    "SubnetGroupStatus": "Complete",
                    "Subnets": [
                        {
                            "SubnetIdentifier": subnet.id,
                            "SubnetAvailabilityZone": {"Name": subnet.availability_zone},
                            "SubnetStatus": "Active",
                        }
                        for subnet in subnets
                    ],
                    "TagList": given.get("Tags", []),
                },
                new_arn(self.region, self.current_account, SubnetGroup, name),
                self.cloud.clock,
            )
            self.records.add(group)
            return ActionResult({"ReplicationSubnetGroup": dict(group.fields)})

    def describe_replication_subnet_groups(self) -> ActionResult:
        return self._described(
            SubnetGroup,
            "ReplicationSubnetGroups",
            {"replication-subnet-group-id": lambda group: {group.identifier}},
        )

    def delete_replication_subnet_group(self) -> ActionResult:
        name = self._given()["ReplicationSubnetGroupIdentifier"].lower()
        with self.records.lock:
            group = self._group(name)
            users = [
                one.identifier
                for one in self.records.all(ReplicationInstance)
                if one.fields["ReplicationSubnetGroup"]["ReplicationSubnetGroupIdentifier"] == name
            ]
            if users:
                raise DmsError("InvalidResourceStateFault", f"{SubnetGroup.NAME} {name} is used by {', '.join(users)}.")
            group.status = GONE
        return EmptyResult()

    # ---- replication instances

    def create_replication_instance(self) -> ActionResult:
        given = self._given()
        name = _checked_name(given["ReplicationInstanceIdentifier"], 63).lower()
        instance_class = given["ReplicationInstanceClass"]
        if not re.fullmatch(r"dms\.\w+\.\w+", instance_class):
            raise DmsError(
                "InvalidParameterValueException",
                f"Invalid value for parameter ReplicationInstanceClass: {instance_class}",
            )
        with self.records.lock:
            self.records.check_free(ReplicationInstance, name)
            group = self._group(given.get("ReplicationSubnetGroupIdentifier", "default"))
            instance = ReplicationInstance(
                {
                    "ReplicationInstanceIdentifier": name,
                    "ReplicationInstanceClass": instance_class,
                    "AllocatedStorage": given.get("AllocatedStorage", 50),
                    "InstanceCreateTime": utc_now(),
                    "VpcSecurityGroups": [
                        {"VpcSecurityGroupId": one, "Status": "active"} for one in given.get("VpcSecurityGroupIds", [])
                    ],
                    "ReplicationSubnetGroup": dict(group.fields),
                    "MultiAZ": given.get("MultiAZ", False),
                    "EngineVersion": given.get("EngineVersion", ENGINE_VERSION),
                    "AutoMinorVersionUpgrade": given.get("AutoMinorVersionUpgrade", True),
                    # "The default value is true" (API model).
                    "PubliclyAccessible": given.get("PubliclyAccessible", True),
                    "TagList": given.get("Tags", []),
                }
                | self._encryption(given),
                self._new_arn(ReplicationInstance),
                self.cloud.clock,
            )
            instance.fields["ReplicationInstanceArn"] = instance.arn
            instance.become("creating", "available", self.cloud.durations["replication_instance_create"])
            self.records.add(instance)
            return ActionResult({"ReplicationInstance": dict(instance.fields)})

    def describe_replication_instances(self) -> ActionResult:
        return self._described(
            ReplicationInstance,
            "ReplicationInstances",
            {
                "replication-instance-arn": lambda one: {one.arn},
                "replication-instance-id": lambda one: {one.identifier},
                "replication-instance-class": lambda one: {one.fields["ReplicationInstanceClass"]},
                "engine-version": lambda one: {one.fields["EngineVersion"]},
            },
        )

    def delete_replication_instance(self) -> ActionResult:
        with self.records.lock:
            instance = self.records.named(ReplicationInstance, self._given()["ReplicationInstanceArn"])
            _require(instance, {"available", "failed", "incompatible-network", "storage-full"})
            # "You must delete any migration tasks that are associated with the replication instance" (API model).
            self._require_no_task("ReplicationInstanceArn", instance)
            instance.become("deleting", GONE, self.cloud.durations["replication_instance_delete"])
            for connection in self.records.all(Connection):
                if connection.fields["ReplicationInstanceArn"] == instance.arn:
                    connection.become("deleting", GONE, self.cloud.durations["replication_instance_delete"])
            return ActionResult({"ReplicationInstance": dict(instance.fields)})

    # ---- endpoints

    def create_endpoint(self) -> ActionResult:
        given = self._given()
        name = _checked_name(given["EndpointIdentifier"], 255).lower()
        ssl_mode = given.get("SslMode", "none")
        if given["EngineName"] in ("mysql", "mariadb") and ssl_mode == "require":
            raise DmsError(
                "InvalidParameterValueException", f"The engine {given['EngineName']} does not take SslMode require."
            )
        if ssl_mode in ("verify-ca", "verify-full") and "CertificateArn" not in given:
            raise DmsError("InvalidParameterCombinationException", f"SslMode {ssl_mode} needs a CertificateArn.")
        with self.records.lock:
            self.records.check_free(Endpoint, name)
            shown = (
                "EndpointType",
                "EngineName",
                "Username",
                "ServerName",
                "Port",
                "DatabaseName",
                "ExtraConnectionAttributes",
                "CertificateArn",
                "PostgreSQLSettings",
            )
            endpoint = Endpoint(
                {field: given[field] for field in shown if field in given}
                | {
                    "EndpointIdentifier": name,
                    "SslMode": ssl_mode,
                    "Status": "active",
                    "TagList": given.get("Tags", []),
                }
                | self._encryption(given),
                self._new_arn(Endpoint),
                self.cloud.clock,
            )
            endpoint.fields["EndpointArn"] = endpoint.arn
            endpoint.password = given.get("Password", "")
            self.records.add(endpoint)
            return ActionResult({"Endpoint": dict(endpoint.fields)})

    def describe_endpoints(self) -> ActionResult:
        return self._described(
            Endpoint,
            "Endpoints",
            {
                "endpoint-arn": lambda one: {one.arn},
                "endpoint-id": lambda one: {one.identifier},
                "endpoint-type": lambda one: {one.fields["EndpointType"]},
                "engine-name": lambda one: {one.fields["EngineName"]},
            },
        )

    def delete_endpoint(self) -> ActionResult:
        with self.records.lock:
            endpoint = self.records.named(Endpoint, self._given()["EndpointArn"])
            _require(endpoint, {"active"})
            # "All tasks associated with the endpoint must be deleted" (API model).
            for side in ("SourceEndpointArn", "TargetEndpointArn"):
                self._require_no_task(side, endpoint)
            endpoint.become("deleting", GONE, self.cloud.durations["endpoint_delete"])
            for connection in self.records.all(Connection):
                if connection.fields["EndpointArn"] == endpoint.arn:
                    connection.become("deleting", GONE, self.cloud.durations["endpoint_delete"])
            return ActionResult({"Endpoint": dict(endpoint.fields)})

    # ---- connections

    def test_connection(self) -> ActionResult:
        given = self._given()
        with self.records.lock:
            instance = self.records.named(ReplicationInstance, given["ReplicationInstanceArn"])
            endpoint = self.records.named(Endpoint, given["EndpointArn"])
            _require(instance, {"available"})
            _require(endpoint, {"active"})
            connection = self.records.connection(instance.arn, endpoint.arn)
            if connection and connection.status in ("testing", "deleting"):
                raise DmsError(
                    "InvalidResourceStateFault", f"The connection to {endpoint.identifier} is {connection.status}."
                )
            if connection is None:
                connection = Connection(
                    {
                        "ReplicationInstanceArn": instance.arn,
                        "EndpointArn": endpoint.arn,
                        "EndpointIdentifier": endpoint.identifier,
                        "ReplicationInstanceIdentifier": instance.identifier,
                    },
                    self._new_arn(Connection),
                    self.cloud.clock,
                )
                connection.status = "testing"
                self.records.add(connection)
            connection.status = "testing"
            connection.fields.pop("LastFailureMessage", None)
            reply = ActionResult({"Connection": dict(connection.fields)})
        threading.Thread(target=self._test, args=(connection, endpoint), daemon=True).start()
        return reply

    def _test(self, connection: Connection, endpoint: Endpoint) -> None:
        failure = None
        with self.cloud.clock.at_least(self.cloud.durations["connection_test"]):
            try:
                psycopg.connect(**endpoint.conninfo()).close()
            except psycopg.Error as error:
                failure = str(error).strip()
        with self.records.lock:
            if connection.status == "testing":
                connection.status = "failed" if failure else "successful"
                if failure:
                    connection.fields["LastFailureMessage"] = f"Test Endpoint failed: {failure}"

    def describe_connections(self) -> ActionResult:
        return self._described(
            Connection,
            "Connections",
            {
                "endpoint-arn": lambda one: {one.fields["EndpointArn"]},
                "replication-instance-arn": lambda one: {one.fields["ReplicationInstanceArn"]},
            },
        )

    def delete_connection(self) -> ActionResult:
        given = self._given()
        with self.records.lock:
            connection = self.records.connection(given["ReplicationInstanceArn"], given["EndpointArn"])
            if connection is None:
                raise DmsError("ResourceNotFoundFault", "The connection was not found.")
            _require(connection, {"successful", "failed"})
            connection.become("deleting", GONE, self.cloud.durations["connection_delete"])
            return ActionResult({"Connection": dict(connection.fields)})

    # ---- tasks

    def create_replication_task(self) -> ActionResult:
        given = self._given()
        name = _checked_name(given["ReplicationTaskIdentifier"], 255).lower()
        if given["MigrationType"] != "full-load-and-cdc":
            raise DmsError("InvalidParameterValueException", "The local cloud's tasks are all full-load-and-cdc.")
        with self.records.lock:
            self.records.check_free(Task, name)
            instance = self.records.named(ReplicationInstance, given["ReplicationInstanceArn"])
            source = self.records.named(Endpoint, given["SourceEndpointArn"])
            target = self.records.named(Endpoint, given["TargetEndpointArn"])
            _require(instance, {"available"})
            for endpoint, kind in ((source, "source"), (target, "target")):
                _require(endpoint, {"active"})
                if endpoint.fields["EndpointType"].lower() != kind:
                    raise DmsError("InvalidParameterValueException", f"{endpoint.identifier} is no {kind} endpoint.")
            task = Task(
                {
                    "ReplicationTaskIdentifier": name,
                    "SourceEndpointArn": source.arn,
                    "TargetEndpointArn": target.arn,
                    "ReplicationInstanceArn": instance.arn,
                    "MigrationType": given["MigrationType"],
                    "TableMappings": given["TableMappings"],
                    "ReplicationTaskSettings": given.get("ReplicationTaskSettings", "{}"),
                    "ReplicationTaskCreationDate": utc_now(),
                    "TagList": given.get("Tags", []),
                },
                self._new_arn(Task),
                self.cloud.clock,
                self.cloud.dms_plays,
            )
            task.fields["ReplicationTaskArn"] = task.arn
            task.replication = Replication(
                task.arn.split(":")[-1],
                (source.conninfo(), target.conninfo()),
                target.fields.get("PostgreSQLSettings", {}).get("AfterConnectScript"),
                settings(given.get("ReplicationTaskSettings")),
                mappings(given["TableMappings"]),
                task.plays,
                lambda status: self._settle(task, status),
            )
            task.become("creating", "ready", self.cloud.durations["task_create"])
            self.records.add(task)
            return ActionResult({"ReplicationTask": _shown(task)})

    def describe_replication_tasks(self) -> ActionResult:
        return self._described(
            Task,
            "ReplicationTasks",
            {
                "replication-task-arn": lambda one: {one.arn},
                "replication-task-id": lambda one: {one.identifier},
                "migration-type": lambda one: {one.fields["MigrationType"]},
                "endpoint-arn": lambda one: {one.fields["SourceEndpointArn"], one.fields["TargetEndpointArn"]},
                "replication-instance-arn": lambda one: {one.fields["ReplicationInstanceArn"]},
            },
            _shown,
        )

    def start_replication_task(self) -> ActionResult:
        given = self._given()
        kind = given["StartReplicationTaskType"]
        with self.records.lock:
            task = self.records.named(Task, given["ReplicationTaskArn"])
            if kind == "start-replication" and task.has_run and task.status in ("stopped", "failed"):
                raise DmsError(
                    "InvalidParameterCombinationException",
                    "Start Type : START_REPLICATION, valid only for tasks running for the first time",
                )
            _require(task, START_STATUSES[kind])
            for side in ("SourceEndpointArn", "TargetEndpointArn"):
                connection = self.records.connection(task.fields["ReplicationInstanceArn"], task.fields[side])
                if connection is None or connection.status != "successful":
                    raise DmsError(
                        "InvalidResourceStateFault",
                        f"Test connection for replication instance and endpoint {task.fields[side]} should be "
                        "successful for starting the replication task",
                    )  # [A101]
            task.has_run = True
            task.status = "starting"
            for field in ("StopReason", "LastFailureMessage"):
                task.fields.pop(field, None)
            task.fields["ReplicationTaskStartDate"] = utc_now()
            reply = ActionResult({"ReplicationTask": _shown(task)})
        threading.Thread(target=self._start, args=(task, kind), daemon=True).start()
        return reply

    def _start(self, task: Task, kind: str) -> None:
        self.cloud.clock.sleep(self.cloud.durations["task_start"])
        if task.status != "starting":
            return
        if kind == "reload-target":
            task.replication.close()
        task.replication.start(resume=kind == "resume-processing")

    def _settle(self, task: Task, status: str) -> None:
        """What a task comes to by itself."""
        with self.records.lock:
            if task.status in ("starting", "running"):
                task.status = status
                if status == "failed":
                    task.fields["StopReason"] = "Stop Reason FATAL_ERROR Error Level FATAL"
                    task.fields["LastFailureMessage"] = task.replication.failure

    def stop_replication_task(self) -> ActionResult:
        with self.records.lock:
            task = self.records.named(Task, self._given()["ReplicationTaskArn"])
            _require(task, {"running"})
            task.status = "stopping"
            reply = ActionResult({"ReplicationTask": _shown(task)})
        threading.Thread(target=self._stop, args=(task,), daemon=True).start()
        return reply

    def _stop(self, task: Task) -> None:
        with self.cloud.clock.at_least(self.cloud.durations["task_stop"]):
            task.replication.stop()
        with self.records.lock:
            if task.status == "stopping":
                task.status = "stopped"
                task.fields["StopReason"] = "Stop Reason NORMAL"

    def delete_replication_task(self) -> ActionResult:
        with self.records.lock:
            task = self.records.named(Task, self._given()["ReplicationTaskArn"])
            _require(task, {"ready", "stopped", "failed"})
            task.status = "deleting"
            reply = ActionResult({"ReplicationTask": _shown(task)})
        threading.Thread(target=self._delete, args=(task,), daemon=True).start()
        return reply

    def _delete(self, task: Task) -> None:
        with self.cloud.clock.at_least(self.cloud.durations["task_delete"]):
            task.replication.close()
        task.status = GONE

    def describe_table_statistics(self) -> ActionResult:
        given = self._given()
        with self.records.lock:
            task = self.records.named(Task, given["ReplicationTaskArn"])
        tables = [table.statistics(dict(task.plays)) for table in list(task.replication.tables.values())]
        fields = {"schema-name": "SchemaName", "table-name": "TableName", "table-state": "TableState"}
        for one in given.get("Filters", []):
            tables = [table for table in tables if table[fields[one["Name"]]] in one["Values"]]
        shown, more = self._paged({f"{table['SchemaName']}.{table['TableName']}": table for table in tables}, most=500)
        return ActionResult({"ReplicationTaskArn": task.arn, "TableStatistics": shown} | more)

    # ---- tags

    def add_tags_to_resource(self) -> ActionResult:
        given = self._given()
        with self.records.lock:
            resource = self.records.named(Resource, given["ResourceArn"])
            resource.fields["TagList"] = merged_tags(resource.tags, given["Tags"])
        return EmptyResult()

    def list_tags_for_resource(self) -> ActionResult:
        given = self._given()
        arns = given.get("ResourceArnList") or [given["ResourceArn"]]
        with self.records.lock:
            tags = [
                tag | ({"ResourceArn": arn} if "ResourceArnList" in given else {})
                for arn in arns
                for tag in self.records.named(Resource, arn).tags
            ]
        return ActionResult({"TagList": tags})

    # ---- shared

    @property
    def records(self) -> DmsRecords:
        return self.cloud.dms

    def _given(self) -> Fields:
        return dict(json.loads(self.body or "{}"))

    def _new_arn(self, kind: type[Resource]) -> str:
        return new_arn(self.region, self.current_account, kind, self._given().get("ResourceIdentifier"))

    def _group(self, name: str) -> SubnetGroup:
        found = next((one for one in self.records.all(SubnetGroup) if one.identifier == name), None)
        if found is None:
            raise DmsError("ResourceNotFoundFault", f"{SubnetGroup.NAME} {name} not found.")
        calls.touch(found, "dms")
        return found

    def _require_no_task(self, side: str, resource: Resource) -> None:
        users = [task.identifier for task in self.records.all(Task) if task.fields[side] == resource.arn]
        if users:
            raise DmsError(
                "InvalidResourceStateFault", f"{resource.NAME} {resource.identifier} is used by {', '.join(users)}."
            )

    def _encryption(self, given: Fields) -> Fields:
        """Without a key in the request it is aws/dms, which the local cloud does not show."""
        if "KmsKeyId" not in given:
            return {}
        key = None
        with contextlib.suppress(AttributeError, KeyError):
            key = kms_backends[self.current_account][self.region].describe_key(given["KmsKeyId"])
        if key is None or key.key_state != "Enabled":
            raise DmsError("KMSKeyNotAccessibleFault", INACCESSIBLE_KEY.format(given["KmsKeyId"]))
        return {"KmsKeyId": key.arn}

    def _described(
        self,
        kind: type[T],
        name: str,
        filters: dict[str, Callable[[T], set[str]]],
        shown: Callable[[T], Fields] = lambda one: dict(one.fields),
    ) -> ActionResult:
        given = self._given()
        with self.records.lock:
            found = self.records.all(kind)
            for one in given.get("Filters", []):
                if one["Name"] not in filters:
                    raise DmsError("InvalidParameterValueException", f"Unrecognized filter name: {one['Name']}")
                found = [resource for resource in found if filters[one["Name"]](resource) & set(one["Values"])]
            # Not an empty list, as most services would say [A29], [A102].
            if not found:
                raise DmsError("ResourceNotFoundFault", f"No {kind.NAME}s found matching provided filters.")
            for resource in found:
                calls.touch(resource, "dms")
            items, more = self._paged({resource.identifier: shown(resource) for resource in found}, most=100)
        if given.get("WithoutSettings"):
            for item in items:
                item.pop("ReplicationTaskSettings", None)
        return ActionResult({name: items} | more)

    def _paged(self, items: dict[str, Fields], most: int) -> tuple[list[Fields], Fields]:
        given = self._given()
        size = given.get("MaxRecords", 100)
        if not 20 <= size <= most:
            raise DmsError("InvalidParameterValueException", f"MaxRecords must be between 20 and {most}.")
        return page(items, size, given.get("Marker", ""))


def _shown(task: Task) -> Fields:
    return task.fields | {"ReplicationTaskStats": task.replication.progress(), "Status": task.status}


def _require(resource: Resource, statuses: Iterable[str]) -> None:
    if resource.status not in statuses:
        raise DmsError("InvalidResourceStateFault", f"{resource.NAME} {resource.identifier} is {resource.status}.")


def _checked_name(name: str, longest: int) -> str:
    """A letter, then letters, digits and single hyphens (API model)."""
    if not re.fullmatch(r"[A-Za-z](-?[A-Za-z0-9])*", name) or len(name) > longest:
        raise DmsError(
            "InvalidParameterValueException",
            f"Invalid identifier {name}: it must begin with a letter, contain only ASCII letters, digits, and hyphens, "
            "and neither end with a hyphen nor contain two consecutive hyphens.",
        )
    return name


def install(cloud: Cloud) -> None:
    """Puts these operations in the place of moto's."""
    LocalDms.cloud = cloud
    moto.dms.urls.url_paths = {"{0}/$": LocalDms.dispatch}
