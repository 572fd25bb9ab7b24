"""The RDS operations on instances and snapshots, in place of moto's.

moto parses the requests and serializes the results by botocore's model; whatever is not here
(parameter, option and subnet groups, clusters, proxies, …) stays moto's. Error codes are the model's.
"""

import moto.rds.urls
from moto.core.responses import ActionResult, EmptyResult, PaginatedResult
from moto.ec2.models import ec2_backends
from moto.kms.models import kms_backends
from moto.rds.exceptions import DBParameterGroupNotFoundError
from moto.rds.models import OptionGroup
from moto.rds.responses import RDSResponse

from . import calls, lifecycle, restore, settings
from .records import Change, Instance, ServiceError, Snapshot, checked_count, checked_tags, merged_tags, new_resource_id, utc_now

# CreateDBSnapshot: "the DB instance must be in the available or storage-optimization state" (RDS User Guide).
SNAPSHOT_STATUSES = {"available", "storage-optimization"}
# A changed instance must be available; these two also accept changes (RDS User Guide, "DB instance status").
MODIFY_STATUSES = {"available", "storage-optimization", "storage-full"}
# Applied at once, whatever ApplyImmediately says (RDS User Guide, "Settings for DB instances").
APPLIED_AT_ONCE = {
    "AutoMinorVersionUpgrade", "BackupRetentionPeriod", "CACertificateIdentifier", "CopyTagsToSnapshot", "DatabaseInsightsMode",
    "DeletionProtection", "EnablePerformanceInsights", "MaxAllocatedStorage", "MonitoringInterval", "MonitoringRoleArn",
    "PerformanceInsightsKMSKeyId", "PerformanceInsightsRetentionPeriod", "PreferredBackupWindow", "PreferredMaintenanceWindow",
    "PromotionTier", "PubliclyAccessible", "ReplicaMode", "VpcSecurityGroupIds", "DBSecurityGroups", "EngineLifecycleSupport",
    "AwsBackupRecoveryPointArn", "DBParameterGroupName", "CloudwatchLogsExportConfiguration",
}
# Applied without ApplyImmediately too, but not before the reply: "as soon as possible" (API model).
APPLIED_SOON = {"MasterUserPassword", "DBPortNumber"}
# "can't specify IOPS or storage throughput for engine … less than 400" (RDS User Guide, "gp3 storage").
GP3_THRESHOLD_GIBIBYTES = {"oracle": 200, "sqlserver": 0}
GP3_DEFAULT_THRESHOLD_GIBIBYTES = 400


class LocalRds(RDSResponse):
    """moto's RDS with our records of instances and snapshots."""

    cloud = None

    def call_action(self):
        operation = self._get_action()
        if operation in self.cloud.replies:
            return self.serialized(ActionResult(self.cloud.replies[operation]))
        try:
            return super().call_action()
        except NotImplementedError:
            return self.serialized(ActionResult(ServiceError("InvalidAction", f"The local cloud does not have {operation}: give it a result with PUT /local/replies/{operation}.")))

    # ---- instances

    def create_db_instance(self):
        given = self._given()
        with self.records.lock:
            identifier = self.records.new_instance_name(given["DBInstanceIdentifier"])
            engine = given["Engine"]
            version = given.get("EngineVersion") or settings.by_engine(settings.ENGINE_VERSIONS, engine)
            if version is None:
                raise ServiceError("InvalidParameterValue", f"Invalid DB engine: {engine}")
            resource_id = new_resource_id()
            fields = settings.new_instance_fields(engine, version, self.region, resource_id, self._default_network())
            fields |= {"EngineVersion": version, "StorageEncrypted": False, "StorageEncryptionType": "none"}
            if given.get("StorageEncrypted"):
                fields |= self._encryption(given.get("KmsKeyId", "alias/aws/rds"))
            managed = given.get("ManageMasterUserPassword")
            if not managed and len(given.get("MasterUserPassword", "")) < 8:
                raise ServiceError("InvalidParameterValue", "The parameter MasterUserPassword is not a valid password because it is shorter than 8 characters.")
            if managed and "MasterUserPassword" in given:
                raise ServiceError("InvalidParameterCombination", "You can't specify both ManageMasterUserPassword and MasterUserPassword.")
            instance = self._new_instance(identifier, resource_id, fields, given)
            instance.master_password = given.get("MasterUserPassword") or "managed-" + resource_id
        lifecycle.lead(self.cloud, instance, lifecycle.create_instance)
        return self._one(instance)

    def restore_db_instance_from_db_snapshot(self):
        given = self._given()
        with self.records.lock:
            identifier = self.records.new_instance_name(given["DBInstanceIdentifier"])
            snapshot = self.records.snapshot(given["DBSnapshotIdentifier"])
            if snapshot.status != "available":
                raise ServiceError("InvalidDBSnapshotState", f"Cannot restore from the snapshot {snapshot.identifier} because it is in the {snapshot.status} state.")
            if snapshot.fields.get("KmsKeyId"):
                self._key_arn(snapshot.fields["KmsKeyId"])
            source = snapshot.source_fields | {
                "StorageEncrypted": snapshot.fields["Encrypted"],
                "StorageEncryptionType": snapshot.fields["StorageEncryptionType"],
                "KmsKeyId": snapshot.fields.get("KmsKeyId"),
            }
            engine = given.get("Engine") or source["Engine"]
            if "DBName" in given and not engine.startswith(("oracle", "sqlserver")):
                raise ServiceError("InvalidParameterCombination", f"DBName can't be specified for the engine {engine}.")
            if given.get("AllocatedStorage", source["AllocatedStorage"]) < source["AllocatedStorage"]:
                raise ServiceError("InvalidParameterValue", "The allocated storage can't be less than that of the snapshot.")
            resource_id = new_resource_id()
            fields = restore.restored_fields(source, self.region, resource_id, self._default_network())
            # "Default: io1 if the Iops parameter is specified" (API model).
            if "Iops" in given and "StorageType" not in given:
                fields["StorageType"] = "io1"
            instance = self._new_instance(identifier, resource_id, fields, given, source_port=snapshot.fields.get("Port"))
            # Given: only those. None: those of the snapshot.
            if "Tags" not in given:
                instance.fields["TagList"] = list(snapshot.tags)
            # A restored instance can report a given parameter group as not yet applied.
            if "DBParameterGroupName" in given:
                instance.fields["DBParameterGroups"][0]["ParameterApplyStatus"] = "pending-reboot"
            instance.master_password = snapshot.source_fields.get("master_password")
        lifecycle.lead(self.cloud, instance, lifecycle.restore_instance, snapshot)
        return self._one(instance)

    def describe_db_instances(self):
        given = self._given()
        with self.records.lock:
            if "DBInstanceIdentifier" in given:
                found = [self.records.instance(given["DBInstanceIdentifier"])]
            else:
                found = [instance for instance in self.records.instances.values() if not instance.hidden]
            found = _filtered(found, given.get("Filters", []), {
                "db-instance-id": lambda instance: {instance.identifier, instance.arn},
                "dbi-resource-id": lambda instance: {instance.fields["DbiResourceId"]},
                "db-cluster-id": lambda instance: {instance.fields.get("DBClusterIdentifier")},
                "domain": lambda instance: {domain["Domain"] for domain in instance.fields.get("DomainMemberships", [])},
                "engine": lambda instance: {instance.fields["Engine"]},
            })
            return self._page("DBInstances", found)

    def modify_db_instance(self):
        given = self._given()
        with self.records.lock:
            instance = self.records.instance(given.pop("DBInstanceIdentifier"))
            _require(instance, MODIFY_STATUSES)
            at_once = given.pop("ApplyImmediately", False)
            new_identifier = given.pop("NewDBInstanceIdentifier", None)
            if new_identifier:
                new_identifier = self.records.new_instance_name(new_identifier, "NewDBInstanceIdentifier")
            if given.get("AllocatedStorage", instance.fields["AllocatedStorage"]) < instance.fields["AllocatedStorage"]:
                raise ServiceError("InvalidParameterCombination", "The allocated storage can't be less than it is.")
            self._check_storage({"StorageType": instance.fields.get("StorageType"), "AllocatedStorage": instance.fields["AllocatedStorage"]} | given, instance.fields["Engine"])
            changed_now = _applied_at_once(given, instance.fields)
            fields = self._fields(changed_now, instance.fields)
            later = {name: Change(self._fields({name: value}, instance.fields), _shown_as_pending(name, value), name, value)
                     for name, value in given.items() if name not in changed_now}
            instance.fields |= fields
            instance.pending |= later
            if new_identifier:
                instance.pending["NewDBInstanceIdentifier"] = Change({}, {"DBInstanceIdentifier": new_identifier}, "NewDBInstanceIdentifier", new_identifier)
            shown = self._one(instance)
            moving = set(instance.pending) if at_once else APPLIED_SOON & set(instance.pending)
            instance.applying |= {name: instance.pending.pop(name) for name in moving}
            if "NewDBInstanceIdentifier" in instance.applying:
                self._rename(instance, instance.applying.pop("NewDBInstanceIdentifier").value)
            elif instance.applying or changed_now:
                lifecycle.lead(self.cloud, instance, lifecycle.modify_instance)
        return shown

    def _rename(self, instance, new_identifier):
        """The old name answers NotFound at once; the ARN follows the name (RDS User Guide, "Renaming")."""
        old_identifier = instance.identifier
        self.records.remove(instance)
        instance.fields["DBInstanceIdentifier"] = new_identifier
        instance.fields["DBInstanceArn"] = self._arn("db", new_identifier)
        instance.fields["Endpoint"] = self.cloud.endpoints.describe(new_identifier, instance.port)
        instance.hidden = True
        self.records.add(instance)
        lifecycle.lead(self.cloud, instance, lifecycle.rename_instance, old_identifier)

    def reboot_db_instance(self):
        return self._change_status("available", lifecycle.reboot_instance, "rebooting")

    def stop_db_instance(self):
        return self._change_status("available", lifecycle.stop_instance, "stopping")

    def start_db_instance(self):
        return self._change_status("stopped", lifecycle.start_instance, "starting")

    def delete_db_instance(self):
        given = self._given()
        with self.records.lock:
            instance = self.records.instance(given["DBInstanceIdentifier"])
            if instance.status in self.cloud.undeletable_statuses:
                raise ServiceError("InvalidDBInstanceState", f"Instance {instance.identifier} is currently {instance.status}.")
            if instance.fields.get("DeletionProtection"):
                raise ServiceError("InvalidParameterCombination", "Cannot delete protected DB Instance, please disable deletion protection and try again.")
            skipped, name = given.get("SkipFinalSnapshot", False), given.get("FinalDBSnapshotIdentifier")
            if skipped == bool(name):
                raise ServiceError("InvalidParameterCombination", "FinalDBSnapshotIdentifier is required unless SkipFinalSnapshot is specified, and not allowed with it.")
            final = None
            if name:
                _require(instance, SNAPSHOT_STATUSES)
                final = self._new_snapshot(name, instance, [])
                lifecycle.lead(self.cloud, final, lifecycle.create_snapshot, instance)
            instance.status = "deleting"
        lifecycle.lead(self.cloud, instance, lifecycle.delete_instance, final)
        return self._one(instance)

    def add_role_to_db_instance(self):
        given = self._given()
        with self.records.lock:
            instance = self.records.instance(given["DBInstanceIdentifier"])
            _require(instance, MODIFY_STATUSES)
            roles = instance.fields.setdefault("AssociatedRoles", [])
            if any(role["RoleArn"] == given["RoleArn"] and role["FeatureName"] == given["FeatureName"] for role in roles):
                raise ServiceError("DBInstanceRoleAlreadyExists", f"Role ARN {given['RoleArn']} already exists for DB Instance {instance.identifier}.")
            roles.append({"RoleArn": given["RoleArn"], "FeatureName": given["FeatureName"], "Status": "ACTIVE"})
        return EmptyResult()

    def remove_role_from_db_instance(self):
        given = self._given()
        with self.records.lock:
            instance = self.records.instance(given["DBInstanceIdentifier"])
            _require(instance, MODIFY_STATUSES)
            roles = instance.fields.get("AssociatedRoles", [])
            kept = [role for role in roles if (role["RoleArn"], role["FeatureName"]) != (given["RoleArn"], given["FeatureName"])]
            if kept == roles:
                raise ServiceError("DBInstanceRoleNotFound", f"Role ARN {given['RoleArn']} cannot be found for DB Instance {instance.identifier}.")
            instance.fields["AssociatedRoles"] = kept
        return EmptyResult()

    # ---- snapshots

    def create_db_snapshot(self):
        given = self._given()
        with self.records.lock:
            instance = self.records.instance(given["DBInstanceIdentifier"])
            snapshot = self._new_snapshot(given["DBSnapshotIdentifier"], instance, given.get("Tags", []))
            lifecycle.lead(self.cloud, instance, lifecycle.back_up_instance)
            instance.status = "backing-up"
        lifecycle.lead(self.cloud, snapshot, lifecycle.create_snapshot, instance)
        return self._one(snapshot)

    def copy_db_snapshot(self):
        given = self._given()
        with self.records.lock:
            source = self.records.snapshot(given["SourceDBSnapshotIdentifier"])
            identifier = self.records.new_snapshot_name(given["TargetDBSnapshotIdentifier"], "TargetDBSnapshotIdentifier")
            if source.status != "available":
                raise ServiceError("InvalidDBSnapshotState", f"Cannot copy the snapshot {source.identifier} because it is in the {source.status} state.")
            self.records.check_snapshot_quota()
            encryption = {}
            if key := given.get("KmsKeyId") or source.fields.get("KmsKeyId"):
                encryption = {"Encrypted": True, "StorageEncryptionType": "sse-kms", "KmsKeyId": self._key_arn(key)}
            # "tags are not copied unless CopyTags" (API model).
            checked_tags(given.get("Tags", []))
            tags = merged_tags(source.tags if given.get("CopyTags") else [], given.get("Tags", []))
            fields = source.fields | encryption | {
                "DBSnapshotIdentifier": identifier,
                "DBSnapshotArn": self._arn("snapshot", identifier),
                "SourceDBSnapshotIdentifier": source.arn,
                "SourceRegion": self.region,
                "SnapshotType": "manual",
                "SnapshotCreateTime": utc_now(),
                "Status": "creating",
                "PercentProgress": None,
                "OptionGroupName": given.get("OptionGroupName", source.fields.get("OptionGroupName")),
                "TagList": checked_count(tags),
            }
            snapshot = self._add_snapshot(Snapshot(fields, source.source_fields), "copy")
            snapshot.copied_from = source
        lifecycle.lead(self.cloud, snapshot, lifecycle.copy_snapshot, source)
        return self._one(snapshot)

    def describe_db_snapshots(self):
        given = self._given()
        with self.records.lock:
            if "DBSnapshotIdentifier" in given:
                found = [self.records.snapshot(given["DBSnapshotIdentifier"])]
            else:
                found = list(self.records.snapshots.values())
            for parameter, field in (("DBInstanceIdentifier", "DBInstanceIdentifier"), ("SnapshotType", "SnapshotType"), ("DbiResourceId", "DbiResourceId")):
                if parameter in given:
                    found = [snapshot for snapshot in found if snapshot.fields[field] == given[parameter]]
            found = _filtered(found, given.get("Filters", []), {
                "db-snapshot-id": lambda snapshot: {snapshot.identifier, snapshot.arn},
                "db-instance-id": lambda snapshot: {snapshot.fields["DBInstanceIdentifier"]},
                "dbi-resource-id": lambda snapshot: {snapshot.fields["DbiResourceId"]},
                "snapshot-type": lambda snapshot: {snapshot.fields["SnapshotType"]},
                "engine": lambda snapshot: {snapshot.fields["Engine"]},
            })
            return self._page("DBSnapshots", found)

    def delete_db_snapshot(self):
        given = self._given()
        with self.records.lock:
            snapshot = self.records.snapshot(given["DBSnapshotIdentifier"])
            # "must be in the available state to be deleted" (API model); a failed one can be deleted too.
            if snapshot.status not in ("available", "failed"):
                raise ServiceError("InvalidDBSnapshotState", f"Cannot delete the snapshot {snapshot.identifier} because it is in the {snapshot.status} state.")
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

    def add_tags_to_resource(self):
        given = self._given()
        with self.records.lock:
            if record := self.records.by_arn(given["ResourceName"]):
                checked_tags(given["Tags"])
                record.fields["TagList"] = checked_count(merged_tags(record.tags, given["Tags"]))
                return EmptyResult()
        return super().add_tags_to_resource()

    def remove_tags_from_resource(self):
        given = self._given()
        with self.records.lock:
            if record := self.records.by_arn(given["ResourceName"]):
                record.fields["TagList"] = [tag for tag in record.tags if tag["Key"] not in given["TagKeys"]]
                return EmptyResult()
        return super().remove_tags_from_resource()

    def list_tags_for_resource(self):
        given = self._given()
        with self.records.lock:
            if record := self.records.by_arn(given["ResourceName"]):
                return ActionResult({"TagList": record.tags})
        return super().list_tags_for_resource()

    # ---- what else Plan asks, and moto does not know

    def describe_account_attributes(self):
        with self.records.lock:
            used = self.records.used()
        return ActionResult({"AccountQuotas": [{"AccountQuotaName": name, "Used": used[name], "Max": most} for name, most in self.records.quotas.items()]})

    def describe_pending_maintenance_actions(self):
        return ActionResult({"PendingMaintenanceActions": []})

    def describe_db_proxy_targets(self):
        return self._proxied("Targets", super().describe_db_proxy_targets)

    def describe_db_proxy_target_groups(self):
        return self._proxied("TargetGroups", super().describe_db_proxy_target_groups)

    def _proxied(self, name, ask_moto):
        if self._given()["DBProxyName"] not in self.backend.db_proxies:
            raise ServiceError("DBProxyNotFoundFault", f"DBProxy {self._given()['DBProxyName']} not found.")
        return ask_moto()

    def describe_valid_db_instance_modifications(self):
        with self.records.lock:
            instance = self.records.instance(self._given()["DBInstanceIdentifier"])
        size = instance.fields["AllocatedStorage"]
        storage = [{"StorageType": kind, "StorageSize": [{"From": size, "To": 65536, "Step": 1}], "SupportsStorageAutoscaling": True} for kind in ("gp2", "gp3", "io1", "io2")]
        return ActionResult({"ValidDBInstanceModificationsMessage": {"Storage": storage, "ValidProcessorFeatures": [], "SupportsDedicatedLogVolume": True}})

    def describe_orderable_db_instance_options(self):
        given = self._given()
        engine = given["Engine"]
        version = given.get("EngineVersion") or settings.by_engine(settings.ENGINE_VERSIONS, engine)
        classes = [one for one in ORDERABLE_CLASSES if given.get("DBInstanceClass", one) == one]
        return PaginatedResult({"OrderableDBInstanceOptions": [{
            "Engine": engine,
            "EngineVersion": version,
            "DBInstanceClass": instance_class,
            "LicenseModel": settings.by_engine(settings.ENGINE_LICENSES, engine) or "general-public-license",
            "StorageType": storage_type,
            "AvailabilityZones": [{"Name": self.region + letter} for letter in "abc"],
            "MultiAZCapable": True,
            "Vpc": True,
            "SupportsStorageEncryption": _can_encrypt(engine, instance_class),
            "SupportsIAMDatabaseAuthentication": engine.startswith(("postgres", "mysql", "mariadb")),
        } for instance_class in classes if version for storage_type in ("gp2", "gp3", "io1")]})

    # ---- the control API's side; see control.py

    def seed_instance(self, identifier, fields, port, master_password):
        """An instance with any fields, at once, as if it had been there long since."""
        with self.records.lock:
            identifier = self.records.new_instance_name(identifier)
            engine = fields.get("Engine", "postgres")
            version = fields.get("EngineVersion") or settings.by_engine(settings.ENGINE_VERSIONS, engine)
            resource_id = fields.get("DbiResourceId") or new_resource_id()
            self._make_groups(fields, engine, version)
            seeded = settings.new_instance_fields(engine, version, self.region, resource_id, self._default_network())
            seeded |= {"Engine": engine, "EngineVersion": version, "DBInstanceClass": "db.t3.micro", "MasterUsername": "master", "StorageEncrypted": False,
                       "StorageEncryptionType": "none", "DBInstanceIdentifier": identifier, "DBInstanceArn": self._arn("db", identifier),
                       "DbiResourceId": resource_id, "DBInstanceStatus": "available"} | fields
            instance = Instance(seeded | _provisioned(seeded))
            instance.port = port or fields.get("Endpoint", {}).get("Port") or settings.by_engine(settings.ENGINE_PORTS, engine)
            instance.master_password = master_password
            self.records.add(instance)
        self.cloud.storage_of(instance).create(instance)
        if "Endpoint" not in fields:
            self.cloud.open_endpoint(instance)
        return instance

    def seed_snapshot(self, identifier, fields):
        """A manual snapshot with any fields, at once, of an instance that is there."""
        with self.records.lock:
            instance = self.records.instance(fields["DBInstanceIdentifier"])
            snapshot = self._new_snapshot(identifier, instance, [])
            snapshot.fields |= {"Status": "available", "PercentProgress": 100, "SnapshotDatabaseTime": utc_now()} | fields
        self.cloud.storage_of(instance).snapshot(instance, snapshot)
        return snapshot

    def open_maintenance_window(self, instance):
        """Applies what ModifyDBInstance left for the window."""
        with self.records.lock:
            instance.applying |= instance.pending
            instance.pending = {}
            if "NewDBInstanceIdentifier" in instance.applying:
                self._rename(instance, instance.applying.pop("NewDBInstanceIdentifier").value)
            else:
                lifecycle.lead(self.cloud, instance, lifecycle.modify_instance)

    def _make_groups(self, fields, engine, version):
        """The parameter, option and subnet groups that a seeded instance names, in moto."""
        for group in fields.get("DBParameterGroups", []):
            name = group["DBParameterGroupName"]
            if not name.startswith("default.") and name not in self.backend.db_parameter_groups:
                family = settings.default_parameter_group(engine, version).removeprefix("default.")
                self.backend.create_db_parameter_group({"db_parameter_group_name": name, "db_parameter_group_family": family, "description": "seeded", "tags": []})
        for group in fields.get("OptionGroupMemberships", []):
            name = group["OptionGroupName"]
            if not name.startswith("default:") and name not in self.backend.option_groups:
                self.backend.option_groups[name] = OptionGroup(self.backend, name, engine, settings.major_version(engine, version), "seeded", [])
        name = fields.get("DBSubnetGroup", {}).get("DBSubnetGroupName", "default")
        if name != "default" and name not in self.backend.subnet_groups:
            subnets = ec2_backends[self.current_account][self.region].get_default_subnets()
            self.backend.create_subnet_group(name, "seeded", list(subnets.values()), [])

    # ---- what the operations share

    @property
    def records(self):
        return self.cloud.records

    def _given(self):
        """The request's parameters under the API's names."""
        return dict(self.params.original_dict())

    def _one(self, record, **overrides):
        name = "DBInstance" if isinstance(record, Instance) else "DBSnapshot"
        return ActionResult({name: lifecycle.describe(self.cloud, record) | overrides})

    def _page(self, name, found):
        found = sorted(found, key=lambda record: record.identifier)
        return PaginatedResult({name: [lifecycle.describe(self.cloud, record) for record in found]})

    def _arn(self, kind, identifier):
        return f"arn:{self.partition}:rds:{self.region}:{self.current_account}:{kind}:{identifier}"

    def _change_status(self, status, script, word):
        given = self._given()
        with self.records.lock:
            instance = self.records.instance(given["DBInstanceIdentifier"])
            _require(instance, {status})
            instance.status = word
            lifecycle.lead(self.cloud, instance, script)
            return self._one(instance)

    def _new_instance(self, identifier, resource_id, fields, given, source_port=None):
        """Adds a record in `creating`: `fields` with the request's own settings over them."""
        if given.get("MultiAZ") and "AvailabilityZone" in given:
            raise ServiceError("InvalidParameterCombination", "Requesting a specific availability zone is not valid for Multi-AZ instances.")
        self._check_storage({"AllocatedStorage": fields["AllocatedStorage"], "StorageType": fields["StorageType"]} | given, fields["Engine"] if "Engine" in fields else given["Engine"])
        fields |= self._fields(given, fields) | {
            "DBInstanceIdentifier": identifier,
            "DBInstanceArn": self._arn("db", identifier),
            "DbiResourceId": resource_id,
            "DBInstanceStatus": "creating",
            "TagList": checked_tags(given.get("Tags", [])),
        }
        self.records.check_instance_quota(fields["AllocatedStorage"])
        for group in fields["DBParameterGroups"]:
            group["ParameterApplyStatus"] = "in-sync"
        fields |= _provisioned(fields)
        if fields["MultiAZ"]:
            fields["SecondaryAvailabilityZone"] = settings.zone(self.region, resource_id, fields["AvailabilityZone"])
        instance = Instance(fields)
        instance.port = given.get("Port") or source_port or settings.by_engine(settings.ENGINE_PORTS, fields["Engine"]) or 5432
        self.records.add(instance)
        return instance

    def _new_snapshot(self, name, instance, tags):
        """Adds a manual snapshot of the instance, in `creating`."""
        identifier = self.records.new_snapshot_name(name)
        _require(instance, SNAPSHOT_STATUSES)
        self.records.check_snapshot_quota()
        checked_tags(tags)
        source = instance.fields
        inherited = instance.tags if source.get("CopyTagsToSnapshot") else []
        fields = {
            "DBSnapshotIdentifier": identifier,
            "DBSnapshotArn": self._arn("snapshot", identifier),
            "Status": "creating",
            "SnapshotType": "manual",
            "SnapshotTarget": "region",
            "SnapshotCreateTime": utc_now(),
            "OriginalSnapshotCreateTime": utc_now(),
            "Port": instance.port,
            "VpcId": source.get("DBSubnetGroup", {}).get("VpcId"),
            "OptionGroupName": next((group["OptionGroupName"] for group in source.get("OptionGroupMemberships", [])), None),
            "Encrypted": source.get("StorageEncrypted", False),
            "TagList": checked_count(merged_tags([tag for tag in inherited if not tag["Key"].startswith("aws:")], tags)),
        }
        fields |= {name: source[name] for name in SNAPSHOT_SHOWS if name in source}
        return self._add_snapshot(Snapshot(fields, source | {"master_password": instance.master_password}), "snapshot")

    def _add_snapshot(self, snapshot, duration):
        snapshot.progress_start, snapshot.progress_duration = self.cloud.clock.now(), duration
        self.records.add(snapshot)
        return snapshot

    def _fields(self, given, current):
        """The fields that the parameters set on an instance that is `current` so far."""
        fields = settings.fields_from(given)
        if "DBParameterGroupName" in given:
            name = given["DBParameterGroupName"]
            calls.touch(self._arn("pg", name))
            if not name.startswith("default.") and name not in self.backend.db_parameter_groups:
                raise DBParameterGroupNotFoundError(name)
            # The change needs a reboot to take effect (RDS User Guide, "Associating a parameter group").
            fields["DBParameterGroups"] = [{"DBParameterGroupName": name, "ParameterApplyStatus": "applying"}]
        if "OptionGroupName" in given:
            calls.touch(self._arn("og", given["OptionGroupName"]))
        if "OptionGroupName" in given and not given["OptionGroupName"].startswith("default:") and given["OptionGroupName"] not in self.backend.option_groups:
            raise ServiceError("OptionGroupNotFoundFault", f"Specified OptionGroupName: {given['OptionGroupName']} not found.")
        if "DBSubnetGroupName" in given:
            calls.touch(self._arn("subgrp", given["DBSubnetGroupName"]))
            fields |= self._network(given["DBSubnetGroupName"])
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
            secret = f"arn:{self.partition}:secretsmanager:{self.region}:{self.current_account}:secret:rds!{new_resource_id().lower()}"
            key = self._key_arn(given.get("MasterUserSecretKmsKeyId", "alias/aws/secretsmanager"))
            fields["MasterUserSecret"] = {"SecretArn": secret, "SecretStatus": "active", "KmsKeyId": key}
        elif given.get("ManageMasterUserPassword") is False:
            fields["MasterUserSecret"] = None
        if key := given.get("PerformanceInsightsKMSKeyId"):
            fields["PerformanceInsightsKMSKeyId"] = self._key_arn(key)
        return fields

    def _check_storage(self, given, engine):
        """What a storage type allows and demands (RDS User Guide, "Amazon RDS DB instance storage")."""
        kind = given.get("StorageType") or "gp3"
        provisions = {"Iops", "StorageThroughput"} & {name for name, value in given.items() if value}
        threshold = GP3_THRESHOLD_GIBIBYTES.get(engine.split("-")[0], GP3_DEFAULT_THRESHOLD_GIBIBYTES)
        if kind == "gp3" and provisions and given["AllocatedStorage"] < threshold:
            raise ServiceError("InvalidParameterCombination", f"You can't specify IOPS or storage throughput for engine {engine} and a storage size less than {threshold}.")
        if kind in ("gp2", "standard") and provisions:
            raise ServiceError("InvalidParameterCombination", f"You can't specify IOPS or storage throughput for storage type {kind}.")
        if kind == "io1" and "StorageThroughput" in provisions:
            raise ServiceError("InvalidParameterCombination", f"You can't specify storage throughput for storage type {kind}.")

    def _encryption(self, key):
        return {"StorageEncrypted": True, "StorageEncryptionType": "sse-kms", "KmsKeyId": self._key_arn(key)}

    def _key_arn(self, reference):
        """The ARN of a key that RDS can encrypt with."""
        backend = kms_backends[self.current_account][self.region]
        key = backend.keys.get(backend.any_id_to_key_id(reference)) if _in_region(reference, self.region) else None
        if key is None or key.key_state != "Enabled" or key.key_usage != "ENCRYPT_DECRYPT" or key.key_spec != "SYMMETRIC_DEFAULT":
            raise ServiceError("KMSKeyNotAccessibleFault", f"The specified KMS key [{reference}] does not exist, is not enabled or you do not have permissions to access it.")
        return key.arn

    def _network(self, name):
        """DBSubnetGroup by its name, with the default security group of its VPC."""
        if name == "default":
            return self._default_network()
        group = self.backend.describe_db_subnet_groups(name.lower())[0]
        default = self._default_network()["DBSubnetGroup"]["VpcId"] == group.vpc_id
        shape = {"DBSubnetGroupName": group.name, "DBSubnetGroupDescription": group.description, "VpcId": group.vpc_id,
                 "SubnetGroupStatus": "Complete", "Subnets": group.subnets, "DBSubnetGroupArn": self._arn("subgrp", group.name)}
        # A subnet group outside the default VPC makes the instance private (API model, PubliclyAccessible).
        return {"DBSubnetGroup": shape, "VpcSecurityGroups": self._default_security_group(group.vpc_id)} | ({} if default else {"PubliclyAccessible": False})

    def _default_network(self):
        """The default VPC's subnet group and security group."""
        vpc = ec2_backends[self.current_account][self.region].get_default_vpc()
        shape = {"DBSubnetGroupName": "default", "DBSubnetGroupDescription": "default", "VpcId": vpc.id, "SubnetGroupStatus": "Complete",
                 "Subnets": [], "DBSubnetGroupArn": self._arn("subgrp", "default")}
        return {"DBSubnetGroup": shape, "VpcSecurityGroups": self._default_security_group(vpc.id)}

    def _default_security_group(self, vpc_id):
        groups = ec2_backends[self.current_account][self.region].describe_security_groups(filters={"vpc-id": [vpc_id], "group-name": ["default"]})
        return [{"VpcSecurityGroupId": group.id, "Status": "active"} for group in groups]


# Fields that DBSnapshot has in common with DBInstance.
SNAPSHOT_SHOWS = (
    "AllocatedStorage", "AvailabilityZone", "BackupRetentionPeriod", "DBInstanceIdentifier", "DBSystemId", "DbiResourceId", "DedicatedLogVolume",
    "Engine", "EngineVersion", "IAMDatabaseAuthenticationEnabled", "InstanceCreateTime", "Iops", "KmsKeyId", "LicenseModel", "MasterUsername",
    "MultiTenant", "PreferredBackupWindow", "ProcessorFeatures", "StorageEncryptionType", "StorageThroughput", "StorageType", "Timezone",
    "AdditionalStorageVolumes",
)
# Names under which PendingModifiedValues shows a parameter, where they differ.
PENDING_NAMES = {"DBPortNumber": "Port", "EnableIAMDatabaseAuthentication": "IAMDatabaseAuthenticationEnabled"}


# Enough of the classes that one can order, for Plan's question whether a class can be encrypted.
ORDERABLE_CLASSES = [
    *(f"db.{family}.{size}" for family in ("m4", "m5", "m6g", "m7g", "r5", "r6g", "r7g") for size in ("large", "xlarge", "2xlarge")),
    *(f"db.{family}.{size}" for family in ("t2", "t3", "t4g") for size in ("micro", "small", "medium", "large")),
    "db.m1.small", "db.m1.medium", "db.m2.xlarge",
]


def install(cloud):
    """Puts these operations in the place of moto's."""
    LocalRds.cloud = cloud
    moto.rds.urls.url_paths = {"{0}/$": LocalRds.dispatch}


def outside_request(region="us-east-1", account="123456789012"):
    """The operations for the control API, which comes without a signature to tell the Region and account."""
    operations = LocalRds()
    operations.region, operations.current_account, operations.partition = region, account, "aws"
    return operations


def _can_encrypt(engine, instance_class):
    """RDS User Guide 2023, "Limitations of Amazon RDS encrypted DB instances"."""
    return engine != "sqlserver-ex" and not instance_class.startswith(("db.m1.", "db.m2.")) and instance_class != "db.t2.micro"


def _require(instance, statuses):
    if instance.status not in statuses:
        raise ServiceError("InvalidDBInstanceState", f"Instance {instance.identifier} is not in {' or '.join(sorted(statuses))} state. It is {instance.status}.")


def _applied_at_once(given, current):
    """The settings of a ModifyDBInstance request that do not wait for ApplyImmediately."""
    at_once = {name: value for name, value in given.items() if name in APPLIED_AT_ONCE}
    # Switching automated backups on or off waits, other changes of the retention do not (RDS User Guide, "Settings").
    if "BackupRetentionPeriod" in at_once and bool(at_once["BackupRetentionPeriod"]) != bool(current.get("BackupRetentionPeriod")):
        del at_once["BackupRetentionPeriod"]
    return at_once


def _shown_as_pending(name, value):
    return {PENDING_NAMES.get(name, name): "****" if name == "MasterUserPassword" else value}


def _provisioned(fields):
    """What gp3 reports without provisioning: 3,000 IOPS and 125 MiB/s, or four volumes' worth of it."""
    if fields["StorageType"] != "gp3" or fields.get("Iops"):
        return {}
    threshold = GP3_THRESHOLD_GIBIBYTES.get(fields["Engine"].split("-")[0]) or GP3_DEFAULT_THRESHOLD_GIBIBYTES
    striped = fields["AllocatedStorage"] >= threshold and not fields["Engine"].startswith("sqlserver")
    return {"Iops": 12000, "StorageThroughput": 500} if striped else {"Iops": 3000, "StorageThroughput": 125}


def _in_region(reference, region):
    return not reference.startswith("arn:") or reference.split(":")[3] == region


def _filtered(found, filters, values):
    """Filters of a describe call: every filter must match one of its values."""
    for one in filters:
        if one["Name"] not in values:
            raise ServiceError("InvalidParameterValue", f"Unrecognized filter name: {one['Name']}")
        found = [record for record in found if values[one["Name"]](record) & set(one["Values"])]
    return found
