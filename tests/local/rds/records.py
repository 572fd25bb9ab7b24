"""DB instances, snapshots and blue/green deployments as the API describes them, and the rules for names and tags."""

import re
import secrets
import string
import threading
import uuid
from dataclasses import dataclass
from datetime import datetime, timezone

from moto.rds.exceptions import RDSClientError as ServiceError

from . import calls

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

    # The status after a change that broke down.
    BROKEN = "failed"

    def __init__(self, fields):
        self.fields = fields
        self.data_name = uuid.uuid4().hex
        # The thread that leads the record through its life cycle; see lifecycle.py.
        self.script = None

    @property
    def arn(self):
        return self.fields[self.ARN]

    @property
    def identifier(self):
        return self.fields[self.IDENTIFIER]

    @property
    def status(self):
        return self.fields[self.STATUS]

    @status.setter
    def status(self, status):
        self.fields[self.STATUS] = status

    @property
    def tags(self):
        return self.fields.setdefault("TagList", [])


@dataclass
class Change:
    """A parameter of ModifyDBInstance that is not applied yet."""

    fields: dict
    shown: dict
    name: str
    value: object


class Instance(Record):
    """A DB instance."""

    KIND, SHAPE, ARN, IDENTIFIER, STATUS = (
        "db",
        "DBInstance",
        "DBInstanceArn",
        "DBInstanceIdentifier",
        "DBInstanceStatus",
    )

    def __init__(self, fields):
        super().__init__(fields)
        self.master_password = None
        # Endpoint is absent until the instance is created, so the port has a place of its own.
        self.port = fields.get("Endpoint", {}).get("Port") or fields.get("DbInstancePort")
        # While a rename is under way neither name is found; see lifecycle.py.
        self.hidden = False
        # Clients beside those that the endpoint counts, for instances without a server; see metrics.py.
        self.connections = 0
        # When the lazy load after a restore began, in AWS seconds.
        self.initialize_start = None
        # When its monitoring was last switched on, likewise.
        self.monitored_at = float("-inf")
        # Changes by parameter name: waiting for the maintenance window, and about to be applied.
        self.pending = {}
        self.applying = {}
        # The instance that this one is a replica of, whether a describe call says so, and its own replicas.
        self.follows = None
        self.follows_openly = True
        self.followers = []
        # Its clients may only read: -oldN after a switchover.
        self.is_frozen = False
        # A switchover that includes it is under way.
        self.is_switching = False
        # What CloudWatch says of it beside the connections; see metrics.py.
        self.free_storage_bytes = fields.get("AllocatedStorage", 0) * GIBIBYTE // 2
        self.lag_seconds = 0

    def follow(self, source):
        self.follows = source
        source.followers.append(self)

    def unfollow(self):
        if self.follows:
            self.follows.followers.remove(self)
            self.follows = None


class Snapshot(Record):
    """A DB snapshot."""

    KIND, SHAPE, ARN, IDENTIFIER, STATUS = "snapshot", "DBSnapshot", "DBSnapshotArn", "DBSnapshotIdentifier", "Status"

    def __init__(self, fields, source_fields):
        super().__init__(fields)
        # What a restore takes from the source and DBSnapshot does not show: the class, DBName, ….
        self.source_fields = source_fields
        # When the snapshot or copy began, in AWS seconds, and the name of its duration.
        self.progress_start = self.progress_duration = None
        self.copied_from = None


class Deployment(Record):
    """A blue/green deployment: `sources` and `targets` are its members side by side, the primaries first.

    A target is None until green has it. `plays` is how this deployment behaves where AWS's documentation is
    silent, and what goes wrong with it; see deployment.py.
    """

    KIND, SHAPE, IDENTIFIER, STATUS = "deployment", "BlueGreenDeployment", "BlueGreenDeploymentIdentifier", "Status"
    BROKEN = "INVALID_CONFIGURATION"

    def __init__(self, fields, arn, sources, plays):
        super().__init__(fields)
        # Its description has none (API model, BlueGreenDeployment).
        self._arn = arn
        self.sources = sources
        self.targets = [None] * len(sources)
        # A status for each pair; none yet right after the creation.
        self.member_statuses = [None] * len(sources)
        self.plays = plays

    @property
    def arn(self):
        return self._arn

    def members(self):
        """Every instance of both environments."""
        return [*self.sources, *filter(None, self.targets)]

    def all_members_are(self, status):
        self.member_statuses = [status] * len(self.sources)


class Records:
    """Every instance, snapshot and deployment of the one account and Region that the cloud plays.

    `lock` guards all of them. Nobody holds it while a database server works or a clock runs.
    """

    def __init__(self):
        self.lock = threading.RLock()
        self.instances = {}
        self.snapshots = {}
        self.deployments = {}
        self.quotas = dict(DEFAULT_QUOTAS)

    def table(self, kind):
        return {Instance: self.instances, Snapshot: self.snapshots, Deployment: self.deployments}[kind]

    def all(self):
        """Deployments first: whoever takes all away ends them before their members."""
        return [*self.deployments.values(), *self.instances.values(), *self.snapshots.values()]

    def add(self, record):
        self.table(type(record))[record.identifier] = record
        calls.added(record)

    def holds(self, record):
        return self.table(type(record)).get(record.identifier) is record

    def remove(self, record):
        if self.holds(record):
            del self.table(type(record))[record.identifier]

    def instance(self, reference):
        """The instance with that identifier or ARN; identifiers are stored in lower case."""
        found = self.instances.get(_identifier(reference))
        if found is None or found.hidden:
            raise ServiceError("DBInstanceNotFound", f"DBInstance {_identifier(reference)} not found.")
        calls.touch(found)
        return found

    def snapshot(self, reference):
        found = self.snapshots.get(_identifier(reference))
        if found is None:
            raise ServiceError("DBSnapshotNotFound", f"DBSnapshot not found: {_identifier(reference)}")
        calls.touch(found)
        return found

    def deployment(self, reference):
        found = self.deployments.get(_identifier(reference))
        if found is None:
            raise ServiceError(
                "BlueGreenDeploymentNotFoundFault",
                f"BlueGreenDeploymentIdentifier {_identifier(reference)} doesn't refer to an existing blue/green "
                "deployment.",
            )
        calls.touch(found)
        return found

    def deployments_of(self, instance):
        return [deployment for deployment in self.deployments.values() if instance in deployment.members()]

    def deployment_of(self, identifier):
        """The latest deployment that the instance with that identifier is a member of."""
        return max(
            self.deployments_of(self.instance(identifier)), key=lambda deployment: deployment.fields["CreateTime"]
        )

    def green_of(self, identifier):
        """The counterpart of a member of blue, by blue's identifier."""
        deployment = self.deployment_of(identifier)
        return deployment.targets[deployment.sources.index(self.instance(identifier))]

    def by_arn(self, arn):
        """The record with that ARN, or None where the ARN is of another kind of resource."""
        kind = arn.split(":")[5] if arn.count(":") >= 6 else ""
        find = {"db": self.instance, "snapshot": self.snapshot, "deployment": self.deployment}.get(kind)
        return find(arn) if find else None

    def new_instance_name(self, name, parameter="DBInstanceIdentifier"):
        """Checks a name and that it is free, also of an instance that a rename hides."""
        identifier = checked_identifier(name, parameter, 63)
        if identifier in self.instances:
            raise ServiceError("DBInstanceAlreadyExists", "DB instance already exists")
        return identifier

    def new_snapshot_name(self, name, parameter="DBSnapshotIdentifier"):
        identifier = checked_identifier(name, parameter, 255)
        if identifier in self.snapshots:
            raise ServiceError(
                "DBSnapshotAlreadyExists",
                f"Cannot create the snapshot because a snapshot with the identifier {identifier} already exists.",
            )
        return identifier

    def used(self):
        """What counts against each quota."""
        return {
            "DBInstances": len(self.instances),
            "ManualSnapshots": sum(snapshot.fields["SnapshotType"] == "manual" for snapshot in self.snapshots.values()),
            "AllocatedStorage": sum(instance.fields.get("AllocatedStorage", 0) for instance in self.instances.values()),
        }

    def check_instance_quota(self, allocated_storage, instances=1):
        used = self.used()
        if used["DBInstances"] + instances > self.quotas["DBInstances"]:
            raise ServiceError(
                "InstanceQuotaExceeded",
                "Your request to create a DB instance exceeds the limit of the DB instances of this account.",
            )
        if used["AllocatedStorage"] + allocated_storage > self.quotas["AllocatedStorage"]:
            raise ServiceError("StorageQuotaExceeded", "Your request exceeds the limit of the storage of this account.")

    def check_snapshot_quota(self):
        if self.used()["ManualSnapshots"] >= self.quotas["ManualSnapshots"]:
            raise ServiceError(
                "SnapshotQuotaExceeded", f"Cannot create more than {self.quotas['ManualSnapshots']} manual snapshots"
            )


def checked_identifier(name, parameter, longest):
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


def checked_tags(tags):
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


def checked_count(tags):
    if len(tags) > MOST_TAGS:
        raise ServiceError("InvalidParameterValue", f"A resource can have at most {MOST_TAGS} tags.")
    return tags


def merged_tags(present, added):
    """`added` over `present`, one tag for each key."""
    values = {tag["Key"]: tag.get("Value", "") for tag in [*present, *added]}
    return [{"Key": key, "Value": value} for key, value in values.items()]


def new_resource_id():
    """A DbiResourceId: `db-` and 26 characters."""
    return "db-" + "".join(secrets.choice(string.ascii_uppercase + string.digits) for _ in range(26))


def utc_now():
    return datetime.now(timezone.utc).replace(microsecond=datetime.now().microsecond // 1000 * 1000)


def _identifier(reference):
    return (reference.split(":")[-1] if reference.startswith("arn:") else reference).lower()
