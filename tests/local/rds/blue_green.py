"""The four operations on blue/green deployments, and PromoteReadReplica, which breaks one.

Sources as in deployment.py, which says how a deployment goes on after each request.
"""

from __future__ import annotations

import copy
import re
from collections import ChainMap
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

from moto.core.responses import ActionResult

from . import deployment, lifecycle, settings
from .records import Deployment, Instance, ServiceError, checked_tags, new_resource_id, utc_now
from .requests import RdsRequest, require

if TYPE_CHECKING:
    from .records import Fields, Tag

# "Supported Regions and DB engines for blue/green deployments": the oldest version of each.
OLDEST_VERSIONS = {"postgres": (11, 1), "mysql": (5, 7), "mariadb": (10, 2)}
NAME = r"[a-zA-Z](?:-?[a-zA-Z0-9]+)*"
LONGEST_NAME = 60
MOST_CONFIGURATIONS = 20
IDENTIFIER_LENGTH = 16
# "Default: 300", at least 30 (API model); at most 3,600 (User Guide, "Switching a blue/green deployment").
SHORTEST_TIMEOUT_SECONDS, DEFAULT_TIMEOUT_SECONDS, LONGEST_TIMEOUT_SECONDS = 30, 300, 3600
# What green has of its own; roles have to be associated anew (User Guide, "Limitations and considerations").
NOT_COPIED = {
    "DBInstanceIdentifier",
    "DBInstanceArn",
    "DbiResourceId",
    "Endpoint",
    "InstanceCreateTime",
    "LatestRestorableTime",
    "AssociatedRoles",
    "ReadReplicaDBInstanceIdentifiers",
    "ReadReplicaSourceDBInstanceIdentifier",
    "StatusInfos",
}
# Changes of green that a request can ask for, beside the parameter group and the key.
CHANGES = {
    "TargetDBInstanceClass": "DBInstanceClass",
    "TargetAllocatedStorage": "AllocatedStorage",
    "TargetStorageType": "StorageType",
    "TargetIops": "Iops",
    "TargetStorageThroughput": "StorageThroughput",
}
FILTERS = {
    "blue-green-deployment-identifier": "BlueGreenDeploymentIdentifier",
    "blue-green-deployment-name": "BlueGreenDeploymentName",
    "source": "Source",
    "target": "Target",
}


class BlueGreenRequests(RdsRequest):
    """What LocalRds (operations.py) has of them."""

    def create_blue_green_deployment(self) -> ActionResult:
        given = self._given()
        with self.records.lock:
            name = self._new_deployment_name(given["BlueGreenDeploymentName"])
            blue = self.records.instance(given["Source"])
            sources = [blue, *blue.followers]
            self._check_source(blue, sources)
            plays = ChainMap({}, self.cloud.blue_green)
            keys = self._target_keys(given.get("TargetResourceConfigurations", []), sources, plays)
            if given.get("TargetEngineVersion", blue.fields["EngineVersion"]) != blue.fields["EngineVersion"]:
                raise ServiceError("InvalidParameterValue", "The local cloud does not upgrade engines.")
            storage = sum(source.fields["AllocatedStorage"] for source in sources)
            self.records.check_instance_quota(storage, len(sources))
            changes = {field: given[parameter] for parameter, field in CHANGES.items() if parameter in given}
            group = given.get("TargetDBParameterGroupName")
            if group:
                self._fields({"DBParameterGroupName": group}, blue.fields)
            made = self._new_deployment(name, sources, checked_tags(given.get("Tags", [])), plays)
            shown = self._one_deployment(made)

        def make_green(number: int) -> Instance:
            return self._new_green(made, number, keys.get(made.sources[number]), changes, group)

        lifecycle.lead(self.cloud, made, deployment.provision, make_green)
        return shown

    def describe_blue_green_deployments(self) -> ActionResult:
        given = self._given()
        with self.records.lock:
            if "BlueGreenDeploymentIdentifier" in given:
                found = [self.records.deployment(given["BlueGreenDeploymentIdentifier"])]
            else:
                found = sorted(self.records.deployments.values(), key=lambda one: one.identifier)
            shown = [deployment.describe(one, self.records) for one in found]
            for one in given.get("Filters", []):
                if one["Name"] not in FILTERS:
                    raise ServiceError("InvalidParameterValue", f"Unrecognized filter name: {one['Name']}")
                shown = [row for row in shown if row.get(FILTERS[one["Name"]]) in one["Values"]]
            shown, more = self._paged({row["BlueGreenDeploymentIdentifier"]: row for row in shown})
            return ActionResult({"BlueGreenDeployments": shown} | more)

    def switchover_blue_green_deployment(self) -> ActionResult:
        given = self._given()
        with self.records.lock:
            found = self.records.deployment(given["BlueGreenDeploymentIdentifier"])
            timeout_seconds = given.get("SwitchoverTimeout", DEFAULT_TIMEOUT_SECONDS)
            if not SHORTEST_TIMEOUT_SECONDS <= timeout_seconds <= LONGEST_TIMEOUT_SECONDS:
                raise ServiceError(
                    "InvalidParameterValue",
                    f"SwitchoverTimeout must be between {SHORTEST_TIMEOUT_SECONDS} and {LONGEST_TIMEOUT_SECONDS}.",
                )
            ready = {"AVAILABLE", *(["SWITCHOVER_FAILED"] if found.plays["switchover_again"] else [])}
            status, pairs = deployment.status_of(found, self.records), deployment.whole_pairs(found, self.records)
            if status not in ready or (found.sources[0], found.targets[0]) not in pairs:
                raise _invalid_state(f"The blue/green deployment {found.identifier} is {status}.")
            for instance in (instance for pair in pairs for instance in pair):
                # Seen, with `storage-optimization` too: hashicorp/terraform-provider-aws#36241, #47493.
                if instance.status != "available":
                    raise _invalid_state(f"DB instance {instance.identifier} is not in available state")
            for instance in found.members():
                instance.is_switching = True
            found.status = "SWITCHOVER_IN_PROGRESS"
            shown = self._one_deployment(found)
        lifecycle.lead(self.cloud, found, deployment.switch_over, self.name_instance, timeout_seconds)
        return shown

    def delete_blue_green_deployment(self) -> ActionResult:
        given = self._given()
        with self.records.lock:
            found = self.records.deployment(given["BlueGreenDeploymentIdentifier"])
            spared = {"PROVISIONING"} if found.plays["deletable_while_provisioning"] else set()
            if found.status in {"PROVISIONING", "SWITCHOVER_IN_PROGRESS", "DELETING"} - spared:
                raise _invalid_state(f"The blue/green deployment {found.identifier} is {found.status}.")
            switched = found.status == "SWITCHOVER_COMPLETED"
            if switched and "DeleteTarget" in given:
                raise ServiceError(
                    found.plays["delete_target_error"],
                    "You can't specify DeleteTarget if the blue/green deployment status is SWITCHOVER_COMPLETED.",
                )
            targets = [] if switched else [target for target in found.targets if target and self.records.holds(target)]
            if with_targets := given.get("DeleteTarget", False):
                if any(target.fields.get("DeletionProtection") for target in targets):
                    raise ServiceError(
                        found.plays["delete_target_error"],
                        "Cannot delete protected DB Instance, please disable deletion protection and try again.",
                    )
                for target in targets:
                    target.status = "deleting"
            found.status, found.fields["DeleteTime"] = "DELETING", utc_now()
            shown = self._one_deployment(found)
        lifecycle.lead(self.cloud, found, deployment.delete, targets, with_targets)
        return shown

    def promote_read_replica(self) -> ActionResult:
        given = self._given()
        with self.records.lock:
            instance = self.records.instance(given["DBInstanceIdentifier"])
            require(instance, {"available"})
            if not instance.follows:
                raise ServiceError(
                    "InvalidDBInstanceState", f"DB Instance {instance.identifier} is not a read replica."
                )
            self.promote(instance)
            return self._one(instance)

    def promote(self, instance: Instance) -> None:
        """A deployment whose green is promoted becomes INVALID_CONFIGURATION ("Limitations and considerations")."""
        for found in self.records.deployments_of(instance):
            if instance in found.targets and found.status != "SWITCHOVER_COMPLETED":
                lifecycle.halt(self.cloud, found)
                found.status = "INVALID_CONFIGURATION"
                found.fields["StatusDetails"] = f"The DB instance {instance.identifier} is not a replica any more."
        instance.status = "modifying"
        lifecycle.lead(self.cloud, instance, deployment.promote_replica)

    def _one_deployment(self, found: Deployment) -> ActionResult:
        return ActionResult({"BlueGreenDeployment": deployment.describe(found, self.records)})

    def _new_deployment_name(self, name: str) -> str:
        if not re.fullmatch(NAME, name) or len(name) > LONGEST_NAME:
            raise ServiceError(
                "InvalidParameterValue", "The parameter BlueGreenDeploymentName is not a valid identifier."
            )
        if any(one.fields["BlueGreenDeploymentName"] == name for one in self.records.deployments.values()):
            raise ServiceError(
                "BlueGreenDeploymentAlreadyExistsFault",
                f"A blue/green deployment with the specified name {name} already exists.",
            )
        return name

    def _new_deployment(
        self, name: str, sources: list[Instance], tags: list[Tag], plays: MutableMapping[str, Any]
    ) -> Deployment:
        identifier = "bgd-" + deployment.random_text(IDENTIFIER_LENGTH)
        tasks = [
            "CREATING_READ_REPLICA_OF_SOURCE",
            "CONFIGURE_BACKUPS",
            *(["CREATING_TOPOLOGY_OF_SOURCE"] if sources[1:] else []),
        ]
        made = Deployment(
            {
                "BlueGreenDeploymentIdentifier": identifier,
                "BlueGreenDeploymentName": name,
                "Status": "PROVISIONING",
                "Tasks": [{"Name": task, "Status": "PENDING"} for task in tasks],
                "CreateTime": utc_now(),
                "TagList": tags,
            },
            self.arn_of("deployment", identifier),
            sources,
            plays,
        )
        self.records.add(made)
        return made

    def _check_source(self, blue: Instance, sources: list[Instance]) -> None:
        """The "Limitations for blue/green deployments", as far as a describe call shows them."""
        fields = blue.fields
        oldest = OLDEST_VERSIONS.get(fields["Engine"])
        replicas = fields.get("ReadReplicaDBInstanceIdentifiers", [])
        log_volumes = {bool(source.fields.get("DedicatedLogVolume")) for source in sources}
        for refused, why in (
            (oldest is None, f"the engine {fields['Engine']} has no blue/green deployments"),
            (
                oldest and _version(fields["EngineVersion"]) < oldest,
                f"{fields['Engine']} {fields['EngineVersion']} has no blue/green deployments",
            ),
            (fields.get("DBClusterIdentifier"), "it belongs to a DB cluster"),
            (fields.get("ReadReplicaSourceDBInstanceIdentifier") or blue.follows, "it is a read replica"),
            (any(name.startswith("arn:") for name in replicas), "it has read replicas in other Regions"),
            (any(source.followers for source in sources[1:]), "it has cascading read replicas"),
            (fields.get("MasterUserSecret"), "its master user password is managed in Secrets Manager"),
            (not fields.get("BackupRetentionPeriod"), "automated backups are off"),
            (len(log_volumes) > 1, "a dedicated log volume must be enabled on all DB instances, or on none"),
        ):
            if refused:
                raise ServiceError(
                    "SourceDatabaseNotSupportedFault",
                    f"The source DB instance {blue.arn} isn't supported for a blue/green deployment: {why}.",
                )
        for source in sources:
            require(source, {"available"})
        for one in self.records.deployments_of(blue):
            if one.status not in ("SWITCHOVER_COMPLETED", "DELETING"):
                raise ServiceError(
                    "InvalidDBInstanceState",
                    f"DB instance {blue.identifier} is part of the blue/green deployment {one.identifier}.",
                )

    def _target_keys(
        self, configurations: list[Fields], sources: list[Instance], plays: MutableMapping[str, Any]
    ) -> dict[Instance, str]:
        """The key for each member of blue that has an entry; one without keeps blue's configuration."""
        keys, by_arn = {}, {source.arn: source for source in sources}
        if len(configurations) > MOST_CONFIGURATIONS:
            raise ServiceError(
                "InvalidParameterValue", f"TargetResourceConfigurations can have at most {MOST_CONFIGURATIONS} entries."
            )
        for one in configurations:
            source = by_arn.pop(one["SourceArn"], None)
            if source is None:
                raise ServiceError(
                    "InvalidParameterValue",
                    f"TargetResourceConfigurations: {one['SourceArn']} is not in the blue environment, or there twice.",
                )
            if key := one.get("TargetKmsKeyId"):
                keys[source] = key
                if plays["bad_key"] == "refused":
                    self._key_arn(key)
        return keys

    def _new_green(
        self, made: Deployment, number: int, key: str | None, changes: Fields, group: str | None
    ) -> Instance:
        """Green's record: "RDS copies the blue environment's topology and features"."""
        source = made.sources[number]
        copied = {name: copy.deepcopy(value) for name, value in source.fields.items() if name not in NOT_COPIED}
        if number:
            # "Read replicas get the allocated storage of the green primary."
            changes = changes | {"AllocatedStorage": made.primaries[1].fields["AllocatedStorage"]}
        if group is None and made.plays["omitted_parameter_group"] == "default":
            group = settings.default_parameter_group(copied["Engine"], copied["EngineVersion"])
        if group:
            copied["DBParameterGroups"] = [{"DBParameterGroupName": group}]
        for one in copied["DBParameterGroups"]:
            one["ParameterApplyStatus"] = "in-sync"
        if not made.plays["copied_monitoring_role"]:
            copied.pop("MonitoringRoleArn", None)
        if key:
            try:
                copied |= self._encryption(key)
            except ServiceError as error:
                raise deployment.Failed(error.message) from None
        identifier = deployment.green_name(source.identifier)
        green = Instance(
            copied
            | changes
            | {
                "DBInstanceIdentifier": identifier,
                "DBInstanceArn": self.arn_of("db", identifier),
                "DbiResourceId": new_resource_id(),
                "DBInstanceStatus": "creating",
                "DeletionProtection": bool(copied.get("DeletionProtection"))
                and made.plays["green_deletion_protection"],
                "AssociatedRoles": [],
                "ReadReplicaDBInstanceIdentifiers": [],
            }
        )
        green.port, green.master_password = source.port, source.master_password
        self.records.add(green)
        return green


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:2])


def _invalid_state(message: str) -> ServiceError:
    return ServiceError("InvalidBlueGreenDeploymentStateFault", message)
