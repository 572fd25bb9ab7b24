"""How a request's parameters become fields of DBInstance, and what AWS sets where one is omitted."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from .records import utc_now

if TYPE_CHECKING:
    from .records import Fields

T = TypeVar("T")
ENGINE_PORTS = {
    "postgres": 5432,
    "mysql": 3306,
    "mariadb": 3306,
    "oracle": 1521,
    "sqlserver": 1433,
    "db2": 50000,
    "aurora": 5432,
}
ENGINE_VERSIONS = {
    "postgres": "16.4",
    "mysql": "8.0.39",
    "mariadb": "10.11.9",
    "oracle": "19.0.0.0.ru-2024-07.rur-2024-07.r1",
    "sqlserver": "15.00.4395.2.v1",
    "db2": "11.5.9.0.sb00000000.r1",
    "aurora": "16.4",
}
ENGINE_LICENSES = {
    "postgres": "postgresql-license",
    "oracle": "bring-your-own-license",
    "sqlserver": "license-included",
    "db2": "bring-your-own-license",
}

# Input parameters whose field has another name or shape; every other parameter is a field itself.
TO_FIELD: dict[str, Callable[[Any], Fields]] = {
    "VpcSecurityGroupIds": lambda ids: {
        "VpcSecurityGroups": [{"VpcSecurityGroupId": one, "Status": "active"} for one in ids]
    },
    "DBSecurityGroups": lambda names: {
        "DBSecurityGroups": [{"DBSecurityGroupName": one, "Status": "active"} for one in names]
    },
    "OptionGroupName": lambda name: {"OptionGroupMemberships": [{"OptionGroupName": name, "Status": "in-sync"}]},
    "EnableIAMDatabaseAuthentication": lambda on: {"IAMDatabaseAuthenticationEnabled": on},
    "EnablePerformanceInsights": lambda on: {"PerformanceInsightsEnabled": on},
    "EnableCloudwatchLogsExports": lambda kinds: {"EnabledCloudwatchLogsExports": kinds},
    "EnableCustomerOwnedIp": lambda on: {"CustomerOwnedIpEnabled": on},
    "UseDefaultProcessorFeatures": lambda on: {"ProcessorFeatures": []} if on else {},
    "PreferredMaintenanceWindow": lambda window: {"PreferredMaintenanceWindow": window.lower()},
}
# Parameters that are no settings: they name things, or are handled where the request is.
NOT_SETTINGS = {
    "DBInstanceIdentifier",
    "DBSnapshotIdentifier",
    "NewDBInstanceIdentifier",
    "MasterUserPassword",
    "ApplyImmediately",
    "AllowMajorVersionUpgrade",
    "DBParameterGroupName",
    "DBSubnetGroupName",
    "Tags",
    "TagSpecifications",
    "StorageEncrypted",
    "KmsKeyId",
    "ManageMasterUserPassword",
    "RotateMasterUserPassword",
    "MasterUserSecretKmsKeyId",
    "CloudwatchLogsExportConfiguration",
    "Domain",
    "DomainFqdn",
    "DomainOu",
    "DomainAuthSecretArn",
    "DomainDnsIps",
    "DomainIAMRoleName",
    "DisableDomain",
    "TdeCredentialPassword",
    "DBClusterSnapshotIdentifier",
    "CertificateRotationRestart",
    "MasterUserAuthenticationType",
    "ResumeFullAutomationModeMinutes",
    "Port",
    "DBPortNumber",
}
DIRECTORY_NAME = "corp.example.com"
DOMAIN_PARAMETERS = {
    "Domain": "Domain",
    "DomainFqdn": "FQDN",
    "DomainOu": "OU",
    "DomainAuthSecretArn": "AuthSecretArn",
    "DomainDnsIps": "DnsIps",
    "DomainIAMRoleName": "IAMRoleName",
}


def fields_from(parameters: Fields) -> Fields:
    """The fields that a request's plain settings set."""
    fields: Fields = {}
    for name, value in parameters.items():
        if name in TO_FIELD:
            fields |= TO_FIELD[name](value)
        elif name not in NOT_SETTINGS:
            fields[name] = value
    return fields


def domain_membership(parameters: Fields) -> list[Fields] | None:
    """DomainMemberships as the Domain… parameters ask for, or None where they are absent."""
    given = {field: parameters[name] for name, field in DOMAIN_PARAMETERS.items() if name in parameters}
    # Of a managed directory, which is asked for by its id, RDS reports the name too.
    name = {"FQDN": DIRECTORY_NAME} if "Domain" in given else {}
    return [{"Status": "joined"} | name | given] if given else None


def by_engine(table: dict[str, T], engine: str) -> T | None:
    """A value of a table whose keys are the engines' names without their editions."""
    return table.get(engine.split("-")[0])


def major_version(engine: str, version: str) -> str:
    """PostgreSQL since 10 and Oracle count majors by one number, the others by two."""
    parts = version.split(".")
    return parts[0] if engine.split("-")[0] in ("postgres", "oracle") else ".".join(parts[:2])


def default_parameter_group(engine: str, version: str) -> str:
    separator = "-" if engine.startswith(("oracle", "sqlserver", "db2")) else ""
    return f"default.{engine}{separator}{major_version(engine, version)}"


def default_option_group(engine: str, version: str) -> str:
    return f"default:{engine}-{major_version(engine, version).replace('.', '-')}"


def backup_window(resource_id: str, other_than: str | None = None) -> str:
    """A half hour at random: one that depends on the resource, so that a run can be repeated."""
    half_hours = [
        f"{hour:02}:{minute:02}-{(hour + (minute == 30)) % 24:02}:{30 - minute:02}"
        for hour in range(24)
        for minute in (0, 30)
    ]
    return _pick(half_hours, resource_id + "backup", other_than)


def maintenance_window(resource_id: str, other_than: str | None = None) -> str:
    days = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
    windows = [f"{day}:{hour:02}:00-{day}:{hour:02}:30" for day in days for hour in range(24)]
    return _pick(windows, resource_id + "maintenance", other_than)


def zone(region: str, resource_id: str, other_than: str | None = None) -> str:
    return _pick([region + letter for letter in "abc"], resource_id + "zone", other_than)


def new_instance_fields(engine: str, version: str, region: str, resource_id: str, default_network: Fields) -> Fields:
    """DBInstance as CreateDBInstance makes it where the request gives nothing.

    Source: the documentation of each parameter of CreateDBInstance in the API's model.
    """
    return {
        "AllocatedStorage": 20,
        "AutoMinorVersionUpgrade": True,
        "AvailabilityZone": zone(region, resource_id),
        "BackupRetentionPeriod": 1,
        "BackupTarget": "region",
        "CACertificateIdentifier": "rds-ca-rsa2048-g1",
        "CopyTagsToSnapshot": False,
        "CustomerOwnedIpEnabled": False,
        "DatabaseInsightsMode": "standard",
        "DBParameterGroups": [
            {"DBParameterGroupName": default_parameter_group(engine, version), "ParameterApplyStatus": "in-sync"}
        ],
        "DBSecurityGroups": [],
        "DBSubnetGroup": default_network["DBSubnetGroup"],
        "DedicatedLogVolume": False,
        "DeletionProtection": False,
        "DomainMemberships": [],
        "AssociatedRoles": [],
        "EnabledCloudwatchLogsExports": [],
        "ProcessorFeatures": [],
        "EngineLifecycleSupport": "open-source-rds-extended-support",
        "IAMDatabaseAuthenticationEnabled": False,
        "LicenseModel": by_engine(ENGINE_LICENSES, engine) or "general-public-license",
        "MonitoringInterval": 0,
        "MultiAZ": False,
        "NetworkType": "IPV4",
        "OptionGroupMemberships": [{"OptionGroupName": default_option_group(engine, version), "Status": "in-sync"}],
        "PerformanceInsightsEnabled": False,
        "PreferredBackupWindow": backup_window(resource_id),
        "PreferredMaintenanceWindow": maintenance_window(resource_id),
        "PubliclyAccessible": True,
        "ReadReplicaDBInstanceIdentifiers": [],
        "ReadReplicaDBClusterIdentifiers": [],
        "StorageType": "gp3",
        # Seen to be 0 on instances outside clusters; Endpoint.Port is the port.
        "DbInstancePort": 0,
        "InstanceCreateTime": utc_now(),
        "VpcSecurityGroups": default_network["VpcSecurityGroups"],
        "ActivityStreamStatus": "stopped",
        "TagList": [],
    }


def _pick(choices: list[str], seed: str, other_than: str | None) -> str:
    choices = [choice for choice in choices if choice != other_than]
    return choices[int(hashlib.sha256(seed.encode()).hexdigest(), 16) % len(choices)]
