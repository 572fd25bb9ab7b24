"""What AWS asks of the caller's role before it does what a call wants: actions on resources, in a context [A38].

Which kinds of resources an action is about, their ARNs, and whether their tags are a condition key, is AWS's
own table (Service Authorization Reference), as cfn-lint ships it. What else a call needs of the role is below,
each with where AWS says so.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moto.kms.models import Key, kms_backends

from rds.records import INACCESSIBLE_KEY, Deployment, Instance, Record, Snapshot

from .tags import Tags

if TYPE_CHECKING:
    from rds.calls import Call
    from rds.cloud import Cloud

# Not by importing cfn-lint, which takes a second.
POLICIES = importlib.metadata.distribution("cfn-lint").locate_file("cfnlint/data/AdditionalSpecs/Policies.json")
TABLE = json.loads(Path(str(POLICIES)).read_text())
# Where the prefix of the actions is not the service's name in botocore.
PREFIXES = {"stepfunctions": "states"}
# Parameters of RDS that name a resource, and its kind.
NAMES = {
    "DBInstanceIdentifier": "db",
    "DBSnapshotIdentifier": "snapshot",
    "SourceDBSnapshotIdentifier": "snapshot",
    "TargetDBSnapshotIdentifier": "snapshot",
    "OptionGroupName": "og",
    "DBParameterGroupName": "pg",
    "DBSubnetGroupName": "subgrp",
    "TargetDBParameterGroupName": "pg",
    "BlueGreenDeploymentIdentifier": "deployment",
}
# What makes a resource, and the parameter that names it.
MAKERS = {
    "CopyDBSnapshot": "TargetDBSnapshotIdentifier",
    "CreateDBInstance": "DBInstanceIdentifier",
    "CreateDBSnapshot": "DBSnapshotIdentifier",
    "RestoreDBInstanceFromDBSnapshot": "DBInstanceIdentifier",
}
# What makes a resource that RDS or DMS names, and its kind: such a request is judged before there is a name.
UNNAMED = {
    "CreateBlueGreenDeployment": "deployment",
    "CreateEndpoint": "endpoint",
    "CreateReplicationInstance": "replicationinstance",
}
# By service, what its tags at creation are asked for besides: of RDS its User Guide says so, of DMS nothing [A103].
MADE_WITH_TAGS = {"rds": UNNAMED, "dms": UNNAMED | {"CreateReplicationTask": "replicationtask"}}
# A new instance is in a group of each kind, and the defaults are asked for, too ("og:default*", "pg:default*",
# "subgrp:default" in the RDS User Guide, "Allow a user to create DB instances in an AWS account").
GROUPS_OF_NEW_INSTANCE = ("og", "pg", "subgrp")
# Parameters that hand RDS a role, and the services that take it: the trust policies in the RDS User Guide, "Setting up
# and enabling Enhanced Monitoring", "Creating an IAM role to allow Amazon RDS to access AWS services", and "Joining
# your DB instance" to a directory, whose role is for two services [A17].
ROLES = {
    "MonitoringRoleArn": ("monitoring.rds.amazonaws.com",),
    "RoleArn": ("rds.amazonaws.com",),
    "DomainIAMRoleName": ("rds.amazonaws.com", "directoryservice.rds.amazonaws.com"),
}


@dataclasses.dataclass(frozen=True)
class Ask:
    """May the role do this, to this?"""

    action: str
    resource: str
    # (condition key, value), …; a tuple where the key has several values.
    context: tuple[tuple[str, str | tuple[str, ...]], ...] = ()
    # Code and message of the answer where it is not the service's own access denial.
    denial: tuple[str, str] | None = None


class Asks:
    """Builds the asks of calls to a cloud's services."""

    def __init__(self, cloud: Cloud, tags: Tags) -> None:
        self._cloud, self._tags = cloud, tags

    def of_call(self, call: Call) -> list[Ask]:
        service = PREFIXES.get(call.service, call.service)
        asks = [
            self._ask(f"{service}:{call.operation}", resource, call.parameters)
            for resource in self._resources(service, call)
        ]
        if call.service == "rds":
            asks += self._tagging(call)
            asks += self._passing(call.parameters)
            asks += self._encrypting(call)
            asks += self._keeping_secret(call.parameters)
            asks += self._changing_deployment(call)
        elif call.service == "dms":
            asks += self._tagging(call)
            asks += self._encrypting(call)
        return asks

    def _ask(self, action: str, resource: str, given: Mapping[str, Any]) -> Ask:
        """With the tags of the resource, and those that the request gives or takes."""
        context: dict[str, str | tuple[str, ...]] = {**self._resource_tags(resource)}
        for tag in given.get("Tags", []):
            context[f"aws:RequestTag/{tag['Key']}"] = tag.get("Value", "")
        if keys := [tag["Key"] for tag in given.get("Tags", [])] or given.get("TagKeys"):
            context["aws:TagKeys"] = tuple(keys)
        # "Using condition keys to limit access to CloudWatch namespaces" (CloudWatch User Guide): of this action alone.
        if action == "cloudwatch:PutMetricData":
            context["cloudwatch:namespace"] = given["Namespace"]
        return Ask(action, resource, tuple(sorted(context.items())))

    def _resources(self, service: str, call: Call) -> list[str]:
        """What the call names; else all of the kinds that the action is about."""
        kinds = [
            kind.lower()
            for kind in TABLE[service]["Actions"].get((call.operation or "").lower(), {}).get("Resources", [])
        ]
        if not kinds:
            return ["*"]
        named = [
            self._named(service, parameter, value)
            for parameter, value in call.parameters.items()
            if isinstance(value, str)
        ]
        found = {arn: kind for arn in named if arn for kind in kinds if self._is_of_kind(arn, service, kind)}
        if kind := UNNAMED.get(call.operation or ""):
            found[self._arn(service, kind, "*")] = kind
        if service == "dms" and (group := call.parameters.get("ReplicationSubnetGroupIdentifier")):
            found[self._arn(service, "replicationsubnetgroup", group.lower())] = "replicationsubnetgroup"
        if MAKERS.get(call.operation or "") == "DBInstanceIdentifier":
            found |= {
                self._arn(service, kind, "default"): kind
                for kind in GROUPS_OF_NEW_INSTANCE
                if kind not in found.values()
            }
        return list(found) or [self._arn(service, kind, "*") for kind in kinds]

    def _named(self, service: str, parameter: str, value: str) -> str | None:
        """The ARN that a parameter's value is, or stands for."""
        if value.startswith("arn:"):
            return value
        if service == "kms" and parameter == "KeyId":
            return self._key(value)
        return self._arn(service, NAMES[parameter], value.lower()) if service == "rds" and parameter in NAMES else None

    def _arn(self, service: str, kind: str, name: str) -> str:
        parts = {"Partition": "aws", "Region": self._cloud.region, "Account": self._cloud.account_id}
        template = TABLE[service]["Resources"][kind]["ARNFormats"][0]
        return re.sub(r"\$\{(\w+)\}", lambda part: parts[part[1]], template).removesuffix(".*").removesuffix("*") + name

    def _is_of_kind(self, arn: str, service: str, kind: str) -> bool:
        return any(
            re.fullmatch(re.sub(r"\$\{\w+\}|(?<=:)\*", "[^:]*", pattern), arn)
            for pattern in TABLE[service]["Resources"][kind]["ARNFormats"]
        )

    def _resource_tags(self, arn: str) -> dict[str, str]:
        """The tags that count, of the records, all of whose actions have them as a condition key."""
        kind, name = arn.split(":", 6)[5:] if arn.count(":") >= 6 else ("", "")
        if arn.startswith("arn:aws:dms:"):
            resource = self._cloud.dms.find(arn)
            return self._counted_tags(resource) if resource else {}
        table = {"db": Instance, "snapshot": Snapshot, "deployment": Deployment}.get(kind)
        record = self._cloud.records.table(table).get(name) if table else None
        return self._counted_tags(record) if record else {}

    def _counted_tags(self, record: Record) -> dict[str, str]:
        if getattr(record, "hidden", False):
            return {}
        return {
            f"aws:ResourceTag/{key}": value
            for key, value in self._tags.counted(record, self._cloud.tag_delay_seconds).items()
        }

    def _tagging(self, call: Call) -> list[Ask]:
        """Tags at creation are AddTagsToResource (RDS User Guide, "Tagging Amazon RDS resources")."""
        given, operation = call.parameters, call.operation or ""
        if not given.get("Tags"):
            return []
        if named_by := MAKERS.get(operation):
            made = self._arn("rds", NAMES[named_by], given[named_by].lower())
        elif kind := MADE_WITH_TAGS[call.service].get(operation):
            made = self._arn(call.service, kind, "*")
        else:
            return []
        return [self._ask(f"{call.service}:AddTagsToResource", made, {"Tags": given["Tags"]})]

    def _changing_deployment(self, call: Call) -> list[Ask]:
        """What a blue/green deployment does to instances, RDS does with the caller's permissions.

        Service Authorization Reference, the column "Dependent actions", and RDS User Guide, "Authorizing access to
        Amazon RDS blue/green deployment operations", which says which of them are Aurora's, and that policies can't
        name green by a pattern, but by "*" alone. So green is called that here. Its tags are blue's [A90]; which of
        the dependent actions a deletion asks for, neither says [A91].
        """
        given, records = call.parameters, self._cloud.records
        if call.operation == "CreateBlueGreenDeployment":
            blue = records.instances.get(given["Source"].split(":")[-1].lower())
            if blue is None:
                return []
            green, tags = self._arn("rds", "db", "*"), {"Tags": _given(blue.tags)}
            groups = [self._arn("rds", kind, "*") for kind in GROUPS_OF_NEW_INSTANCE]
            asks = [self._ask("rds:CreateDBInstanceReadReplica", one, tags) for one in (blue.arn, green, *groups)]
            return asks + ([self._ask("rds:AddTagsToResource", green, tags)] if tags["Tags"] else [])
        found = records.deployments.get(given.get("BlueGreenDeploymentIdentifier", "").lower())
        if found is None:
            return []
        targets = [target for target in found.targets if target and records.holds(target)]
        if call.operation == "SwitchoverBlueGreenDeployment":
            return [
                *(self._ask("rds:ModifyDBInstance", source.arn, {}) for source in found.sources),
                *self._of_green(("rds:ModifyDBInstance", "rds:PromoteReadReplica"), targets),
            ]
        # One that is being deleted keeps what its members came to: what comes late asks for no more than what came.
        is_over = found.member_statuses[0] == "SWITCHOVER_COMPLETED"
        if call.operation == "DeleteBlueGreenDeployment" and not is_over:
            action = "rds:DeleteDBInstance" if given.get("DeleteTarget") else "rds:PromoteReadReplica"
            return self._of_green((action,), targets)
        return []

    def _of_green(self, actions: tuple[str, ...], targets: list[Instance]) -> list[Ask]:
        return [
            Ask(action, self._arn("rds", "db", "*"), tuple(sorted(self._counted_tags(target).items())))
            for action in actions
            for target in targets
        ]

    def _passing(self, given: Mapping[str, Any]) -> list[Ask]:
        """IAM User Guide, "Granting a user permissions to pass a role to an AWS service"."""
        return [
            Ask(
                "iam:PassRole",
                role if role.startswith("arn:") else self._arn("iam", "role", role),
                (("iam:PassedToService", service),),
            )
            for parameter, services in ROLES.items()
            if (role := given.get(parameter))
            for service in services
        ]

    def _encrypting(self, call: Call) -> list[Ask]:
        """With the caller's permissions (RDS User Guide, "AWS KMS key management"), and so, perhaps, DMS [A104]."""
        given = call.parameters
        keys = [given.get("KmsKeyId"), given.get("PerformanceInsightsKMSKeyId")]
        keys += [one.get("TargetKmsKeyId") for one in given.get("TargetResourceConfigurations", [])]
        if call.operation == "RestoreDBInstanceFromDBSnapshot":
            snapshot = self._cloud.records.snapshots.get(given["DBSnapshotIdentifier"].split(":")[-1].lower())
            keys.append(snapshot and snapshot.fields.get("KmsKeyId"))
        keys = [self._customer_key(key) for key in keys if key]
        return [
            self._key_ask(action, key, call.service)
            for key in keys
            if key
            for action in ("kms:DescribeKey", "kms:CreateGrant")
        ]

    def _keeping_secret(self, given: Mapping[str, Any]) -> list[Ask]:
        """RDS User Guide, "Permissions required for Secrets Manager integration"."""
        if not given.get("ManageMasterUserPassword"):
            return []
        key = given.get("MasterUserSecretKmsKeyId", "alias/aws/secretsmanager")
        secret = self._arn("secretsmanager", "secret", "rds!db")
        asks = [Ask("secretsmanager:CreateSecret", secret), Ask("secretsmanager:TagResource", secret)]
        # "to describe aws/secretsmanager", too: that key's own policy lets only Secrets Manager use it.
        if described := self._key(key):
            asks.append(self._key_ask("kms:DescribeKey", described, "rds"))
        if key := self._customer_key(key):
            asks += [self._key_ask(action, key, "secretsmanager") for action in ("kms:Decrypt", "kms:GenerateDataKey")]
            asks.append(self._key_ask("kms:CreateGrant", key, "rds"))
        return asks

    def _key_ask(self, action: str, key: str, service: str) -> Ask:
        """By way of a service (KMS Developer Guide, "AWS KMS condition keys"). RDS has its own words for a denial."""
        context = {"kms:ViaService": f"{service}.{self._cloud.region}.amazonaws.com"}
        if action == "kms:CreateGrant":
            context["kms:GrantIsForAWSResource"] = "true"
        return Ask(
            action,
            key,
            tuple(sorted(context.items())),
            denial=("KMSKeyNotAccessibleFault", INACCESSIBLE_KEY.format(key)),
        )

    def _key(self, reference: str) -> str | None:
        """The ARN of a key, by any of its names; None where there is no such key, as KMS or RDS will say."""
        key = self._found_key(reference)
        return key.arn if key else None

    def _customer_key(self, reference: str) -> str | None:
        """Its ARN, unless it is AWS's own: whose policy lets all of the account use it through its service
        (KMS Developer Guide, "AWS managed keys"), so that no role's policy is asked."""
        key = self._found_key(reference)
        return key.arn if key and key.key_manager != "AWS" else None

    def _found_key(self, reference: str) -> Key | None:
        backend = kms_backends[self._cloud.account_id][self._cloud.region]
        with contextlib.suppress(AttributeError, KeyError):
            return backend.describe_key(reference)
        return None


def _given(tags: list[dict[str, str]]) -> list[dict[str, str]]:
    """Without those that AWS gives itself."""
    return [tag for tag in tags if not tag["Key"].startswith("aws:")]
