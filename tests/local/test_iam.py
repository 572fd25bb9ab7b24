"""What a function's role does not allow is denied as AWS denies it."""

from botocore.exceptions import ClientError

from test_services import ServiceTest, tearDownModule  # noqa: F401  unittest calls the latter.

ACCOUNT, REGION, STEP = "123456789012", "us-east-1", "rds-encrypt.step"
PRINCIPAL = f"arn:aws:sts::{ACCOUNT}:assumed-role/step-role/step"
OWNED = {"Key": "rds-encrypt:execution", "Value": "arn:ours"}
IF_OWNED = {"Null": {"aws:ResourceTag/rds-encrypt:execution": "false"}}


def arn(resource, service="rds"):
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{resource}"


def allow(actions, resources="*", condition=None):
    return {"Effect": "Allow", "Action": actions, "Resource": resources} | (
        {"Condition": condition} if condition else {}
    )


class RoleTest(ServiceTest):
    """With a function whose role each test gives it."""

    def setUp(self):
        super().setUp()
        self.seed()
        self.step = self.service.client(app_id=STEP)
        self.addCleanup(self.control, "PUT", "roles", {})

    def give(self, *statements):
        self.control("PUT", "roles", {STEP: {"principal": PRINCIPAL, "policies": [{"Statement": list(statements)}]}})

    def denied(self, action, resource, call, **parameters):
        error = self.refused("AccessDenied", call, **parameters)
        message = f"User: {PRINCIPAL} is not authorized to perform: {action} on resource: {resource} because no identity-based policy allows the {action} action"
        self.assertEqual((error["Error"]["Message"], error["ResponseMetadata"]["HTTPStatusCode"]), (message, 403))

    def role(self):
        return self.control("GET", "roles")[STEP]


class Permissions(RoleTest):
    def test_what_the_role_allows_is_done(self):
        self.give(allow("rds:DescribeDBInstances", arn("db:sour*")))
        self.assertEqual(len(self.step.describe_db_instances(DBInstanceIdentifier="Source")["DBInstances"]), 1)
        self.assertEqual(self.role(), {"unused": [], "refused": []})

    def test_another_action_is_denied(self):
        self.give(allow("rds:DescribeDBInstances"))
        self.denied(
            "rds:RebootDBInstance", arn("db:source"), self.step.reboot_db_instance, DBInstanceIdentifier="source"
        )
        self.assertEqual(self.instance("source")["DBInstanceStatus"], "available")

    def test_another_resource_is_denied_whether_it_exists_or_not(self):
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

    def test_a_denial_in_json_has_its_own_name(self):
        self.give(allow("kms:DescribeKey", arn("key/other", "kms")))
        key = self.kms.create_key()["KeyMetadata"]["Arn"]
        error = self.refused("AccessDeniedException", self.service.client("kms", app_id=STEP).describe_key, KeyId=key)
        self.assertEqual(error["ResponseMetadata"]["HTTPStatusCode"], 400)
        self.assertIn(
            f"is not authorized to perform: kms:DescribeKey on resource: {key} because", error["Error"]["Message"]
        )

    def test_actions_without_resources_ask_for_all(self):
        self.give(allow("rds:DescribeAccountAttributes", arn("db:*")))
        self.denied("rds:DescribeAccountAttributes", "*", self.step.describe_account_attributes)
        self.give(allow("rds:DescribeAccountAttributes"))
        self.step.describe_account_attributes()

    def test_nobody_else_is_judged(self):
        self.give()
        self.rds.describe_db_instances()
        self.service.client(app_id="somebody").describe_db_instances()
        self.denied("rds:DescribeDBInstances", arn("db:*"), self.step.describe_db_instances)

    def test_each_resource_of_a_call_is_asked_for(self):
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
        for allowed, missing in (("copy", "snapshot"), ("snapshot", "copy")):
            self.give(allow("rds:CopyDBSnapshot", arn(f"snapshot:{allowed}")))
            self.denied("rds:CopyDBSnapshot", arn(f"snapshot:{missing}"), self.step.copy_db_snapshot, **copy)

    def test_what_was_never_needed_and_what_was_asked_in_vain_is_told(self):
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

    def test_a_policy_that_cannot_be_taken_apart_is_not_taken(self):
        for statement in (
            allow("rds:*") | {"Effect": "Deny"},
            allow("rds:*", "*", {"StringNotEquals": {"aws:TagKeys": "a"}}),
        ):
            with self.assertRaises(AssertionError):
                self.give(statement)


class Tags(RoleTest):
    """Conditions on tags: those of the resource count only after a while [A12]."""

    def delete(self, identifier="snapshot"):
        return self.step.delete_db_snapshot(DBSnapshotIdentifier=identifier)

    def assert_denied(self, identifier="snapshot"):
        self.denied("rds:DeleteDBSnapshot", arn(f"snapshot:{identifier}"), self.delete, identifier=identifier)

    def is_allowed(self):
        try:
            self.delete()
        except ClientError as error:
            return error.response["Error"]["Code"] != "AccessDenied"
        return True

    def test_another_tag_is_none(self):
        self.available_snapshot(Tags=[{"Key": "team", "Value": "stars"}])
        self.control("PATCH", "settings", {"tag_delay_seconds": 0})
        self.give(allow("rds:DeleteDBSnapshot", "*", IF_OWNED))
        self.assert_denied()
        self.give(allow("rds:DeleteDBSnapshot", "*", {"StringEquals": {"aws:ResourceTag/team": "moons"}}))
        self.assert_denied()
        self.assertEqual(self.role()["refused"], [], "a tag may come yet")
        self.give(allow("rds:DeleteDBSnapshot", "*", {"StringEquals": {"aws:ResourceTag/team": "stars"}}))
        self.delete()

    def test_a_tag_given_at_creation_is_too_young_at_first(self):
        self.set_durations(snapshot=1)
        self.control("PATCH", "settings", {"tag_delay_seconds": 100_000})
        self.available_snapshot(Tags=[OWNED])
        self.give(allow("rds:DeleteDBSnapshot", "*", IF_OWNED))
        self.assert_denied()
        self.control("PATCH", "settings", {"tag_delay_seconds": 200})
        self.wait_for(self.is_allowed)

    def test_a_tag_given_later_is_too_young_at_first(self):
        self.available_snapshot()
        self.give(allow("rds:DeleteDBSnapshot", "*", IF_OWNED))
        self.control("PATCH", "settings", {"tag_delay_seconds": 100_000})
        self.rds.add_tags_to_resource(ResourceName=arn("snapshot:snapshot"), Tags=[OWNED])
        self.assert_denied()
        self.control("PATCH", "settings", {"tag_delay_seconds": 200})
        self.wait_for(self.is_allowed)

    def test_a_tag_that_is_taken_away_counts_for_a_while(self):
        self.seed("tagged", TagList=[OWNED])
        self.give(allow("rds:RemoveTagsFromResource", "*", IF_OWNED))
        tag = {"ResourceName": arn("db:tagged"), "TagKeys": [OWNED["Key"]]}
        self.step.remove_tags_from_resource(**tag)
        self.control("PATCH", "settings", {"tag_delay_seconds": 100_000})
        self.step.remove_tags_from_resource(**tag)
        self.control("PATCH", "settings", {"tag_delay_seconds": 0})
        self.denied("rds:RemoveTagsFromResource", arn("db:tagged"), self.step.remove_tags_from_resource, **tag)

    def test_what_is_gone_bears_no_tag(self):
        """AccessDenied, not NotFound [A25]."""
        self.give(allow("rds:DeleteDBSnapshot", "*", IF_OWNED))
        self.assert_denied("absent")

    def test_the_tags_of_a_request_are_conditions(self):
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

    def test_tags_at_creation_are_an_action_of_their_own(self):
        snapshot = {"DBSnapshotIdentifier": "snapshot", "DBInstanceIdentifier": "source"}
        self.give(allow("rds:CreateDBSnapshot"))
        self.denied(
            "rds:AddTagsToResource", arn("snapshot:snapshot"), self.step.create_db_snapshot, **snapshot, Tags=[OWNED]
        )
        self.step.create_db_snapshot(**snapshot)


class DependentActions(RoleTest):
    """What the role must allow although the function never calls it."""

    def setUp(self):
        super().setUp()
        self.control("PATCH", "settings", {"tag_delay_seconds": 0})

    def test_a_role_is_passed_to_one_service(self):
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

    def test_a_directorys_role_is_passed_to_two(self):
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

    def test_a_customers_key_is_used_with_the_callers_permissions(self):
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

    def test_awss_own_key_is_anybodys_through_its_service(self):
        self.available_snapshot()
        self.give(allow("rds:*"))
        self.step.copy_db_snapshot(
            SourceDBSnapshotIdentifier="snapshot", TargetDBSnapshotIdentifier="copy", KmsKeyId="alias/aws/rds"
        )

    def test_a_managed_password_needs_a_secret_and_its_key(self):
        manage = {"DBInstanceIdentifier": "source", "ManageMasterUserPassword": True}
        secret = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:rds!db"
        self.give(allow(["rds:*", "secretsmanager:CreateSecret", "kms:DescribeKey"]))
        self.denied("secretsmanager:TagResource", secret, self.step.modify_db_instance, **manage)
        self.give(allow(["rds:*", "secretsmanager:*", "kms:DescribeKey"]))
        key = self.kms.create_key()["KeyMetadata"]["Arn"]
        self.refused("KMSKeyNotAccessibleFault", self.step.modify_db_instance, **manage, MasterUserSecretKmsKeyId=key)
        self.step.modify_db_instance(**manage)
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
