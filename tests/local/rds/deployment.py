"""How a blue/green deployment changes by itself: it is provisioned, switched over, deleted. See lifecycle.py.

Green is a replica of blue until the switchover swaps their names. What is known comes from the RDS User Guide
("Creating", "Switching" and "Deleting a blue/green deployment", "Overview of Amazon RDS Blue/Green Deployments",
"Limitations and considerations") and from the API's model. What neither says is in PLAYS.
"""

from __future__ import annotations

import secrets
import string
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import lifecycle
from .records import utc_now

if TYPE_CHECKING:
    from .cloud import Cloud
    from .lifecycle import Script
    from .records import Deployment, Fields, Instance, Records

# How deployments behave where AWS's documentation is silent (each with its row of the register of assumptions),
# and then what goes wrong with them. The defaults are the harsher reading, and that nothing goes wrong.
# `PATCH /local/settings {"blue_green": …}` changes it for all, a fault rule (`play`) for one deployment.
PLAYS = {
    # A key that cannot be used: the request is "refused", or the creation has "failed" later [A27].
    "bad_key": "refused",
    # Green's parameter group without TargetDBParameterGroupName: the engine's "default" (seen in
    # hashicorp/terraform-provider-aws#49132), or "copied" (User Guide) [A44].
    "omitted_parameter_group": "default",
    # Green has MonitoringInterval; without the role in hashicorp/terraform-provider-aws#43315 [A45].
    "copied_monitoring_role": False,
    # Green starts with blue's deletion protection, which forbids DeleteTarget [A46].
    "green_deletion_protection": True,
    # DescribeDBInstances shows green among blue's replicas, and blue as green's source [A47].
    "shown_as_replica": True,
    # DeleteBlueGreenDeployment is taken while PROVISIONING [A48].
    "deletable_while_provisioning": False,
    # The code of DeleteTarget after the switchover, and where green is protected [A49].
    "delete_target_error": "InvalidParameterCombination",
    # The deployment is there until the instances are gone that DeleteTarget deletes [A50].
    "outlives_targets": False,
    # What the deployment is once a member is missing: this, or still AVAILABLE [A51].
    "missing_member_status": "INVALID_CONFIGURATION",
    # What it is after a switchover that was rolled back: this, or AVAILABLE again [A52].
    "failed_switchover_status": "SWITCHOVER_FAILED",
    # A deployment that is SWITCHOVER_FAILED can be switched over again [A53].
    "switchover_again": False,
    # For a while neither name is found at the end of a switchover, as in a rename [A54].
    "hidden_at_switchover": True,
    # A write of blue that is older, in AWS seconds, stops the switchover [A55].
    "long_write_seconds": 300,
    # This task fails when it is all but done, or None.
    "failing_task": None,
    # Green's status when the deployment is AVAILABLE already (seen in hashicorp/terraform-provider-aws#36241), or None.
    "late_green": None,
    # Why the guardrails refuse the switchover, or None; other reasons are found in PostgreSQL itself.
    "guardrail": None,
    # Green takes the last writes of blue for longer than any SwitchoverTimeout.
    "stalls": False,
    # Members of blue, by identifier, that are not switched over; the primary takes all others back with it.
    "failing_members": [],
    # A broken switchover, which a ledger of writes has to find out: green takes writes before blue is frozen.
    "promotes_first": False,
}
GREEN_SUFFIX_LENGTH = 6
# These show no storage initialization ("Lazy loading and storage initialization for blue/green deployments").
SILENT_CLASSES = ("db.t3.", "db.t4g.")
# For how long a switchover that promotes first lets both sides take writes, in wall seconds.
SPLIT_WALL_SECONDS = 0.3


class Failed(Exception):
    """Why a task of the creation failed."""


class Canceled(Exception):
    """Why a switchover was taken back."""


def describe(deployment: Deployment, records: Records) -> Fields:
    """The fields as a describe call shows them now: the members by the names that they have now."""
    members = []
    for source, target, status in zip(deployment.sources, deployment.targets, deployment.member_statuses, strict=True):
        member = {"SourceMember": source.arn}
        if target:
            member["TargetMember"] = target.arn
        if missing := _missing(source, target, records):
            member["Status"] = missing
        elif status:
            member["Status"] = status
        members.append(member)
    shown = {
        "Source": members[0]["SourceMember"],
        "Status": status_of(deployment, records),
        "SwitchoverDetails": members,
    }
    if "TargetMember" in members[0]:
        shown["Target"] = members[0]["TargetMember"]
    # Copies: the tasks go on while the reply is written.
    return deployment.fields | shown | {"Tasks": [dict(task) for task in deployment.fields["Tasks"]]}


def status_of(deployment: Deployment, records: Records) -> str:
    if deployment.status == "AVAILABLE" and len(whole_pairs(deployment, records)) < len(deployment.sources):
        return str(deployment.plays["missing_member_status"])
    return deployment.status


def whole_pairs(deployment: Deployment, records: Records) -> list[tuple[Instance, Instance]]:
    """The members of blue and green that are both there: others are not switched over (User Guide, "Deleting")."""
    pairs = zip(deployment.sources, deployment.targets, strict=True)
    return [(source, target) for source, target in pairs if target and not _missing(source, target, records)]


def _missing(source: Instance, target: Instance | None, records: Records) -> str | None:
    if not records.holds(source):
        return "MISSING_SOURCE"
    return "MISSING_TARGET" if target and not records.holds(target) else None


def random_text(length: int) -> str:
    return "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(length))


def green_name(blue_name: str) -> str:
    """`<id>-green-<6>`; what becomes of an identifier of more than 50 characters is not known: cut here [A56]."""
    suffix = "-green-" + random_text(GREEN_SUFFIX_LENGTH)
    return blue_name[: 63 - len(suffix)].rstrip("-") + suffix


def provision(hand: Script[Deployment], make_green: Callable[[int], Instance]) -> None:
    """PROVISIONING, task by task → AVAILABLE, or INVALID_CONFIGURATION

    `make_green(number)` adds the record of green's counterpart to that member of blue.
    """
    deployment = hand.record
    for task in deployment.fields["Tasks"]:
        _mark(hand, task, "IN_PROGRESS")
        try:
            TASKS[task["Name"]](hand, make_green)
            if deployment.plays["failing_task"] == task["Name"]:
                raise Failed("of an internal error")
        except Failed as failure:
            _mark(hand, task, "FAILED")
            message = f"Creation of blue/green deployment failed because {failure}."
            hand.become("INVALID_CONFIGURATION", StatusDetails=message)
            hand.cloud.tell(deployment, "RDS-EVENT-0245", message)
            return
        _mark(hand, task, "COMPLETED")
    with hand.change():
        deployment.all_members_are("AVAILABLE")
        deployment.status = "AVAILABLE"
        if late := deployment.plays["late_green"]:
            _, green = deployment.primaries
            green.status = late
            lifecycle.lead(hand.cloud, green, _be_late)
    hand.cloud.tell(
        deployment,
        "RDS-EVENT-0244",
        "Blue/green deployment tasks completed. You can make more modifications to the green environment databases or "
        "switch over the deployment.",
    )


def _create_primary(hand: Script[Deployment], make_green: Callable[[int], Instance]) -> None:
    deployment = hand.record
    hand.sleep("green_named")
    blue = deployment.sources[0]
    if reason := hand.cloud.storage_of(blue).external_replication(blue):
        raise Failed(f"of {reason}")
    green = _add_member(hand, make_green, 0)
    green.follows_openly = deployment.plays["shown_as_replica"]
    _bring(hand, green, _create_member, blue)


def _configure_backups(hand: Script[Deployment], _make_green: Callable[[int], Instance]) -> None:
    _bring(hand, hand.record.primaries[1], _back_up_member)


def _create_topology(hand: Script[Deployment], make_green: Callable[[int], Instance]) -> None:
    for number in range(1, len(hand.record.sources)):
        _bring(hand, _add_member(hand, make_green, number), _create_member, hand.record.primaries[1])


TASKS = {
    "CREATING_READ_REPLICA_OF_SOURCE": _create_primary,
    "CONFIGURE_BACKUPS": _configure_backups,
    "CREATING_TOPOLOGY_OF_SOURCE": _create_topology,
}


def _mark(hand: Script[Deployment], task: Fields, status: str) -> None:
    with hand.change():
        task["Status"] = status


def _add_member(hand: Script[Deployment], make_green: Callable[[int], Instance], number: int) -> Instance:
    with hand.change() as deployment:
        green = deployment.targets[number] = make_green(number)
        deployment.member_statuses[number] = "PROVISIONING"
    return green


def _bring(hand: Script[Deployment], green: Instance, script: Callable[..., None], *arguments: Any) -> None:
    """Leads a member through a script of its own, to its end: others can delete or change it meanwhile."""
    lifecycle.lead(hand.cloud, green, script, *arguments).join()
    if not hand.cloud.records.holds(green) or green.status in ("deleting", "failed"):
        raise Failed(f"the DB instance {green.identifier} is not there any more")


def _create_member(hand: Script[Instance], source: Instance) -> None:
    """creating → available, as a replica of the source that clients can read"""
    with hand.during("green_create"):
        hand.cloud.storage_of(source).replicate(source, hand.record)
    if not hand.record.fields["DBInstanceClass"].startswith(SILENT_CLASSES):
        hand.record.initialize_start = hand.cloud.clock.now()
    hand.become("available", InstanceCreateTime=utc_now())
    hand.cloud.open_endpoint(hand.record)


def _back_up_member(hand: Script[Instance]) -> None:
    """backing-up → available"""
    hand.become("backing-up")
    hand.sleep("green_backup")
    hand.become("available", LatestRestorableTime=utc_now())


def _be_late(hand: Script[Instance]) -> None:
    """as it is → available"""
    hand.sleep("green_late")
    hand.become("available")


def promote_replica(hand: Script[Instance]) -> None:
    """modifying → available, as an instance of its own"""
    with hand.during("modify"):
        _stand_alone(hand.cloud, hand.record)
    hand.become("available")


def _stand_alone(cloud: Cloud, replica: Instance) -> None:
    storage = cloud.storage_of(replica)
    if not storage.promote(replica):
        raise RuntimeError(f"{replica.identifier} was not promoted")
    storage.detach(replica)


def switch_over(hand: Script[Deployment], name: Callable[[Instance, str], None], timeout_seconds: float) -> None:
    """SWITCHOVER_IN_PROGRESS → SWITCHOVER_COMPLETED, or back with nothing changed

    `name(instance, identifier)` gives an instance another name. The order is that of "Switchover actions".
    """
    deployment, cloud = hand.record, hand.cloud
    blue, green = deployment.primaries
    names = f"primary {blue.identifier} to {green.identifier}"
    with hand.change():
        deployment.all_members_are("SWITCHOVER_IN_PROGRESS")
    cloud.tell(deployment, "RDS-EVENT-0247", f"Switchover from {blue.identifier} to {green.identifier} started.")
    cloud.tell(deployment, "RDS-EVENT-0250", f"Switchover from {names} started.")
    try:
        with hand.during("switchover_guardrails"):
            _guard(deployment, cloud, timeout_seconds)
        with hand.during("switchover"):
            _swap(hand, name, timeout_seconds)
    except Canceled as reason:
        message = f"Switchover from {names} was canceled due to {reason}."
        status = deployment.plays["failed_switchover_status"]
        with hand.change():
            _release(deployment)
            deployment.all_members_are(status)
            deployment.status, deployment.fields["StatusDetails"] = status, message
        cloud.tell(deployment, "RDS-EVENT-0252", message)
        cloud.tell(deployment, "RDS-EVENT-0249", "Switchover canceled on blue/green deployment.")
        return
    if deployment.plays["hidden_at_switchover"]:
        hand.sleep("switchover_hidden")
    with hand.change():
        _release(deployment)
        deployment.status, deployment.fields["StatusDetails"] = "SWITCHOVER_COMPLETED", "Switchover completed"
    cloud.tell(
        deployment,
        "RDS-EVENT-0251",
        f"Switchover from {names} completed. Renamed to {blue.identifier} and {green.identifier}.",
    )
    cloud.tell(deployment, "RDS-EVENT-0248", "Switchover completed on blue/green deployment.")


def _guard(deployment: Deployment, cloud: Cloud, timeout_seconds: float) -> None:
    """ "Switchover guardrails": nothing is touched before they have passed."""
    (blue, green), plays = deployment.primaries, deployment.plays
    if plays["guardrail"]:
        raise Canceled(plays["guardrail"])
    if green.lag_seconds > timeout_seconds:
        raise Canceled("replication lag on the green environment")
    storage = cloud.storage_of(blue)
    if reason := storage.guardrail(
        green, plays["long_write_seconds"] * cloud.clock.scale
    ) or storage.external_replication(blue):
        raise Canceled(reason)


def _swap(hand: Script[Deployment], name: Callable[[Instance, str], None], timeout_seconds: float) -> None:
    deployment, cloud = hand.record, hand.cloud
    (blue, green), plays = deployment.primaries, deployment.plays
    storage, pairs = cloud.storage_of(blue), whole_pairs(deployment, cloud.records)
    instances = [instance for pair in pairs for instance in pair]
    if plays["promotes_first"]:
        storage.promote(green)
        time.sleep(SPLIT_WALL_SECONDS)
    for instance in instances:
        cloud.close_endpoint(instance)
    position = storage.freeze(blue)
    if not plays["promotes_first"] and not _promote_in_time(hand, position, timeout_seconds):
        # "If the switchover takes longer than the specified duration, then any changes are rolled back."
        storage.thaw(blue)
        for instance in instances:
            cloud.open_endpoint(instance)
        raise Canceled(f"it took longer than {timeout_seconds} seconds")
    with hand.change():
        for source, target in pairs:
            # Seen: SWITCHOVER_COMPLETED as a whole with a replica that is SWITCHOVER_FAILED.
            fails = source.identifier in plays["failing_members"]
            deployment.member_statuses[deployment.sources.index(source)] = (
                "SWITCHOVER_FAILED" if fails else "SWITCHOVER_COMPLETED"
            )
            if not fails:
                _exchange(cloud, source, target, name)
                source.hidden = target.hidden = plays["hidden_at_switchover"]
    for instance in instances:
        cloud.open_endpoint(instance)
    storage.detach(green)


def _promote_in_time(hand: Script[Deployment], position: str, timeout_seconds: float) -> bool:
    """Whether green has taken all of blue's writes, and now takes its own."""
    deployment, clock = hand.record, hand.cloud.clock
    blue, green = deployment.primaries
    if deployment.plays["stalls"] or blue.identifier in deployment.plays["failing_members"]:
        clock.sleep(timeout_seconds)
        return False
    return hand.cloud.storage_of(green).promote(green, position, timeout_seconds * clock.scale)


def _exchange(cloud: Cloud, source: Instance, target: Instance, name: Callable[[Instance, str], None]) -> None:
    """`-oldN` for blue, its name and tags for green; endpoints and ARNs follow the names, DbiResourceIds do not."""
    old_name = source.identifier
    number = next(number for number in range(1, 1000) if f"{old_name}-old{number}" not in cloud.records.instances)
    name(source, f"{old_name}-old{number}")
    name(target, old_name)
    # "The tags from the blue environment replace all tags on the resources in the green environment."
    target.fields["TagList"] = list(source.tags)


def _release(deployment: Deployment) -> None:
    for instance in deployment.members():
        instance.hidden = instance.is_switching = False


def delete(hand: Script[Deployment], targets: list[Instance], with_targets: bool) -> None:
    """DELETING → gone, and green with it, or standing alone

    "The green environment is promoted" for PostgreSQL; for MySQL and MariaDB it goes on replicating.
    """
    deployment, cloud = hand.record, hand.cloud
    with hand.during("deployment_delete"):
        if with_targets:
            deletions = [lifecycle.lead(cloud, target, lifecycle.delete_instance, None) for target in targets]
            if deployment.plays["outlives_targets"]:
                for deletion in deletions:
                    deletion.join()
        elif targets and targets[0].follows and targets[0].fields["Engine"] == "postgres":
            _stand_alone(cloud, targets[0])
    with hand.change():
        cloud.records.remove(deployment)
    cloud.tell(deployment, "RDS-EVENT-0246", "Blue/green deployment deleted.")
