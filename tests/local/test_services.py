"""Tests of the local cloud's AWS services, through boto3 and the control API, as their users see them."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import unittest.mock
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, EndpointConnectionError, ReadTimeoutError

from ledger import PSQL
from rds.network import processes_with_connection

if TYPE_CHECKING:
    from rds.records import Fields

SERVICES = Path(__file__).parent / "services.py"
CLOUD_ID = "test-cloud"
# Slow enough that a status can be seen, fast enough that a restore takes half a second.
TIME_SCALE = 0.001


class Service:
    """A running services.py and clients for it."""

    def __init__(self, storage: str = "files", time_scale: float = TIME_SCALE, **options: object) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="rds-encrypt-test-"))
        # Root's PostgreSQL servers run as another user, who must be able to walk in.
        self.directory.chmod(0o711)
        command = [
            sys.executable,
            SERVICES,
            "--port",
            "0",
            "--time-scale",
            str(time_scale),
            "--data-dir",
            self.directory / "data",
            "--storage",
            storage,
            "--cloud-id",
            CLOUD_ID,
        ]
        for name, value in options.items():
            command += [f"--{name.replace('_', '-')}", value]
        self.process = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, text=True)

    @functools.cached_property
    def url(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().split()[-1]

    def client(self, service: str = "rds", app_id: str | None = None, **config: Any) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="123456789012",
            aws_secret_access_key="local",
            config=Config(user_agent_appid=app_id, **({"retries": {"total_max_attempts": 1}} | config)),
        )

    def control(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(
            f"{self.url}/local/{path}", method=method, data=None if body is None else json.dumps(body).encode()
        )
        try:
            with urllib.request.urlopen(request) as reply:
                return json.load(reply)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.read().decode()}") from None

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)
        if self.process.stdout:
            self.process.stdout.close()
        shutil.rmtree(self.directory, ignore_errors=True)


_services: dict[str, Service] = {}


def tearDownModule() -> None:
    while _services:
        _services.popitem()[1].stop()


class ServiceTest(unittest.TestCase):
    """Gives every test an emptied service; one is started for each kind of storage."""

    storage = "files"
    service: Service
    # Clients of boto3.
    rds: Any
    kms: Any

    @classmethod
    def setUpClass(cls) -> None:
        if cls.storage not in _services:
            _services[cls.storage] = Service(cls.storage)
        cls.service = _services[cls.storage]
        cls.rds = cls.service.client()
        cls.kms = cls.service.client("kms")

    def setUp(self) -> None:
        self.control("POST", "reset", {})

    def control(self, method: str, path: str, body: Any = None) -> Any:
        return self.service.control(method, path, body)

    def seed(self, identifier: str = "source", **fields: Any) -> Any:
        return self.control("PUT", f"instances/{identifier}", {"fields": fields})["fields"]

    def set_durations(self, **durations: float) -> None:
        self.control("PATCH", "settings", {"durations": durations})

    def instance(self, identifier: str) -> Any:
        return self.rds.describe_db_instances(DBInstanceIdentifier=identifier)["DBInstances"][0]

    def snapshot(self, identifier: str) -> Any:
        return self.rds.describe_db_snapshots(DBSnapshotIdentifier=identifier)["DBSnapshots"][0]

    def statuses(self, look: Callable[[], Any], until: Any = "available") -> list[Any]:
        """The statuses that come one after another, up to the one waited for."""
        seen: list[Any] = []
        deadline = time.monotonic() + 20
        while until not in seen[-1:]:
            self.assertLess(time.monotonic(), deadline, f"still {seen}")
            status = look()
            if seen[-1:] != [status]:
                seen.append(status)
            time.sleep(0.005)
        return seen

    def wait_for(self, condition: Callable[[], Any]) -> None:
        deadline = time.monotonic() + 20
        while not condition():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)

    def instance_statuses(self, identifier: str, until: str = "available") -> list[str]:
        return self.statuses(lambda: self.instance(identifier)["DBInstanceStatus"], until)

    def snapshot_statuses(self, identifier: str, until: str = "available") -> list[str]:
        return self.statuses(lambda: self.snapshot(identifier)["Status"], until)

    def available_snapshot(self, identifier: str = "snapshot", source: str = "source", **parameters: Any) -> None:
        self.instance_statuses(source)
        self.rds.create_db_snapshot(DBSnapshotIdentifier=identifier, DBInstanceIdentifier=source, **parameters)
        self.snapshot_statuses(identifier)
        self.instance_statuses(source)

    def restored(self, identifier: str = "target", snapshot: str = "snapshot", **parameters: Any) -> Any:
        self.rds.restore_db_instance_from_db_snapshot(
            DBInstanceIdentifier=identifier, DBSnapshotIdentifier=snapshot, **parameters
        )
        self.instance_statuses(identifier)
        return self.instance(identifier)

    def refused(self, code: str, call: Callable[..., Any], **parameters: Any) -> Any:
        with self.assertRaises(ClientError) as caught:
            call(**parameters)
        self.assertEqual(caught.exception.response["Error"]["Code"], code)
        return caught.exception.response

    def is_found(self, identifier: str) -> bool:
        return not self.not_found(identifier)

    def not_found(self, identifier: str) -> Any:
        try:
            self.instance(identifier)
        except ClientError as error:
            return error.response["Error"]["Code"] == "DBInstanceNotFound"
        return False


class LifeCycle(ServiceTest):
    def create(self, identifier: str = "made", **parameters: Any) -> Any:
        return self.rds.create_db_instance(
            **{
                "DBInstanceIdentifier": identifier,
                "Engine": "postgres",
                "DBInstanceClass": "db.t3.micro",
                "AllocatedStorage": 20,
                "MasterUsername": "master",
                "MasterUserPassword": "password-1",
            }
            | parameters
        )["DBInstance"]

    def test_a_created_instance_is_unencrypted_and_backed_up_before_it_is_available(self) -> None:
        self.set_durations(create=500, create_backup=500)
        made = self.create("Made")
        self.assertEqual(
            (made["DBInstanceIdentifier"], made["StorageEncrypted"], made["StorageEncryptionType"]),
            ("made", False, "none"),
        )
        self.assertNotIn("Endpoint", made)
        self.assertEqual(self.instance_statuses("made"), ["creating", "backing-up", "available"])
        self.assertIn("Endpoint", self.instance("made"))

    def test_an_instance_without_retention_is_not_backed_up(self) -> None:
        self.set_durations(create=2000)
        self.create(BackupRetentionPeriod=0)
        self.assertEqual(self.instance_statuses("made"), ["creating", "available"])

    def test_a_snapshot_backs_the_instance_up_and_progresses(self) -> None:
        self.seed()
        self.set_durations(snapshot=2500, snapshot_backing_up=1500)
        self.rds.create_db_snapshot(DBSnapshotIdentifier="Snapshot", DBInstanceIdentifier="source")
        self.assertEqual(self.instance("source")["DBInstanceStatus"], "backing-up")
        progress = []
        while (shown := self.snapshot("snapshot"))["Status"] == "creating":
            progress.append(shown["PercentProgress"])
        self.assertEqual(progress, sorted(progress))
        self.assertGreater(len(set(progress)), 3)
        self.assertEqual(shown["PercentProgress"], 100)
        self.assertEqual(self.instance("source")["DBInstanceStatus"], "available")

    def test_progress_takes_every_shape(self) -> None:
        self.seed()
        self.set_durations(snapshot=1000, snapshot_backing_up=1)
        seen: dict[str, Any] = {}
        for shape in ("stalled", "stuck", "falling", "absent"):
            self.control("PATCH", "settings", {"progress_shape": shape})
            self.instance_statuses("source")
            self.rds.create_db_snapshot(DBSnapshotIdentifier=shape, DBInstanceIdentifier="source")
            seen[shape] = []
            while (shown := self.snapshot(shape))["Status"] == "creating":
                seen[shape].append(shown.get("PercentProgress"))
        self.assertEqual(set(seen["stalled"]), {0})
        self.assertEqual(seen["stuck"][-1], 99)
        self.assertNotEqual(seen["falling"], sorted(seen["falling"]))
        self.assertEqual(set(seen["absent"]), {None})

    def test_the_time_scale_can_change_while_something_runs(self) -> None:
        self.seed()
        self.control("PATCH", "settings", {"time_scale": 1000})
        self.addCleanup(self.control, "PATCH", "settings", {"time_scale": TIME_SCALE})
        self.rds.create_db_snapshot(DBSnapshotIdentifier="snapshot", DBInstanceIdentifier="source")
        self.assertEqual(self.snapshot("snapshot")["Status"], "creating")
        self.control("PATCH", "settings", {"time_scale": TIME_SCALE})
        self.snapshot_statuses("snapshot")

    def test_a_deleted_instance_goes_through_deleting_to_not_found(self) -> None:
        self.seed()
        self.set_durations(delete=1000)
        deleted = self.rds.delete_db_instance(
            DBInstanceIdentifier="source", SkipFinalSnapshot=True, DeleteAutomatedBackups=True
        )
        self.assertEqual(deleted["DBInstance"]["DBInstanceStatus"], "deleting")
        self.refused(
            "InvalidDBInstanceState", self.rds.delete_db_instance, DBInstanceIdentifier="source", SkipFinalSnapshot=True
        )
        self.wait_for(lambda: self.not_found("source"))

    def test_a_final_snapshot_holds_the_data_of_the_deleted_instance(self) -> None:
        self.seed()
        data = self.control("GET", "instances/source")["data"]
        self.rds.delete_db_instance(DBInstanceIdentifier="source", FinalDBSnapshotIdentifier="final")
        self.snapshot_statuses("final")
        self.assertEqual(self.control("GET", "snapshots/final")["data"], data)

    def test_deletion_protection_and_a_missing_choice_of_the_final_snapshot_refuse_a_delete(self) -> None:
        self.seed(DeletionProtection=True)
        self.refused(
            "InvalidParameterCombination",
            self.rds.delete_db_instance,
            DBInstanceIdentifier="source",
            SkipFinalSnapshot=True,
        )
        self.rds.modify_db_instance(DBInstanceIdentifier="source", DeletionProtection=False)
        self.refused("InvalidParameterCombination", self.rds.delete_db_instance, DBInstanceIdentifier="source")
        self.instance_statuses("source")
        self.rds.delete_db_instance(DBInstanceIdentifier="source", SkipFinalSnapshot=True)

    def test_an_instance_stops_and_starts(self) -> None:
        self.seed()
        self.set_durations(stop=500, start=500)
        self.rds.stop_db_instance(DBInstanceIdentifier="source")
        self.assertEqual(self.instance_statuses("source", "stopped"), ["stopping", "stopped"])
        self.refused(
            "InvalidDBInstanceState",
            self.rds.create_db_snapshot,
            DBSnapshotIdentifier="snapshot",
            DBInstanceIdentifier="source",
        )
        self.rds.start_db_instance(DBInstanceIdentifier="source")
        self.assertEqual(self.instance_statuses("source"), ["starting", "available"])

    def test_events_tell_of_creation_snapshot_copy_restore_and_deletion(self) -> None:
        self.seed()
        self.available_snapshot()
        self.rds.copy_db_snapshot(SourceDBSnapshotIdentifier="snapshot", TargetDBSnapshotIdentifier="copy")
        self.snapshot_statuses("copy")
        self.restored(snapshot="copy")
        self.rds.delete_db_instance(DBInstanceIdentifier="target", SkipFinalSnapshot=True)
        self.wait_for(lambda: self.not_found("target"))
        time.sleep(0.1)
        events = self.control("GET", "events")
        self.assertEqual(
            [event["detail"]["EventID"] for event in events],
            ["RDS-EVENT-0042", "RDS-EVENT-0197", "RDS-EVENT-0043", "RDS-EVENT-0003"],
        )
        self.assertEqual(events[0]["detail-type"], "RDS DB Snapshot Event")
        self.assertEqual(self.control("GET", f"events?after={events[1]['number']}"), events[2:])


class Rename(ServiceTest):
    def rename(self, old: str, new: str) -> Any:
        return self.rds.modify_db_instance(
            DBInstanceIdentifier=old, NewDBInstanceIdentifier=new, ApplyImmediately=True
        )["DBInstance"]

    def test_the_old_name_is_not_found_at_once_and_the_new_one_comes_later_and_reboots(self) -> None:
        seeded = self.seed()
        self.set_durations(rename_hidden=1000, rename=500, rename_available=500, reboot=500)
        self.assertEqual(self.rename("source", "Renamed")["PendingModifiedValues"], {"DBInstanceIdentifier": "renamed"})
        self.assertTrue(self.not_found("source"))
        self.assertTrue(self.not_found("renamed"))
        self.assertEqual(self.rds.describe_db_instances()["DBInstances"], [])
        self.refused(
            "DBInstanceAlreadyExists",
            self.rds.restore_db_instance_from_db_snapshot,
            DBInstanceIdentifier="renamed",
            DBSnapshotIdentifier="x",
        )
        self.wait_for(lambda: not self.not_found("renamed"))
        # The `available` in the middle is the trap: it has not rebooted yet.
        seen = self.statuses(
            lambda: self.instance("renamed")["DBInstanceStatus"], "rebooting"
        ) + self.instance_statuses("renamed")
        self.assertEqual([status for status in seen if status != "rebooting"], ["renaming", "available", "available"])
        renamed = self.instance("renamed")
        self.assertEqual(renamed["DbiResourceId"], seeded["DbiResourceId"])
        self.assertTrue(renamed["DBInstanceArn"].endswith(":db:renamed"))
        self.assertNotEqual(renamed["Endpoint"]["Address"], seeded["Endpoint"]["Address"])

    def test_a_rename_onto_a_present_name_is_refused(self) -> None:
        self.seed("source")
        other = self.seed("other")
        self.refused(
            "DBInstanceAlreadyExists",
            self.rds.modify_db_instance,
            DBInstanceIdentifier="source",
            NewDBInstanceIdentifier="other",
            ApplyImmediately=True,
        )
        self.assertEqual(self.instance("other")["DbiResourceId"], other["DbiResourceId"])

    def test_a_rename_that_is_not_immediate_waits_for_the_maintenance_window(self) -> None:
        self.seed()
        self.rds.modify_db_instance(DBInstanceIdentifier="source", NewDBInstanceIdentifier="renamed")
        self.assertEqual(self.instance("source")["PendingModifiedValues"], {"DBInstanceIdentifier": "renamed"})
        self.control("POST", "instances/source/maintenance", {})
        self.wait_for(lambda: not self.not_found("renamed"))
        self.assertTrue(self.not_found("source"))

    def test_two_names_can_be_swapped_and_each_keeps_its_address(self) -> None:
        self.set_durations(reboot=500, rename_available=1)
        source, target = self.seed("source"), self.seed("target")
        for old, new in (("source", "source-unencrypted"), ("target", "source")):
            self.rename(old, new)
            self.wait_for(functools.partial(self.is_found, new))
            self.instance_statuses(new, "rebooting")
            self.instance_statuses(new)
        swapped = self.instance("source")
        self.assertEqual(swapped["DbiResourceId"], target["DbiResourceId"])
        self.assertEqual(swapped["Endpoint"]["Address"], source["Endpoint"]["Address"])


class Modify(ServiceTest):
    def modify(self, **parameters: Any) -> Any:
        self.set_durations(modify_delay=200, modify=500)
        return self.rds.modify_db_instance(DBInstanceIdentifier="source", **parameters)["DBInstance"]

    def test_changes_wait_for_the_window_unless_immediate(self) -> None:
        self.seed()
        self.modify(DBInstanceClass="db.m5.large")
        shown = self.instance("source")
        self.assertEqual(
            (shown["DBInstanceClass"], shown["PendingModifiedValues"], shown["DBInstanceStatus"]),
            ("db.t3.micro", {"DBInstanceClass": "db.m5.large"}, "available"),
        )
        # ApplyImmediately applies what was waiting too (API model).
        self.modify(MultiAZ=True, ApplyImmediately=True)
        self.instance_statuses("source", "modifying")
        self.instance_statuses("source")
        shown = self.instance("source")
        self.assertEqual(
            (shown["DBInstanceClass"], shown["MultiAZ"], shown["PendingModifiedValues"]), ("db.m5.large", True, {})
        )

    def test_the_status_stays_available_for_a_moment_after_a_change(self) -> None:
        self.seed()
        self.modify(MultiAZ=True, ApplyImmediately=True)
        self.assertEqual(self.instance_statuses("source", "modifying"), ["available", "modifying"])

    def test_some_settings_apply_at_once(self) -> None:
        self.seed()
        self.modify(
            CopyTagsToSnapshot=True,
            DeletionProtection=True,
            MonitoringInterval=60,
            MonitoringRoleArn="arn:aws:iam::123456789012:role/monitoring",
        )
        shown = self.instance("source")
        self.assertTrue(shown["CopyTagsToSnapshot"] and shown["DeletionProtection"])
        self.assertEqual(shown["MonitoringInterval"], 60)

    def test_a_parameter_group_needs_a_reboot(self) -> None:
        self.seed()
        self.rds.create_db_parameter_group(
            DBParameterGroupName="custom", DBParameterGroupFamily="postgres16", Description="custom"
        )
        self.refused(
            "DBParameterGroupNotFound",
            self.rds.modify_db_instance,
            DBInstanceIdentifier="source",
            DBParameterGroupName="absent",
        )
        self.modify(DBParameterGroupName="custom")
        self.assertEqual(
            self.instance("source")["DBParameterGroups"],
            [{"DBParameterGroupName": "custom", "ParameterApplyStatus": "applying"}],
        )
        self.instance_statuses("source", "modifying")
        self.instance_statuses("source")
        self.assertEqual(self.instance("source")["DBParameterGroups"][0]["ParameterApplyStatus"], "pending-reboot")
        self.set_durations(reboot=500)
        self.rds.reboot_db_instance(DBInstanceIdentifier="source")
        self.assertEqual(self.instance_statuses("source"), ["rebooting", "available"])
        self.assertEqual(self.instance("source")["DBParameterGroups"][0]["ParameterApplyStatus"], "in-sync")

    def test_switching_backups_on_takes_one(self) -> None:
        self.seed(BackupRetentionPeriod=0)
        self.set_durations(restore_backup=500)
        self.modify(BackupRetentionPeriod=7, ApplyImmediately=True)
        self.assertIn("backing-up", self.instance_statuses("source", "backing-up"))
        self.instance_statuses("source")
        self.assertEqual(self.instance("source")["BackupRetentionPeriod"], 7)

    def test_a_password_is_applied_soon_and_never_shown(self) -> None:
        self.seed()
        self.assertEqual(
            self.modify(MasterUserPassword="another-password")["PendingModifiedValues"], {"MasterUserPassword": "****"}
        )
        self.instance_statuses("source", "resetting-master-credentials")
        self.instance_statuses("source")
        self.assertNotIn("another-password", json.dumps(self.control("GET", "calls")))

    def test_gp3_takes_no_provisioning_below_its_threshold(self) -> None:
        for engine, size, refused in (
            ("postgres", 399, True),
            ("postgres", 400, False),
            ("oracle-ee", 199, True),
            ("oracle-ee", 200, False),
            ("sqlserver-se", 20, False),
        ):
            with self.subTest(engine=engine, size=size):
                self.control("POST", "reset", {})
                self.seed(Engine=engine, AllocatedStorage=size)
                parameters = {
                    "DBInstanceIdentifier": "source",
                    "Iops": 12000,
                    "StorageThroughput": 500,
                    "ApplyImmediately": True,
                }
                if refused:
                    self.refused("InvalidParameterCombination", self.rds.modify_db_instance, **parameters)
                else:
                    self.rds.modify_db_instance(**parameters)

    def test_a_managed_password_gets_a_secret_of_its_own(self) -> None:
        self.seed()
        self.modify(ManageMasterUserPassword=True)
        self.wait_for(lambda: "MasterUserSecret" in self.instance("source"))
        secret = self.instance("source")["MasterUserSecret"]
        self.assertEqual(secret["SecretStatus"], "active")
        self.assertIn(":secret:rds!db-", secret["SecretArn"])
        self.assertEqual(self.kms.describe_key(KeyId=secret["KmsKeyId"])["KeyMetadata"]["KeyManager"], "AWS")
        key = self.kms.create_key()["KeyMetadata"]["Arn"]
        self.seed("other")
        self.rds.modify_db_instance(
            DBInstanceIdentifier="other",
            ManageMasterUserPassword=True,
            MasterUserSecretKmsKeyId=key,
            ApplyImmediately=True,
        )
        self.wait_for(lambda: "MasterUserSecret" in self.instance("other"))
        self.assertEqual(self.instance("other")["MasterUserSecret"]["KmsKeyId"], key)

    def test_a_busy_instance_takes_no_changes(self) -> None:
        for status in ("creating", "backing-up", "modifying", "rebooting", "stopped", "deleting", "failed"):
            with self.subTest(status=status):
                self.control("POST", "reset", {})
                self.seed(DBInstanceStatus=status)
                for call, parameters in (
                    (self.rds.modify_db_instance, {"MultiAZ": True}),
                    (self.rds.reboot_db_instance, {}),
                    (self.rds.create_db_snapshot, {"DBSnapshotIdentifier": "snapshot"}),
                    (
                        self.rds.add_role_to_db_instance,
                        {"RoleArn": "arn:aws:iam::123456789012:role/r", "FeatureName": "s3Import"},
                    ),
                ):
                    self.refused("InvalidDBInstanceState", call, DBInstanceIdentifier="source", **parameters)

    def test_roles_are_added_once_and_removed(self) -> None:
        self.seed()
        role = {
            "DBInstanceIdentifier": "source",
            "RoleArn": "arn:aws:iam::123456789012:role/r",
            "FeatureName": "s3Import",
        }
        self.rds.add_role_to_db_instance(**role)
        self.assertEqual(self.instance("source")["AssociatedRoles"][0]["FeatureName"], "s3Import")
        self.refused("DBInstanceRoleAlreadyExists", self.rds.add_role_to_db_instance, **role)
        self.rds.remove_role_from_db_instance(**role)
        self.refused("DBInstanceRoleNotFound", self.rds.remove_role_from_db_instance, **role)


class Snapshots(ServiceTest):
    def test_a_copy_with_a_key_is_encrypted_and_names_its_source(self) -> None:
        self.seed()
        self.available_snapshot()
        key = self.kms.describe_key(KeyId="alias/aws/rds")["KeyMetadata"]
        self.assertEqual(key["KeyManager"], "AWS")
        self.set_durations(copy=500)
        self.rds.copy_db_snapshot(
            SourceDBSnapshotIdentifier="snapshot", TargetDBSnapshotIdentifier="copy", KmsKeyId="alias/aws/rds"
        )
        self.assertEqual(self.snapshot_statuses("copy"), ["creating", "available"])
        source, copy = self.snapshot("snapshot"), self.snapshot("copy")
        self.assertEqual(
            (source["Encrypted"], copy["Encrypted"], copy["StorageEncryptionType"], copy["KmsKeyId"]),
            (False, True, "sse-kms", key["Arn"]),
        )
        self.assertEqual(copy["SourceDBSnapshotIdentifier"], source["DBSnapshotArn"])
        self.assertEqual(copy["SnapshotDatabaseTime"], source["SnapshotDatabaseTime"])
        self.assertLess(source["SnapshotCreateTime"], copy["SnapshotCreateTime"])

    def test_the_data_travels_as_of_the_snapshot(self) -> None:
        self.seed()
        self.control("PUT", "instances/source/data", {"data": "first"})
        self.available_snapshot()
        self.control("PUT", "instances/source/data", {"data": "second"})
        self.rds.copy_db_snapshot(SourceDBSnapshotIdentifier="snapshot", TargetDBSnapshotIdentifier="copy")
        self.snapshot_statuses("copy")
        self.restored(snapshot="copy")
        self.assertEqual(self.control("GET", "instances/target")["data"], "first")

    def test_a_key_that_cannot_encrypt_is_refused(self) -> None:
        self.seed()
        self.available_snapshot()
        disabled = self.kms.create_key()["KeyMetadata"]["KeyId"]
        self.kms.disable_key(KeyId=disabled)
        doomed = self.kms.create_key()["KeyMetadata"]["KeyId"]
        self.kms.schedule_key_deletion(KeyId=doomed)
        signing = self.kms.create_key(KeyUsage="SIGN_VERIFY", KeySpec="RSA_2048")["KeyMetadata"]["KeyId"]
        elsewhere = "arn:aws:kms:eu-west-1:123456789012:key/" + disabled
        for key in (disabled, doomed, signing, elsewhere, "alias/absent", "00000000-0000-0000-0000-000000000000"):
            with self.subTest(key=key):
                self.refused(
                    "KMSKeyNotAccessibleFault",
                    self.rds.copy_db_snapshot,
                    SourceDBSnapshotIdentifier="snapshot",
                    TargetDBSnapshotIdentifier="copy",
                    KmsKeyId=key,
                )

    def test_a_lost_key_refuses_the_restore(self) -> None:
        self.seed()
        self.available_snapshot()
        key = self.kms.create_key()["KeyMetadata"]["KeyId"]
        self.rds.copy_db_snapshot(
            SourceDBSnapshotIdentifier="snapshot", TargetDBSnapshotIdentifier="copy", KmsKeyId=key
        )
        self.snapshot_statuses("copy")
        self.kms.disable_key(KeyId=key)
        self.refused(
            "KMSKeyNotAccessibleFault",
            self.rds.restore_db_instance_from_db_snapshot,
            DBInstanceIdentifier="target",
            DBSnapshotIdentifier="copy",
        )

    def test_an_unfinished_snapshot_is_neither_copied_nor_restored_nor_deleted(self) -> None:
        self.seed()
        self.set_durations(snapshot=100_000)
        self.rds.create_db_snapshot(DBSnapshotIdentifier="snapshot", DBInstanceIdentifier="source")
        self.refused(
            "InvalidDBSnapshotState",
            self.rds.copy_db_snapshot,
            SourceDBSnapshotIdentifier="snapshot",
            TargetDBSnapshotIdentifier="copy",
        )
        self.refused(
            "InvalidDBSnapshotState",
            self.rds.restore_db_instance_from_db_snapshot,
            DBSnapshotIdentifier="snapshot",
            DBInstanceIdentifier="target",
        )
        self.refused("InvalidDBSnapshotState", self.rds.delete_db_snapshot, DBSnapshotIdentifier="snapshot")

    def test_deleting_the_source_of_a_copy_ends_the_copy(self) -> None:
        self.seed()
        self.available_snapshot()
        self.set_durations(copy=100_000)
        self.rds.copy_db_snapshot(SourceDBSnapshotIdentifier="snapshot", TargetDBSnapshotIdentifier="copy")
        self.assertEqual(
            self.rds.delete_db_snapshot(DBSnapshotIdentifier="snapshot")["DBSnapshot"]["Status"], "deleted"
        )
        self.refused("DBSnapshotNotFound", self.rds.describe_db_snapshots, DBSnapshotIdentifier="snapshot")
        self.assertEqual(self.snapshot("copy")["Status"], "failed")
        self.rds.delete_db_snapshot(DBSnapshotIdentifier="copy")

    def test_names_that_are_taken_absent_or_illegal_are_refused(self) -> None:
        self.seed()
        self.available_snapshot()
        self.refused(
            "DBSnapshotAlreadyExists",
            self.rds.create_db_snapshot,
            DBSnapshotIdentifier="SNAPSHOT",
            DBInstanceIdentifier="source",
        )
        self.refused(
            "DBSnapshotAlreadyExists",
            self.rds.copy_db_snapshot,
            SourceDBSnapshotIdentifier="snapshot",
            TargetDBSnapshotIdentifier="snapshot",
        )
        self.refused(
            "DBSnapshotNotFound",
            self.rds.copy_db_snapshot,
            SourceDBSnapshotIdentifier="absent",
            TargetDBSnapshotIdentifier="copy",
        )
        self.refused(
            "DBInstanceNotFound",
            self.rds.create_db_snapshot,
            DBSnapshotIdentifier="other",
            DBInstanceIdentifier="absent",
        )
        self.refused(
            "DBInstanceAlreadyExists",
            self.rds.restore_db_instance_from_db_snapshot,
            DBInstanceIdentifier="source",
            DBSnapshotIdentifier="snapshot",
        )
        for name in ("-x", "x-", "a--b", "1a", "a_b", "a" * 256):
            with self.subTest(name=name):
                self.refused(
                    "InvalidParameterValue",
                    self.rds.create_db_snapshot,
                    DBSnapshotIdentifier=name,
                    DBInstanceIdentifier="source",
                )
        self.refused(
            "InvalidParameterValue",
            self.rds.restore_db_instance_from_db_snapshot,
            DBInstanceIdentifier="a" * 64,
            DBSnapshotIdentifier="snapshot",
        )

    def test_quotas_are_kept_and_described(self) -> None:
        self.seed(AllocatedStorage=100)
        self.available_snapshot()
        self.control("PATCH", "settings", {"quotas": {"ManualSnapshots": 1, "DBInstances": 1}})
        self.refused(
            "SnapshotQuotaExceeded",
            self.rds.create_db_snapshot,
            DBSnapshotIdentifier="second",
            DBInstanceIdentifier="source",
        )
        self.refused(
            "SnapshotQuotaExceeded",
            self.rds.copy_db_snapshot,
            SourceDBSnapshotIdentifier="snapshot",
            TargetDBSnapshotIdentifier="copy",
        )
        restore = {"DBInstanceIdentifier": "target", "DBSnapshotIdentifier": "snapshot"}
        self.refused("InstanceQuotaExceeded", self.rds.restore_db_instance_from_db_snapshot, **restore)
        self.control("PATCH", "settings", {"quotas": {"DBInstances": 2, "AllocatedStorage": 150}})
        self.refused("StorageQuotaExceeded", self.rds.restore_db_instance_from_db_snapshot, **restore)
        quotas = {
            quota["AccountQuotaName"]: (quota["Used"], quota["Max"])
            for quota in self.rds.describe_account_attributes()["AccountQuotas"]
        }
        self.assertEqual(quotas, {"DBInstances": (1, 2), "ManualSnapshots": (1, 1), "AllocatedStorage": (100, 150)})

    def test_so_many_copies_are_in_progress_at_a_time(self) -> None:
        self.seed()
        self.available_snapshot()
        self.control("PATCH", "settings", {"copies_at_a_time": 1, "durations": {"copy": 100_000}})
        self.rds.copy_db_snapshot(SourceDBSnapshotIdentifier="snapshot", TargetDBSnapshotIdentifier="first")
        second = {"SourceDBSnapshotIdentifier": "snapshot", "TargetDBSnapshotIdentifier": "second"}
        self.refused("SnapshotQuotaExceeded", self.rds.copy_db_snapshot, **second)
        self.control("PATCH", "settings", {"copies_at_a_time": 2})
        self.rds.copy_db_snapshot(**second)

    def test_calls_beyond_the_rate_are_throttled_until_the_bucket_has_refilled(self) -> None:
        self.control("PATCH", "settings", {"api_rate": {"burst": 2, "per_second": 0}})
        for _ in range(2):
            self.rds.describe_db_instances()
        self.refused("Throttling", self.rds.describe_db_instances)
        self.control("PATCH", "settings", {"api_rate": {"burst": 2, "per_second": 100_000}})
        for _ in range(5):
            self.rds.describe_db_instances()
            time.sleep(0.02)
        self.control("PATCH", "settings", {"api_rate": None})


class Tags(ServiceTest):
    USER = ({"Key": "team", "Value": "planets"},)

    def tags(self, shown: Fields) -> dict[str, str]:
        return {tag["Key"]: tag["Value"] for tag in shown["TagList"]}

    def test_a_snapshot_has_the_given_tags_and_those_of_the_instance_where_it_copies_them(self) -> None:
        for copies, expected in ((False, {"own": "1"}), (True, {"own": "1", "team": "planets"})):
            with self.subTest(copies=copies):
                self.control("POST", "reset", {})
                self.seed(TagList=self.USER, CopyTagsToSnapshot=copies)
                self.available_snapshot(Tags=[{"Key": "own", "Value": "1"}])
                self.assertEqual(self.tags(self.snapshot("snapshot")), expected)

    def test_a_copy_has_tags_only_where_asked(self) -> None:
        self.seed()
        self.available_snapshot(Tags=self.USER)
        for name, parameters, expected in (
            ("bare", {}, {}),
            ("full", {"CopyTags": True, "Tags": [{"Key": "own", "Value": "1"}]}, {"team": "planets", "own": "1"}),
        ):
            self.rds.copy_db_snapshot(
                SourceDBSnapshotIdentifier="snapshot", TargetDBSnapshotIdentifier=name, **parameters
            )
            self.assertEqual(self.tags(self.snapshot(name)), expected)

    def test_a_restore_takes_the_given_tags_or_else_the_snapshots(self) -> None:
        self.seed(TagList=[{"Key": "instance", "Value": "only"}])
        self.available_snapshot(Tags=self.USER)
        self.assertEqual(self.tags(self.restored("bare")), {"team": "planets"})
        self.assertEqual(self.tags(self.restored("given", Tags=[{"Key": "own", "Value": "1"}])), {"own": "1"})

    def test_tags_are_added_replaced_and_removed_by_arn(self) -> None:
        arn = self.seed(TagList=self.USER)["DBInstanceArn"]
        self.rds.add_tags_to_resource(
            ResourceName=arn, Tags=[{"Key": "team", "Value": "stars"}, {"Key": "more", "Value": ""}]
        )
        self.rds.remove_tags_from_resource(ResourceName=arn, TagKeys=["more"])
        self.assertEqual(
            self.rds.list_tags_for_resource(ResourceName=arn)["TagList"], [{"Key": "team", "Value": "stars"}]
        )

    def test_reserved_keys_and_more_than_fifty_tags_are_refused(self) -> None:
        arn = self.seed(TagList=[{"Key": f"k{number}", "Value": ""} for number in range(49)])["DBInstanceArn"]
        self.refused(
            "InvalidParameterValue",
            self.rds.add_tags_to_resource,
            ResourceName=arn,
            Tags=[{"Key": "aws:x", "Value": ""}],
        )
        self.refused(
            "InvalidParameterValue",
            self.rds.add_tags_to_resource,
            ResourceName=arn,
            Tags=[{"Key": "a", "Value": ""}, {"Key": "b", "Value": ""}],
        )
        self.rds.add_tags_to_resource(
            ResourceName=arn, Tags=[{"Key": "a", "Value": ""}, {"Key": "k0", "Value": "replaced"}]
        )


# Every setting of an instance at a value that a new instance does not have, by engine where engines differ.
NOT_DEFAULT: Fields = {
    "AutoMinorVersionUpgrade": False,
    "BackupRetentionPeriod": 14,
    "CACertificateIdentifier": "rds-ca-ecc384-g1",
    "CopyTagsToSnapshot": True,
    "CustomIamInstanceProfile": "AWSRDSCustomProfile",
    "CustomerOwnedIpEnabled": True,
    "DBParameterGroups": [{"DBParameterGroupName": "custom", "ParameterApplyStatus": "in-sync"}],
    "DBSubnetGroup": {"DBSubnetGroupName": "custom"},
    "DatabaseInsightsMode": "advanced",
    "DedicatedLogVolume": True,
    "DeletionProtection": True,
    "DomainMemberships": [
        {"Domain": "d-1234567890", "Status": "joined", "FQDN": "corp.example.com", "IAMRoleName": "domain"}
    ],
    "EnabledCloudwatchLogsExports": ["postgresql"],
    "EngineLifecycleSupport": "open-source-rds-extended-support-disabled",
    "IAMDatabaseAuthenticationEnabled": True,
    "MaxAllocatedStorage": 1000,
    "MonitoringInterval": 60,
    "MonitoringRoleArn": "arn:aws:iam::123456789012:role/monitoring",
    "MultiAZ": True,
    "NetworkType": "DUAL",
    "OptionGroupMemberships": [{"OptionGroupName": "custom", "Status": "in-sync"}],
    "PerformanceInsightsEnabled": True,
    "PerformanceInsightsRetentionPeriod": 731,
    "PreferredBackupWindow": "03:07-03:37",
    "PreferredMaintenanceWindow": "sun:05:11-sun:05:41",
    "ProcessorFeatures": [{"Name": "coreCount", "Value": "2"}],
    "PubliclyAccessible": False,
    "StorageType": "io1",
    "Iops": 4000,
    "VpcSecurityGroups": [
        {"VpcSecurityGroupId": "sg-1", "Status": "active"},
        {"VpcSecurityGroupId": "sg-2", "Status": "active"},
    ],
    "AssociatedRoles": [
        {"RoleArn": "arn:aws:iam::123456789012:role/s3", "FeatureName": "s3Import", "Status": "ACTIVE"}
    ],
    "ReplicaMode": "mounted",
    "AvailabilityZone": "us-east-1f",
}
# What a restore has in common with its source; see rds/restore.py.
INHERITED: Fields = {
    "DBInstanceClass": "db.r6g.large",
    "AllocatedStorage": 500,
    "MasterUsername": "owner",
    "LicenseModel": "special-license",
    "EngineVersion": "16.3",
    "AdditionalStorageVolumes": [{"VolumeName": "rdsdbdata2", "AllocatedStorage": 100}],
}


class Restore(ServiceTest):
    def test_a_bare_restore_differs_from_its_source_in_every_setting(self) -> None:
        self.seed(**NOT_DEFAULT, **INHERITED)
        source = self.instance("source")
        self.available_snapshot()
        target = self.restored()
        self.assertEqual([name for name in NOT_DEFAULT if target.get(name) == source[name]], [])
        self.assertEqual({name: target[name] for name in INHERITED}, INHERITED)
        self.assertEqual(
            target["DBParameterGroups"],
            [{"DBParameterGroupName": "default.postgres16", "ParameterApplyStatus": "in-sync"}],
        )
        self.assertEqual((target["StorageType"], target["BackupRetentionPeriod"], target["MultiAZ"]), ("gp3", 1, False))

    def test_what_a_restore_is_given_it_takes(self) -> None:
        self.seed(**NOT_DEFAULT)
        source = self.instance("source")
        self.available_snapshot()
        target = self.restored(
            AutoMinorVersionUpgrade=False,
            BackupRetentionPeriod=14,
            CACertificateIdentifier="rds-ca-ecc384-g1",
            CopyTagsToSnapshot=True,
            CustomIamInstanceProfile="AWSRDSCustomProfile",
            DBParameterGroupName="custom",
            DBSubnetGroupName="custom",
            DedicatedLogVolume=True,
            DeletionProtection=True,
            EnableCloudwatchLogsExports=["postgresql"],
            Domain="d-1234567890",
            DomainIAMRoleName="domain",
            EnableCustomerOwnedIp=True,
            EngineLifecycleSupport="open-source-rds-extended-support-disabled",
            EnableIAMDatabaseAuthentication=True,
            MultiAZ=True,
            NetworkType="DUAL",
            OptionGroupName="custom",
            PreferredBackupWindow="03:07-03:37",
            ProcessorFeatures=[{"Name": "coreCount", "Value": "2"}],
            PubliclyAccessible=False,
            StorageType="io1",
            Iops=4000,
            VpcSecurityGroupIds=["sg-1", "sg-2"],
        )
        modify_only = {
            "DatabaseInsightsMode",
            "MaxAllocatedStorage",
            "MonitoringInterval",
            "MonitoringRoleArn",
            "PerformanceInsightsEnabled",
            "PerformanceInsightsRetentionPeriod",
            "PreferredMaintenanceWindow",
            "AssociatedRoles",
            "ReplicaMode",
            "AvailabilityZone",
        }
        self.assertEqual(
            target["DBParameterGroups"], [{"DBParameterGroupName": "custom", "ParameterApplyStatus": "pending-reboot"}]
        )
        given = set(NOT_DEFAULT) - modify_only - {"DBParameterGroups"}
        self.assertEqual({name: target[name] for name in given}, {name: source[name] for name in given})

    def test_modify_and_add_role_bring_the_rest(self) -> None:
        self.seed(**NOT_DEFAULT)
        source = self.instance("source")
        self.available_snapshot()
        self.restored()
        self.set_durations(modify=500)
        self.rds.modify_db_instance(
            DBInstanceIdentifier="target",
            ApplyImmediately=True,
            DatabaseInsightsMode="advanced",
            MaxAllocatedStorage=1000,
            MonitoringInterval=60,
            EnablePerformanceInsights=True,
            MonitoringRoleArn="arn:aws:iam::123456789012:role/monitoring",
            PerformanceInsightsRetentionPeriod=731,
            PreferredMaintenanceWindow="Sun:05:11-Sun:05:41",
            ReplicaMode="mounted",
        )
        self.instance_statuses("target", "modifying")
        self.instance_statuses("target")
        self.rds.add_role_to_db_instance(
            DBInstanceIdentifier="target", RoleArn="arn:aws:iam::123456789012:role/s3", FeatureName="s3Import"
        )
        target = self.instance("target")
        for name in (
            "DatabaseInsightsMode",
            "MaxAllocatedStorage",
            "MonitoringInterval",
            "MonitoringRoleArn",
            "PerformanceInsightsEnabled",
            "PerformanceInsightsRetentionPeriod",
            "PreferredMaintenanceWindow",
            "AssociatedRoles",
            "ReplicaMode",
        ):
            self.assertEqual(target[name], source[name], name)

    def test_sql_server_is_multi_az_by_its_option_group(self) -> None:
        self.seed(
            Engine="sqlserver-se",
            OptionGroupMemberships=[{"OptionGroupName": "mirrors", "Status": "in-sync"}],
            MultiAZ=True,
        )
        self.rds.modify_option_group(OptionGroupName="mirrors", OptionsToInclude=[{"OptionName": "Mirroring"}])
        self.available_snapshot()
        self.assertFalse(self.restored("bare")["MultiAZ"])
        self.assertTrue(self.restored("mirrored", OptionGroupName="mirrors")["MultiAZ"])

    def test_the_lazy_load_is_shown_and_ends(self) -> None:
        self.seed()
        self.available_snapshot()
        self.set_durations(initialize=3000)
        target = self.restored()
        self.assertEqual(target["StorageOperationStatus"], "Initializing")
        self.assertLess(target["StorageOperationPercentProgress"], 100)
        self.wait_for(lambda: "StorageOperationStatus" not in self.instance("target"))

    def test_a_restored_instance_with_backups_is_backed_up_first(self) -> None:
        self.seed()
        self.available_snapshot()
        self.set_durations(restore=500, restore_backup=500)
        for retention, expected in ((1, ["creating", "backing-up", "available"]), (0, ["creating", "available"])):
            self.rds.restore_db_instance_from_db_snapshot(
                DBInstanceIdentifier=f"target{retention}",
                DBSnapshotIdentifier="snapshot",
                BackupRetentionPeriod=retention,
            )
            self.assertEqual(self.instance_statuses(f"target{retention}"), expected)

    def test_impossible_combinations_are_refused(self) -> None:
        self.seed(AllocatedStorage=100)
        self.available_snapshot()
        for code, parameters in (
            ("InvalidParameterCombination", {"MultiAZ": True, "AvailabilityZone": "us-east-1a"}),
            ("InvalidParameterCombination", {"StorageType": "gp3", "Iops": 3000, "StorageThroughput": 125}),
            ("InvalidParameterCombination", {"StorageType": "io2", "Iops": 3000, "StorageThroughput": 125}),
            ("InvalidParameterCombination", {"DBName": "other"}),
            ("InvalidParameterCombination", {"ManageMasterUserPassword": True}),
            ("InvalidParameterValue", {"AllocatedStorage": 50}),
            ("InvalidParameterCombination", {"DBInstanceClass": "db.m3.medium"}),
            ("CertificateNotFound", {"CACertificateIdentifier": "rds-ca-2019"}),
            ("DBParameterGroupNotFound", {"DBParameterGroupName": "absent"}),
            ("OptionGroupNotFoundFault", {"OptionGroupName": "absent"}),
            ("DBSubnetGroupNotFoundFault", {"DBSubnetGroupName": "absent"}),
        ):
            with self.subTest(parameters=parameters):
                self.refused(
                    code,
                    self.rds.restore_db_instance_from_db_snapshot,
                    DBInstanceIdentifier="target",
                    DBSnapshotIdentifier="snapshot",
                    **parameters,
                )
        self.assertTrue(self.not_found("target"))


class RefusedAfterHours(ServiceTest):
    """What a restore refuses of settings that its source has: Plan has to know it before."""

    def refused_restore(self, **parameters: Any) -> None:
        message = self.refused(
            "InvalidParameterCombination",
            self.rds.restore_db_instance_from_db_snapshot,
            DBInstanceIdentifier="target",
            DBSnapshotIdentifier="snapshot",
            **parameters,
        )["Error"]["Message"]
        self.assertTrue(self.not_found("target"), message)

    def test_sql_server_takes_its_storage_after_the_restore(self) -> None:
        self.seed(Engine="sqlserver-se", AllocatedStorage=100, StorageType="io1", Iops=4000)
        self.available_snapshot()
        for parameters in ({"StorageType": "gp3"}, {"Iops": 4000}, {"AllocatedStorage": 100}, {"MultiAZ": False}):
            self.refused_restore(**parameters)
        self.assertEqual(self.restored()["StorageType"], "gp3")
        self.set_durations(optimize=2000)
        self.rds.modify_db_instance(DBInstanceIdentifier="target", StorageType="io1", Iops=4000, ApplyImmediately=True)
        self.instance_statuses("target", "storage-optimization")
        self.refused(
            "InvalidParameterCombination",
            self.rds.modify_db_instance,
            DBInstanceIdentifier="target",
            Iops=5000,
            ApplyImmediately=True,
        )
        self.rds.modify_db_instance(DBInstanceIdentifier="target", CopyTagsToSnapshot=True)
        self.instance_statuses("target")

    def test_a_sql_server_that_is_multi_az_has_backups(self) -> None:
        self.seed(Engine="sqlserver-ee", MultiAZ=True, BackupRetentionPeriod=7)
        self.available_snapshot()
        self.refused_restore(MultiAZ=True, BackupRetentionPeriod=0)
        self.restored(MultiAZ=True, BackupRetentionPeriod=7)
        self.refused(
            "InvalidParameterCombination",
            self.rds.modify_db_instance,
            DBInstanceIdentifier="target",
            BackupRetentionPeriod=0,
        )
        self.rds.modify_db_instance(
            DBInstanceIdentifier="target", BackupRetentionPeriod=0, MultiAZ=False, ApplyImmediately=True
        )

    def test_large_gp3_takes_its_performance_with_its_size(self) -> None:
        self.seed(AllocatedStorage=400)
        self.available_snapshot()
        performance: Fields = {"StorageType": "gp3", "Iops": 13000, "StorageThroughput": 600}
        self.refused_restore(**performance)
        self.assertEqual(self.restored(AllocatedStorage=400, **performance)["Iops"], 13000)

    def test_volumes_come_with_the_snapshot(self) -> None:
        volume = {"VolumeName": "rdsdbdata2", "AllocatedStorage": 100}
        self.seed(Engine="oracle-ee", AdditionalStorageVolumes=[volume])
        self.available_snapshot()
        self.refused_restore(AdditionalStorageVolumes=[volume])
        self.assertEqual(self.restored()["AdditionalStorageVolumes"], [volume])

    def test_many_tenants_have_names_and_passwords_of_their_own(self) -> None:
        self.seed(Engine="oracle-ee-cdb", MultiTenant=True)
        self.available_snapshot()
        for parameters in ({"DBName": "ORCL"}, {"ManageMasterUserPassword": True}):
            self.refused_restore(**parameters)
        self.restored()

    def test_a_retired_version_is_offered_and_restored_no_more(self) -> None:
        self.seed(EngineVersion="13.7")
        self.available_snapshot()
        self.control("PATCH", "settings", {"retired_versions": ["postgres 13.7"]})
        self.refused_restore()
        versions = {"Engine": "postgres", "EngineVersion": "13.7"}
        self.refused("InvalidParameterCombination", self.rds.describe_orderable_db_instance_options, **versions)
        self.assertEqual(self.rds.describe_db_engine_versions(**versions)["DBEngineVersions"], [])
        version = self.rds.describe_db_engine_versions(IncludeAll=True, **versions)["DBEngineVersions"][0]
        self.assertEqual((version["Status"], version["MajorEngineVersion"]), ("deprecated", "13"))

    def test_a_major_version_past_its_support_is_upgraded_unless_extended_support_is_on(self) -> None:
        self.seed(Engine="mysql", EngineVersion="5.7.44")
        self.available_snapshot()
        self.control("PATCH", "settings", {"majors_past_support": ["mysql 5.7"]})
        major = self.rds.describe_db_major_engine_versions(Engine="mysql", MajorEngineVersion="5.7")[
            "DBMajorEngineVersions"
        ][0]
        self.assertLess(major["SupportedEngineLifecycles"][0]["LifecycleSupportEndDate"], datetime.now(timezone.utc))
        disabled = {"EngineLifecycleSupport": "open-source-rds-extended-support-disabled"}
        self.assertEqual(self.restored("supported")["EngineVersion"], "5.7.44")
        self.assertNotEqual(self.restored("upgraded", **disabled)["EngineVersion"], "5.7.44")

    def test_the_certificate_authorities_are_those_that_are_accepted(self) -> None:
        names = {one["CertificateIdentifier"] for one in self.rds.describe_certificates()["Certificates"]}
        self.assertIn("rds-ca-rsa2048-g1", names)
        self.assertNotIn("rds-ca-2019", names)

    def test_a_storage_limit_leaves_room_and_one_without_is_off(self) -> None:
        self.seed(AllocatedStorage=100, MaxAllocatedStorage=200)
        self.refused(
            "InvalidParameterCombination",
            self.rds.modify_db_instance,
            DBInstanceIdentifier="source",
            MaxAllocatedStorage=109,
        )
        self.rds.modify_db_instance(DBInstanceIdentifier="source", MaxAllocatedStorage=110)
        self.assertEqual(self.instance("source")["MaxAllocatedStorage"], 110)
        # It is `modifying` for a moment that nobody need see.
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with contextlib.suppress(self.rds.exceptions.InvalidDBInstanceStateFault):
                self.rds.modify_db_instance(DBInstanceIdentifier="source", MaxAllocatedStorage=100)
                break
        self.assertNotIn("MaxAllocatedStorage", self.instance("source"))

    def test_keys_that_aws_manages_are_not_named(self) -> None:
        self.seed()
        managed = self.kms.describe_key(KeyId="alias/aws/secretsmanager")["KeyMetadata"]["Arn"]
        for parameters in (
            {"ManageMasterUserPassword": True, "MasterUserSecretKmsKeyId": managed},
            {"EnablePerformanceInsights": True, "PerformanceInsightsKMSKeyId": managed},
        ):
            self.refused(
                "InvalidParameterCombination",
                self.rds.modify_db_instance,
                DBInstanceIdentifier="source",
                ApplyImmediately=True,
                **parameters,
            )

    def test_an_instance_takes_no_change_right_after_its_monitoring(self) -> None:
        self.seed()
        self.set_durations(monitoring_settles=1000)
        self.rds.modify_db_instance(DBInstanceIdentifier="source", EnablePerformanceInsights=True)
        self.instance_statuses("source", "modifying")
        self.instance_statuses("source")
        self.refused(
            "InvalidDBInstanceState",
            self.rds.modify_db_instance,
            DBInstanceIdentifier="source",
            CopyTagsToSnapshot=True,
        )
        time.sleep(1)
        self.rds.modify_db_instance(DBInstanceIdentifier="source", CopyTagsToSnapshot=True)


class Describe(ServiceTest):
    def test_an_instance_is_found_by_name_arn_and_filter(self) -> None:
        for name in ("alpha", "beta"):
            self.seed(name)
        beta = self.instance("BETA")
        self.assertEqual(self.instance(beta["DBInstanceArn"])["DbiResourceId"], beta["DbiResourceId"])
        for name, value in (
            ("dbi-resource-id", beta["DbiResourceId"]),
            ("db-instance-id", "beta"),
            ("db-instance-id", beta["DBInstanceArn"]),
        ):
            found = self.rds.describe_db_instances(Filters=[{"Name": name, "Values": [value]}])["DBInstances"]
            self.assertEqual([one["DBInstanceIdentifier"] for one in found], ["beta"])
        self.assertEqual(
            self.rds.describe_db_instances(Filters=[{"Name": "dbi-resource-id", "Values": ["db-ABSENT"]}])[
                "DBInstances"
            ],
            [],
        )
        self.refused(
            "InvalidParameterValue", self.rds.describe_db_instances, Filters=[{"Name": "colour", "Values": ["red"]}]
        )
        self.refused("DBInstanceNotFound", self.rds.describe_db_instances, DBInstanceIdentifier="absent")

    def test_long_lists_come_in_pages(self) -> None:
        for number in range(25):
            self.seed(f"one-{number}")
        first = self.rds.describe_db_instances(MaxRecords=20)
        self.assertEqual(len(first["DBInstances"]), 20)
        seen = [one["DBInstanceIdentifier"] for one in first["DBInstances"]]
        self.rds.delete_db_instance(DBInstanceIdentifier=seen[0], SkipFinalSnapshot=True)
        self.wait_for(
            lambda: (
                seen[0] not in [one["DBInstanceIdentifier"] for one in self.rds.describe_db_instances()["DBInstances"]]
            )
        )
        rest = self.rds.describe_db_instances(MaxRecords=20, Marker=first["Marker"])
        self.assertEqual(len(seen + [one["DBInstanceIdentifier"] for one in rest["DBInstances"]]), 25)
        self.assertNotIn("Marker", rest)

    def test_snapshots_are_found_by_instance_and_resource_id(self) -> None:
        first, second = self.seed("first"), self.seed("second")
        self.available_snapshot("a", "first")
        self.available_snapshot("b", "second")
        for parameters in (
            {"DBInstanceIdentifier": "first"},
            {"DbiResourceId": first["DbiResourceId"]},
            {"Filters": [{"Name": "dbi-resource-id", "Values": [first["DbiResourceId"]]}]},
        ):
            self.assertEqual(
                [one["DBSnapshotIdentifier"] for one in self.rds.describe_db_snapshots(**parameters)["DBSnapshots"]],
                ["a"],
            )
        self.assertEqual(self.rds.describe_db_snapshots(SnapshotType="automated")["DBSnapshots"], [])
        self.assertNotEqual(first["DbiResourceId"], second["DbiResourceId"])

    def test_orderable_options_say_what_can_be_encrypted(self) -> None:
        for engine, instance_class, expected in (
            ("postgres", "db.t3.micro", {True}),
            ("postgres", "db.t2.micro", {False}),
            ("mysql", "db.m1.small", {False}),
            ("sqlserver-ex", "db.t3.small", {False}),
            ("sqlserver-se", "db.m5.large", {True}),
            ("postgres", "db.unknown", set()),
        ):
            options = self.rds.describe_orderable_db_instance_options(Engine=engine, DBInstanceClass=instance_class)[
                "OrderableDBInstanceOptions"
            ]
            self.assertEqual(
                {option["SupportsStorageEncryption"] for option in options}, expected, (engine, instance_class)
            )

    def test_what_plan_asks_besides_has_an_answer(self) -> None:
        self.seed()
        parameters: Fields
        for operation, field, parameters in (
            ("describe_blue_green_deployments", "BlueGreenDeployments", {}),
            ("describe_pending_maintenance_actions", "PendingMaintenanceActions", {}),
            ("describe_db_proxies", "DBProxies", {}),
            ("describe_event_subscriptions", "EventSubscriptionsList", {}),
            ("describe_db_clusters", "DBClusters", {}),
            ("describe_db_instance_automated_backups", "DBInstanceAutomatedBackups", {}),
            ("describe_integrations", "Integrations", {}),
        ):
            self.assertEqual(getattr(self.rds, operation)(**parameters)[field], [])
        self.assertTrue(
            self.rds.describe_valid_db_instance_modifications(DBInstanceIdentifier="source")[
                "ValidDBInstanceModificationsMessage"
            ]["Storage"]
        )
        self.refused("DBProxyNotFoundFault", self.rds.describe_db_proxy_targets, DBProxyName="absent")

    def test_parameters_that_somebody_set_are_told(self) -> None:
        group = "events"
        self.seed(DBParameterGroups=[{"DBParameterGroupName": group, "ParameterApplyStatus": "in-sync"}])
        self.rds.modify_db_parameter_group(
            DBParameterGroupName=group,
            Parameters=[{"ParameterName": "event_scheduler", "ParameterValue": "ON", "ApplyMethod": "immediate"}],
        )
        told = self.rds.describe_db_parameters(DBParameterGroupName=group, Source="user")["Parameters"]
        self.assertEqual([(one["ParameterName"], one["ParameterValue"]) for one in told], [("event_scheduler", "ON")])
        self.assertEqual(self.rds.describe_db_parameters(DBParameterGroupName="default.mysql8.0")["Parameters"], [])
        self.refused("DBParameterGroupNotFound", self.rds.describe_db_parameters, DBParameterGroupName="absent")

    def test_the_groups_that_isolate_are_in_the_default_vpc(self) -> None:
        vpc = self.seed()["DBSubnetGroup"]["VpcId"]
        asked = [{"Name": "group-id", "Values": ["sg-0f00ba44", "sg-0c1a1a", "sg-0ab5e47"]}]
        found = self.service.client("ec2").describe_security_groups(Filters=asked)["SecurityGroups"]
        self.assertEqual({one["GroupId"]: one["VpcId"] for one in found}, {"sg-0f00ba44": vpc, "sg-0c1a1a": vpc})

    def test_a_result_can_be_given_to_any_operation(self) -> None:
        self.control(
            "PUT",
            "replies/DescribeBlueGreenDeployments",
            {"BlueGreenDeployments": [{"BlueGreenDeploymentIdentifier": "bgd-1", "Status": "AVAILABLE"}]},
        )
        self.assertEqual(
            self.rds.describe_blue_green_deployments()["BlueGreenDeployments"][0]["BlueGreenDeploymentIdentifier"],
            "bgd-1",
        )
        self.control("DELETE", "replies/DescribeBlueGreenDeployments")
        self.assertEqual(self.rds.describe_blue_green_deployments()["BlueGreenDeployments"], [])


class ControlApi(ServiceTest):
    def test_any_field_can_be_seeded_and_patched_and_unknown_ones_are_named(self) -> None:
        self.seed(Engine="aurora-postgresql", DBClusterIdentifier="cluster", DBInstanceStatus="stopped")
        self.control(
            "PATCH",
            "instances/source",
            {"fields": {"ReadReplicaSourceDBInstanceIdentifier": "primary", "DBInstanceStatus": "storage-full"}},
        )
        shown = self.instance("source")
        self.assertEqual(
            (shown["DBClusterIdentifier"], shown["ReadReplicaSourceDBInstanceIdentifier"], shown["DBInstanceStatus"]),
            ("cluster", "primary", "storage-full"),
        )
        with self.assertRaisesRegex(AssertionError, "did you mean MultiAZ"):
            self.seed("other", MultiAz=True)

    def test_a_snapshot_can_be_seeded(self) -> None:
        self.seed()
        self.control(
            "PUT", "snapshots/old", {"fields": {"DBInstanceIdentifier": "source", "SnapshotType": "automated"}}
        )
        self.assertEqual(self.snapshot("old")["SnapshotType"], "automated")
        self.restored(snapshot="old")

    def test_calls_tell_who_did_what_to_which_resource(self) -> None:
        source = self.seed()
        copier = self.service.client(app_id="rds-encrypt.create-snapshot")
        copier.create_db_snapshot(
            DBSnapshotIdentifier="snapshot", DBInstanceIdentifier="source", Tags=[{"Key": "a", "Value": "b"}]
        )
        self.refused("DBInstanceNotFound", self.rds.describe_db_instances, DBInstanceIdentifier="absent")
        key = self.kms.describe_key(KeyId="alias/aws/rds")["KeyMetadata"]["Arn"]
        made, failed, described = self.control("GET", "calls")
        self.assertEqual(
            (made["service"], made["operation"], made["app_id"], made["error_code"], made["status"]),
            ("rds", "CreateDBSnapshot", "rds-encrypt.create-snapshot", None, 200),
        )
        self.assertEqual(
            made["parameters"],
            {
                "DBSnapshotIdentifier": "snapshot",
                "DBInstanceIdentifier": "source",
                "Tags": [{"Key": "a", "Value": "b"}],
            },
        )
        self.assertEqual(
            made["resources"], [source["DBInstanceArn"], "arn:aws:rds:us-east-1:123456789012:snapshot:snapshot"]
        )
        self.assertEqual((failed["error_code"], failed["app_id"]), ("DBInstanceNotFound", None))
        self.assertEqual((described["service"], described["resources"]), ("kms", [key]))
        self.assertEqual(len(self.control("GET", f"calls?after={made['number']}")), 2)

    def test_reset_leaves_nothing(self) -> None:
        self.seed()
        self.rds.create_db_snapshot(DBSnapshotIdentifier="snapshot", DBInstanceIdentifier="source")
        self.control("POST", "faults", {"operation": "DescribeDBInstances", "action": {"type": "throttle"}})
        self.control("PATCH", "settings", {"progress_shape": "absent", "quotas": {"DBInstances": 1}})
        self.control("POST", "reset", {})
        self.assertEqual(
            self.rds.describe_db_instances()["DBInstances"] + self.rds.describe_db_snapshots()["DBSnapshots"], []
        )
        self.assertEqual(self.control("GET", "settings")["progress_shape"], "linear")
        self.assertEqual(self.control("GET", "settings")["quotas"]["DBInstances"], 40)
        self.wait_for(lambda: os.listdir(self.service.directory / "data" / "files") == [])

    def test_wrong_requests_say_what_would_be_right(self) -> None:
        for method, path, body, message in (
            ("PATCH", "settings", {"durations": {"cop": 1}}, "did you mean copy"),
            ("PATCH", "settings", {"progress_shape": "round"}, "linear, stalled"),
            ("POST", "faults", {"operation": "X", "action": {"type": "explode"}}, "throttle, error"),
            ("GET", "nowhere", None, "there is no GET"),
            ("GET", "instances/absent", None, "there is no db absent"),
            ("PATCH", "settings", {"time_scale": 0}, "above 0"),
        ):
            with self.subTest(path=path), self.assertRaisesRegex(AssertionError, message):
                self.control(method, path, body)


class FaultHook(ServiceTest):
    def befall(self, operation: str, action: dict[str, Any], **rule: Any) -> Any:
        return self.control("POST", "faults", {"operation": operation, "action": action} | rule)["number"]

    def make_snapshot(self, **client: Any) -> Any:
        return self.service.client(**client).create_db_snapshot(
            DBSnapshotIdentifier="snapshot", DBInstanceIdentifier="source"
        )

    def snapshots(self) -> Any:
        return self.control("GET", "snapshots")

    def test_errors_before_the_effect_prevent_it(self) -> None:
        self.seed()
        for action, code, status in (
            ({"type": "throttle"}, "Throttling", 400),
            ({"type": "error", "code": "InsufficientDBInstanceCapacity"}, "InsufficientDBInstanceCapacity", 400),
            ({"type": "error", "code": "AccessDenied", "status": 403}, "AccessDenied", 403),
        ):
            with self.subTest(code=code):
                self.befall("CreateDBSnapshot", action)
                response = self.refused(code, self.make_snapshot)
                self.assertEqual(response["ResponseMetadata"]["HTTPStatusCode"], status)
                self.assertEqual(self.snapshots(), [])
        self.make_snapshot()

    def test_plain_http_errors_come_with_their_status(self) -> None:
        for status in (500, 503):
            self.befall("DescribeDBInstances", {"type": "http", "status": status})
            request = urllib.request.Request(
                self.service.url,
                data=b"Action=DescribeDBInstances&Version=2014-10-31",
                headers={"Authorization": "AWS4-HMAC-SHA256 Credential=a/b/us-east-1/rds/aws4_request"},
            )
            with self.assertRaises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(request)
            self.assertEqual(caught.exception.code, status)
            caught.exception.close()

    def test_a_reset_prevents_the_effect_and_a_lost_reply_does_not(self) -> None:
        self.seed()
        self.befall("CreateDBSnapshot", {"type": "reset"})
        with self.assertRaises((ConnectionClosedError, EndpointConnectionError)):
            self.make_snapshot()
        self.assertEqual(self.snapshots(), [])
        self.befall("CreateDBSnapshot", {"type": "lost"}, when="after")
        with self.assertRaises(ConnectionClosedError):
            self.make_snapshot()
        self.assertEqual(len(self.snapshots()), 1)

    def test_a_reset_is_one_on_the_wire(self) -> None:
        self.befall("DescribeDBInstances", {"type": "reset"})
        host, port = self.service.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            body = b"Action=DescribeDBInstances&Version=2014-10-31"
            connection.sendall(
                b"POST / HTTP/1.1\r\nHost: x\r\n"
                b"Authorization: AWS4-HMAC-SHA256 Credential=a/b/us-east-1/rds/aws4_request\r\n"
                b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n" % len(body) + body
            )
            with self.assertRaises(ConnectionResetError):
                connection.recv(100)

    def test_a_slow_call_lands_late_although_the_client_has_gone_and_blocks_no_other(self) -> None:
        self.seed()
        self.befall("CreateDBSnapshot", {"type": "slow", "seconds": 1.5})
        with self.assertRaises(ReadTimeoutError):
            self.make_snapshot(read_timeout=0.3)
        began = time.monotonic()
        self.assertEqual(self.snapshots(), [])
        self.instance("source")
        self.assertLess(time.monotonic() - began, 0.7)
        time.sleep(1.7)
        self.assertEqual(len(self.snapshots()), 1)

    def test_a_rule_counts_the_calls_of_one_function(self) -> None:
        self.seed()
        number = self.befall("DescribeDBInstances", {"type": "throttle"}, app_id="rds-encrypt.plan", call=2)
        plan, other = self.service.client(app_id="rds-encrypt.plan"), self.service.client(app_id="rds-encrypt.verify")
        plan.describe_db_instances()
        other.describe_db_instances()
        other.describe_db_instances()
        self.refused("Throttling", plan.describe_db_instances)
        plan.describe_db_instances()
        (rule,) = self.control("GET", "faults")
        self.assertEqual((rule["number"], rule["calls"], rule["befallen"]), (number, 3, 1))

    def test_a_rule_means_the_calls_that_name_an_identifier_or_one_derived_from_it(self) -> None:
        for name in ("orders", "orders-encrypted", "ordersdaily", "stock"):
            self.seed(name)
        self.befall("DescribeDBInstances", {"type": "throttle"}, naming="orders", from_call=1)
        for name in ("orders", "orders-encrypted"):
            self.refused("Throttling", self.rds.describe_db_instances, DBInstanceIdentifier=name)
        for name in ("ordersdaily", "stock"):
            self.instance(name)

    def test_a_rule_that_cannot_be_met_says_so(self) -> None:
        self.befall("DescribeDBInstances", {"type": "vanish"})
        response = self.refused("InternalFailure", self.rds.describe_db_instances)
        self.assertIn("names no instance, snapshot or deployment", response["Error"]["Message"])

    def test_a_rule_can_hold_from_a_call_on_until_it_is_removed(self) -> None:
        number = self.befall("DescribeDBInstances", {"type": "throttle"}, from_call=2)
        self.rds.describe_db_instances()
        for _ in range(3):
            self.refused("Throttling", self.rds.describe_db_instances)
        self.control("DELETE", f"faults/{number}")
        self.rds.describe_db_instances()

    def test_a_resource_fails_or_vanishes(self) -> None:
        self.seed()
        self.befall("CreateDBSnapshot", {"type": "status", "status": "failed"}, when="after")
        self.make_snapshot()
        time.sleep(0.4)
        self.assertEqual(self.snapshot("snapshot")["Status"], "failed")
        self.befall("DescribeDBSnapshots", {"type": "vanish"}, call=2)
        self.snapshot("snapshot")
        self.refused("DBSnapshotNotFound", self.snapshot, identifier="snapshot")
        self.befall(
            "DescribeDBSnapshots",
            {"type": "status", "status": "incompatible-network", "resource": {"instance": "source"}},
            when="after",
        )
        self.rds.describe_db_snapshots()
        self.assertEqual(self.instance("source")["DBInstanceStatus"], "incompatible-network")

    def test_a_change_is_accepted_and_never_takes(self) -> None:
        self.seed()
        self.befall("ModifyDBInstance", {"type": "fields", "fields": {"CopyTagsToSnapshot": False}}, when="after")
        self.rds.modify_db_instance(DBInstanceIdentifier="source", CopyTagsToSnapshot=True)
        self.instance_statuses("source", "modifying")
        self.instance_statuses("source")
        self.assertFalse(self.instance("source")["CopyTagsToSnapshot"])

    def test_a_reboot_that_something_supersedes_brings_nothing_into_force(self) -> None:
        self.seed()
        self.rds.create_db_parameter_group(
            DBParameterGroupName="custom", DBParameterGroupFamily="postgres16", Description="d"
        )
        self.rds.modify_db_instance(DBInstanceIdentifier="source", DBParameterGroupName="custom", ApplyImmediately=True)

        def group() -> str:
            return str(self.instance("source")["DBParameterGroups"][0]["ParameterApplyStatus"])

        self.wait_for(
            lambda: group() == "pending-reboot" and self.instance("source")["DBInstanceStatus"] == "available"
        )
        self.befall("RebootDBInstance", {"type": "status", "status": "available"}, when="after")
        self.rds.reboot_db_instance(DBInstanceIdentifier="source")
        time.sleep(0.5)
        self.assertEqual(group(), "pending-reboot")

    def test_kms_and_cloudwatch_calls_are_befallen_too(self) -> None:
        cloudwatch = self.service.client("cloudwatch")
        self.befall("DescribeKey", {"type": "error", "code": "AccessDeniedException"})
        self.refused("AccessDeniedException", self.kms.describe_key, KeyId="alias/aws/rds")
        self.befall("GetMetricStatistics", {"type": "throttle"})
        now = datetime.now(timezone.utc)
        self.refused(
            "Throttling",
            cloudwatch.get_metric_statistics,
            Namespace="AWS/RDS",
            MetricName="x",
            StartTime=now - timedelta(minutes=1),
            EndTime=now,
            Period=60,
            Statistics=["Maximum"],
        )

    def test_a_command_is_run(self) -> None:
        mark = self.service.directory / "mark"
        self.befall("DescribeDBInstances", {"type": "run", "command": ["touch", str(mark)]})
        self.rds.describe_db_instances()
        self.assertTrue(mark.exists())

    def test_only_the_calling_process_of_this_cloud_is_killed(self) -> None:
        options = "region_name='us-east-1', aws_access_key_id='1', aws_secret_access_key='1'"
        client = f"boto3.client('rds', endpoint_url=sys.argv[1], {options})"
        program = f"import sys, boto3\n{client}.describe_db_instances()"

        def caller(cloud_id: str) -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                [sys.executable, "-c", program, self.service.url],
                stderr=subprocess.DEVNULL,
                env=os.environ | {"RDS_ENCRYPT_LOCAL_CLOUD": cloud_id},
            )

        self.befall("DescribeDBInstances", {"type": "kill"}, from_call=1)
        self.assertEqual(caller(CLOUD_ID).wait(20), -signal.SIGKILL)
        self.control("DELETE", "faults")
        self.befall("DescribeDBInstances", {"type": "kill"})
        # Another cloud's process loses its reply, and its own retry succeeds.
        self.assertEqual(caller("another-cloud").wait(20), 0)

    def test_an_execution_is_stopped(self) -> None:
        states = self.service.client("stepfunctions")
        machine = states.create_state_machine(
            name="waits",
            roleArn="arn:aws:iam::123456789012:role/r",
            definition=json.dumps(
                {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 100_000, "End": True}}}
            ),
        )
        execution = states.start_execution(stateMachineArn=machine["stateMachineArn"])["executionArn"]
        self.befall(
            "DescribeDBInstances",
            {"type": "stop", "endpoint": self.service.url, "state_machine_arns": [machine["stateMachineArn"]]},
        )
        self.rds.describe_db_instances()
        self.statuses(lambda: states.describe_execution(executionArn=execution)["status"], "ABORTED")


class Functions(BaseHTTPRequestHandler):
    """Stands for the Lambda service: function `fails` raises its payload's error, the others answer with it."""

    def do_POST(self) -> None:
        payload = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        if "fails" in self.path:
            self.send_header("X-Amz-Function-Error", "Unhandled")
        reply = json.dumps(payload).encode()
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *_: object) -> None:
        pass


class StepFunctions(unittest.TestCase):
    service: Service
    states: Any

    @classmethod
    def setUpClass(cls) -> None:
        server = ThreadingHTTPServer(("127.0.0.1", 0), Functions)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        cls.addClassCleanup(server.server_close)
        cls.addClassCleanup(server.shutdown)
        cls.service = Service(lambda_endpoint=f"http://127.0.0.1:{server.server_port}")
        cls.addClassCleanup(cls.service.stop)
        cls.states = cls.service.client("stepfunctions")

    def run_machine(self, states: Any, start: str, document: Any) -> Any:
        machine = self.states.create_state_machine(
            name=self.id().split(".")[-1],
            roleArn="arn:aws:iam::123456789012:role/r",
            definition=json.dumps({"StartAt": start, "States": states}),
        )
        arn = self.states.start_execution(stateMachineArn=machine["stateMachineArn"], input=json.dumps(document))[
            "executionArn"
        ]
        deadline = time.monotonic() + 20
        while (execution := self.states.describe_execution(executionArn=arn))["status"] == "RUNNING":
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)
        return execution

    def task(self, function: str, **fields: Any) -> Fields:
        return {
            "Type": "Task",
            "Resource": "arn:aws:states:::lambda:invoke",
            "OutputPath": "$.Payload",
            "End": True,
            "Parameters": {
                "FunctionName": f"arn:aws:lambda:us-east-1:123456789012:function:{function}",
                "Payload.$": "$",
            },
        } | fields

    def test_waits_and_retries_pass_on_the_clouds_clock(self) -> None:
        began = time.monotonic()
        execution = self.run_machine(
            {
                "Wait": {"Type": "Wait", "SecondsPath": "$.seconds", "Next": "Fail"},
                "Fail": self.task(
                    "fails",
                    Retry=[{"ErrorEquals": ["Flaky"], "IntervalSeconds": 300, "MaxAttempts": 2}],
                    Catch=[{"ErrorEquals": ["Flaky"], "ResultPath": "$.error", "Next": "Done"}],
                ),
                "Done": {"Type": "Succeed"},
            },
            "Wait",
            {"seconds": 500, "errorType": "Flaky", "errorMessage": "again"},
        )
        self.assertEqual(execution["status"], "SUCCEEDED")
        # 500 + 300 + 600 AWS seconds at 0.001.
        self.assertGreater(time.monotonic() - began, 1.4)
        self.assertLess(time.monotonic() - began, 10)
        error = json.loads(execution["output"])["error"]
        self.assertEqual((error["Error"], json.loads(error["Cause"])["errorMessage"]), ("Flaky", "again"))

    def test_functions_answer_through_the_lambda_endpoint(self) -> None:
        self.assertEqual(
            json.loads(self.run_machine({"Echo": self.task("echo")}, "Echo", {"a": [1, None]})["output"]),
            {"a": [1, None]},
        )

    def test_a_missing_path_fails_the_execution(self) -> None:
        states = {
            "Echo": self.task(
                "echo",
                Parameters={
                    "FunctionName": "arn:aws:lambda:us-east-1:123456789012:function:echo",
                    "Payload": {"x.$": "$.absent"},
                },
            )
        }
        execution = self.run_machine(states, "Echo", {})
        self.assertEqual((execution["status"], execution["error"]), ("FAILED", "States.Runtime"))


class Metrics(ServiceTest):
    def connections(self, identifier: str) -> Any:
        now = datetime.now(timezone.utc)
        found = self.service.client("cloudwatch").get_metric_statistics(
            Namespace="AWS/RDS",
            MetricName="DatabaseConnections",
            Dimensions=[{"Name": "DBInstanceIdentifier", "Value": identifier}],
            StartTime=now - timedelta(seconds=1),
            EndTime=now + timedelta(seconds=1),
            Period=60,
            Statistics=["Maximum"],
        )
        for point in found["Datapoints"]:
            self.assertEqual(point["Timestamp"].second, 0)
        return [point["Maximum"] for point in found["Datapoints"]][-1:]

    def test_every_instance_publishes_its_connections_by_the_minute(self) -> None:
        self.seed()
        self.wait_for(lambda: self.connections("source") == [0])
        self.control("PATCH", "instances/source", {"connections": 3})
        self.wait_for(lambda: self.connections("source") == [3])
        self.assertEqual(self.connections("absent"), [])

    def test_nothing_is_published_where_that_is_switched_off(self) -> None:
        self.control("PATCH", "settings", {"publish_metrics": False})
        self.seed()
        time.sleep(0.6)
        self.assertEqual(self.connections("source"), [])


class CloudWatchInCbor(ServiceTest):
    """The Rust SDK's protocol for CloudWatch, by botocore's serializer and parser of it."""

    def call(self, operation: str, parameters: Fields) -> Any:
        from botocore.parsers import RpcV2CBORParser
        from botocore.serialize import RpcV2CBORSerializer

        model = self.service.client("cloudwatch").meta.service_model.operation_model(operation)
        sent = RpcV2CBORSerializer().serialize_to_request(parameters, model)
        headers = sent["headers"] | {
            "Authorization": "AWS4-HMAC-SHA256 Credential=a/b/us-east-1/monitoring/aws4_request",
            "User-Agent": "rust app/rds-encrypt.verify",
        }
        request = urllib.request.Request(self.service.url + sent["url_path"], data=bytes(sent["body"]), headers=headers)
        try:
            reply = urllib.request.urlopen(request)
        except urllib.error.HTTPError as error:
            reply = error
        with reply:
            return RpcV2CBORParser().parse(
                {"status_code": reply.status, "headers": {}, "body": reply.read()}, model.output_shape
            )

    def test_metrics_are_put_and_read_and_the_caller_is_known(self) -> None:
        now = datetime.now(timezone.utc)
        dimensions = [{"Name": "DBInstanceIdentifier", "Value": "source"}]
        self.call(
            "PutMetricData",
            {
                "Namespace": "AWS/RDS",
                "MetricData": [
                    {"MetricName": "DatabaseConnections", "Dimensions": dimensions, "Value": 3.0, "Timestamp": now}
                ],
            },
        )
        found = self.call(
            "GetMetricStatistics",
            {
                "Namespace": "AWS/RDS",
                "MetricName": "DatabaseConnections",
                "Dimensions": dimensions,
                "Period": 60,
                "StartTime": now - timedelta(minutes=2),
                "EndTime": now + timedelta(minutes=2),
                "Statistics": ["Maximum"],
            },
        )
        self.assertEqual([point["Maximum"] for point in found["Datapoints"]], [3.0])
        self.assertEqual({call["app_id"] for call in self.control("GET", "calls")}, {"rds-encrypt.verify"})

    def test_errors_keep_their_code(self) -> None:
        self.control(
            "POST", "faults", {"operation": "GetDashboard", "action": {"type": "error", "code": "ResourceNotFound"}}
        )
        self.assertEqual(self.call("GetDashboard", {"DashboardName": "absent"})["Error"]["Code"], "ResourceNotFound")


class PostgresTest(ServiceTest):
    """Gives every test an emptied service with real servers, and SQL."""

    storage = "postgres"

    def psql(
        self,
        identifier: str,
        statement: str,
        password: str = "password-1",
        endpoint: Fields | None = None,
        check: bool = True,
    ) -> Any:
        endpoint = endpoint or self.instance(identifier)["Endpoint"]
        done = subprocess.run(
            [
                PSQL,
                "-At",
                "-c",
                statement,
                f"host={endpoint['Address']} port={endpoint['Port']} user=master dbname=test connect_timeout=5",
            ],
            capture_output=True,
            text=True,
            env=os.environ | {"PGPASSWORD": password},
        )
        if check and done.returncode:
            raise AssertionError(done.stderr)
        return done.stdout.strip() if done.returncode == 0 else None

    def create(self, identifier: str = "source", **parameters: Any) -> Any:
        self.rds.create_db_instance(
            DBInstanceIdentifier=identifier,
            Engine="postgres",
            DBInstanceClass="db.t3.micro",
            AllocatedStorage=20,
            DBName="test",
            MasterUsername="master",
            MasterUserPassword="password-1",
            **parameters,
        )
        self.instance_statuses(identifier)

    def logical_replication(self) -> str:
        """A parameter group that switches it on."""
        name = "logical"
        self.rds.create_db_parameter_group(
            DBParameterGroupName=name, DBParameterGroupFamily="postgres16", Description="with subscribers"
        )
        parameter = {
            "ParameterName": "rds.logical_replication",
            "ParameterValue": "1",
            "ApplyMethod": "pending-reboot",
        }
        self.rds.modify_db_parameter_group(DBParameterGroupName=name, Parameters=[parameter])
        return name

    def servers(self) -> list[Path]:
        return [
            process
            for process in Path("/proc").iterdir()
            if process.name.isdigit()
            and str(self.service.directory).encode() in read_command(process)
            and b"bin/postgres" in read_command(process)
        ]


class Postgres(PostgresTest):
    def test_a_client_that_has_left_is_looked_for_nowhere(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            with socket.create_connection(("127.0.0.1", port)) as client:
                client_port = client.getsockname()[1]
                self.assertEqual(list(processes_with_connection(client_port, port)), [os.getpid()])
            with unittest.mock.patch("os.listdir", side_effect=AssertionError):
                self.assertEqual(list(processes_with_connection(client_port, port)), [])

    def test_an_instance_behind_a_group_that_isolates_reaches_no_other_and_is_reached_by_none(self) -> None:
        self.create("publisher", DBParameterGroupName=self.logical_replication())
        self.create("subscriber")
        self.psql("publisher", "create table event (id int); create publication events for table event")
        self.psql("subscriber", "create table event (id int)")
        at = self.instance("publisher")["Endpoint"]
        subscribe = (
            f"create subscription events connection 'host={at['Address']} port={at['Port']} user=master "
            "password=password-1 dbname=test' publication events"
        )
        own = [group["VpcSecurityGroupId"] for group in self.instance("subscriber")["VpcSecurityGroups"]]
        for isolated in ("publisher", "subscriber"):
            for groups, reaches in ((["sg-0c1a1a"], False), (["sg-0c1a1a", *own], True)):
                borne = [{"VpcSecurityGroupId": group, "Status": "active"} for group in groups]
                self.control("PATCH", f"instances/{isolated}", {"fields": {"VpcSecurityGroups": borne}})
                answer = self.psql("subscriber", subscribe, check=False)
                self.assertEqual(answer is not None, reaches, f"{isolated} behind {groups}")
                if reaches:
                    self.psql("subscriber", "drop subscription events")
        self.assertEqual(self.psql("publisher", "select count(*) from pg_replication_slots"), "0")

    def test_rows_travel_by_snapshot_copy_and_restore_and_nothing_is_left(self) -> None:
        self.create()
        self.psql("source", "create table planet as select generate_series(1, 5000) as id")
        self.available_snapshot()
        self.psql("source", "insert into planet values (0)")
        self.rds.copy_db_snapshot(
            SourceDBSnapshotIdentifier="snapshot", TargetDBSnapshotIdentifier="copy", KmsKeyId="alias/aws/rds"
        )
        self.snapshot_statuses("copy")
        self.restored(snapshot="copy", Port=6543)
        self.assertEqual(self.instance("target")["Endpoint"]["Port"], 6543)
        self.assertEqual(self.psql("target", "select count(*), sum(id) from planet"), "5000|12502500")
        self.assertEqual(self.psql("source", "select count(*) from planet"), "5001")
        self.assertEqual(len(self.servers()), 2)
        for identifier in ("source", "target"):
            self.rds.delete_db_instance(DBInstanceIdentifier=identifier, SkipFinalSnapshot=True)
        self.wait_for(lambda: self.servers() == [])

    def test_a_rename_moves_the_address_and_cuts_the_connections(self) -> None:
        # So long that it is the rename, not the reboot, that cuts.
        self.set_durations(reboot=500, rename_hidden=4000)
        self.create("source")
        self.create("target")
        old_endpoint = self.instance("source")["Endpoint"]
        for identifier in ("source", "target"):
            self.psql(identifier, f"create table name as select '{identifier}' as name")
        sleeper = threading.Thread(
            target=self.psql, args=("source", "select pg_sleep(60)"), kwargs={"check": False}, daemon=True
        )
        sleeper.start()
        time.sleep(0.3)
        self.rds.modify_db_instance(
            DBInstanceIdentifier="source", NewDBInstanceIdentifier="source-unencrypted", ApplyImmediately=True
        )
        sleeper.join(2)
        self.assertFalse(sleeper.is_alive(), "the connection outlived the rename")
        self.assertIsNone(self.psql("source", "select 1", endpoint=old_endpoint, check=False))
        self.wait_for(lambda: not self.not_found("source-unencrypted"))
        self.statuses(lambda: self.instance("source-unencrypted")["DBInstanceStatus"], "rebooting")
        self.rds.modify_db_instance(
            DBInstanceIdentifier="target", NewDBInstanceIdentifier="source", ApplyImmediately=True
        )
        self.wait_for(lambda: not self.not_found("source"))
        self.statuses(lambda: self.instance("source")["DBInstanceStatus"], "rebooting")
        self.instance_statuses("source")
        self.instance_statuses("source-unencrypted")
        self.assertEqual(self.psql("source", "select name from name", endpoint=old_endpoint), "target")
        self.assertEqual(self.psql("source-unencrypted", "select name from name"), "source")

    def test_the_master_password_is_the_asked_one_and_can_be_changed(self) -> None:
        self.create()
        self.assertIsNone(self.psql("source", "select 1", password="wrong", check=False))
        self.set_durations(modify_delay=200, modify=500)
        self.rds.modify_db_instance(DBInstanceIdentifier="source", MasterUserPassword="password-2")
        self.wait_for(lambda: self.instance("source")["PendingModifiedValues"] == {})
        self.instance_statuses("source")
        self.assertEqual(self.psql("source", "select 1", password="password-2"), "1")

    def test_a_reboot_and_a_stop_cut_the_connections(self) -> None:
        self.create()
        self.set_durations(reboot=500)
        self.rds.stop_db_instance(DBInstanceIdentifier="source")
        self.instance_statuses("source", "stopped")
        self.assertEqual(self.servers(), [])
        self.rds.start_db_instance(DBInstanceIdentifier="source")
        self.instance_statuses("source")
        self.rds.reboot_db_instance(DBInstanceIdentifier="source")
        self.assertEqual(self.instance_statuses("source"), ["rebooting", "available"])
        self.assertEqual(self.psql("source", "select 1"), "1")

    def test_other_engines_are_file_backed(self) -> None:
        self.seed(Engine="mysql")
        self.assertIsNotNone(self.control("GET", "instances/source")["data"])
        self.assertEqual(self.servers(), [])


class Ending(unittest.TestCase):
    def launch(self, **options: Any) -> Service:
        service = Service(storage="postgres", **options)
        self.addCleanup(shutil.rmtree, service.directory, ignore_errors=True)
        assert service.process.stdout
        self.addCleanup(service.process.stdout.close)
        return service

    def create_instance(self, service: Service) -> None:
        service.client().create_db_instance(
            DBInstanceIdentifier="source",
            Engine="postgres",
            DBInstanceClass="db.t3.micro",
            AllocatedStorage=20,
            MasterUsername="master",
            MasterUserPassword="password-1",
        )
        while "Endpoint" not in service.client().describe_db_instances()["DBInstances"][0]:
            time.sleep(0.05)
        self.assertTrue(self.processes(service))

    def processes(self, service: Service) -> list[str]:
        return [
            process.name
            for process in Path("/proc").iterdir()
            if process.name.isdigit() and str(service.directory).encode() in read_command(process)
        ]

    def test_nothing_outlives_the_service_however_it_ends(self) -> None:
        parent = subprocess.Popen(["sleep", "60"])
        endings: dict[Any, Service] = {
            name: self.launch() for name in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL)
        } | {"parent": self.launch(parent_pid=parent.pid)}
        for ending, service in endings.items():
            with self.subTest(ending=ending):
                self.create_instance(service)
                if ending == "parent":
                    parent.kill()
                    parent.wait()
                else:
                    service.process.send_signal(ending)
                service.process.wait(30)
                deadline = time.monotonic() + 30
                while left := self.processes(service):
                    self.assertLess(time.monotonic(), deadline, left)


def read_command(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""


if __name__ == "__main__":
    unittest.main()
