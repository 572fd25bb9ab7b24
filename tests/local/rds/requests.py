"""What the RDS operations share: checked parameters on the way in, records and fields on the way out."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from moto.core.responses import ActionResult
from moto.ec2.models import ec2_backends
from moto.kms.models import kms_backends
from moto.rds.exceptions import DBParameterGroupNotFoundError, OptionGroupNotFoundFaultError
from moto.rds.responses import RDSResponse

from . import calls, lifecycle, refusals, settings
from .records import (
    INACCESSIBLE_KEY,
    Instance,
    ServiceError,
    Snapshot,
    checked_count,
    checked_tags,
    merged_tags,
    new_resource_id,
    page,
    utc_now,
)

if TYPE_CHECKING:
    from moto.core.common_types import TYPE_RESPONSE

    from .records import Fields, R, Record, Records, T, Tag

if TYPE_CHECKING:
    from .cloud import Cloud

# CreateDBSnapshot: "the DB instance must be in the available or storage-optimization state" (RDS User Guide).
SNAPSHOT_STATUSES = {"available", "storage-optimization"}
# What an account answers that does not use the feature; moto does not have these operations.
WITHOUT_THE_FEATURE: dict[str, Fields] = {
    "DescribeIntegrations": {"Integrations": []},
    "DescribePendingMaintenanceActions": {"PendingMaintenanceActions": []},
}
# Fields that DBSnapshot has in common with DBInstance.
SNAPSHOT_SHOWS = (
    "AllocatedStorage",
    "AvailabilityZone",
    "BackupRetentionPeriod",
    "DBInstanceIdentifier",
    "DBSystemId",
    "DbiResourceId",
    "DedicatedLogVolume",
    "Engine",
    "EngineVersion",
    "IAMDatabaseAuthenticationEnabled",
    "InstanceCreateTime",
    "Iops",
    "KmsKeyId",
    "LicenseModel",
    "MasterUsername",
    "MultiTenant",
    "PreferredBackupWindow",
    "ProcessorFeatures",
    "StorageEncryptionType",
    "StorageThroughput",
    "StorageType",
    "Timezone",
    "AdditionalStorageVolumes",
)


class RdsRequest(RDSResponse):
    """A request to moto's RDS that knows our records."""

    cloud: Cloud

    def call_action(self) -> TYPE_RESPONSE:
        operation = self._get_action()
        reply = self.cloud.replies.get(operation, WITHOUT_THE_FEATURE.get(operation))
        if reply is not None:
            return self.serialized(ActionResult(reply))
        try:
            return super().call_action()
        except NotImplementedError:
            return self.serialized(
                ActionResult(
                    ServiceError(
                        "InvalidAction",
                        f"The local cloud does not have {operation}: give it a result with PUT "
                        f"/local/replies/{operation}.",
                    )
                )
            )

    @property
    def records(self) -> Records:
        return self.cloud.records

    def _given(self) -> Fields:
        """The request's parameters under the API's names."""
        return dict(self.params.original_dict()) if self.params else {}

    def _one(self, record: Record, **overrides: Any) -> ActionResult:
        name = "DBInstance" if isinstance(record, Instance) else "DBSnapshot"
        return ActionResult({name: lifecycle.describe(self.cloud, record) | overrides})

    def _page(self, name: str, found: Sequence[Record]) -> ActionResult:
        shown, more = self._paged({record.identifier: record for record in found})
        return ActionResult({name: [lifecycle.describe(self.cloud, record) for record in shown]} | more)

    def _paged(self, items: dict[str, T]) -> tuple[list[T], Fields]:
        given = self._given()
        most = given.get("MaxRecords", 100)
        if not 20 <= most <= 100:
            raise ServiceError("InvalidParameterValue", "MaxRecords must be between 20 and 100.")
        return page(items, most, given.get("Marker", ""))

    def arn_of(self, kind: str, identifier: str) -> str:
        return f"arn:{self.partition}:rds:{self.region}:{self.current_account}:{kind}:{identifier}"

    def name_instance(self, instance: Instance, identifier: str) -> None:
        self.records.remove(instance)
        instance.fields["DBInstanceIdentifier"] = identifier
        instance.fields["DBInstanceArn"] = self.arn_of("db", identifier)
        instance.fields["Endpoint"] = self.cloud.endpoints.describe(identifier, instance.port)
        self.records.add(instance)

    def _change_status(self, status: str, script: Callable[..., None], word: str) -> ActionResult:
        given = self._given()
        with self.records.lock:
            instance = self.records.instance(given["DBInstanceIdentifier"])
            require(instance, {status})
            instance.status = word
            lifecycle.lead(self.cloud, instance, script)
            return self._one(instance)

    def _new_instance(
        self, identifier: str, resource_id: str, fields: Fields, given: Fields, source_port: int | None = None
    ) -> Instance:
        """Adds a record in `creating`: `fields` with the request's own settings over them."""
        if given.get("MultiAZ") and "AvailabilityZone" in given:
            raise ServiceError(
                "InvalidParameterCombination",
                "Requesting a specific availability zone is not valid for Multi-AZ instances.",
            )
        # "Default: io1 if the Iops parameter is specified, otherwise gp3" (API model, StorageType).
        if given.get("Iops"):
            fields["StorageType"] = "io1"
        engine = given.get("Engine") or fields["Engine"]
        refusals.check_storage(
            {"AllocatedStorage": fields["AllocatedStorage"], "StorageType": fields["StorageType"]} | given, engine
        )
        refusals.check_certificate_authority(given)
        fields |= self._fields(given, fields) | {
            "DBInstanceIdentifier": identifier,
            "DBInstanceArn": self.arn_of("db", identifier),
            "DbiResourceId": resource_id,
            "DBInstanceStatus": "creating",
            "TagList": checked_tags(given.get("Tags", [])),
        }
        self.records.check_instance_quota(fields["AllocatedStorage"])
        for group in fields["DBParameterGroups"]:
            group["ParameterApplyStatus"] = "in-sync"
        fields |= provisioned(fields)
        if engine.startswith("sqlserver") and self._mirrors(given.get("OptionGroupName")):
            fields["MultiAZ"] = True
        if fields["MultiAZ"]:
            fields["SecondaryAvailabilityZone"] = settings.zone(self.region, resource_id, fields["AvailabilityZone"])
        refusals.check_backups(fields)
        instance = Instance(fields)
        instance.port = (
            given.get("Port") or source_port or settings.by_engine(settings.ENGINE_PORTS, fields["Engine"]) or 5432
        )
        self.records.add(instance)
        return instance

    def _mirrors(self, option_group_name: str | None) -> bool:
        """SQL Server is Multi-AZ by its option group (RDS User Guide 2023, "Multi-AZ for SQL Server")."""
        group = self.backend.option_groups.get(option_group_name or "")
        return group is not None and any(option["OptionName"] == "Mirroring" for option in group.options)

    def new_snapshot(self, name: str, instance: Instance, tags: list[Tag]) -> Snapshot:
        """Adds a manual snapshot of the instance, in `creating`."""
        identifier = self.records.new_snapshot_name(name)
        require(instance, SNAPSHOT_STATUSES)
        self.records.check_snapshot_quota()
        checked_tags(tags)
        source = instance.fields
        # Given and copied tags merge [A14].
        inherited = instance.tags if source.get("CopyTagsToSnapshot") else []
        fields = {
            "DBSnapshotIdentifier": identifier,
            "DBSnapshotArn": self.arn_of("snapshot", identifier),
            "Status": "creating",
            "SnapshotType": "manual",
            "SnapshotTarget": "region",
            "SnapshotCreateTime": utc_now(),
            "OriginalSnapshotCreateTime": utc_now(),
            "Port": instance.port,
            "VpcId": source.get("DBSubnetGroup", {}).get("VpcId"),
            "OptionGroupName": next(
                (group["OptionGroupName"] for group in source.get("OptionGroupMemberships", [])), None
            ),
            "Encrypted": source.get("StorageEncrypted", False),
            "TagList": checked_count(
                merged_tags([tag for tag in inherited if not tag["Key"].startswith("aws:")], tags)
            ),
        }
        fields |= {name: source[name] for name in SNAPSHOT_SHOWS if name in source}
        snapshot = Snapshot(fields, source | {"master_password": instance.master_password})
        return self._add_snapshot(snapshot, "snapshot", instance)

    def _add_snapshot(self, snapshot: Snapshot, duration: str, source: Record) -> Snapshot:
        snapshot.has_server = source.has_server
        snapshot.progress_start, snapshot.progress_duration = self.cloud.clock.now(), duration
        self.records.add(snapshot)
        return snapshot

    def _fields(self, given: Fields, current: Fields) -> Fields:
        """The fields that the parameters set on an instance that is `current` so far."""
        fields = settings.fields_from(given)
        if "DBParameterGroupName" in given:
            name = given["DBParameterGroupName"]
            calls.touch(self.arn_of("pg", name))
            if not name.startswith("default.") and name not in self.backend.db_parameter_groups:
                raise DBParameterGroupNotFoundError(name)
            # The change needs a reboot to take effect (RDS User Guide, "Associating a parameter group").
            fields["DBParameterGroups"] = [{"DBParameterGroupName": name, "ParameterApplyStatus": "applying"}]
        if "OptionGroupName" in given:
            name = given["OptionGroupName"]
            calls.touch(self.arn_of("og", name))
            if not name.startswith("default:") and name not in self.backend.option_groups:
                raise OptionGroupNotFoundFaultError(name)
        if "DBSubnetGroupName" in given:
            calls.touch(self.arn_of("subgrp", given["DBSubnetGroupName"]))
            fields |= self.network(given["DBSubnetGroupName"])
            if "VpcSecurityGroupIds" in given:
                del fields["VpcSecurityGroups"]
                fields |= settings.fields_from({"VpcSecurityGroupIds": given["VpcSecurityGroupIds"]})
        if given.get("DisableDomain"):
            fields["DomainMemberships"] = []
        elif membership := settings.domain_membership(given):
            fields["DomainMemberships"] = membership
        if logs := given.get("CloudwatchLogsExportConfiguration"):
            enabled = [*current.get("EnabledCloudwatchLogsExports", []), *logs.get("EnableLogTypes", [])]
            fields["EnabledCloudwatchLogsExports"] = sorted(set(enabled) - set(logs.get("DisableLogTypes", [])))
        if given.get("ManageMasterUserPassword"):
            account = f"arn:{self.partition}:secretsmanager:{self.region}:{self.current_account}"
            secret = f"{account}:secret:rds!{new_resource_id().lower()}"
            key = self._named_key_arn(given, "MasterUserSecretKmsKeyId") or self._key_arn("alias/aws/secretsmanager")
            fields["MasterUserSecret"] = {"SecretArn": secret, "SecretStatus": "active", "KmsKeyId": key}
        elif given.get("ManageMasterUserPassword") is False:
            fields["MasterUserSecret"] = None
        if given.get("EnablePerformanceInsights"):
            # "uses your default KMS key" (API model, PerformanceInsightsKMSKeyId).
            default = current.get("PerformanceInsightsKMSKeyId") or self._key_arn("alias/aws/rds")
            fields["PerformanceInsightsKMSKeyId"] = self._named_key_arn(given, "PerformanceInsightsKMSKeyId") or default
        # Only gp3 has a throughput of its own.
        if given.get("StorageType", "gp3") != "gp3":
            fields["StorageThroughput"] = 0
        # "To turn off storage autoscaling, set it to the allocated storage" (RDS User Guide), and it is not shown.
        if given.get("MaxAllocatedStorage") == current.get("AllocatedStorage", 0):
            fields["MaxAllocatedStorage"] = None
        return fields

    def _encryption(self, key: str) -> Fields:
        return {"StorageEncrypted": True, "StorageEncryptionType": "sse-kms", "KmsKeyId": self._key_arn(key)}

    def _named_key_arn(self, given: Fields, parameter: str) -> str | None:
        """The customer managed key that the parameter names, if any: AWS's own are what leaving it out means [A16]."""
        if parameter not in given:
            return None
        arn = self._key_arn(given[parameter])
        if kms_backends[self.current_account][self.region].describe_key(arn).key_manager == "AWS":
            raise ServiceError("InvalidParameterCombination", f"{parameter} can't name a key that AWS manages.")
        return arn

    def _key_arn(self, reference: str) -> str:
        """The ARN of a key that RDS can encrypt with."""
        key = None
        if not reference.startswith("arn:") or reference.split(":")[3] == self.region:
            with contextlib.suppress(AttributeError, KeyError):
                key = kms_backends[self.current_account][self.region].describe_key(reference)
        if key is None or key.key_state != "Enabled" or key.key_spec != "SYMMETRIC_DEFAULT":
            raise ServiceError("KMSKeyNotAccessibleFault", INACCESSIBLE_KEY.format(reference))
        return key.arn

    def network(self, name: str) -> Fields:
        """DBSubnetGroup by its name, with the default security group of its VPC."""
        if name == "default":
            return self.default_network()
        group = self.backend.describe_db_subnet_groups(name.lower())[0]
        default = self.default_network()["DBSubnetGroup"]["VpcId"] == group.vpc_id
        shape: Fields = {
            "DBSubnetGroupName": group.name,
            "DBSubnetGroupDescription": group.description,
            "VpcId": group.vpc_id,
            "SubnetGroupStatus": "Complete",
            "Subnets": group.subnets,
            "DBSubnetGroupArn": self.arn_of("subgrp", group.name),
        }
        # A subnet group outside the default VPC makes the instance private (API model, PubliclyAccessible).
        return {"DBSubnetGroup": shape, "VpcSecurityGroups": self._default_security_group(group.vpc_id)} | (
            {} if default else {"PubliclyAccessible": False}
        )

    def default_network(self) -> Fields:
        """The default VPC's subnet group and security group."""
        vpc = ec2_backends[self.current_account][self.region].get_default_vpc()
        assert vpc
        shape: Fields = {
            "DBSubnetGroupName": "default",
            "DBSubnetGroupDescription": "default",
            "VpcId": vpc.id,
            "SubnetGroupStatus": "Complete",
            "Subnets": [],
            "DBSubnetGroupArn": self.arn_of("subgrp", "default"),
        }
        return {"DBSubnetGroup": shape, "VpcSecurityGroups": self._default_security_group(vpc.id)}

    def _default_security_group(self, vpc_id: str) -> list[Fields]:
        groups = ec2_backends[self.current_account][self.region].describe_security_groups(
            filters={"vpc-id": [vpc_id], "group-name": ["default"]}
        )
        return [{"VpcSecurityGroupId": group.id, "Status": "active"} for group in groups]


def require_no_switchover(instance: Instance) -> None:
    """ "You can't modify any DB instances included in the switchover" (User Guide, "Switching a … deployment")."""
    if instance.is_switching:
        raise ServiceError(
            "InvalidDBInstanceState", f"Instance {instance.identifier} is part of a switchover in progress."
        )


def require(instance: Instance, statuses: Iterable[str]) -> None:
    require_no_switchover(instance)
    if instance.status not in statuses:
        raise ServiceError(
            "InvalidDBInstanceState",
            f"Instance {instance.identifier} is not in {' or '.join(sorted(statuses))} state. It is {instance.status}.",
        )


def provisioned(fields: Fields) -> Fields:
    """What gp3 reports without provisioning: 3,000 IOPS and 125 MiB/s, or four volumes' worth of it.

    The other storage types have no throughput of their own, and report 0.
    """
    if fields["StorageType"] != "gp3":
        return {"StorageThroughput": 0}
    if fields.get("Iops"):
        return {}
    threshold = (
        refusals.GP3_THRESHOLD_GIBIBYTES.get(fields["Engine"].split("-")[0]) or refusals.GP3_DEFAULT_THRESHOLD_GIBIBYTES
    )
    striped = fields["AllocatedStorage"] >= threshold and not fields["Engine"].startswith("sqlserver")
    return {"Iops": 12000, "StorageThroughput": 500} if striped else {"Iops": 3000, "StorageThroughput": 125}


def filtered(found: list[R], filters: list[Fields], values: dict[str, Callable[[Any], set[Any]]]) -> list[R]:
    """Filters of a describe call: every filter must match one of its values."""
    for one in filters:
        if one["Name"] not in values:
            raise ServiceError("InvalidParameterValue", f"Unrecognized filter name: {one['Name']}")
        found = [record for record in found if values[one["Name"]](record) & set(one["Values"])]
    return found
