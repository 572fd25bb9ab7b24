"""Records that no request made: what the control API seeds (see control.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moto.ec2.models import ec2_backends
from moto.ec2.models.security_groups import SecurityGroup
from moto.rds.models import OptionGroup

from . import lifecycle, settings
from .network import ISOLATING_SECURITY_GROUPS
from .records import Instance, new_resource_id, utc_now
from .requests import provisioned

if TYPE_CHECKING:
    from .operations import LocalRds
    from .records import Fields, Snapshot


def instance(
    request: LocalRds,
    identifier: str,
    fields: Fields,
    port: int | None,
    master_password: str | None,
    parameters: dict[str, str],
    has_server: bool = False,
) -> Instance:
    """An instance with any fields, at once, as if it had been there long since, and these in its parameter group."""
    with request.records.lock:
        identifier = request.records.new_instance_name(identifier)
        if parameters and "DBParameterGroups" not in fields:
            group = {"DBParameterGroupName": f"of-{identifier}", "ParameterApplyStatus": "in-sync"}
            fields = fields | {"DBParameterGroups": [group]}
        engine = fields.get("Engine", "postgres")
        version = fields.get("EngineVersion") or settings.by_engine(settings.ENGINE_VERSIONS, engine) or "1.0"
        resource_id = fields.get("DbiResourceId") or new_resource_id()
        _make_groups(request, fields, engine, version)
        if parameters:
            request.backend.modify_db_parameter_group(
                fields["DBParameterGroups"][0]["DBParameterGroupName"],
                [{"ParameterName": name, "ParameterValue": value} for name, value in parameters.items()],
            )
        seeded = (
            settings.new_instance_fields(engine, version, request.region, resource_id, request.default_network())
            | {
                "Engine": engine,
                "EngineVersion": version,
                "DBInstanceClass": "db.t3.micro",
                "MasterUsername": "master",
                "StorageEncrypted": False,
                "StorageEncryptionType": "none",
                "DBInstanceIdentifier": identifier,
                "DBInstanceArn": request.arn_of("db", identifier),
                "DbiResourceId": resource_id,
                "DBInstanceStatus": "available",
            }
            | fields
        )
        if "DBSubnetGroup" in fields:
            seeded["DBSubnetGroup"] = (
                request.network(fields["DBSubnetGroup"]["DBSubnetGroupName"])["DBSubnetGroup"] | fields["DBSubnetGroup"]
            )
        record = Instance(seeded | provisioned(seeded))
        record.port = port or record.port or settings.by_engine(settings.ENGINE_PORTS, engine) or 5432
        record.master_password = master_password
        record.has_server = has_server
        # Whoever seeds a secret's ARN says by `master_password` what is in it, and keeps it there.
        record.kept_secret = (fields.get("MasterUserSecret") or {}).get("SecretArn")
        request.records.add(record)
    storage = request.cloud.storage_of(record)
    if source := request.records.instances.get(fields.get("ReadReplicaSourceDBInstanceIdentifier", "")):
        # Shown by what it follows from now on, whatever that is called then.
        del record.fields["ReadReplicaSourceDBInstanceIdentifier"]
        storage.replicate(source, record)
    else:
        storage.create(record)
    if "Endpoint" not in fields:
        request.cloud.open_endpoint(record)
    return record


def snapshot(request: LocalRds, identifier: str, fields: Fields) -> Snapshot:
    """A snapshot with any fields, at once, of an instance that is there."""
    with request.records.lock:
        source = request.records.instance(fields["DBInstanceIdentifier"])
        record = request.new_snapshot(identifier, source, [])
        record.fields |= {"Status": "available", "PercentProgress": 100, "SnapshotDatabaseTime": utc_now()} | fields
    request.cloud.storage_of(source).snapshot(source, record)
    return record


def open_maintenance_window(request: LocalRds, instance: Instance) -> None:
    """Applies what ModifyDBInstance left for the window."""
    with request.records.lock:
        instance.applying |= instance.pending
        instance.pending = {}
        if "NewDBInstanceIdentifier" in instance.applying:
            request.rename(instance, instance.applying.pop("NewDBInstanceIdentifier").value)
        else:
            lifecycle.lead(request.cloud, instance, lifecycle.modify_instance)


def _make_groups(request: LocalRds, fields: Fields, engine: str, version: str) -> None:
    """The parameter, option and subnet groups that a seeded instance names, in moto, and groups to isolate it with."""
    for group in fields.get("DBParameterGroups", []):
        name = group["DBParameterGroupName"]
        if not name.startswith("default.") and name not in request.backend.db_parameter_groups:
            family = settings.default_parameter_group(engine, version).removeprefix("default.")
            request.backend.create_db_parameter_group(
                {
                    "db_parameter_group_name": name,
                    "db_parameter_group_family": family,
                    "description": "seeded",
                    "tags": [],
                }
            )
    for group in fields.get("OptionGroupMemberships", []):
        name = group["OptionGroupName"]
        if not name.startswith("default:") and name not in request.backend.option_groups:
            request.backend.option_groups[name] = OptionGroup(
                request.backend, name, engine, settings.major_version(engine, version), "seeded", []
            )
    ec2 = ec2_backends[request.current_account][request.region]
    default = ec2.get_default_vpc()
    assert default
    vpc = default.id
    for group in ISOLATING_SECURITY_GROUPS:
        # moto makes them, whatever their base class calls abstract.
        made = SecurityGroup(ec2, group, group, "seeded", vpc)  # type: ignore[abstract]
        ec2.groups[vpc].setdefault(group, made)
    name = fields.get("DBSubnetGroup", {}).get("DBSubnetGroupName", "default")
    if name != "default" and name not in request.backend.subnet_groups:
        subnets = ec2_backends[request.current_account][request.region].get_default_subnets()
        request.backend.create_subnet_group(name, "seeded", list(subnets.values()), [])
