"""What DMS keeps: replication instances, endpoints, connections and tasks, and when their statuses change."""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections import ChainMap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from moto.dms.exceptions import DmsClientError

from rds import calls
from rds.records import Record

if TYPE_CHECKING:
    from rds.clock import Clock
    from rds.records import Fields

    from .replication import Replication

# An error of DMS, by its code and message.
DmsError = DmsClientError
# AWS seconds; none was measured on AWS. The API names no waiter's times either.
DEFAULT_DURATIONS = {
    "replication_instance_create": 600,
    "replication_instance_delete": 300,
    "endpoint_delete": 10,
    "connection_test": 40,
    "connection_delete": 10,
    "task_create": 60,
    "task_start": 90,
    "task_stop": 20,
    "task_delete": 60,
}
# How tasks behave; the settings of the control API and the action "play" of a fault change it.
PLAYS: dict[str, Any] = {
    # The task fails: during the "load", or afterwards, during the "changes".
    "fails": None,
    # The validation of a table with a primary key finds a row that differs.
    "mismatches": False,
    # The same table has a record whose validation never comes to an end.
    "pending": False,
}
GONE = "gone"


class Resource(Record):
    """A resource of DMS. A status that waits for its time comes when somebody looks."""

    # In the ARN, and in the message of a ResourceNotFoundFault.
    KIND: str
    NAME = "Resource"

    def __init__(self, fields: Fields, arn: str, clock: Clock) -> None:
        super().__init__(fields)
        self._arn, self._clock = arn, clock
        self._later: tuple[float, str] | None = None

    @property
    def arn(self) -> str:
        # Not every description has one.
        return self._arn

    @property
    def status(self) -> str:
        if self._later and self._clock.now() >= self._later[0]:
            self.status = self._later[1]
        return str(self.fields[self.STATUS])

    @status.setter
    def status(self, status: str) -> None:
        self._later = None
        self.fields[self.STATUS] = status

    def become(self, status: str, later: str, seconds: float) -> None:
        """The status, and the one that follows after so many AWS seconds."""
        self.status = status
        self._later = (self._clock.now() + seconds, later)

    def end(self) -> None:
        """Lets go of what it holds, once it is gone."""


class SubnetGroup(Resource):
    KIND, NAME, SHAPE = "subgrp", "Replication Subnet Group", "ReplicationSubnetGroup"
    IDENTIFIER, STATUS = "ReplicationSubnetGroupIdentifier", "SubnetGroupStatus"


class ReplicationInstance(Resource):
    KIND, NAME, SHAPE = "rep", "Replication Instance", "ReplicationInstance"
    IDENTIFIER, STATUS = "ReplicationInstanceIdentifier", "ReplicationInstanceStatus"


class Endpoint(Resource):
    KIND, NAME, SHAPE = "endpoint", "Endpoint", "Endpoint"
    IDENTIFIER, STATUS = "EndpointIdentifier", "Status"

    # No description has it.
    password = ""

    def conninfo(self) -> dict[str, Any]:
        """How to connect, as libpq takes it. DMS's `none` speaks without TLS (API model, SslMode)."""
        fields = self.fields
        return {
            "host": fields.get("ServerName"),
            "port": fields.get("Port"),
            "user": fields.get("Username"),
            "password": self.password,
            "dbname": fields.get("DatabaseName"),
            "sslmode": {"none": "disable"}.get(fields["SslMode"], fields["SslMode"]),
            "connect_timeout": 5,
        }


class Connection(Resource):
    """Between a replication instance and an endpoint, by having been tested."""

    KIND, NAME, SHAPE, STATUS = "connection", "Connection", "Connection", "Status"
    IDENTIFIER = "EndpointIdentifier"


class Task(Resource):
    KIND, NAME, SHAPE = "task", "Replication Task", "ReplicationTask"
    IDENTIFIER, STATUS = "ReplicationTaskIdentifier", "Status"

    replication: Replication

    def __init__(self, fields: Fields, arn: str, clock: Clock, plays: dict[str, Any]) -> None:
        super().__init__(fields, arn, clock)
        self.plays: ChainMap[str, Any] = ChainMap({}, plays)
        self.has_run = False

    def end(self) -> None:
        self.replication.close()


T = TypeVar("T", bound=Resource)


class DmsRecords:
    """All of them, by their ARNs. `lock` guards them; nobody holds it while a database works or a clock runs."""

    def __init__(self, clock: Clock) -> None:
        self.lock = threading.RLock()
        self.clock = clock
        self._resources: dict[str, Resource] = {}

    def all(self, kind: type[T]) -> list[T]:
        """Those that are there now."""
        with self.lock:
            for resource in [one for one in self._resources.values() if one.status == GONE]:
                del self._resources[resource.arn]
                resource.end()
            return [one for one in self._resources.values() if isinstance(one, kind)]

    def add(self, resource: Resource) -> None:
        with self.lock:
            self._resources[resource.arn] = resource
        _note(resource, is_new=True)

    def find(self, arn: str) -> Resource | None:
        return next((one for one in self.all(Resource) if one.arn == arn), None)

    def named(self, kind: type[T], arn: str) -> T:
        """The resource with that ARN."""
        found = next((one for one in self.all(kind) if one.arn == arn), None)
        if found is None:
            raise DmsError("ResourceNotFoundFault", f"{kind.NAME} with ARN {arn} not found.")
        _note(found)
        return found

    def check_free(self, kind: type[Resource], identifier: str) -> None:
        if any(one.identifier == identifier for one in self.all(kind)):
            raise DmsError("ResourceAlreadyExistsFault", f"{kind.NAME} {identifier} already exists.")

    def connection(self, instance_arn: str, endpoint_arn: str) -> Connection | None:
        wanted = {"ReplicationInstanceArn": instance_arn, "EndpointArn": endpoint_arn}
        return next((one for one in self.all(Connection) if wanted.items() <= one.fields.items()), None)

    def clear(self) -> None:
        """Takes everything away."""
        with self.lock:
            resources, self._resources = list(self._resources.values()), {}
        for resource in resources:
            with contextlib.suppress(Exception):
                resource.end()

    def identifiers(self, text: str) -> Iterator[str]:
        """What a resource is called whose ARN ends so: faults are for names."""
        return (one.identifier for one in self.all(Resource) if one.arn.endswith(f":{text}"))


def new_arn(region: str, account: str, kind: type[Resource], name: str | None = None) -> str:
    """Its last part is made up, unless the request asks for one (API model, ResourceIdentifier)."""
    return f"arn:aws:dms:{region}:{account}:{kind.KIND}:{name or uuid.uuid4().hex[:26].upper()}"


def _note(resource: Resource, *, is_new: bool = False) -> None:
    (calls.added if is_new else calls.touch)(resource, "dms")
