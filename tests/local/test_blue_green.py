"""Tests of the local cloud's blue/green deployments, as their users see them."""

from __future__ import annotations

import functools
import time
import unittest
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ConnectionClosedError, ReadTimeoutError

from ledger import Ledger
from test_services import PostgresTest, ServiceTest, tearDownModule  # noqa: F401 (unittest calls it)

if TYPE_CHECKING:
    from rds.records import Fields

ROLE = {"RoleArn": "arn:aws:iam::123456789012:role/s3", "FeatureName": "s3Export", "Status": "ACTIVE"}
TEAM = [{"Key": "team", "Value": "a"}]


class Deployments(ServiceTest):
    """What the tests on files and on real servers share."""

    def seed_blue(self, identifier: str = "orders", **fields: Any) -> Any:
        return self.seed(
            identifier, **({"Engine": "mysql", "DBInstanceClass": "db.m6g.large", "BackupRetentionPeriod": 7} | fields)
        )

    def seed_replicas(self, *identifiers: str, source: str = "orders", **fields: Any) -> None:
        for identifier in identifiers:
            self.seed_blue(identifier, ReadReplicaSourceDBInstanceIdentifier=source, **fields)

    def play(self, **plays: Any) -> None:
        self.control("PATCH", "settings", {"blue_green": plays})

    def key(self) -> Any:
        return self.kms.create_key()["KeyMetadata"]["Arn"]

    def arn(self, identifier: str) -> str:
        return f"arn:aws:rds:us-east-1:123456789012:db:{identifier}"

    def create(self, source: str = "orders", name: str = "encrypt-orders", **parameters: Any) -> Any:
        made = self.rds.create_blue_green_deployment(
            BlueGreenDeploymentName=name, Source=self.arn(source), **parameters
        )
        return made["BlueGreenDeployment"]["BlueGreenDeploymentIdentifier"]

    def create_encrypted(self, *members: str, **parameters: Any) -> Any:
        key = self.key()
        entries = [{"SourceArn": self.arn(member), "TargetKmsKeyId": key} for member in members or ("orders",)]
        return self.available(TargetResourceConfigurations=entries, **parameters)

    def available(self, **parameters: Any) -> Any:
        made = self.create(**parameters)
        self.deployment_statuses(made, "AVAILABLE")
        return made

    def look(self, identifier: str) -> Any:
        return self.rds.describe_blue_green_deployments(BlueGreenDeploymentIdentifier=identifier)[
            "BlueGreenDeployments"
        ][0]

    def deployment_statuses(self, identifier: str, until: str) -> list[str]:
        return self.statuses(lambda: self.look(identifier)["Status"], until)

    def switch_over(self, identifier: str, until: str = "SWITCHOVER_COMPLETED", **parameters: Any) -> Any:
        self.rds.switchover_blue_green_deployment(BlueGreenDeploymentIdentifier=identifier, **parameters)
        return self.deployment_statuses(identifier, until)

    def delete(self, identifier: str, **parameters: Any) -> Any:
        return self.rds.delete_blue_green_deployment(BlueGreenDeploymentIdentifier=identifier, **parameters)[
            "BlueGreenDeployment"
        ]

    def is_gone(self, identifier: str) -> Any:
        return identifier not in [
            one["BlueGreenDeploymentIdentifier"]
            for one in self.rds.describe_blue_green_deployments()["BlueGreenDeployments"]
        ]

    def green(self, identifier: str, member: int = 0) -> Any:
        return self.look(identifier)["SwitchoverDetails"][member]["TargetMember"].split(":")[-1]

    def names(self) -> Any:
        return sorted(one["DBInstanceIdentifier"] for one in self.rds.describe_db_instances()["DBInstances"])

    def data(self, identifier: str) -> Any:
        return self.control("GET", f"instances/{identifier}")["data"]

    def write(self, identifier: str, text: str) -> None:
        self.control("PUT", f"instances/{identifier}/data", {"data": text})

    def event_ids(self) -> list[str]:
        events = [
            event for event in self.control("GET", "events") if event["detail"]["SourceType"] == "BLUE_GREEN_DEPLOYMENT"
        ]
        return [event["detail"]["EventID"].removeprefix("RDS-EVENT-") for event in events]

    def refused_switchover(
        self, identifier: str, code: str = "InvalidBlueGreenDeploymentStateFault", **parameters: Any
    ) -> Any:
        return self.refused(
            code, self.rds.switchover_blue_green_deployment, BlueGreenDeploymentIdentifier=identifier, **parameters
        )

    def refused_deletion(
        self, identifier: str, code: str = "InvalidBlueGreenDeploymentStateFault", **parameters: Any
    ) -> Any:
        return self.refused(
            code, self.rds.delete_blue_green_deployment, BlueGreenDeploymentIdentifier=identifier, **parameters
        )


class Creation(Deployments, ServiceTest):
    def refused_creation(self, code: str, **parameters: Any) -> Any:
        return self.refused(
            code,
            self.rds.create_blue_green_deployment,
            **({"BlueGreenDeploymentName": "encrypt-orders", "Source": self.arn("orders")} | parameters),
        )

    def test_a_deployment_is_provisioned_task_by_task(self) -> None:
        self.seed_blue()
        self.seed_replicas("orders-r1")
        self.set_durations(green_named=300, green_create=300, green_backup=300)
        made = self.rds.create_blue_green_deployment(
            BlueGreenDeploymentName="encrypt-orders", Source=self.arn("orders"), Tags=TEAM
        )["BlueGreenDeployment"]
        identifier = made["BlueGreenDeploymentIdentifier"]
        self.assertRegex(identifier, "^bgd-[a-z0-9]{16}$")
        self.assertEqual(made["Status"], "PROVISIONING")
        self.assertNotIn("Target", made)
        self.assertEqual(
            made["SwitchoverDetails"], [{"SourceMember": self.arn("orders")}, {"SourceMember": self.arn("orders-r1")}]
        )
        tasks = ["CREATING_READ_REPLICA_OF_SOURCE", "CONFIGURE_BACKUPS", "CREATING_TOPOLOGY_OF_SOURCE"]
        self.assertEqual(made["Tasks"], [{"Name": task, "Status": "PENDING"} for task in tasks])
        seen = self.statuses(
            lambda: tuple(task["Status"] for task in self.look(identifier)["Tasks"]), ("COMPLETED",) * 3
        )
        # The first look may come before the first task begins.
        self.assertEqual(
            [one for one in seen if one != ("PENDING",) * 3],
            [
                ("IN_PROGRESS", "PENDING", "PENDING"),
                ("COMPLETED", "IN_PROGRESS", "PENDING"),
                ("COMPLETED", "COMPLETED", "IN_PROGRESS"),
                ("COMPLETED",) * 3,
            ],
        )
        self.deployment_statuses(identifier, "AVAILABLE")
        shown = self.look(identifier)
        self.assertEqual([member["Status"] for member in shown["SwitchoverDetails"]], ["AVAILABLE", "AVAILABLE"])
        self.assertEqual(shown["Target"], shown["SwitchoverDetails"][0]["TargetMember"])
        self.assertRegex(self.green(identifier), "^orders-green-[a-z0-9]{6}$")
        self.assertRegex(self.green(identifier, 1), "^orders-r1-green-[a-z0-9]{6}$")
        self.assertEqual(shown["TagList"], TEAM)
        self.assertEqual(self.event_ids(), ["0244"])

    def test_only_a_member_with_an_entry_of_its_own_is_encrypted(self) -> None:
        self.seed_blue()
        self.seed_replicas("orders-r1", "orders-r2")
        keys = {member: self.key() for member in ("orders", "orders-r2")}
        made = self.available(
            TargetResourceConfigurations=[
                {"SourceArn": self.arn(member), "TargetKmsKeyId": key} for member, key in keys.items()
            ]
        )
        for number, member in enumerate(("orders", "orders-r1", "orders-r2")):
            green = self.instance(self.green(made, number))
            self.assertEqual(
                (green.get("KmsKeyId"), green["StorageEncryptionType"]),
                (keys.get(member), "sse-kms" if member in keys else "none"),
            )

    def test_green_is_as_blue_but_for_what_aws_does_not_copy(self) -> None:
        blue = self.seed_blue(
            TagList=TEAM,
            AssociatedRoles=[ROLE],
            MultiAZ=True,
            MonitoringInterval=60,
            MonitoringRoleArn="arn:aws:iam::123456789012:role/m",
            DBParameterGroups=[{"DBParameterGroupName": "tuned", "ParameterApplyStatus": "in-sync"}],
            DeletionProtection=True,
            AllocatedStorage=100,
        )
        shown = {}
        for name, plays, parameters in (
            ("harsh", {}, {}),
            (
                "mild",
                {"copied_monitoring_role": True, "green_deletion_protection": False, "shown_as_replica": False},
                {"TargetDBParameterGroupName": "tuned"},
            ),
            ("copied", {"omitted_parameter_group": "copied"}, {}),
        ):
            self.play(**plays)
            made = self.available(name=name, **parameters)
            shown[name] = self.instance(self.green(made))
            for path in (f"deployments/{made}", f"instances/{shown[name]['DBInstanceIdentifier']}"):
                self.control("DELETE", path)
        for green in shown.values():
            for field in (
                "MultiAZ",
                "MonitoringInterval",
                "AllocatedStorage",
                "BackupRetentionPeriod",
                "TagList",
                "EngineVersion",
                "PreferredBackupWindow",
            ):
                self.assertEqual(green[field], blue[field], field)
            self.assertEqual(green["AssociatedRoles"], [])
            self.assertNotEqual(green["DbiResourceId"], blue["DbiResourceId"])
        harsh, mild = shown["harsh"], shown["mild"]
        self.assertEqual(
            (
                harsh["DBParameterGroups"][0]["DBParameterGroupName"],
                harsh["DeletionProtection"],
                harsh["ReadReplicaSourceDBInstanceIdentifier"],
            ),
            ("default.mysql8.0", True, "orders"),
        )
        self.assertNotIn("MonitoringRoleArn", harsh)
        self.assertEqual(
            (
                mild["DBParameterGroups"][0]["DBParameterGroupName"],
                mild["DeletionProtection"],
                mild["MonitoringRoleArn"],
            ),
            ("tuned", False, blue["MonitoringRoleArn"]),
        )
        self.assertNotIn("ReadReplicaSourceDBInstanceIdentifier", mild)
        self.assertEqual(shown["copied"]["DBParameterGroups"][0]["DBParameterGroupName"], "tuned")

    def test_the_storage_of_green_initializes_where_its_class_says_so(self) -> None:
        self.set_durations(initialize=100_000)
        for identifier, instance_class in (("orders", "db.m6g.large"), ("small", "db.t4g.micro")):
            self.seed_blue(identifier, DBInstanceClass=instance_class)
            green = self.instance(self.green(self.available(source=identifier, name=identifier)))
            self.assertEqual(green.get("StorageOperationStatus"), "Initializing" if identifier == "orders" else None)

    def test_a_request_that_aws_refuses_is_refused(self) -> None:
        self.seed_blue()
        entry = {"SourceArn": self.arn("orders"), "TargetKmsKeyId": self.key()}
        self.refused_creation("InvalidParameterValue", BlueGreenDeploymentName="a" * 61)
        self.refused_creation("InvalidParameterValue", BlueGreenDeploymentName="an_encryption")
        self.refused_creation("InvalidParameterValue", TargetResourceConfigurations=[entry, entry])
        many = [entry | {"SourceArn": self.arn(f"orders{number}")} for number in range(20)]
        message = self.refused_creation("InvalidParameterValue", TargetResourceConfigurations=[entry, *many])
        self.assertIn("at most 20 entries", message["Error"]["Message"])
        self.refused_creation(
            "InvalidParameterValue", TargetResourceConfigurations=[entry | {"SourceArn": self.arn("others")}]
        )
        self.refused_creation("DBParameterGroupNotFound", TargetDBParameterGroupName="absent")
        self.refused_creation("DBInstanceNotFound", Source=self.arn("absent"))
        self.create()
        self.refused_creation("InvalidDBInstanceState", BlueGreenDeploymentName="another")
        self.seed_blue("stock")
        self.refused_creation("BlueGreenDeploymentAlreadyExistsFault", Source=self.arn("stock"))

    def test_a_source_that_cannot_have_a_deployment_is_refused(self) -> None:
        fields: Any
        for number, (code, fields) in enumerate(
            (
                ("SourceDatabaseNotSupportedFault", {"Engine": "oracle-ee"}),
                ("SourceDatabaseNotSupportedFault", {"Engine": "postgres", "EngineVersion": "10.21"}),
                ("SourceDatabaseNotSupportedFault", {"BackupRetentionPeriod": 0}),
                ("SourceDatabaseNotSupportedFault", {"ReadReplicaSourceDBInstanceIdentifier": "elsewhere"}),
                (
                    "SourceDatabaseNotSupportedFault",
                    {"ReadReplicaDBInstanceIdentifiers": ["arn:aws:rds:eu-west-1:123456789012:db:far"]},
                ),
                (
                    "SourceDatabaseNotSupportedFault",
                    {"MasterUserSecret": {"SecretArn": "arn", "SecretStatus": "active", "KmsKeyId": "key"}},
                ),
                ("SourceDatabaseNotSupportedFault", {"DBClusterIdentifier": "cluster"}),
                ("InvalidDBInstanceState", {"DBInstanceStatus": "modifying"}),
            )
        ):
            with self.subTest(**fields):
                self.seed_blue(f"source{number}", **fields)
                self.refused_creation(code, Source=self.arn(f"source{number}"))
        self.seed_blue()
        self.seed_replicas("orders-r1", DedicatedLogVolume=True)
        self.refused_creation("SourceDatabaseNotSupportedFault")
        self.control("PATCH", "instances/orders-r1", {"fields": {"DedicatedLogVolume": False}})
        self.seed_replicas("orders-r1-r1", source="orders-r1")
        self.refused_creation("SourceDatabaseNotSupportedFault")

    def test_every_member_counts_against_the_quotas(self) -> None:
        self.seed_blue(AllocatedStorage=100)
        self.seed_replicas("orders-r1", AllocatedStorage=100)
        for quotas, code in (
            ({"DBInstances": 3}, "InstanceQuotaExceeded"),
            ({"DBInstances": 4, "AllocatedStorage": 399}, "StorageQuotaExceeded"),
        ):
            self.control("PATCH", "settings", {"quotas": quotas})
            self.refused_creation(code)
        self.control("PATCH", "settings", {"quotas": {"AllocatedStorage": 400}})
        self.create()

    def test_a_key_that_cannot_be_used_is_refused_at_once_or_fails_the_creation(self) -> None:
        self.seed_blue()
        entries = [{"SourceArn": self.arn("orders"), "TargetKmsKeyId": "alias/absent"}]
        self.refused_creation("KMSKeyNotAccessibleFault", TargetResourceConfigurations=entries)
        self.play(bad_key="failed")
        made = self.create(TargetResourceConfigurations=entries)
        self.deployment_statuses(made, "INVALID_CONFIGURATION")
        self.assertIn("alias/absent", self.look(made)["StatusDetails"])
        self.assertEqual(self.names(), ["orders"])

    def test_a_creation_that_fails_late_leaves_green_to_be_deleted(self) -> None:
        self.seed_blue()
        self.play(failing_task="CONFIGURE_BACKUPS")
        made = self.create()
        self.deployment_statuses(made, "INVALID_CONFIGURATION")
        self.assertEqual([task["Status"] for task in self.look(made)["Tasks"]], ["COMPLETED", "FAILED"])
        self.assertEqual(self.event_ids(), ["0245"])
        self.assertEqual(len(self.names()), 2)
        self.refused_switchover(made)
        self.delete(made, DeleteTarget=True)
        self.wait_for(lambda: self.names() == ["orders"] and self.is_gone(made))

    def test_green_can_be_late(self) -> None:
        self.seed_blue()
        self.play(late_green="storage-initialization")
        self.set_durations(green_late=2000)
        made = self.available()
        self.assertEqual(self.instance(self.green(made))["DBInstanceStatus"], "storage-initialization")
        self.assertIn("is not in available state", self.refused_switchover(made)["Error"]["Message"])
        self.instance_statuses(self.green(made))
        self.switch_over(made)

    def test_deployments_are_found_by_their_filters_and_tagged_by_arn(self) -> None:
        self.seed_blue()
        self.seed_blue("stock")
        made, _ = self.available(), self.available(source="stock", name="encrypt-stock")
        shown = self.look(made)
        for name, field in (
            ("blue-green-deployment-identifier", "BlueGreenDeploymentIdentifier"),
            ("blue-green-deployment-name", "BlueGreenDeploymentName"),
            ("source", "Source"),
            ("target", "Target"),
        ):
            self.assertEqual(
                self.rds.describe_blue_green_deployments(Filters=[{"Name": name, "Values": [shown[field]]}])[
                    "BlueGreenDeployments"
                ],
                [shown],
            )
        self.refused(
            "InvalidParameterValue",
            self.rds.describe_blue_green_deployments,
            Filters=[{"Name": "status", "Values": ["AVAILABLE"]}],
        )
        self.refused(
            "BlueGreenDeploymentNotFoundFault",
            self.rds.describe_blue_green_deployments,
            BlueGreenDeploymentIdentifier="bgd-0000000000000000",
        )
        self.assertEqual(self.look(made.upper())["BlueGreenDeploymentName"], "encrypt-orders")
        self.rds.add_tags_to_resource(ResourceName=f"arn:aws:rds:us-east-1:123456789012:deployment:{made}", Tags=TEAM)
        self.assertEqual(self.look(made)["TagList"], TEAM)


class Switchover(Deployments, ServiceTest):
    def test_names_endpoints_and_tags_move_and_resource_ids_stay(self) -> None:
        self.seed_blue(TagList=TEAM)
        self.seed_replicas("orders-r1", "orders-r2")
        made = self.create_encrypted("orders", "orders-r1", "orders-r2")
        self.write("orders", "written after the creation")
        before = {
            member: (self.instance(member), self.instance(self.green(made, number)))
            for number, member in enumerate(("orders", "orders-r1", "orders-r2"))
        }
        self.rds.add_tags_to_resource(
            ResourceName=self.arn(self.green(made)), Tags=[{"Key": "color", "Value": "green"}]
        )
        self.set_durations(switchover_guardrails=500)
        self.assertEqual(self.switch_over(made), ["SWITCHOVER_IN_PROGRESS", "SWITCHOVER_COMPLETED"])
        shown = self.look(made)
        self.assertEqual(
            (shown["Source"], shown["Target"], shown["StatusDetails"]),
            (self.arn("orders-old1"), self.arn("orders"), "Switchover completed"),
        )
        for details, (member, (blue, green)) in zip(shown["SwitchoverDetails"], before.items(), strict=True):
            self.assertEqual(
                details,
                {
                    "SourceMember": self.arn(f"{member}-old1"),
                    "TargetMember": self.arn(member),
                    "Status": "SWITCHOVER_COMPLETED",
                },
            )
            new, old = self.instance(member), self.instance(f"{member}-old1")
            self.assertEqual(
                (new["DbiResourceId"], old["DbiResourceId"]), (green["DbiResourceId"], blue["DbiResourceId"])
            )
            self.assertEqual(
                (new["Endpoint"], new["StorageEncryptionType"], old["StorageEncryptionType"]),
                (blue["Endpoint"], "sse-kms", "none"),
            )
        self.assertEqual((self.instance("orders")["TagList"], self.instance("orders")["AssociatedRoles"]), (TEAM, []))
        self.assertEqual(self.instance("orders")["ReadReplicaDBInstanceIdentifiers"], ["orders-r1", "orders-r2"])
        self.assertEqual(self.instance("orders-r1-old1")["ReadReplicaSourceDBInstanceIdentifier"], "orders-old1")
        self.assertEqual(self.data("orders"), "written after the creation")
        self.write("orders", "written after the switchover")
        self.assertEqual(
            (self.data("orders-r1"), self.data("orders-old1")),
            ("written after the switchover", "written after the creation"),
        )
        with self.assertRaisesRegex(AssertionError, "orders-old1 is read-only"):
            self.write("orders-old1", "lost")
        self.assertEqual(self.event_ids(), ["0244", "0247", "0250", "0251", "0248"])

    def test_the_first_free_number_is_taken_for_the_old_instance(self) -> None:
        self.seed_blue()
        self.seed_blue("orders-old1")
        made = self.available()
        self.switch_over(made)
        self.assertEqual(self.look(made)["Source"], self.arn("orders-old2"))

    def test_a_deployment_or_member_that_is_not_available_and_an_impossible_timeout_are_refused(self) -> None:
        self.seed_blue()
        made = self.create()
        self.refused_switchover(made)
        self.deployment_statuses(made, "AVAILABLE")
        self.refused_switchover(made, "InvalidParameterValue", SwitchoverTimeout=3601)
        for member in ("orders", self.green(made)):
            self.control("PATCH", f"instances/{member}", {"fields": {"DBInstanceStatus": "storage-optimization"}})
            self.assertIn(
                f"DB instance {member} is not in available state", self.refused_switchover(made)["Error"]["Message"]
            )
            self.control("PATCH", f"instances/{member}", {"fields": {"DBInstanceStatus": "available"}})
        self.switch_over(made)
        self.refused_switchover(made)

    def test_no_member_can_be_changed_and_none_is_found_while_the_names_change(self) -> None:
        self.seed_blue()
        self.set_durations(switchover_guardrails=1000, switchover_hidden=500)
        made = self.available()
        green = self.green(made)
        self.rds.switchover_blue_green_deployment(BlueGreenDeploymentIdentifier=made)
        self.refused("InvalidDBInstanceState", self.rds.modify_db_instance, DBInstanceIdentifier="orders", MultiAZ=True)
        self.refused("InvalidDBInstanceState", self.rds.reboot_db_instance, DBInstanceIdentifier="orders")
        self.refused(
            "InvalidDBInstanceState", self.rds.delete_db_instance, DBInstanceIdentifier=green, SkipFinalSnapshot=True
        )
        self.refused_deletion(made)
        self.wait_for(lambda: self.names() == [])
        self.assertEqual(self.look(made)["Status"], "SWITCHOVER_IN_PROGRESS")
        self.deployment_statuses(made, "SWITCHOVER_COMPLETED")
        self.rds.modify_db_instance(DBInstanceIdentifier="orders", MultiAZ=True)

    def test_guardrails_refuse_before_anything_is_touched(self) -> None:
        self.seed_blue()
        made = self.available()
        self.control("PATCH", f"instances/{self.green(made)}", {"lag_seconds": 61})
        self.assertEqual(self.switch_over(made, "SWITCHOVER_FAILED", SwitchoverTimeout=60)[-1], "SWITCHOVER_FAILED")
        self.assertIn("was canceled due to replication lag", self.look(made)["StatusDetails"])
        self.assertEqual(self.event_ids(), ["0244", "0247", "0250", "0252", "0249"])
        self.assertEqual(self.look(made)["Source"], self.arn("orders"))
        self.refused_switchover(made)
        self.play(switchover_again=True, failed_switchover_status="AVAILABLE", guardrail="a whim")
        self.switch_over(made, "AVAILABLE")
        self.assertIn("was canceled due to a whim", self.look(made)["StatusDetails"])
        self.play(guardrail=None)
        self.switch_over(made)

    def test_a_switchover_that_takes_too_long_is_rolled_back(self) -> None:
        self.seed_blue()
        made = self.available()
        green = self.green(made)
        self.play(stalls=True)
        self.rds.switchover_blue_green_deployment(BlueGreenDeploymentIdentifier=made, SwitchoverTimeout=600)
        self.wait_for(lambda: self.look(made)["SwitchoverDetails"][0]["Status"] == "SWITCHOVER_IN_PROGRESS")
        time.sleep(0.1)
        with self.assertRaisesRegex(AssertionError, "orders is read-only"):
            self.write("orders", "too early")
        self.deployment_statuses(made, "SWITCHOVER_FAILED")
        self.assertIn("longer than 600 seconds", self.look(made)["StatusDetails"])
        self.assertEqual(self.names(), ["orders", green])
        self.write("orders", "as before")
        self.assertEqual(self.data(green), "as before")

    def test_a_replica_can_fail_in_a_switchover_that_is_completed(self) -> None:
        self.seed_blue()
        self.seed_replicas("orders-r1")
        made = self.available()
        green = self.green(made, 1)
        self.play(failing_members=["orders-r1"])
        self.switch_over(made)
        self.assertEqual(
            [member["Status"] for member in self.look(made)["SwitchoverDetails"]],
            ["SWITCHOVER_COMPLETED", "SWITCHOVER_FAILED"],
        )
        self.assertEqual(self.names(), ["orders", "orders-old1", "orders-r1", green])
        self.assertEqual(self.instance("orders-r1")["ReadReplicaSourceDBInstanceIdentifier"], "orders-old1")

    def test_a_member_that_is_deleted_is_missing(self) -> None:
        self.seed_blue()
        self.seed_replicas("orders-r1")
        made = self.available()
        self.rds.delete_db_instance(DBInstanceIdentifier=self.green(made, 1), SkipFinalSnapshot=True)
        self.wait_for(lambda: self.look(made)["SwitchoverDetails"][1]["Status"] == "MISSING_TARGET")
        self.assertEqual(self.look(made)["Status"], "INVALID_CONFIGURATION")
        self.refused_switchover(made)
        self.play(missing_member_status="AVAILABLE")
        self.switch_over(made)
        self.assertEqual(self.names(), ["orders", "orders-old1", "orders-r1"])

    def test_a_deployment_whose_green_stands_alone_is_invalid(self) -> None:
        self.seed_blue()
        made = self.available()
        self.rds.promote_read_replica(DBInstanceIdentifier=self.green(made))
        self.assertEqual(self.look(made)["Status"], "INVALID_CONFIGURATION")
        self.instance_statuses(self.green(made))
        self.write(self.green(made), "its own")
        self.assertNotEqual(self.data("orders"), "its own")
        self.refused("InvalidDBInstanceState", self.rds.promote_read_replica, DBInstanceIdentifier="orders")


class Deletion(Deployments, ServiceTest):
    def test_green_goes_with_the_deployment_or_after_it(self) -> None:
        for outlives in (False, True):
            self.setUp()
            self.seed_blue()
            self.play(outlives_targets=outlives)
            self.set_durations(deployment_delete=100, delete=600)
            made = self.available()
            green = self.green(made)
            deleted = self.delete(made, DeleteTarget=True)
            self.assertEqual(deleted["Status"], "DELETING")
            self.assertIn("DeleteTime", deleted)
            self.refused_deletion(made)
            self.assertEqual(self.instance(green)["DBInstanceStatus"], "deleting")
            self.wait_for(functools.partial(self.is_gone, made))
            self.assertEqual(self.not_found(green), outlives)
            self.wait_for(lambda: self.names() == ["orders"])
            self.assertEqual(self.event_ids(), ["0244", "0246"])

    def test_protected_green_is_not_deleted(self) -> None:
        self.seed_blue(DeletionProtection=True)
        made = self.available()
        self.refused_deletion(made, "InvalidParameterCombination", DeleteTarget=True)
        self.assertEqual(self.look(made)["Status"], "AVAILABLE")
        self.rds.modify_db_instance(DBInstanceIdentifier=self.green(made), DeletionProtection=False)
        self.delete(made, DeleteTarget=True)
        self.wait_for(lambda: self.names() == ["orders"])

    def test_green_of_mysql_that_is_kept_goes_on_replicating(self) -> None:
        self.seed_blue()
        made = self.available()
        green = self.green(made)
        self.delete(made)
        self.wait_for(lambda: self.is_gone(made))
        self.write("orders", "written later")
        self.assertEqual(self.data(green), "written later")

    def test_after_the_switchover_only_the_deployment_can_be_deleted(self) -> None:
        self.seed_blue()
        made = self.available()
        self.switch_over(made)
        for with_target in (True, False):
            self.refused_deletion(made, "InvalidParameterCombination", DeleteTarget=with_target)
        self.delete(made)
        self.wait_for(lambda: self.is_gone(made))
        self.assertEqual(self.names(), ["orders", "orders-old1"])

    def test_a_deployment_that_is_being_provisioned_is_deletable_or_not(self) -> None:
        self.seed_blue()
        self.set_durations(green_create=1000)
        made = self.create()
        self.wait_for(lambda: "Target" in self.look(made))
        self.refused_deletion(made, DeleteTarget=True)
        self.play(deletable_while_provisioning=True)
        self.delete(made, DeleteTarget=True)
        self.wait_for(lambda: self.names() == ["orders"] and self.is_gone(made))
        # What the creation has begun ends with it.
        time.sleep(1.2)
        self.assertEqual(self.names(), ["orders"])


class DeploymentFaults(Deployments, ServiceTest):
    def befall(self, operation: str, action: dict[str, Any], **rule: Any) -> None:
        self.control("POST", "faults", {"operation": operation, "action": action} | rule)

    def test_a_reply_is_lost_or_late_and_the_call_has_its_effect(self) -> None:
        for action, error, config in (
            ({"type": "lost"}, ConnectionClosedError, {}),
            ({"type": "slow", "seconds": 0.6}, ReadTimeoutError, {"read_timeout": 0.2}),
        ):
            with self.subTest(action=action):
                self.setUp()
                self.seed_blue()
                client = self.service.client("rds", None, **config)

                def call(
                    operation: str,
                    method: Callable[..., Any],
                    action: dict[str, Any] = action,
                    error: type[Exception] = error,
                    **parameters: Any,
                ) -> None:
                    self.befall(operation, action, when="after")
                    with self.assertRaises(error):
                        method(**parameters)

                source: Fields = {"BlueGreenDeploymentName": "encrypt-orders", "Source": self.arn("orders")}
                call("CreateBlueGreenDeployment", client.create_blue_green_deployment, **source)
                (made,) = self.rds.describe_blue_green_deployments()["BlueGreenDeployments"]
                made = made["BlueGreenDeploymentIdentifier"]
                self.deployment_statuses(made, "AVAILABLE")
                deployment: Fields = {"BlueGreenDeploymentIdentifier": made}
                call("DescribeBlueGreenDeployments", client.describe_blue_green_deployments, **deployment)
                call("SwitchoverBlueGreenDeployment", client.switchover_blue_green_deployment, **deployment)
                self.deployment_statuses(made, "SWITCHOVER_COMPLETED")
                call("DeleteBlueGreenDeployment", client.delete_blue_green_deployment, **deployment)
                self.wait_for(functools.partial(self.is_gone, made))
                self.assertEqual(self.names(), ["orders", "orders-old1"])

    def test_a_play_can_be_for_one_deployment(self) -> None:
        self.seed_blue()
        self.seed_blue("stock")
        self.befall(
            "CreateBlueGreenDeployment",
            {"type": "play", "plays": {"failing_task": "CONFIGURE_BACKUPS"}},
            when="after",
            naming="orders",
        )
        stock = self.available(source="stock", name="encrypt-stock")
        orders = self.create()
        self.deployment_statuses(orders, "INVALID_CONFIGURATION")
        self.befall("SwitchoverBlueGreenDeployment", {"type": "play", "plays": {"guardrail": "a whim"}}, naming="stock")
        self.switch_over(stock, "SWITCHOVER_FAILED")
        with self.assertRaisesRegex(AssertionError, "did you mean stalls"):
            self.play(stall=True)

    def test_somebody_deletes_or_promotes_green(self) -> None:
        self.seed_blue()
        made = self.available()
        self.befall("DescribeBlueGreenDeployments", {"type": "promote", "resource": {"green_of": "orders"}})
        self.assertEqual(self.look(made)["Status"], "INVALID_CONFIGURATION")
        self.befall("DescribeBlueGreenDeployments", {"type": "vanish", "resource": {"green_of": "orders"}})
        self.assertEqual(self.look(made)["SwitchoverDetails"][0]["Status"], "MISSING_TARGET")
        self.befall("DescribeDBInstances", {"type": "vanish", "resource": {"deployment_of": "orders"}})
        self.instance("orders")
        self.assertTrue(self.is_gone(made))

    def test_a_green_that_vanishes_during_its_creation_fails_it(self) -> None:
        self.seed_blue()
        self.set_durations(green_create=1000)
        made = self.create()
        self.wait_for(lambda: "Target" in self.look(made))
        self.control("DELETE", f"instances/{self.green(made)}")
        self.deployment_statuses(made, "INVALID_CONFIGURATION")
        self.assertEqual(self.look(made)["SwitchoverDetails"][0]["Status"], "MISSING_TARGET")
        self.assertEqual([task["Status"] for task in self.look(made)["Tasks"]], ["FAILED", "PENDING"])

    def lowest(self, metric: str, identifier: str) -> Any:
        now = datetime.now(timezone.utc)
        found = self.service.client("cloudwatch").get_metric_statistics(
            Namespace="AWS/RDS",
            MetricName=metric,
            Dimensions=[{"Name": "DBInstanceIdentifier", "Value": identifier}],
            StartTime=now - timedelta(minutes=1),
            EndTime=now + timedelta(minutes=1),
            Period=60,
            Statistics=["Minimum"],
        )
        return min((point["Minimum"] for point in found["Datapoints"]), default=None)

    def test_cloudwatch_tells_of_lag_and_of_free_storage(self) -> None:
        self.seed_blue(AllocatedStorage=100)
        green = self.green(self.available())
        self.wait_for(lambda: self.lowest("FreeStorageSpace", "orders") == 50 * 2**30)
        self.wait_for(lambda: self.lowest("ReplicaLag", green) == 0)
        self.assertIsNone(self.lowest("ReplicaLag", "orders"))
        self.control("PATCH", "instances/orders", {"free_storage_bytes": 7})
        self.wait_for(lambda: self.lowest("FreeStorageSpace", "orders") == 7)


class RealServers(Deployments, PostgresTest):  # type: ignore[misc]
    def ledger(self) -> Ledger:
        endpoint = self.instance("orders")["Endpoint"]
        return Ledger(endpoint["Address"], endpoint["Port"], "master", "test", "seeded-password")

    def sql(self, identifier: str, statement: str, **options: Any) -> Any:
        return self.psql(identifier, statement, password="seeded-password", **options)

    def seed_orders(self) -> None:
        self.seed_blue(Engine="postgres", DBName="test")

    def slots(self, identifier: str) -> Any:
        return self.sql(identifier, "select count(*) from pg_replication_slots")

    def test_no_write_is_lost_or_there_twice(self) -> None:
        self.seed_orders()
        self.seed_replicas("orders-r1", Engine="postgres", DBName="test")
        with self.ledger() as ledger:
            made = self.create_encrypted("orders", "orders-r1")
            green = self.green(made)
            self.assertIsNone(self.sql(green, "create table written (id int)", check=False))
            self.wait_for(lambda: ledger.acknowledged > 100)
            self.switch_over(made)
            after = ledger.acknowledged
            self.wait_for(lambda: ledger.acknowledged > after + 100)
        outcome = ledger.compare()
        self.assertTrue(outcome.holds, outcome)
        self.assertGreater(outcome.reconnects, 0)
        written = self.sql("orders", "select count(*) from ledger")
        self.wait_for(lambda: self.sql("orders-r1", "select count(*) from ledger") == written)
        # The old instance keeps what it had, and takes nothing more.
        self.assertLess(int(self.sql("orders-old1", "select count(*) from ledger")), int(written))
        self.assertIsNone(self.sql("orders-old1", "insert into ledger values (0, 0)", check=False))
        # Each holds its log back for its own replica alone.
        self.assertEqual((self.slots("orders"), self.slots("orders-old1")), ("1", "1"))

    def test_a_switchover_that_promotes_first_is_found_out(self) -> None:
        self.seed_orders()
        self.play(promotes_first=True)
        with self.ledger() as ledger:
            made = self.create_encrypted()
            self.wait_for(lambda: ledger.acknowledged > 100)
            self.switch_over(made)
        outcome = ledger.compare()
        self.assertFalse(outcome.holds)
        self.assertGreater(outcome.lost, 0)

    def test_a_rollback_loses_nothing_either(self) -> None:
        self.seed_orders()
        self.play(stalls=True)
        with self.ledger() as ledger:
            made = self.create_encrypted()
            self.wait_for(lambda: ledger.acknowledged > 100)
            self.switch_over(made, "SWITCHOVER_FAILED", SwitchoverTimeout=300)
            after = ledger.acknowledged
            self.wait_for(lambda: ledger.acknowledged > after + 100)
        outcome = ledger.compare()
        self.assertTrue(outcome.holds, outcome)
        self.assertGreater(outcome.gap_seconds, 0.3)
        self.wait_for(
            lambda: (
                self.sql(self.green(made), "select count(*) from ledger")
                == self.sql("orders", "select count(*) from ledger")
            )
        )

    def test_a_long_write_of_blue_stops_the_switchover(self) -> None:
        self.seed_orders()
        made = self.available()
        self.sql("orders", "create table written (id int)")
        self.play(long_write_seconds=50)
        with self.ledger() as ledger:
            client = ledger.connect("test")
            assert client and client.stdin
            client.stdin.write("BEGIN; INSERT INTO written VALUES (1);\n")
            time.sleep(0.5)
            self.switch_over(made, "SWITCHOVER_FAILED")
            self.assertIn("long-running active writes", self.look(made)["StatusDetails"])
            client.communicate("COMMIT;\n", timeout=10)
        self.assertEqual(self.sql("orders", "select count(*) from written"), "1")

    def test_blue_that_subscribes_elsewhere_fails_the_creation(self) -> None:
        self.seed_orders()
        self.sql(
            "orders",
            "create subscription elsewhere connection 'host=nowhere password=p' publication p with (connect = false)",
        )
        made = self.create()
        self.deployment_statuses(made, "INVALID_CONFIGURATION")
        self.assertIn("external replication on the blue primary instance", self.look(made)["StatusDetails"])

    def test_blue_keeps_no_log_for_a_green_that_is_gone_or_stands_alone(self) -> None:
        self.seed_orders()
        for ending in ("deleted", "with the deployment", "kept"):
            made = self.available(name=f"encrypt-{ending.replace(' ', '-')}")
            green = self.green(made)
            self.assertEqual(self.slots("orders"), "1")
            if ending == "deleted":
                self.rds.delete_db_instance(DBInstanceIdentifier=green, SkipFinalSnapshot=True)
                self.wait_for(functools.partial(self.not_found, green))
            self.delete(made, **({"DeleteTarget": True} if ending == "with the deployment" else {}))
            self.wait_for(lambda: self.slots("orders") == "0")
        self.assertEqual(
            self.sql(green, "create table written as select 1 as id; select id from written"), "SELECT 1\n1"
        )


if __name__ == "__main__":
    unittest.main()
