"""The RDS operations on instances and snapshots, in place of moto's.

moto parses the requests and serializes the results by botocore's model; whatever is not here
(parameter, option and subnet groups, clusters, proxies, …) stays moto's. Error codes are the model's.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import moto.rds.urls
from moto.core.responses import ActionResult, EmptyResult
from moto.core.utils import get_service_model

from . import calls, lifecycle, refusals, restore, settings
from .blue_green import BlueGreenRequests
from .records import Change, ServiceError, Snapshot, checked_count, checked_tags, merged_tags, new_resource_id, utc_now
from .requests import SNAPSHOT_STATUSES, filtered, require, require_no_switchover

if TYPE_CHECKING:
    from .cloud import Cloud
    from .records import Fields, Instance

# A changed instance must be available; these two also accept changes (RDS User Guide, "DB instance status").
MODIFY_STATUSES = {"available", "storage-optimization", "storage-full"}
# Applied at once, whatever ApplyImmediately says (RDS User Guide, "Settings for DB instances").
APPLIED_AT_ONCE = {
    "AutoMinorVersionUpgrade",
    "BackupRetentionPeriod",
    "CACertificateIdentifier",
    "CopyTagsToSnapshot",
    "DatabaseInsightsMode",
    "DeletionProtection",
    "EnablePerformanceInsights",
    "MaxAllocatedStorage",
    "MonitoringInterval",
    "MonitoringRoleArn",
    "PerformanceInsightsKMSKeyId",
    "PerformanceInsightsRetentionPeriod",
    "PreferredBackupWindow",
    "PreferredMaintenanceWindow",
    "PromotionTier",
    "PubliclyAccessible",
    "ReplicaMode",
    "VpcSecurityGroupIds",
    "DBSecurityGroups",
    "EngineLifecycleSupport",
    "AwsBackupRecoveryPointArn",
    "DBParameterGroupName",
    "CloudwatchLogsExportConfiguration",
}
# Applied without ApplyImmediately too, but not before the reply: "as soon as possible" (API model).
APPLIED_SOON = {
    "MasterUserPassword",
    "ManageMasterUserPassword",
    "RotateMasterUserPassword",
    "MasterUserSecretKmsKeyId",
    "DBPortNumber",
}
# Names under which PendingModifiedValues shows a parameter, where they differ.
PENDING_NAMES = {"DBPortNumber": "Port", "EnableIAMDatabaseAuthentication": "IAMDatabaseAuthenticationEnabled"}


class LocalRds(BlueGreenRequests):
    """moto's RDS with our records of instances and snapshots."""

    # ---- instances

    def create_db_instance(self) -> ActionResult:
        given = self._given()
        with self.records.lock:
            identifier = self.records.new_instance_name(given["DBInstanceIdentifier"])
            engine = given["Engine"]
            version = given.get("EngineVersion") or settings.by_engine(settings.ENGINE_VERSIONS, engine)
            if version is None:
                raise ServiceError("InvalidParameterValue", f"Invalid DB engine: {engine}")
            resource_id = new_resource_id()
            fields = settings.new_instance_fields(engine, version, self.region, resource_id, self.default_network())
            fields |= {"EngineVersion": version, "StorageEncrypted": False, "StorageEncryptionType": "none"}
            if given.get("StorageEncrypted"):
                fields |= self._encryption(given.get("KmsKeyId", "alias/aws/rds"))
            managed = given.get("ManageMasterUserPassword")
            if not managed and len(given.get("MasterUserPassword", "")) < 8:
                raise ServiceError(
                    "InvalidParameterValue",
                    "The parameter MasterUserPassword is not a valid password because it is shorter than 8 characters.",
                )
            if managed and "MasterUserPassword" in given:
                raise ServiceError(
                    "InvalidParameterCombination",
                    "You can't specify both ManageMasterUserPassword and MasterUserPassword.",
                )
            instance = self._new_instance(identifier, resource_id, fields, given)
            instance.master_password = given.get("MasterUserPassword")
        lifecycle.lead(self.cloud, instance, lifecycle.create_instance)
        return self._one(instance)

    def restore_db_instance_from_db_snapshot(self) -> ActionResult:
        given = self._given()
        with self.records.lock:
            identifier = self.records.new_instance_name(given["DBInstanceIdentifier"])
            snapshot = self.records.snapshot(given["DBSnapshotIdentifier"])
            if snapshot.status != "available":
                raise ServiceError(
                    "InvalidDBSnapshotState",
                    f"Cannot restore from the snapshot {snapshot.identifier} because it is in the {snapshot.status} "
                    "state.",
                )
            if snapshot.fields.get("KmsKeyId"):
                self._key_arn(snapshot.fields["KmsKeyId"])
            source = snapshot.source_fields | {
                "StorageEncrypted": snapshot.fields["Encrypted"],
                "StorageEncryptionType": snapshot.fields["StorageEncryptionType"],
                "KmsKeyId": snapshot.fields.get("KmsKeyId"),
            }
            engine = given.get("Engine") or source["Engine"]
            refusals.check_restore(self.cloud, given, source, engine)
            resource_id = new_resource_id()
            fields = restore.restored_fields(source, self.region, resource_id, self.default_network())
            is_past_support = (
                f"{engine} {settings.major_version(engine, source['EngineVersion'])}" in self.cloud.majors_past_support
            )
            if is_past_support and given.get("EngineLifecycleSupport") == "open-source-rds-extended-support-disabled":
                # "RDS automatically upgrades your restored DB instance to a higher engine version" (API model).
                fields["EngineVersion"] = settings.by_engine(settings.ENGINE_VERSIONS, engine)
            instance = self._new_instance(
                identifier, resource_id, fields, given, source_port=snapshot.fields.get("Port")
            )
            # Given: only those. None: those of the snapshot.
            if "Tags" not in given:
                instance.fields["TagList"] = list(snapshot.tags)
            # A restored instance can report a given parameter group as not yet applied.
            if "DBParameterGroupName" in given:
                instance.fields["DBParameterGroups"][0]["ParameterApplyStatus"] = "pending-reboot"
            instance.master_password = snapshot.source_fields.get("master_password")
            instance.has_server = snapshot.has_server
        lifecycle.lead(self.cloud, instance, lifecycle.restore_instance, snapshot)
        return self._one(instance)

    def describe_db_instances(self) -> ActionResult:
        given = self._given()
        with self.records.lock:
            if "DBInstanceIdentifier" in given:
                found = [self.records.instance(given["DBInstanceIdentifier"])]
            else:
                found = [instance for instance in self.records.instances.values() if not instance.hidden]
            found = filtered(
                found,
                given.get("Filters", []),
                {
                    "db-instance-id": lambda instance: {instance.identifier, instance.arn},
                    "dbi-resource-id": lambda instance: {instance.fields["DbiResourceId"]},
                    "db-cluster-id": lambda instance: {instance.fields.get("DBClusterIdentifier")},
                    "domain": lambda instance: {
                        domain["Domain"] for domain in instance.fields.get("DomainMemberships", [])
                    },
                    "engine": lambda instance: {instance.fields["Engine"]},
                },
            )
            return self._page("DBInstances", found)

    def modify_db_instance(self) -> ActionResult:
        given = self._given()
        with self.records.lock:
            instance = self.records.instance(given.pop("DBInstanceIdentifier"))
            require(instance, MODIFY_STATUSES)
            if self.cloud.clock.now() < instance.monitored_at + self.cloud.durations["monitoring_settles"]:
                raise ServiceError(
                    "InvalidDBInstanceState", f"Instance {instance.identifier} is configuring its monitoring."
                )  # [A10]
            at_once = given.pop("ApplyImmediately", False)
            new_identifier = given.pop("NewDBInstanceIdentifier", None)
            if new_identifier:
                new_identifier = self.records.new_instance_name(new_identifier, "NewDBInstanceIdentifier")
            refusals.check_modify(given, instance.fields)
            refusals.check_storage(
                {
                    "StorageType": instance.fields.get("StorageType"),
                    "AllocatedStorage": instance.fields["AllocatedStorage"],
                }
                | given,
                instance.fields["Engine"],
            )
            refusals.check_backups(
                instance.fields | ({"SecondaryAvailabilityZone": None} if given.get("MultiAZ") is False else {}) | given
            )
            refusals.check_certificate_authority(given)
            if given.get("EnablePerformanceInsights") or given.get("MonitoringInterval"):
                instance.monitored_at = self.cloud.clock.now()
            changed_now = _applied_at_once(given, instance.fields)
            fields = self._fields(changed_now, instance.fields)
            # A secret and its key are one change, and so is what tells of a domain.
            key = {name: value for name, value in given.items() if name == "MasterUserSecretKmsKeyId"}
            domain = {name: value for name, value in given.items() if name in settings.DOMAIN_PARAMETERS}
            later = {
                name: Change(
                    self._fields({name: value} | (domain if name in domain else key), instance.fields),
                    _shown_as_pending(name, value),
                    name,
                    value,
                )
                for name, value in given.items()
                if name not in changed_now
            }
            instance.fields |= fields
            instance.pending |= later
            if new_identifier:
                instance.pending["NewDBInstanceIdentifier"] = Change(
                    {}, {"DBInstanceIdentifier": new_identifier}, "NewDBInstanceIdentifier", new_identifier
                )
            shown = self._one(instance)
            moving = set(instance.pending) if at_once else APPLIED_SOON & set(instance.pending)
            instance.applying |= {name: instance.pending.pop(name) for name in moving}
            if "NewDBInstanceIdentifier" in instance.applying:
                self.rename(instance, instance.applying.pop("NewDBInstanceIdentifier").value)
            elif instance.applying or changed_now:
                lifecycle.lead(self.cloud, instance, lifecycle.modify_instance)
        return shown

    def rename(self, instance: Instance, new_identifier: str) -> None:
        """The old name answers NotFound at once; the ARN follows the name (RDS User Guide, "Renaming")."""
        old_identifier = instance.identifier
        self.name_instance(instance, new_identifier)
        instance.hidden = True
        lifecycle.lead(self.cloud, instance, lifecycle.rename_instance, old_identifier)

    def reboot_db_instance(self) -> ActionResult:
        return self._change_status("available", lifecycle.reboot_instance, "rebooting")

    def stop_db_instance(self) -> ActionResult:
        return self._change_status("available", lifecycle.stop_instance, "stopping")

    def start_db_instance(self) -> ActionResult:
        return self._change_status("stopped", lifecycle.start_instance, "starting")

    def delete_db_instance(self) -> ActionResult:
        given = self._given()
        with self.records.lock:
            instance = self.records.instance(given["DBInstanceIdentifier"])
            require_no_switchover(instance)
            if instance.status in self.cloud.undeletable_statuses:
                raise ServiceError(
                    "InvalidDBInstanceState", f"Instance {instance.identifier} is currently {instance.status}."
                )
            if instance.fields.get("DeletionProtection"):
                raise ServiceError(
                    "InvalidParameterCombination",
                    "Cannot delete protected DB Instance, please disable deletion protection and try again.",
                )
            skipped, name = given.get("SkipFinalSnapshot", False), given.get("FinalDBSnapshotIdentifier")
            if skipped == bool(name):
                raise ServiceError(
                    "InvalidParameterCombination",
                    "FinalDBSnapshotIdentifier is required unless SkipFinalSnapshot is specified, and not allowed with "
                    "it.",
                )
            final = None
            if name:
                require(instance, SNAPSHOT_STATUSES)
                final = self.new_snapshot(name, instance, [])
                lifecycle.lead(self.cloud, final, lifecycle.create_snapshot, instance)
            instance.status = "deleting"
        lifecycle.lead(self.cloud, instance, lifecycle.delete_instance, final)
        return self._one(instance)

    def add_role_to_db_instance(self) -> ActionResult:
        given = self._given()
        with self.records.lock:
            instance = self.records.instance(given["DBInstanceIdentifier"])
            require(instance, MODIFY_STATUSES)
            roles = instance.fields.setdefault("AssociatedRoles", [])
            if any(
                role["RoleArn"] == given["RoleArn"] and role["FeatureName"] == given["FeatureName"] for role in roles
            ):
                raise ServiceError(
                    "DBInstanceRoleAlreadyExists",
                    f"Role ARN {given['RoleArn']} already exists for DB Instance {instance.identifier}.",
                )
            roles.append({"RoleArn": given["RoleArn"], "FeatureName": given["FeatureName"], "Status": "ACTIVE"})
        return EmptyResult()

    def remove_role_from_db_instance(self) -> ActionResult:
        given = self._given()
        with self.records.lock:
            instance = self.records.instance(given["DBInstanceIdentifier"])
            require(instance, MODIFY_STATUSES)
            roles = instance.fields.get("AssociatedRoles", [])
            kept = [
                role
                for role in roles
                if (role["RoleArn"], role["FeatureName"]) != (given["RoleArn"], given["FeatureName"])
            ]
            if kept == roles:
                raise ServiceError(
                    "DBInstanceRoleNotFound",
                    f"Role ARN {given['RoleArn']} cannot be found for DB Instance {instance.identifier}.",
                )
            instance.fields["AssociatedRoles"] = kept
        return EmptyResult()

    # ---- snapshots

    def create_db_snapshot(self) -> ActionResult:
        given = self._given()
        with self.records.lock:
            instance = self.records.instance(given["DBInstanceIdentifier"])
            snapshot = self.new_snapshot(given["DBSnapshotIdentifier"], instance, given.get("Tags", []))
            lifecycle.lead(self.cloud, instance, lifecycle.back_up_instance)
            instance.status = "backing-up"
        lifecycle.lead(self.cloud, snapshot, lifecycle.create_snapshot, instance)
        return self._one(snapshot)

    def copy_db_snapshot(self) -> ActionResult:
        given = self._given()
        with self.records.lock:
            source = self.records.snapshot(given["SourceDBSnapshotIdentifier"])
            identifier = self.records.new_snapshot_name(
                given["TargetDBSnapshotIdentifier"], "TargetDBSnapshotIdentifier"
            )
            if source.status != "available":
                raise ServiceError(
                    "InvalidDBSnapshotState",
                    f"Cannot copy the snapshot {source.identifier} because it is in the {source.status} state.",
                )
            self.records.check_snapshot_quota()
            self.records.check_copies(self.cloud.copies_at_a_time)
            encryption = {}
            if key := given.get("KmsKeyId") or source.fields.get("KmsKeyId"):
                encryption = {"Encrypted": True, "StorageEncryptionType": "sse-kms", "KmsKeyId": self._key_arn(key)}
            # "tags are not copied unless CopyTags" (API model).
            checked_tags(given.get("Tags", []))
            tags = merged_tags(source.tags if given.get("CopyTags") else [], given.get("Tags", []))
            fields = (
                source.fields
                | encryption
                | {
                    "DBSnapshotIdentifier": identifier,
                    "DBSnapshotArn": self.arn_of("snapshot", identifier),
                    "SourceDBSnapshotIdentifier": source.arn,
                    "SourceRegion": self.region,
                    "SnapshotType": "manual",
                    "SnapshotCreateTime": utc_now(),
                    "Status": "creating",
                    "PercentProgress": None,
                    "OptionGroupName": given.get("OptionGroupName", source.fields.get("OptionGroupName")),
                    "TagList": checked_count(tags),
                }
            )
            snapshot = self._add_snapshot(Snapshot(fields, source.source_fields), "copy", source)
            snapshot.copied_from = source
        lifecycle.lead(self.cloud, snapshot, lifecycle.copy_snapshot, source)
        return self._one(snapshot)

    def describe_db_snapshots(self) -> ActionResult:
        given = self._given()
        with self.records.lock:
            if "DBSnapshotIdentifier" in given:
                found = [self.records.snapshot(given["DBSnapshotIdentifier"])]
            else:
                found = list(self.records.snapshots.values())
            for parameter, field in (
                ("DBInstanceIdentifier", "DBInstanceIdentifier"),
                ("SnapshotType", "SnapshotType"),
                ("DbiResourceId", "DbiResourceId"),
            ):
                if parameter in given:
                    # Types and instance names are lower-case; a DbiResourceId is not.
                    wanted = given[parameter] if parameter == "DbiResourceId" else given[parameter].lower()
                    found = [snapshot for snapshot in found if snapshot.fields[field] == wanted]
            found = filtered(
                found,
                given.get("Filters", []),
                {
                    "db-snapshot-id": lambda snapshot: {snapshot.identifier, snapshot.arn},
                    "db-instance-id": lambda snapshot: {snapshot.fields["DBInstanceIdentifier"]},
                    "dbi-resource-id": lambda snapshot: {snapshot.fields["DbiResourceId"]},
                    "snapshot-type": lambda snapshot: {snapshot.fields["SnapshotType"]},
                    "engine": lambda snapshot: {snapshot.fields["Engine"]},
                },
            )
            return self._page("DBSnapshots", found)

    def delete_db_snapshot(self) -> ActionResult:
        given = self._given()
        with self.records.lock:
            snapshot = self.records.snapshot(given["DBSnapshotIdentifier"])
            # "must be in the available state to be deleted" (API model); a failed one can be deleted too.
            if snapshot.status not in ("available", "failed"):
                raise ServiceError(
                    "InvalidDBSnapshotState",
                    f"Cannot delete the snapshot {snapshot.identifier} because it is in the {snapshot.status} state.",
                )
            # "If the snapshot is being copied, the copy operation is terminated" (API model).
            ended = []
            for copy in self.records.snapshots.values():
                if copy.copied_from is snapshot and copy.status == "creating":
                    lifecycle.halt(self.cloud, copy)
                    ended.append(copy)
            for copy in ended:
                copy.status = "failed"
                if self.cloud.copy_of_deleted_source == "gone":
                    self.cloud.discard(copy)
            shown = self._one(snapshot, Status="deleted")
            self.cloud.discard(snapshot)
        return shown

    # ---- tags

    def add_tags_to_resource(self) -> ActionResult:
        given = self._given()
        with self.records.lock:
            if record := self.records.by_arn(given["ResourceName"]):
                checked_tags(given["Tags"])
                record.fields["TagList"] = checked_count(merged_tags(record.tags, given["Tags"]))
                return EmptyResult()
        return super().add_tags_to_resource()

    def remove_tags_from_resource(self) -> ActionResult:
        given = self._given()
        with self.records.lock:
            if record := self.records.by_arn(given["ResourceName"]):
                record.fields["TagList"] = [tag for tag in record.tags if tag["Key"] not in given["TagKeys"]]
                return EmptyResult()
        return super().remove_tags_from_resource()

    def list_tags_for_resource(self) -> ActionResult:
        given = self._given()
        with self.records.lock:
            if record := self.records.by_arn(given["ResourceName"]):
                return ActionResult({"TagList": record.tags})
        return super().list_tags_for_resource()

    # ---- what else Plan asks, and moto does not know

    def describe_account_attributes(self) -> ActionResult:
        with self.records.lock:
            used = self.records.used()
        return ActionResult(
            {
                "AccountQuotas": [
                    {"AccountQuotaName": name, "Used": used[name], "Max": most}
                    for name, most in self.records.quotas.items()
                ]
            }
        )

    def describe_db_proxy_targets(self) -> ActionResult:
        return self._of_proxy(super().describe_db_proxy_targets)

    def describe_db_proxy_target_groups(self) -> ActionResult:
        return self._of_proxy(super().describe_db_proxy_target_groups)

    def _of_proxy(self, ask_moto: Callable[[], ActionResult]) -> ActionResult:
        # moto crashes where there is no such proxy.
        if self._given()["DBProxyName"] not in self.backend.db_proxies:
            raise ServiceError("DBProxyNotFoundFault", f"DBProxy {self._given()['DBProxyName']} not found.")
        return ask_moto()

    def describe_db_parameters(self) -> ActionResult:
        name = self._given()["DBParameterGroupName"]
        calls.touch(self.arn_of("pg", name))
        # Nobody can change a default group (RDS User Guide, "Overview of parameter groups"), and of the others moto
        # knows what was set: both are what Source=user asks for.
        return ActionResult({"Parameters": []}) if name.startswith("default.") else super().describe_db_parameters()

    def describe_valid_db_instance_modifications(self) -> ActionResult:
        with self.records.lock:
            instance = self.records.instance(self._given()["DBInstanceIdentifier"])
        size = instance.fields["AllocatedStorage"]
        storage = [
            {
                "StorageType": kind,
                "StorageSize": [{"From": size, "To": 65536, "Step": 1}],
                "SupportsStorageAutoscaling": True,
            }
            for kind in ("gp2", "gp3", "io1", "io2")
        ]
        return ActionResult(
            {
                "ValidDBInstanceModificationsMessage": {
                    "Storage": storage,
                    "ValidProcessorFeatures": [],
                    "SupportsDedicatedLogVolume": True,
                }
            }
        )

    def describe_certificates(self) -> ActionResult:
        return ActionResult(
            {
                "Certificates": [
                    {
                        "CertificateIdentifier": name,
                        "CertificateType": "CA",
                        "ValidFrom": utc_now() - timedelta(365),
                        "ValidTill": utc_now() + timedelta(36500),
                    }
                    for name in refusals.CERTIFICATE_AUTHORITIES
                ],
            }
        )

    def describe_db_engine_versions(self) -> ActionResult:
        """The one version that is asked for, and the default one where none is."""
        given = self._given()
        engine = given["Engine"]
        version = given.get("EngineVersion") or settings.by_engine(settings.ENGINE_VERSIONS, engine)
        is_retired = f"{engine} {version}" in self.cloud.retired_versions
        return ActionResult(
            {
                "DBEngineVersions": [
                    {
                        "Engine": engine,
                        "EngineVersion": version,
                        "MajorEngineVersion": settings.major_version(engine, version),
                        "Status": "deprecated" if is_retired else "available",
                        "ValidUpgradeTarget": [],
                    }
                ]
                if version and (given.get("IncludeAll") or not is_retired)
                else [],
            }
        )

    def describe_db_major_engine_versions(self) -> ActionResult:
        given = self._given()
        engine, major = given["Engine"], given["MajorEngineVersion"]
        is_past = f"{engine} {major}" in self.cloud.majors_past_support
        end = utc_now() + timedelta(-365 if is_past else 3650)
        return ActionResult(
            {
                "DBMajorEngineVersions": [
                    {
                        "Engine": engine,
                        "MajorEngineVersion": major,
                        "SupportedEngineLifecycles": [
                            {
                                "LifecycleSupportName": "open-source-rds-standard-support",
                                "LifecycleSupportStartDate": end - timedelta(1825),
                                "LifecycleSupportEndDate": end,
                            },
                            {
                                "LifecycleSupportName": "open-source-rds-extended-support",
                                "LifecycleSupportStartDate": end,
                                "LifecycleSupportEndDate": end + timedelta(1095),
                            },
                        ],
                    }
                ],
            }
        )

    def describe_orderable_db_instance_options(self) -> ActionResult:
        given = self._given()
        engine = given["Engine"]
        version = given.get("EngineVersion") or settings.by_engine(settings.ENGINE_VERSIONS, engine)
        if f"{engine} {version}" in self.cloud.retired_versions:
            raise refusals.combination(f"Cannot find version {version} for {engine}")
        classes = [one for one in refusals.ORDERABLE_CLASSES if given.get("DBInstanceClass", one) == one]
        return ActionResult(
            {
                "OrderableDBInstanceOptions": [
                    {
                        "Engine": engine,
                        "EngineVersion": version,
                        "DBInstanceClass": instance_class,
                        "LicenseModel": settings.by_engine(settings.ENGINE_LICENSES, engine)
                        or "general-public-license",
                        "StorageType": storage_type,
                        "AvailabilityZones": [{"Name": self.region + letter} for letter in "abc"],
                        "MultiAZCapable": True,
                        "Vpc": True,
                        "SupportsStorageEncryption": _can_encrypt(engine, instance_class),
                        "SupportsIAMDatabaseAuthentication": engine.startswith(("postgres", "mysql", "mariadb")),
                    }
                    for instance_class in classes
                    if version
                    for storage_type in refusals.ORDERABLE_STORAGE_TYPES
                ],
            }
        )


def install(cloud: Cloud) -> None:
    """Puts these operations in the place of moto's."""
    LocalRds.cloud = cloud
    moto.rds.urls.url_paths = {"{0}/$": LocalRds.dispatch}


def outside_request(cloud: Cloud) -> LocalRds:
    """The operations for the control API, which comes without a signature to tell the Region and account."""
    operations = LocalRds()
    operations.region, operations.current_account, operations.partition = cloud.region, cloud.account_id, "aws"
    return operations


def _applied_at_once(given: Fields, current: Fields) -> Fields:
    """The settings of a ModifyDBInstance request that do not wait for ApplyImmediately."""
    at_once = {name: value for name, value in given.items() if name in APPLIED_AT_ONCE}
    # Switching automated backups on or off waits, other changes of the retention do not (RDS User Guide, "Settings").
    if "BackupRetentionPeriod" in at_once and bool(at_once["BackupRetentionPeriod"]) != bool(
        current.get("BackupRetentionPeriod")
    ):
        del at_once["BackupRetentionPeriod"]
    return at_once


def _shown_as_pending(name: str, value: Any) -> Fields:
    shown = PENDING_NAMES.get(name, name)
    known = get_service_model("rds").shape_for("PendingModifiedValues").members
    return {shown: "****" if name == "MasterUserPassword" else value} if shown in known else {}


def _can_encrypt(engine: str, instance_class: str) -> bool:
    """RDS User Guide 2023, "Limitations of Amazon RDS encrypted DB instances"."""
    return (
        engine != "sqlserver-ex"
        and not instance_class.startswith(("db.m1.", "db.m2."))
        and instance_class != "db.t2.micro"
    )
