"""What a function's role does not allow is denied as AWS denies it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from test_blue_green import Deployments
from test_services import ServiceTest, tearDownModule  # noqa: F401  unittest calls the latter.

if TYPE_CHECKING:
    from rds.records import Fields

ACCOUNT, REGION, STEP = "123456789012", "us-east-1", "rds-encrypt.step"
PRINCIPAL = f"arn:aws:sts::{ACCOUNT}:assumed-role/step-role/step"
OWNED = {"Key": "rds-encrypt:execution", "Value": "arn:ours"}
IF_OWNED = {"Null": {"aws:ResourceTag/rds-encrypt:execution": "false"}}


def arn(resource: str, service: str = "rds") -> str:
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{resource}"


def allow(actions: str | list[str], resources: str | list[str] = "*", condition: Fields | None = None) -> Fields:
    return {"Effect": "Allow", "Action": actions, "Resource": resources} | (
        {"Condition": condition} if condition else {}
    )


class RoleTest(ServiceTest):
    """With a function whose role each test gives it."""

    def setUp(self) -> None:
        super().setUp()
        self.seed()
        self.step = self.service.client(app_id=STEP)
        self.addCleanup(self.control, "PUT", "roles", {})

    def give(self, *statements: Fields) -> None:
        self.control("PUT", "roles", {STEP: {"principal": PRINCIPAL, "policies": [{"Statement": list(statements)}]}})

    def denied(self, action: str, resource: str, call: Callable[..., Any], **parameters: Any) -> None:
        error = self.refused("AccessDenied", call, **parameters)
        message = (
            f"User: {PRINCIPAL} is not authorized to perform: {action} on resource: {resource} because no "
            f"identity-based policy allows the {action} action"
        )
        self.assertEqual((error["Error"]["Message"], error["ResponseMetadata"]["HTTPStatusCode"]), (message, 403))

    def role(self) -> Any:
        return self.control("GET", "roles")[STEP]


class Permissions(RoleTest):
    def test_what_the_role_allows_is_done(self) -> None:
        self.give(allow("rds:DescribeDBInstances", arn("db:sour*")))
        self.assertEqual(len(self.step.describe_db_instances(DBInstanceIdentifier="Source")["DBInstances"]), 1)
        self.assertEqual(self.role(), {"unused": [], "refused": []})

    def test_another_action_is_denied(self) -> None:
        self.give(allow("rds:DescribeDBInstances"))
        self.denied(
            "rds:RebootDBInstance", arn("db:source"), self.step.reboot_db_instance, DBInstanceIdentifier="source"
        )
        self.assertEqual(self.instance("source")["DBInstanceStatus"], "available")

    def test_another_resource_is_denied_whether_it_exists_or_not(self) -> None:
        self.give(allow("rds:DescribeDBInstances", arn("db:other*")))
        for identifier in ("source", "absent"):
            self.denied(
                "rds:DescribeDBInstances",
                arn(f"db:{identifier}"),
                self.step.describe_db_instances,
                DBInstanceIdentifier=identifier,
            )
        self.denied("rds:DescribeDBInstances", arn("db:*"), self.step.describe_db_instances)
        self.refused("DBInstanceNotFound", self.step.describe_db_instances, DBInstanceIdentifier="other")

    def test_a_denial_in_json_has_its_own_name(self) -> None:
        self.give(allow("kms:DescribeKey", arn("key/other", "kms")))
        key = self.kms.create_key()["KeyMetadata"]["Arn"]
        error = self.refused("AccessDeniedException", self.service.client("kms", app_id=STEP).describe_key, KeyId=key)
        self.assertEqual(error["ResponseMetadata"]["HTTPStatusCode"], 400)
        self.assertIn(
            f"is not authorized to perform: kms:DescribeKey on resource: {key} because", error["Error"]["Message"]
        )

    def test_a_denial_of_ec2_has_a_code_and_words_of_its_own(self) -> None:
        ec2 = self.service.client("ec2", app_id=STEP)
        self.give(allow("ec2:DescribeVpcs"))
        error = self.refused("UnauthorizedOperation", ec2.describe_security_groups)
        self.assertEqual(error["ResponseMetadata"]["HTTPStatusCode"], 403)
        self.assertEqual(
            error["Error"]["Message"],
            f"You are not authorized to perform this operation. User: {PRINCIPAL} is not authorized to perform: "
            "ec2:DescribeSecurityGroups on resource: * because no identity-based policy allows the "
            "ec2:DescribeSecurityGroups action",
        )
        self.give(allow("ec2:DescribeSecurityGroups"))
        self.assertTrue(ec2.describe_security_groups()["SecurityGroups"])

    def test_actions_without_resources_ask_for_all(self) -> None:
        self.give(allow("rds:DescribeAccountAttributes", arn("db:*")))
        self.denied("rds:DescribeAccountAttributes", "*", self.step.describe_account_attributes)
        self.give(allow("rds:DescribeAccountAttributes"))
        self.step.describe_account_attributes()

    def test_nobody_else_is_judged(self) -> None:
        self.give()
        self.rds.describe_db_instances()
        self.service.client(app_id="somebody").describe_db_instances()
        self.denied("rds:DescribeDBInstances", arn("db:*"), self.step.describe_db_instances)

    def test_each_resource_of_a_call_is_asked_for(self) -> None:
        self.available_snapshot()
        target = {
            "DBInstanceIdentifier": "target",
            "DBSnapshotIdentifier": "snapshot",
            "DBParameterGroupName": "default.postgres16",
        }
        allowed = [
            arn("db:target"),
            arn("snapshot:snapshot"),
            arn("pg:default.postgres16"),
            arn("og:default"),
            arn("subgrp:default"),
        ]
        for missing in allowed:
            with self.subTest(missing):
                self.give(allow("rds:RestoreDBInstanceFromDBSnapshot", [one for one in allowed if one != missing]))
                self.denied(
                    "rds:RestoreDBInstanceFromDBSnapshot",
                    missing,
                    self.step.restore_db_instance_from_db_snapshot,
                    **target,
                )
        self.give(allow("rds:RestoreDBInstanceFromDBSnapshot", allowed))
        self.step.restore_db_instance_from_db_snapshot(**target)
        copy = {"SourceDBSnapshotIdentifier": arn("snapshot:snapshot"), "TargetDBSnapshotIdentifier": "copy"}
        for granted, missing in (("copy", "snapshot"), ("snapshot", "copy")):
            self.give(allow("rds:CopyDBSnapshot", arn(f"snapshot:{granted}")))
            self.denied("rds:CopyDBSnapshot", arn(f"snapshot:{missing}"), self.step.copy_db_snapshot, **copy)

    def test_what_was_never_needed_and_what_was_asked_in_vain_is_told(self) -> None:
        condition = {"StringEquals": {"iam:PassedToService": ["rds.amazonaws.com", "lambda.amazonaws.com"]}}
        self.give(
            allow(["rds:DescribeDBInstances", "rds:AddRoleToDBInstance"], [arn("db:*"), arn("snapshot:*")]),
            allow("iam:PassRole", "*", condition),
        )
        self.step.add_role_to_db_instance(
            DBInstanceIdentifier="source", RoleArn=f"arn:aws:iam::{ACCOUNT}:role/r", FeatureName="s3Import"
        )
        self.refused("AccessDenied", self.step.reboot_db_instance, DBInstanceIdentifier="source")
        told = self.role()
        self.assertEqual(
            told["unused"],
            [
                "statement 0: Action rds:DescribeDBInstances",
                f"statement 0: Resource {arn('snapshot:*')}",
                "statement 1: StringEquals iam:PassedToService lambda.amazonaws.com",
            ],
        )
        self.assertEqual(len(told["refused"]), 1)
        self.assertIn("rds:RebootDBInstance", told["refused"][0])

    def test_a_policy_that_cannot_be_taken_apart_is_not_taken(self) -> None:
        for statement in (
            allow("rds:*") | {"Effect": "Deny"},
            allow("rds:*", "*", {"StringNotEquals": {"aws:TagKeys": "a"}}),
        ):
            with self.assertRaises(AssertionError):
                self.give(statement)


class Tags(RoleTest):
    """Conditions on tags: those of the resource count only after a while [A12]."""

    def delete(self, identifier: str = "snapshot") -> Any:
        return self.step.delete_db_snapshot(DBSnapshotIdentifier=identifier)

    def assert_denied(self, identifier: str = "snapshot") -> None:
        self.denied("rds:DeleteDBSnapshot", arn(f"snapshot:{identifier}"), self.delete, identifier=identifier)

    def is_allowed(self) -> Any:
        try:
            self.delete()
        except ClientError as error:
            return error.response["Error"]["Code"] != "AccessDenied"
        return True

    def test_another_tag_is_none(self) -> None:
        self.available_snapshot(Tags=[{"Key": "team", "Value": "stars"}])
        self.control("PATCH", "settings", {"tag_delay_seconds": 0})
        self.give(allow("rds:DeleteDBSnapshot", "*", IF_OWNED))
        self.assert_denied()
        self.give(allow("rds:DeleteDBSnapshot", "*", {"StringEquals": {"aws:ResourceTag/team": "moons"}}))
        self.assert_denied()
        self.assertEqual(self.role()["refused"], [], "a tag may come yet")
        self.give(allow("rds:DeleteDBSnapshot", "*", {"StringEquals": {"aws:ResourceTag/team": "stars"}}))
        self.delete()

    def test_a_tag_given_at_creation_is_too_young_at_first(self) -> None:
        self.set_durations(snapshot=1)
        self.control("PATCH", "settings", {"tag_delay_seconds": 100_000})
        self.available_snapshot(Tags=[OWNED])
        self.give(allow("rds:DeleteDBSnapshot", "*", IF_OWNED))
        self.assert_denied()
        self.control("PATCH", "settings", {"tag_delay_seconds": 200})
        self.wait_for(self.is_allowed)

    def test_a_tag_given_later_is_too_young_at_first(self) -> None:
        self.available_snapshot()
        self.give(allow("rds:DeleteDBSnapshot", "*", IF_OWNED))
        self.control("PATCH", "settings", {"tag_delay_seconds": 100_000})
        self.rds.add_tags_to_resource(ResourceName=arn("snapshot:snapshot"), Tags=[OWNED])
        self.assert_denied()
        self.control("PATCH", "settings", {"tag_delay_seconds": 200})
        self.wait_for(self.is_allowed)

    def test_a_tag_that_is_taken_away_counts_for_a_while(self) -> None:
        self.seed("tagged", TagList=[OWNED])
        self.give(allow("rds:RemoveTagsFromResource", "*", IF_OWNED))
        tag = {"ResourceName": arn("db:tagged"), "TagKeys": [OWNED["Key"]]}
        self.step.remove_tags_from_resource(**tag)
        self.control("PATCH", "settings", {"tag_delay_seconds": 100_000})
        self.step.remove_tags_from_resource(**tag)
        self.control("PATCH", "settings", {"tag_delay_seconds": 0})
        self.denied("rds:RemoveTagsFromResource", arn("db:tagged"), self.step.remove_tags_from_resource, **tag)

    def test_what_is_gone_bears_no_tag(self) -> None:
        """AccessDenied, not NotFound [A25]."""
        self.give(allow("rds:DeleteDBSnapshot", "*", IF_OWNED))
        self.assert_denied("absent")

    def test_the_tags_of_a_request_are_conditions(self) -> None:
        condition = {
            "StringEquals": {"aws:RequestTag/team": "stars"},
            "ForAnyValue:StringEquals": {"aws:TagKeys": "team"},
        }
        self.give(allow("rds:AddTagsToResource", "*", condition))
        for tag, allowed in (("moons", False), ("stars", True)):
            parameters = {"ResourceName": arn("db:source"), "Tags": [{"Key": "team", "Value": tag}]}
            if allowed:
                self.step.add_tags_to_resource(**parameters)
            else:
                self.denied("rds:AddTagsToResource", arn("db:source"), self.step.add_tags_to_resource, **parameters)

    def test_tags_at_creation_are_an_action_of_their_own(self) -> None:
        snapshot = {"DBSnapshotIdentifier": "snapshot", "DBInstanceIdentifier": "source"}
        self.give(allow("rds:CreateDBSnapshot"))
        self.denied(
            "rds:AddTagsToResource", arn("snapshot:snapshot"), self.step.create_db_snapshot, **snapshot, Tags=[OWNED]
        )
        self.step.create_db_snapshot(**snapshot)


class DependentActions(RoleTest):
    """What the role must allow although the function never calls it."""

    def setUp(self) -> None:
        super().setUp()
        self.control("PATCH", "settings", {"tag_delay_seconds": 0})

    def test_a_role_is_passed_to_one_service(self) -> None:
        role = f"arn:aws:iam::{ACCOUNT}:role/its-role"
        for service, call, parameters in (
            ("rds", "add_role_to_db_instance", {"RoleArn": role, "FeatureName": "s3Import"}),
            ("monitoring.rds", "modify_db_instance", {"MonitoringRoleArn": role, "MonitoringInterval": 60}),
        ):
            for passed_to, allowed in (("lambda", False), (service, True)):
                condition = {"StringEquals": {"iam:PassedToService": f"{passed_to}.amazonaws.com"}}
                self.give(allow("rds:*"), allow("iam:PassRole", "*", condition))
                if allowed:
                    getattr(self.step, call)(DBInstanceIdentifier="source", **parameters)
                else:
                    self.denied(
                        "iam:PassRole", role, getattr(self.step, call), DBInstanceIdentifier="source", **parameters
                    )
            self.instance_statuses("source")

    def test_a_directorys_role_is_passed_to_two(self) -> None:
        role = f"arn:aws:iam::{ACCOUNT}:role/directory"
        join = {"DBInstanceIdentifier": "source", "Domain": "d-1234567890", "DomainIAMRoleName": "directory"}
        services = ["rds.amazonaws.com", "directoryservice.rds.amazonaws.com"]
        for missing in services:
            condition = {"StringEquals": {"iam:PassedToService": [one for one in services if one != missing]}}
            self.give(allow("rds:*"), allow("iam:PassRole", "*", condition))
            self.denied("iam:PassRole", role, self.step.modify_db_instance, **join)
        self.give(allow("rds:*"), allow("iam:PassRole", "*", {"StringEquals": {"iam:PassedToService": services}}))
        self.step.modify_db_instance(**join, ApplyImmediately=True)
        self.wait_for(lambda: self.instance("source")["DomainMemberships"])
        membership = self.instance("source")["DomainMemberships"][0]
        self.assertEqual((membership["Domain"], membership["IAMRoleName"]), ("d-1234567890", "directory"))

    def test_a_customers_key_is_used_with_the_callers_permissions(self) -> None:
        self.available_snapshot()
        key = self.kms.create_key()["KeyMetadata"]["KeyId"]
        copy = {"SourceDBSnapshotIdentifier": "snapshot", "TargetDBSnapshotIdentifier": "copy", "KmsKeyId": key}
        via, grant = {"kms:ViaService": f"rds.{REGION}.amazonaws.com"}, {"kms:GrantIsForAWSResource": "true"}
        describe = allow("kms:DescribeKey", "*", {"StringEquals": via})
        for granted in (
            [],
            [allow("kms:CreateGrant", "*", {"StringEquals": {"kms:ViaService": "s3.amazonaws.com"}})],
            [allow("kms:CreateGrant", arn("key/other", "kms"))],
        ):
            self.give(allow("rds:*"), describe, *granted)
            # As RDS tells it: "… or you do not have permissions to access it".
            self.refused("KMSKeyNotAccessibleFault", self.step.copy_db_snapshot, **copy)
        self.assertIn("kms:CreateGrant", self.role()["refused"][0])
        self.give(
            allow("rds:*"),
            describe,
            allow("kms:CreateGrant", arn("key/*", "kms"), {"StringEquals": via, "Bool": grant}),
        )
        self.step.copy_db_snapshot(**copy)
        self.snapshot_statuses("copy")
        self.step.restore_db_instance_from_db_snapshot(DBInstanceIdentifier="target", DBSnapshotIdentifier="copy")
        self.give(allow("rds:*"))
        self.refused(
            "KMSKeyNotAccessibleFault",
            self.step.restore_db_instance_from_db_snapshot,
            DBInstanceIdentifier="other",
            DBSnapshotIdentifier="copy",
        )

    def test_awss_own_key_is_anybodys_through_its_service(self) -> None:
        self.available_snapshot()
        self.give(allow("rds:*"))
        self.step.copy_db_snapshot(
            SourceDBSnapshotIdentifier="snapshot", TargetDBSnapshotIdentifier="copy", KmsKeyId="alias/aws/rds"
        )

    def test_a_managed_password_needs_a_secret_and_its_key(self) -> None:
        manage = {"DBInstanceIdentifier": "source", "ManageMasterUserPassword": True}
        secret = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:rds!db"
        self.give(allow(["rds:*", "secretsmanager:CreateSecret", "kms:DescribeKey"]))
        self.denied("secretsmanager:TagResource", secret, self.step.modify_db_instance, **manage)
        self.give(allow(["rds:*", "secretsmanager:*", "kms:DescribeKey"]))
        key = self.kms.create_key()["KeyMetadata"]["Arn"]
        self.refused("KMSKeyNotAccessibleFault", self.step.modify_db_instance, **manage, MasterUserSecretKmsKeyId=key)
        self.step.modify_db_instance(**manage)
        self.wait_for(lambda: self.instance("source").get("MasterUserSecret"))
        self.instance_statuses("source")
        self.give(
            allow(["rds:*", "secretsmanager:*", "kms:DescribeKey", "kms:CreateGrant"]),
            allow(
                ["kms:Decrypt", "kms:GenerateDataKey"],
                key,
                {"StringEquals": {"kms:ViaService": f"secretsmanager.{REGION}.amazonaws.com"}},
            ),
        )
        self.step.modify_db_instance(**manage, MasterUserSecretKmsKeyId=key)


class BlueGreenDeployments(Deployments, RoleTest):
    """Whose members RDS makes, changes and deletes with the caller's permissions."""

    ANY_GROUP = tuple(arn(f"{kind}:*") for kind in ("og", "pg", "subgrp"))
    REPLICA = "rds:CreateDBInstanceReadReplica"

    def setUp(self) -> None:
        super().setUp()
        self.control("PATCH", "settings", {"tag_delay_seconds": 0})
        self.seed_blue(TagList=[{"Key": "team", "Value": "stars"}])
        self.parameters = {"BlueGreenDeploymentName": "encrypt-orders", "Source": arn("db:orders"), "Tags": [OWNED]}

    def make(self, **parameters: Any) -> Any:
        return self.step.create_blue_green_deployment(**(self.parameters | parameters))

    def made(self) -> Any:
        """With the tag, by the account's owner."""
        return self.available(Tags=[OWNED])

    def test_a_creation_asks_for_its_source_the_deployment_and_green(self) -> None:
        whole = {
            "rds:CreateBlueGreenDeployment": [arn("db:orders"), arn("deployment:*")],
            "rds:AddTagsToResource": [arn("deployment:*"), arn("db:*")],
            self.REPLICA: [arn("db:*"), *self.ANY_GROUP],
        }
        for action, resources in whole.items():
            for missing in resources:
                with self.subTest(f"{action} {missing}"):
                    self.give(
                        *(
                            allow(one, [resource for resource in those if (one, resource) != (action, missing)])
                            for one, those in whole.items()
                        )
                    )
                    # Its "db:*" is for blue, too, which is asked for first.
                    resource = arn("db:orders") if (action, missing) == (self.REPLICA, arn("db:*")) else missing
                    self.denied(action, resource, self.make)
        self.give(*(allow(action, resources) for action, resources in whole.items()))
        self.make()
        self.assertEqual(self.role()["unused"], [])

    def test_green_is_named_by_no_pattern(self) -> None:
        self.give(
            allow(["rds:CreateBlueGreenDeployment", "rds:AddTagsToResource"]),
            allow(self.REPLICA, [arn("db:orders*"), *self.ANY_GROUP]),
        )
        self.denied(self.REPLICA, arn("db:*"), self.make)

    def test_green_is_made_with_the_tags_of_blue_and_the_deployment_with_those_that_are_given(self) -> None:
        """[A90]"""
        for key, allowed in (("team", arn("db:*")), (OWNED["Key"], arn("deployment:*"))):
            self.give(
                allow(["rds:CreateBlueGreenDeployment", self.REPLICA]),
                allow("rds:AddTagsToResource", "*", {"ForAnyValue:StringEquals": {"aws:TagKeys": key}}),
            )
            denied = ({arn("db:*"), arn("deployment:*")} - {allowed}).pop()
            self.denied("rds:AddTagsToResource", denied, self.make)

    def test_a_key_of_green_is_used_with_the_callers_permissions(self) -> None:
        entry = {"SourceArn": arn("db:orders"), "TargetKmsKeyId": self.key()}
        self.give(allow("rds:*"), allow("kms:DescribeKey"))
        self.refused("KMSKeyNotAccessibleFault", self.make, TargetResourceConfigurations=[entry])
        self.give(allow("rds:*"), allow(["kms:DescribeKey", "kms:CreateGrant"]))
        self.make(TargetResourceConfigurations=[entry])

    def test_a_named_parameter_group_is_asked_for(self) -> None:
        self.give(allow("rds:CreateBlueGreenDeployment", [arn("db:*"), arn("deployment:*"), arn("pg:default.*")]))
        self.denied("rds:CreateBlueGreenDeployment", arn("pg:mine"), self.make, TargetDBParameterGroupName="mine")

    def test_a_description_asks_for_the_deployment(self) -> None:
        made = self.made()
        describe = self.step.describe_blue_green_deployments
        self.give(allow("rds:DescribeBlueGreenDeployments", arn(f"deployment:{made}")))
        describe(BlueGreenDeploymentIdentifier=made)
        self.denied("rds:DescribeBlueGreenDeployments", arn("deployment:*"), describe)

    def test_a_switchover_renames_both_and_promotes_green(self) -> None:
        made = self.made()
        switch = {"BlueGreenDeploymentIdentifier": made}
        owned = allow("rds:SwitchoverBlueGreenDeployment", "*", IF_OWNED)
        modify = allow("rds:ModifyDBInstance", arn("db:*"))
        call = self.step.switchover_blue_green_deployment
        for statements, action, resource in (
            ([allow("rds:SwitchoverBlueGreenDeployment", arn("db:*"))], owned["Action"], arn(f"deployment:{made}")),
            ([owned], "rds:ModifyDBInstance", arn("db:orders")),
            ([owned, allow("rds:ModifyDBInstance", arn("db:orders*"))], "rds:ModifyDBInstance", arn("db:*")),
            ([owned, modify], "rds:PromoteReadReplica", arn("db:*")),
        ):
            self.give(*statements)
            self.denied(action, resource, call, **switch)
        self.give(owned, modify, allow("rds:PromoteReadReplica"))
        call(**switch)

    def test_a_deployment_is_told_by_its_tag(self) -> None:
        made = self.available()
        self.give(allow("rds:*", "*", IF_OWNED))
        self.denied(
            "rds:DeleteBlueGreenDeployment",
            arn(f"deployment:{made}"),
            self.step.delete_blue_green_deployment,
            BlueGreenDeploymentIdentifier=made,
        )

    def test_deleting_green_asks_for_each_of_it(self) -> None:
        made = self.made()
        delete = functools.partial(self.step.delete_blue_green_deployment, BlueGreenDeploymentIdentifier=made)
        owned = allow("rds:DeleteBlueGreenDeployment", "*", IF_OWNED)
        # Green has blue's tags, and not the deployment's [A90].
        self.give(owned, allow("rds:DeleteDBInstance", "*", IF_OWNED))
        self.denied("rds:DeleteDBInstance", arn("db:*"), delete, DeleteTarget=True)
        self.give(owned)
        self.denied("rds:PromoteReadReplica", arn("db:*"), delete)
        green = self.green(made)
        self.rds.modify_db_instance(DBInstanceIdentifier=green, DeletionProtection=False, ApplyImmediately=True)
        self.instance_statuses(green)
        self.rds.add_tags_to_resource(ResourceName=arn(f"db:{green}"), Tags=[OWNED])
        self.give(owned, allow("rds:DeleteDBInstance", "*", IF_OWNED))
        delete(DeleteTarget=True)

    def test_a_deployment_that_is_over_is_deleted_by_one_action(self) -> None:
        """[A91]"""
        made = self.made()
        self.switch_over(made)
        self.set_durations(deployment_delete=100_000)
        self.give(allow("rds:DeleteBlueGreenDeployment", "*", IF_OWNED))
        self.step.delete_blue_green_deployment(BlueGreenDeploymentIdentifier=made)
        # Nor does a late call ask for more.
        self.refused(
            "InvalidBlueGreenDeploymentStateFault",
            self.step.delete_blue_green_deployment,
            BlueGreenDeploymentIdentifier=made,
        )

    def test_refusals_are_forgotten_and_told_again(self) -> None:
        self.give(allow("rds:DescribeDBInstances"))
        for _ in range(2):
            self.denied(
                "rds:RebootDBInstance", arn("db:orders"), self.step.reboot_db_instance, DBInstanceIdentifier="orders"
            )
            self.assertEqual(len(self.role()["refused"]), 1)
            self.control("DELETE", "refusals")
            self.assertEqual(
                self.role(),
                {"unused": ["statement 0: Action rds:DescribeDBInstances", "statement 0: Resource *"], "refused": []},
            )
