"""What a restore and a change of settings refuse: settings that do not go together, and what AWS has retired.

`[A1]` and its like are rows of docs/aws-assumptions.md: nobody has tried them on AWS, so the harsher reading counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .records import ServiceError

if TYPE_CHECKING:
    from .cloud import Cloud
    from .records import Fields

# "can't specify IOPS or storage throughput for engine … less than 400" (RDS User Guide, "gp3 storage") [A33].
GP3_THRESHOLD_GIBIBYTES = {"oracle": 200, "sqlserver": 0}
GP3_DEFAULT_THRESHOLD_GIBIBYTES = 400
STORAGE_PARAMETERS = {"StorageType", "Iops", "StorageThroughput", "AllocatedStorage"}
# "Using SSL/TLS to encrypt a connection to a DB instance", RDS User Guide.
CERTIFICATE_AUTHORITIES = ("rds-ca-rsa2048-g1", "rds-ca-rsa4096-g1", "rds-ca-ecc384-g1")
# Enough of the classes that one can order.
ORDERABLE_CLASSES = [
    *(
        f"db.{family}.{size}"
        for family in ("m4", "m5", "m6g", "m7g", "r5", "r6g", "r7g")
        for size in ("large", "xlarge", "2xlarge")
    ),
    *(f"db.{family}.{size}" for family in ("t2", "t3", "t4g") for size in ("micro", "small", "medium", "large")),
    "db.m1.small",
    "db.m1.medium",
    "db.m2.xlarge",
]
ORDERABLE_STORAGE_TYPES = ("gp2", "gp3", "io1", "io2", "standard")


def combination(message: str) -> ServiceError:
    return ServiceError("InvalidParameterCombination", message)


def check_restore(cloud: Cloud, given: Fields, source: Fields, engine: str) -> None:
    """RestoreDBInstanceFromDBSnapshot of a snapshot whose instance was `source`."""
    if f"{engine} {source['EngineVersion']}" in cloud.retired_versions:
        # "To restore from a DB snapshot with an unsupported engine version, you must first upgrade the engine version
        # of the snapshot" (AWS CLI reference, restore-db-instance-from-db-snapshot) [A6].
        raise combination(f"Cannot find version {source['EngineVersion']} for {engine}")
    instance_class = given.get("DBInstanceClass") or source["DBInstanceClass"]
    if instance_class not in ORDERABLE_CLASSES:
        # The error text of CreateDBInstance [A5].
        raise combination(
            "RDS does not support creating a DB instance with the following combination: "
            f"DBInstanceClass={instance_class}, Engine={engine}, EngineVersion={source['EngineVersion']}."
        )
    if engine.startswith("sqlserver"):
        if named := sorted(STORAGE_PARAMETERS & set(given)):
            raise combination(f"You can't specify {', '.join(named)} when you restore a snapshot of {engine}.")  # [A1]
        if given.get("MultiAZ") is False and not engine.startswith("sqlserver-web"):
            raise combination(f"MultiAZ can't be set to false for {engine}.")  # [A3]
    elif (
        given.get("StorageType", "io1" if given.get("Iops") else "gp3") == "gp3"
        and {"Iops", "StorageThroughput"} & set(given)
        and "AllocatedStorage" not in given
    ):
        raise combination("You must specify AllocatedStorage with Iops and StorageThroughput for gp3.")  # [A23]
    there = {volume["VolumeName"] for volume in source.get("AdditionalStorageVolumes", [])}
    for volume in given.get("AdditionalStorageVolumes", []):
        if volume["VolumeName"] in there:
            raise combination(f"The volume {volume['VolumeName']} exists in the snapshot.")  # [A4]
    if "DBName" in given and not engine.startswith(("oracle", "sqlserver")):
        raise combination(f"DBName can't be specified for the engine {engine}.")
    # "Applies to RDS for Oracle only" (API model, ManageMasterUserPassword).
    if given.get("ManageMasterUserPassword") and not engine.startswith("oracle"):
        raise combination(f"ManageMasterUserPassword can't be specified at a restore for the engine {engine}.")
    # "Specify the master password in ModifyTenantDatabase instead" (API model, ModifyDBInstance).
    if {"ManageMasterUserPassword", "DBName"} & set(given) and source.get("MultiTenant"):
        raise combination("These parameters are those of each tenant database in the multi-tenant configuration.")
    if given.get("AllocatedStorage", source["AllocatedStorage"]) < source["AllocatedStorage"]:
        raise ServiceError("InvalidParameterValue", "The allocated storage can't be less than that of the snapshot.")


def check_modify(given: Fields, current: Fields) -> None:
    """ModifyDBInstance of an instance that is `current` so far."""
    size: int = current["AllocatedStorage"]
    if given.get("AllocatedStorage", size) < size:
        raise combination("The allocated storage can't be less than it is.")
    limit: int = given.get("MaxAllocatedStorage", size)
    # The text of AWS's own error. A limit that is the allocated storage switches autoscaling off (RDS User Guide).
    if limit != size and limit * 10 < size * 11:
        raise combination("The maximum allocated storage must be increased by at least 10 percent.")
    # "You can't make further storage modifications until storage optimization completes" (re:Post).
    if STORAGE_PARAMETERS & set(given) and current["DBInstanceStatus"] == "storage-optimization":
        raise combination(
            "You can't modify the storage of this DB instance because the previous change is being optimized."
        )


def check_storage(given: Fields, engine: str) -> None:
    """What a storage type allows and demands (RDS User Guide, "Amazon RDS DB instance storage")."""
    kind = given.get("StorageType") or "gp3"
    provisions = {"Iops", "StorageThroughput"} & {name for name, value in given.items() if value}
    threshold = GP3_THRESHOLD_GIBIBYTES.get(engine.split("-")[0], GP3_DEFAULT_THRESHOLD_GIBIBYTES)
    if kind == "gp3" and provisions and given["AllocatedStorage"] < threshold:
        raise combination(
            f"You can't specify IOPS or storage throughput for engine {engine} and a storage size less than "
            f"{threshold}."
        )
    if kind in ("gp2", "standard") and provisions:
        raise combination(f"You can't specify IOPS or storage throughput for storage type {kind}.")
    if kind in ("io1", "io2") and "StorageThroughput" in provisions:
        raise combination(f"You can't specify storage throughput for storage type {kind}.")


def check_backups(fields: Fields) -> None:
    """SQL Server is mirrored or in an availability group where it is Multi-AZ [A2]."""
    is_multi_az = fields.get("MultiAZ") or fields.get("SecondaryAvailabilityZone")
    if fields["Engine"].startswith("sqlserver") and is_multi_az and not fields.get("BackupRetentionPeriod"):
        raise combination("Multi-AZ of SQL Server requires a backup retention period above 0.")


def check_certificate_authority(given: Fields) -> None:
    name = given.get("CACertificateIdentifier", CERTIFICATE_AUTHORITIES[0])
    if name not in CERTIFICATE_AUTHORITIES:
        raise ServiceError("CertificateNotFound", f"Certificate not found: {name}")
