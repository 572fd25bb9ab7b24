"""Everything that one local cloud's RDS consists of."""

from __future__ import annotations

import functools
import itertools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moto.rds.models import rds_backends

from dms import records as dms

from . import deployment, lifecycle
from .certificates import Authority
from .clock import Clock
from .endpoints import Endpoints
from .mariadb import MariaDbStorage
from .network import Network
from .records import DEFAULT_QUOTAS, Deployment, Instance, Records, Snapshot, utc_now
from .storage import FileStorage
from .throttle import Throttle
from .tokens import Tokens

if TYPE_CHECKING:
    from .records import Fields, Record
    from .storage import Storage

# Statuses from which a request is refused although AWS's documentation names no list; settable,
# since what AWS really does differs between engines and years.
DEFAULT_UNDELETABLE_STATUSES = ["creating", "deleting", "renaming", "rebooting"]
# Of an event's id, where it is not "creation" (RDS User Guide, "Amazon RDS event categories and event messages").
EVENT_CATEGORIES = {
    **dict.fromkeys(("RDS-EVENT-0003", "RDS-EVENT-0246"), "deletion"),
    **dict.fromkeys(("RDS-EVENT-0247", "RDS-EVENT-0248", "RDS-EVENT-0250", "RDS-EVENT-0251"), "notification"),
    **dict.fromkeys(("RDS-EVENT-0245", "RDS-EVENT-0249", "RDS-EVENT-0252"), "failure"),
}
# The same chapter: an event's detail-type and SourceType.
EVENT_SOURCES = {
    Instance: ("RDS DB Instance Event", "DB_INSTANCE"),
    Snapshot: ("RDS DB Snapshot Event", "SNAPSHOT"),
    Deployment: ("RDS Blue Green Deployment Event", "BLUE_GREEN_DEPLOYMENT"),
}


class Cloud:
    """Records, storage, endpoints, clock and settings; the requests are in operations.py."""

    # The account that moto plays where a request's access key names none.
    account_id = "123456789012"

    def __init__(self, time_scale: float, directory: Path, storage: str, region: str) -> None:
        self.region = region
        self.clock = Clock(time_scale)
        self.records = Records()
        self.authority = Authority(directory / "certificates")
        tokens = Tokens(self.records, region, self.account_id, lambda *ask: self.may(*ask))
        network = Network(self.records, self._server_of)
        self.endpoints = Endpoints(network.lets_through, tokens.refusal, self.authority)
        self.files = FileStorage(directory / "files")
        self.postgres = None
        if storage == "postgres":
            from .postgres import PostgresStorage

            self.postgres = PostgresStorage(directory / "postgres", parameters_of)
        self._mariadb: MariaDbStorage | None = None
        self._mariadb_made = threading.Lock()
        self._directory = directory
        self._event_numbers = itertools.count(1)
        self.throttle = Throttle(self.clock)
        self.dms = dms.DmsRecords(self.clock)
        # Where events go besides: to EventBridge, if there is one.
        self.send: Callable[[dict[str, Any]], None] = lambda _event: None
        # Whether the role of a function allows an action on a resource, if roles are judged: see iam.
        self.may: Callable[[str, str, str], bool] = lambda *_: True
        # Where managed master passwords are kept, likewise: by the secret's name, its key, the user and the password.
        self.keep_secret: Callable[[str, str | None, str, str], None] = lambda *_: None
        self.reset_settings()

    def reset_settings(self) -> None:
        self.durations = lifecycle.DEFAULT_DURATIONS | dms.DEFAULT_DURATIONS
        self.progress_shape = "linear"
        self.undeletable_statuses = list(DEFAULT_UNDELETABLE_STATUSES)
        # "If the snapshot is being copied, the copy operation is terminated" (API model): failed or gone.
        self.copy_of_deleted_source = "failed"
        # Whether a restored copy of PostgreSQL has logical replication slots [A94].
        self.copies_keep_slots = True
        # How many bytes it is mistaken about where its recovery ended, or nothing if it does not tell [A96].
        self.seed_lsn_error: int | None = 0
        # Whether a restored copy of MariaDB has the binary logs of its source [A112].
        self.copies_keep_binlogs = True
        self.publish_metrics = True
        # "You can have up to 20 DB snapshot copies in progress at a time" (RDS User Guide, "Copying a DB snapshot").
        self.copies_at_a_time = 20
        self.throttle.limit = None
        # "postgres 13.7", and "postgres 11" for majors past the end of their standard support.
        self.retired_versions: list[str] = []
        self.majors_past_support: list[str] = []
        # See iam/tags.py.
        self.tag_delay_seconds = 180
        self.blue_green = dict(deployment.PLAYS)
        self.dms_plays = dict(dms.PLAYS)
        # Results that tests gave operations, and the EventBridge events that RDS would have sent.
        self.replies: dict[str, Fields] = {}
        self.events: list[Fields] = []

    @property
    def mariadb(self) -> MariaDbStorage:
        """Made at its first mention: most clouds have no use for it."""
        with self._mariadb_made:
            if self._mariadb is None:
                self._mariadb = MariaDbStorage(
                    self._directory / "mariadb", parameters_of, self.authority.file, lambda: self.copies_keep_binlogs
                )
            return self._mariadb

    def storage_of(self, record: Record) -> Storage:
        """Servers of PostgreSQL for that engine, and of MariaDB, where they are asked for; files for all others."""
        if record.has_server:
            return self.mariadb
        return self.postgres if self.postgres and record.fields["Engine"] == "postgres" else self.files

    def _server_of(self, instance: Instance) -> int | None:
        """The process of its server."""
        servers = self.mariadb if instance.has_server else self.postgres
        return servers.process_id(instance) if servers else None

    def open_endpoint(self, instance: Instance) -> None:
        """Points the name's address to the instance's server, from now on."""
        storage = self.storage_of(instance)
        if socket_path := storage.socket_path(instance):
            endpoint = self.endpoints.open(
                instance.identifier,
                instance.port,
                socket_path,
                lambda: storage.admit_replication(instance),
                functools.partial(self.mariadb.certify, instance) if instance.has_server else None,
            )
        else:
            endpoint = self.endpoints.describe(instance.identifier, instance.port)
        instance.fields["Endpoint"] = endpoint

    def ensure_endpoint(self, instance: Instance) -> None:
        if not self.endpoints.is_open(instance.identifier):
            self.open_endpoint(instance)

    def close_endpoint(self, instance: Instance) -> None:
        self.endpoints.close(instance.identifier, self.storage_of(instance).socket_path(instance))

    def discard(self, record: Record) -> None:
        """Takes the record away at once, whatever it was doing, with its data."""
        script = record.script
        lifecycle.halt(self, record)
        self.records.remove(record)
        # A script that is still at work removes the data when it notices.
        if not (script and script.is_at_work()):
            self.drop(record)

    def drop(self, record: Record) -> None:
        """Ends the server and removes the data of a record that is gone."""
        if isinstance(record, Deployment):
            return
        storage = self.storage_of(record)
        if isinstance(record, Instance):
            self.close_endpoint(record)
            for instance in [*record.followers, record]:
                storage.detach(instance)
        storage.delete(record)

    def tell(self, record: Record, event_id: str, message: str) -> None:
        """Queues an EventBridge event as RDS sends it (RDS User Guide, "Amazon RDS event categories")."""
        detail_type, source_type = EVENT_SOURCES[type(record)]
        event = {
            "number": next(self._event_numbers),
            "source": "aws.rds",
            "detail-type": detail_type,
            "resources": [record.arn],
            "time": utc_now().isoformat(timespec="milliseconds"),
            "detail": {
                "EventCategories": [EVENT_CATEGORIES.get(event_id, "creation")],
                "SourceType": source_type,
                "SourceArn": record.arn,
                "Date": utc_now().isoformat(timespec="milliseconds"),
                "Message": message,
                "SourceIdentifier": record.identifier,
                "EventID": event_id,
            },
        }
        self.events.append(event)
        self.send(event)

    def reset(self) -> None:
        """Back to an empty cloud with the default settings; the time scale stays."""
        self.dms.clear()
        with self.records.lock:
            for record in self.records.all():
                self.discard(record)
            self.records.quotas = dict(DEFAULT_QUOTAS)
        self.reset_settings()

    def close(self) -> None:
        self.dms.clear()
        self.endpoints.close_all()
        if self.postgres:
            self.postgres.close()
        if self._mariadb:
            self._mariadb.close()


def parameters_of(instance: Instance) -> dict[str, str]:
    """What the instance's parameter group sets, by ModifyDBParameterGroup."""
    _, _, _, region, account, *_ = instance.arn.split(":")
    groups = rds_backends[account][region].db_parameter_groups
    # A default group is in nobody's table: it sets nothing, and nobody can change it.
    found = [groups.get(group["DBParameterGroupName"]) for group in instance.fields.get("DBParameterGroups", [])]
    return {
        name: parameter["ParameterValue"]
        for group in found
        if group
        for name, parameter in group.parameters.items()
        if parameter.get("ParameterValue") is not None
    }
