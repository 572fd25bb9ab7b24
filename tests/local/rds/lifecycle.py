"""How resources change by themselves after a request: one thread leads each change.

A *script* is a function that reads like the change does: this status, that long, then this one. The
next script of a record supersedes the one under way, whose thread then ends at its next step.
"""

from __future__ import annotations

import contextlib
import secrets
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Generic

from moto.kms.models import kms_backends

from .records import Instance, R, Record, Snapshot, utc_now
from .refusals import STORAGE_PARAMETERS

if TYPE_CHECKING:
    from .cloud import Cloud
    from .records import Fields

# AWS seconds. None of them was measured on AWS; they are of the size that small instances show.
DEFAULT_DURATIONS = {
    "create": 300,
    # "backing-up" right after the creation, where automated backups are on.
    "create_backup": 60,
    "snapshot": 180,
    # The instance itself is "backing-up" for the first part of a snapshot.
    "snapshot_backing_up": 60,
    "copy": 300,
    "restore": 420,
    # Since 2025 a baseline backup follows a restore with retention, for hours on large instances.
    "restore_backup": 120,
    # The lazy load after a restore, shown as StorageOperationStatus [A7].
    "initialize": 600,
    # After ModifyDBInstance the status stays "available" for a moment.
    "modify_delay": 5,
    "modify": 60,
    # After a change of storage the instance is "storage-optimization": for hours or a day on AWS.
    "optimize": 600,
    # ModifyDBInstance is refused for so long after monitoring was switched on [A10].
    "monitoring_settles": 120,
    # After a rename neither name is found; then the new one is "renaming", looks "available", reboots [A9].
    "rename_hidden": 20,
    "rename": 30,
    "rename_available": 10,
    "reboot": 30,
    "delete": 120,
    "stop": 60,
    "start": 120,
    # A blue/green deployment: until green has a name, its restore and first replay, CONFIGURE_BACKUPS, and for
    # how long a late green is late (see deployment.py); the phases of a switchover.
    "green_named": 30,
    "green_create": 900,
    "green_backup": 120,
    "green_late": 300,
    "switchover_guardrails": 5,
    "switchover": 20,
    "switchover_hidden": 10,
    "deployment_delete": 60,
}


class Superseded(Exception):
    """Another change of the same record has taken over."""


class Script(Generic[R]):
    """The hand on the record that a script works with."""

    def __init__(self, cloud: Cloud, record: R) -> None:
        self.cloud = cloud
        self.record = record
        self.superseded = False
        self.thread: threading.Thread | None = None

    def is_at_work(self) -> bool:
        return self.thread is not None and self.thread.is_alive()

    def join(self) -> None:
        """Waits for its end."""
        if self.thread:
            self.thread.join()

    def during(self, duration: str) -> contextlib.AbstractContextManager[None]:
        """A block that takes at least the named duration."""
        return self.cloud.clock.at_least(self.cloud.durations[duration], lambda: self.superseded)

    def sleep(self, duration: str) -> None:
        with self.during(duration):
            pass

    @contextlib.contextmanager
    def change(self) -> Iterator[R]:
        """A block that changes the record, under the lock; ends the script where it was superseded."""
        with self.cloud.records.lock:
            if self.superseded:
                raise Superseded
            yield self.record

    def become(self, status: str, **fields: Any) -> None:
        """The next status."""
        with self.change() as record:
            record.status = status
            record.fields.update(fields)


def lead(cloud: Cloud, record: R, script: Callable[..., None], *arguments: Any) -> Script[R]:
    """Starts a script for the record, in place of the one that may be under way; the hand that follows it."""
    with cloud.records.lock:
        halt(cloud, record)
        hand = record.script = Script(cloud, record)
    hand.thread = threading.Thread(
        target=_follow, args=(hand, script, arguments), daemon=True, name=f"{script.__name__} {record.identifier}"
    )
    hand.thread.start()
    return hand


def halt(cloud: Cloud, record: Record) -> None:
    """Ends the script under way, so that the record stays as it is."""
    with cloud.records.lock:
        if record.script:
            record.script.superseded = True
            record.script = None
            cloud.clock.wake()


def _follow(hand: Script[Any], script: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    try:
        script(hand, *arguments)
    except Superseded:
        pass
    except Exception:
        traceback.print_exc(file=sys.stderr)
        with hand.cloud.records.lock:
            if not hand.superseded:
                hand.record.status = hand.record.BROKEN
    finally:
        # A record that went away while its data was being made leaves nothing behind. Under the lock, since
        # a rename takes the record out of the table and puts it back.
        with hand.cloud.records.lock:
            is_gone = not hand.cloud.records.holds(hand.record)
        if is_gone:
            hand.cloud.drop(hand.record)


def create_instance(hand: Script[Instance]) -> None:
    """creating → backing-up (where backups are on) → available"""
    with hand.during("create"):
        hand.cloud.storage_of(hand.record).create(hand.record)
        keep_master_password(hand.cloud, hand.record)
    _first_available(hand, "create_backup", "RDS-EVENT-0005", "DB instance created")


def restore_instance(hand: Script[Instance], snapshot: Snapshot) -> None:
    """creating → backing-up (where backups are on) → available"""
    with hand.during("restore"):
        cloud = hand.cloud
        cloud.storage_of(hand.record).restore(snapshot, hand.record, cloud.copies_keep_slots, cloud.seed_lsn_error)
        keep_master_password(hand.cloud, hand.record)
    hand.record.initialize_start = hand.cloud.clock.now()
    _first_available(hand, "restore_backup", "RDS-EVENT-0043", "Restored from snapshot " + snapshot.identifier)


def _first_available(hand: Script[Instance], backup_duration: str, event: str, message: str) -> None:
    backs_up = hand.record.fields.get("BackupRetentionPeriod", 0) > 0
    # The instance serves clients while it is backed up, and whoever sees the status finds the endpoint.
    hand.cloud.open_endpoint(hand.record)
    hand.become("backing-up" if backs_up else "available", InstanceCreateTime=utc_now())
    hand.cloud.tell(hand.record, event, message)
    if backs_up:
        hand.sleep(backup_duration)
        hand.become("available", LatestRestorableTime=utc_now())


def back_up_instance(hand: Script[Instance]) -> None:
    """The instance's side of a manual snapshot: backing-up → available"""
    hand.sleep("snapshot_backing_up")
    hand.become("available")


def create_snapshot(hand: Script[Snapshot], instance: Instance) -> None:
    """creating → available"""
    hand.record.fields["SnapshotDatabaseTime"] = utc_now()
    with hand.during("snapshot"):
        hand.cloud.storage_of(instance).snapshot(instance, hand.record)
    hand.become("available", PercentProgress=100)
    hand.cloud.tell(hand.record, "RDS-EVENT-0042", "Manual snapshot created")


def copy_snapshot(hand: Script[Snapshot], source: Snapshot) -> None:
    """creating → available"""
    with hand.during("copy"):
        hand.cloud.storage_of(source).copy(source, hand.record)
    hand.become("available", PercentProgress=100)
    hand.cloud.tell(hand.record, "RDS-EVENT-0197", "DB snapshot copied")


def modify_instance(hand: Script[Instance]) -> None:
    """available for a moment → modifying → storage-optimization (after a change of storage) → available, changed"""
    hand.sleep("modify_delay")
    resets_password = set(hand.record.applying) == {"MasterUserPassword"}
    hand.become("resetting-master-credentials" if resets_password else "modifying")
    had_backups = hand.record.fields.get("BackupRetentionPeriod", 0) > 0
    changes_storage = bool(STORAGE_PARAMETERS & set(hand.record.applying))
    with hand.during("modify"):
        apply_changes(hand.cloud, hand.record)
    if not had_backups and hand.record.fields.get("BackupRetentionPeriod", 0) > 0:
        # Switching automated backups on takes the first one (RDS User Guide, "Enabling automated backups").
        hand.become("backing-up")
        hand.sleep("restore_backup")
    # It may have taken over from a rename, whose reboot would have opened the new name.
    hand.cloud.ensure_endpoint(hand.record)
    if changes_storage:
        hand.become("storage-optimization")
        hand.sleep("optimize")
    hand.become("available")


def apply_changes(cloud: Cloud, instance: Instance) -> None:
    """Gives the changes under way to the fields and to the database."""
    with cloud.records.lock:
        changes, instance.applying = instance.applying, {}
        for change in changes.values():
            instance.fields |= change.fields
        for group in instance.fields["DBParameterGroups"]:
            if group["ParameterApplyStatus"] == "applying":
                group["ParameterApplyStatus"] = "pending-reboot"
    if "MasterUserPassword" in changes:
        instance.master_password = changes["MasterUserPassword"].value
        cloud.storage_of(instance).set_password(instance, instance.master_password)
    keep_master_password(cloud, instance)
    if "DBPortNumber" in changes:
        instance.port = changes["DBPortNumber"].value
        cloud.open_endpoint(instance)


def keep_master_password(cloud: Cloud, instance: Instance) -> None:
    """Once for each secret: a password of RDS's own, which nobody finds but there. Rotation is not imitated."""
    secret = instance.fields.get("MasterUserSecret")
    if not secret or secret["SecretArn"] == instance.kept_secret:
        return
    instance.kept_secret, instance.master_password = secret["SecretArn"], secrets.token_urlsafe()
    cloud.storage_of(instance).set_password(instance, instance.master_password)
    key = kms_backends[cloud.account_id][cloud.region].describe_key(secret["KmsKeyId"])
    cloud.keep_secret(
        secret["SecretArn"].split(":")[-1],
        None if key.key_manager == "AWS" else key.arn,
        instance.fields["MasterUsername"],
        instance.master_password,
    )


def rename_instance(hand: Script[Instance], old_identifier: str) -> None:
    """neither name found → renaming → available for a moment → rebooting → available

    RDS User Guide 2023, "Renaming a DB instance": the old DNS name is deleted at once, the new one
    works after a while, and the instance reboots. The request has already given the record its new name.
    """
    hand.cloud.endpoints.close(old_identifier, hand.cloud.storage_of(hand.record).socket_path(hand.record))
    hand.sleep("rename_hidden")
    hand.become("renaming")
    hand.record.hidden = False
    hand.sleep("rename")
    hand.become("available")
    hand.sleep("rename_available")
    reboot_instance(hand)


def reboot_instance(hand: Script[Instance]) -> None:
    """rebooting → available; parameter groups are in-sync after it"""
    hand.become("rebooting")
    hand.cloud.close_endpoint(hand.record)
    with hand.during("reboot"):
        hand.cloud.storage_of(hand.record).stop(hand.record)
        hand.cloud.storage_of(hand.record).start(hand.record)
        # "applied on the next call to RebootDBInstance" (API model, ApplyImmediately); a rename is not.
        with hand.cloud.records.lock:
            waiting = set(hand.record.pending) - {"NewDBInstanceIdentifier"}
            hand.record.applying |= {name: hand.record.pending.pop(name) for name in waiting}
        apply_changes(hand.cloud, hand.record)
    hand.cloud.open_endpoint(hand.record)
    # With the status: a reboot that something else supersedes brings nothing into force.
    in_sync = [group | {"ParameterApplyStatus": "in-sync"} for group in hand.record.fields["DBParameterGroups"]]
    hand.become("available", DBParameterGroups=in_sync)


def stop_instance(hand: Script[Instance]) -> None:
    """stopping → stopped"""
    hand.become("stopping")
    hand.cloud.close_endpoint(hand.record)
    with hand.during("stop"):
        hand.cloud.storage_of(hand.record).stop(hand.record)
    hand.become("stopped")


def start_instance(hand: Script[Instance]) -> None:
    """starting → available"""
    hand.become("starting")
    with hand.during("start"):
        hand.cloud.storage_of(hand.record).start(hand.record)
    hand.cloud.open_endpoint(hand.record)
    hand.become("available")


def delete_instance(hand: Script[Instance], final_snapshot: Snapshot | None) -> None:
    """deleting → gone, after the final snapshot where one is asked for"""
    if final_snapshot and final_snapshot.script:
        final_snapshot.script.join()
    hand.cloud.close_endpoint(hand.record)
    with hand.during("delete"):
        hand.cloud.storage_of(hand.record).stop(hand.record)
    with hand.cloud.records.lock:
        if hand.superseded:
            raise Superseded
        hand.cloud.records.remove(hand.record)
    hand.cloud.tell(hand.record, "RDS-EVENT-0003", "DB instance deleted")


# PercentProgress of a snapshot under way, from the share of its time that has passed. AWS gives no
# promise about it; all of these have been seen or reported.
PROGRESS_SHAPES: dict[str, Callable[[float], int | None]] = {
    "linear": lambda share: int(100 * share),
    "stalled": lambda _: 0,
    "stuck": lambda share: min(99, int(300 * share)),
    "falling": lambda share: int(160 * share) if share < 0.5 else int(100 * (share - 0.2)),
    "absent": lambda _: None,
}


def describe(cloud: Cloud, record: Record) -> Fields:
    """The record's fields as a describe call shows them now: with what passing time changes."""
    if isinstance(record, Instance):
        pending = {
            name: value
            for change in [*record.pending.values(), *record.applying.values()]
            for name, value in change.shown.items()
        }
        return (
            record.fields | {"PendingModifiedValues": pending} | _initialization(cloud, record) | _replication(record)
        )
    return record.fields | (_progress(cloud, record) if isinstance(record, Snapshot) else {})


def _replication(instance: Instance) -> Fields:
    """Who is a replica of whom, by the names of now."""
    shown: Fields = {}
    if replicas := [follower.identifier for follower in instance.followers if follower.follows_openly]:
        shown["ReadReplicaDBInstanceIdentifiers"] = [
            *instance.fields.get("ReadReplicaDBInstanceIdentifiers", []),
            *replicas,
        ]
    if instance.follows and instance.follows_openly:
        shown["ReadReplicaSourceDBInstanceIdentifier"] = instance.follows.identifier
        shown["StatusInfos"] = [{"StatusType": "read replication", "Status": "replicating", "Normal": True}]
    return shown


def _initialization(cloud: Cloud, instance: Instance) -> Fields:
    """The lazy load: StorageOperationStatus is present only while it runs (API model)."""
    if instance.initialize_start is None or instance.status == "creating":
        return {}
    share = _share(cloud, instance.initialize_start, "initialize")
    return (
        {"StorageOperationStatus": "Initializing", "StorageOperationPercentProgress": int(100 * share)}
        if share < 1
        else {}
    )


def _progress(cloud: Cloud, snapshot: Snapshot) -> Fields:
    if snapshot.status != "creating" or snapshot.progress_start is None or snapshot.progress_duration is None:
        return {}
    share = _share(cloud, snapshot.progress_start, snapshot.progress_duration)
    return {"PercentProgress": PROGRESS_SHAPES[cloud.progress_shape](share)}


def _share(cloud: Cloud, start: float, duration: str) -> float:
    """How much of the duration has passed, from 0 to 1; a slow database server may need longer."""
    return min(1, (cloud.clock.now() - start) / (cloud.durations[duration] or 1))
