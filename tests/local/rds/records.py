"""DB instances, snapshots and blue/green deployments as the API describes them, and the rules for names and tags."""

from __future__ import annotations

import re
import secrets
import string
import threading
import uuid
from collections.abc import MutableMapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, TypeVar

from moto.rds.exceptions import RDSClientError

from . import calls

if TYPE_CHECKING:
    from .lifecycle import Script

# An error of RDS, by its code and message.
ServiceError = RDSClientError
# What the API shows of a resource, by botocore's names.
Fields = dict[str, Any]
Tag = dict[str, str]
R = TypeVar("R", bound="Record")
T = TypeVar("T")
# Limits of an account; SNAPSHOTS counts manual ones (RDS User Guide, "Quotas and constraints").
DEFAULT_QUOTAS = {"DBInstances": 40, "ManualSnapshots": 100, "AllocatedStorage": 100_000}
GIBIBYTE = 2**30
# "Tag quotas": 50 tags for a resource; the prefix aws: is reserved.
MOST_TAGS = 50
INACCESSIBLE_KEY = (
    "The specified KMS key [{}] does not exist, is not enabled or you do not have permissions to access it."
)


class Record:
    """A resource: `fields` is what the API shows, in botocore's shape; the rest is ours."""

    KIND: str
    SHAPE: str
    ARN: str
    IDENTIFIER: str
    STATUS: str

    # The status after a change that broke down.
    BROKEN = "failed"

    def __init__(self, fields: Fields) -> None:
        self.fields = fields
        self.data_name = uuid.uuid4().hex
        # Whether MariaDB is behind it, or its data: the control API asks for a server, else there are files.
        self.has_server = False
        # The thread that leads the record through its life cycle; see lifecycle.py.
        self.script: Script[Any] | None = None

    @property
    def arn(self) -> str:
        return str(self.fields[self.ARN])

    @property
    def identifier(self) -> str:
        return str(self.fields[self.IDENTIFIER])

    @property
    def status(self) -> str:
        return str(self.fields[self.STATUS])

    @status.setter
    def status(self, status: str) -> None:
        self.fields[self.STATUS] = status

    @property
    def tags(self) -> list[Tag]:
        tags: list[Tag] = self.fields.setdefault("TagList", [])
        return tags


@dataclass
class Change:
    """A parameter of ModifyDBInstance that is not applied yet."""

    fields: Fields
    shown: Fields
    name: str
    value: Any


class Instance(Record):
    """A DB instance."""

    KIND, SHAPE, ARN, IDENTIFIER, STATUS = (
        "db",
        "DBInstance",
        "DBInstanceArn",
        "DBInstanceIdentifier",
        "DBInstanceStatus",
    )

    def __init__(self, fields: Fields) -> None:
        super().__init__(fields)
        self.master_password: str | None = None
        # The secret in which the password is, where RDS manages it.
        self.kept_secret: str | None = None
        # Endpoint is absent until the instance is created, so the port has a place of its own.
        self.port: int = fields.get("Endpoint", {}).get("Port") or fields.get("DbInstancePort") or 0
        # While a rename is under way neither name is found; see lifecycle.py.
        self.hidden = False
        # Clients beside those that the endpoint counts, for instances without a server; see metrics.py.
        self.connections = 0
        # When the lazy load after a restore began, in AWS seconds.
        self.initialize_start: float | None = None
        # When its monitoring was last switched on, likewise.
        self.monitored_at = float("-inf")
        # Changes by parameter name: waiting for the maintenance window, and about to be applied.
        self.pending: dict[str, Change] = {}
        self.applying: dict[str, Change] = {}
        # The instance that this one is a replica of, whether a describe call says so, and its own replicas.
        self.follows: Instance | None = None
        self.follows_openly = True
        self.followers: list[Instance] = []
        # Its clients may only read: -oldN after a switchover.
        self.is_frozen = False
        # A switchover that includes it is under way.
        self.is_switching = False
        # What CloudWatch says of it beside the connections; see metrics.py.
        self.free_storage_bytes = fields.get("AllocatedStorage", 0) * GIBIBYTE // 2
        self.lag_seconds = 0

    def follow(self, source: Instance) -> None:
        self.follows = source
        source.followers.append(self)

    def unfollow(self) -> None:
        if self.follows:
            self.follows.followers.remove(self)
            self.follows = None


class Snapshot(Record):
    """A DB snapshot."""

    KIND, SHAPE, ARN, IDENTIFIER, STATUS = "snapshot", "DBSnapshot", "DBSnapshotArn", "DBSnapshotIdentifier", "Status"

    def __init__(self, fields: Fields, source_fields: Fields) -> None:
        super().__init__(fields)
        # What a restore takes from the source and DBSnapshot does not show: the class, DBName, ….
        self.source_fields = source_fields
        # When the snapshot or copy began, in AWS seconds, and the name of its duration.
        self.progress_start: float | None = None
        self.progress_duration: str | None = None
        self.copied_from: Snapshot | None = None


class Deployment(Record):
    """A blue/green deployment: `sources` and `targets` are its members side by side, the primaries first.

    A target is None until green has it. `plays` is how this deployment behaves where AWS's documentation is
    silent, and what goes wrong with it; see deployment.py.
    """

    KIND, SHAPE, IDENTIFIER, STATUS = "deployment", "BlueGreenDeployment", "BlueGreenDeploymentIdentifier", "Status"
    BROKEN = "INVALID_CONFIGURATION"

    def __init__(self, fields: Fields, arn: str, sources: list[Instance], plays: MutableMapping[str, Any]) -> None:
        super().__init__(fields)
        # Its description has none (API model, BlueGreenDeployment).
        self._arn = arn
        self.sources = sources
        self.targets: list[Instance | None] = [None] * len(sources)
        # A status for each pair; none yet right after the creation.
        self.member_statuses: list[str | None] = [None] * len(sources)
        self.plays = plays

    @property
    def arn(self) -> str:
        return self._arn

    def members(self) -> list[Instance]:
        """Every instance of both environments."""
        return [*self.sources, *filter(None, self.targets)]

    @property
    def primaries(self) -> tuple[Instance, Instance]:
        """Of blue and green, once green has one."""
        blue, green = self.sources[0], self.targets[0]
        if green is None:
            raise LookupError(f"{self.identifier} has no green primary yet")
        return blue, green

    def all_members_are(self, status: str) -> None:
        self.member_statuses = [status] * len(self.sources)


class Records:
    """Every instance, snapshot and deployment of the one account and Region that the cloud plays.

    `lock` guards all of them. Nobody holds it while a database server works or a clock runs.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.instances: dict[str, Instance] = {}
        self.snapshots: dict[str, Snapshot] = {}
        self.deployments: dict[str, Deployment] = {}
        self.quotas = dict(DEFAULT_QUOTAS)

    def table(self, kind: type[R]) -> dict[str, R]:
        tables: dict[type[Record], Any] = {
            Instance: self.instances,
            Snapshot: self.snapshots,
            Deployment: self.deployments,
        }
        table: dict[str, R] = tables[kind]
        return table

    def all(self) -> list[Record]:
        """Deployments first: whoever takes all away ends them before their members."""
        return [*self.deployments.values(), *self.instances.values(), *self.snapshots.values()]

    def add(self, record: Record) -> None:
        self.table(type(record))[record.identifier] = record
        calls.added(record)

    def holds(self, record: Record) -> bool:
        return self.table(type(record)).get(record.identifier) is record

    def remove(self, record: Record) -> None:
        if self.holds(record):
            del self.table(type(record))[record.identifier]

    def instance(self, reference: str) -> Instance:
        """The instance with that identifier or ARN; identifiers are stored in lower case."""
        found = self.instances.get(_identifier(reference))
        if found is None or found.hidden:
            raise ServiceError("DBInstanceNotFound", f"DBInstance {_identifier(reference)} not found.")
        calls.touch(found)
        return found

    def snapshot(self, reference: str) -> Snapshot:
        found = self.snapshots.get(_identifier(reference))
        if found is None:
            raise ServiceError("DBSnapshotNotFound", f"DBSnapshot not found: {_identifier(reference)}")
        calls.touch(found)
        return found

    def deployment(self, reference: str) -> Deployment:
        found = self.deployments.get(_identifier(reference))
        if found is None:
            raise ServiceError(
                "BlueGreenDeploymentNotFoundFault",
                f"BlueGreenDeploymentIdentifier {_identifier(reference)} doesn't refer to an existing blue/green "
                "deployment.",
            )
        calls.touch(found)
        return found

    def deployments_of(self, instance: Instance) -> list[Deployment]:
        return [deployment for deployment in self.deployments.values() if instance in deployment.members()]

    def deployment_of(self, identifier: str) -> Deployment:
        """The latest deployment that the instance with that identifier is a member of."""
        return max(
            self.deployments_of(self.instance(identifier)), key=lambda deployment: deployment.fields["CreateTime"]
        )

    def green_of(self, identifier: str) -> Instance | None:
        """The counterpart of a member of blue, by blue's identifier."""
        deployment = self.deployment_of(identifier)
        return deployment.targets[deployment.sources.index(self.instance(identifier))]

    def by_arn(self, arn: str) -> Record | None:
        """The record with that ARN, or None where the ARN is of another kind of resource."""
        kind = arn.split(":")[5] if arn.count(":") >= 6 else ""
        find = {"db": self.instance, "snapshot": self.snapshot, "deployment": self.deployment}.get(kind)
        return find(arn) if find else None

    def new_instance_name(self, name: str, parameter: str = "DBInstanceIdentifier") -> str:
        """Checks a name and that it is free, also of an instance that a rename hides."""
        identifier = checked_identifier(name, parameter, 63)
        if identifier in self.instances:
            raise ServiceError("DBInstanceAlreadyExists", "DB instance already exists")
        return identifier

    def new_snapshot_name(self, name: str, parameter: str = "DBSnapshotIdentifier") -> str:
        identifier = checked_identifier(name, parameter, 255)
        if identifier in self.snapshots:
            raise ServiceError(
                "DBSnapshotAlreadyExists",
                f"Cannot create the snapshot because a snapshot with the identifier {identifier} already exists.",
            )
        return identifier

    def used(self) -> dict[str, int]:
        """What counts against each quota."""
        return {
            "DBInstances": len(self.instances),
            "ManualSnapshots": sum(snapshot.fields["SnapshotType"] == "manual" for snapshot in self.snapshots.values()),
            "AllocatedStorage": sum(instance.fields.get("AllocatedStorage", 0) for instance in self.instances.values()),
        }

    def check_instance_quota(self, allocated_storage: int, instances: int = 1) -> None:
        used = self.used()
        if used["DBInstances"] + instances > self.quotas["DBInstances"]:
            raise ServiceError(
                "InstanceQuotaExceeded",
                "Your request to create a DB instance exceeds the limit of the DB instances of this account.",
            )
        if used["AllocatedStorage"] + allocated_storage > self.quotas["AllocatedStorage"]:
            raise ServiceError("StorageQuotaExceeded", "Your request exceeds the limit of the storage of this account.")

    def check_copies(self, at_a_time: int) -> None:
        copies = sum(
            snapshot.copied_from is not None and snapshot.status == "creating" for snapshot in self.snapshots.values()
        )
        if copies >= at_a_time:
            raise ServiceError("SnapshotQuotaExceeded", f"Cannot copy more than {at_a_time} snapshots at a time")

    def check_snapshot_quota(self) -> None:
        if self.used()["ManualSnapshots"] >= self.quotas["ManualSnapshots"]:
            raise ServiceError(
                "SnapshotQuotaExceeded", f"Cannot create more than {self.quotas['ManualSnapshots']} manual snapshots"
            )


def page(items: dict[str, T], most: int, marker: str) -> tuple[list[T], Fields]:
    """At most so many of what comes beyond the marker, which names the last one of the page before: an item that
    is deleted between two pages must not hide another one."""
    names = sorted(name for name in items if name > marker)
    more = {"Marker": names[most - 1]} if len(names) > most else {}
    return [items[name] for name in names[:most]], more


def checked_identifier(name: str, parameter: str, longest: int) -> str:
    """The rules of CreateDBInstance and CreateDBSnapshot for identifiers."""
    legal = re.fullmatch(r"[A-Za-z](-?[A-Za-z0-9])*", name or "")
    if not legal or len(name) > longest:
        raise ServiceError(
            "InvalidParameterValue",
            f"The parameter {parameter} is not a valid identifier. Identifiers must begin with a letter; must contain "
            "only ASCII letters, digits, and hyphens; and must not end with a hyphen or contain two consecutive "
            "hyphens.",
        )
    return name.lower()


def checked_tags(tags: list[Tag]) -> list[Tag]:
    """The rules for tags that a request gives."""
    for tag in tags:
        if tag["Key"].lower().startswith("aws:"):
            raise ServiceError("InvalidParameterValue", f"Invalid tag key {tag['Key']}: the prefix aws: is reserved.")
        if not 1 <= len(tag["Key"]) <= 128 or len(tag.get("Value", "")) > 256:
            raise ServiceError(
                "InvalidParameterValue",
                f"Invalid tag {tag['Key']}: a key has 1 to 128 characters, a value at most 256.",
            )
    return checked_count(merged_tags([], tags))


def checked_count(tags: list[Tag]) -> list[Tag]:
    if len(tags) > MOST_TAGS:
        raise ServiceError("InvalidParameterValue", f"A resource can have at most {MOST_TAGS} tags.")
    return tags


def merged_tags(present: list[Tag], added: list[Tag]) -> list[Tag]:
    """`added` over `present`, one tag for each key."""
    values = {tag["Key"]: tag.get("Value", "") for tag in [*present, *added]}
    return [{"Key": key, "Value": value} for key, value in values.items()]


def new_resource_id() -> str:
    """A DbiResourceId: `db-` and 26 characters."""
    return "db-" + "".join(secrets.choice(string.ascii_uppercase + string.digits) for _ in range(26))


def utc_now() -> datetime:
    return datetime.now(timezone.utc).replace(microsecond=datetime.now().microsecond // 1000 * 1000)


def _identifier(reference: str) -> str:
    return (reference.split(":")[-1] if reference.startswith("arn:") else reference).lower()
