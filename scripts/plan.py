#!/usr/bin/env python3
"""Prints what encrypting an instance would do, as Markdown for a change request. Changes nothing.

    make plan INSTANCE=orders

With AWS credentials it asks the stack deployed in their account; without, it shows the plan of a
made-up instance of that name in a local cloud.
"""

import argparse
import contextlib
import json
import pathlib
import sys
import time
from collections.abc import Iterator
from typing import Any

import boto3

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests" / "local"))

from cloud import STACK_NAME, CloudError, deploy
from demo import DemoFailed, running_cloud

POLL_SECONDS = 0.5


def plan(session: boto3.Session, endpoint: str | None, stack_name: str, instance_id: str) -> dict[str, Any]:
    """The output of an execution that only plans; it exits with the refusal if there is one."""
    stacks = session.client("cloudformation", endpoint_url=endpoint)
    states = session.client("stepfunctions", endpoint_url=endpoint)
    try:
        stack = stacks.describe_stacks(StackName=stack_name)["Stacks"][0]
    except stacks.exceptions.ClientError as problem:
        where = f"The stack {stack_name} was not found in {session.region_name}"
        sys.exit(f"{where}: {problem}\nDeploy it with: make deploy")
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    execution_arn = states.start_execution(
        stateMachineArn=outputs["StateMachineArn"],
        input=json.dumps({"instance_id": instance_id, "plan_only": True}),
    )["executionArn"]
    while (execution := states.describe_execution(executionArn=execution_arn))["status"] == "RUNNING":
        time.sleep(POLL_SECONDS)
    if execution["status"] != "SUCCEEDED":
        sys.exit(f"{execution.get('error', execution['status'])}: {execution.get('cause', '')}")
    output: dict[str, Any] = json.loads(execution["output"])
    return output


@contextlib.contextmanager
def local_session(instance_id: str) -> Iterator[tuple[boto3.Session, str]]:
    """A local cloud with the stack and an instance in it, for a look without an account."""
    with running_cloud(time_scale=0.01) as cloud:
        deploy(cloud, STACK_NAME, {})
        session = cloud.session()
        session.client("rds", endpoint_url=cloud.services_endpoint).create_db_instance(
            DBInstanceIdentifier=instance_id,
            Engine="postgres",
            DBInstanceClass="db.m7g.large",
            AllocatedStorage=200,
            MasterUsername="postgres",
            MasterUserPassword="correct-horse-battery",
        )
        yield session, cloud.endpoint


def show(output: dict[str, Any]) -> None:
    described = output["plan"]
    print(f"# Encrypting {output['instance_id']}\n")
    print("\n".join(described["summary"]))
    print("\n## Settings\n")
    rows = [("Setting", "Value", "Travels", "Remark"), ("---",) * 4]
    rows += [(row["field"], as_text(row["value"]), row["travels"], row["remark"]) for row in described["settings"]]
    print("\n".join(f"| {' | '.join(row)} |" for row in rows))
    print("\n## Estimate\n")
    for name, value in described["estimate"].items():
        print(f"- {name.replace('_', ' ')}: {value}")
    print("\n## Warnings\n")
    print("\n".join(f"- {warning}" for warning in output["warnings"]))


def as_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("instance", help="the DB instance's identifier")
    parser.add_argument("--stack-name", default=STACK_NAME)
    arguments = parser.parse_args()
    session = boto3.Session()
    if session.get_credentials():
        if not session.region_name:
            sys.exit("Which Region? Set AWS_REGION, or region in your AWS profile.")
        show(plan(session, None, arguments.stack_name, arguments.instance))
        return
    print("No AWS credentials: this is a made-up instance in a local cloud.\n", file=sys.stderr)
    with local_session(arguments.instance) as (session, endpoint):
        show(plan(session, endpoint, STACK_NAME, arguments.instance))


if __name__ == "__main__":
    try:
        main()
    except (CloudError, DemoFailed) as problem:
        sys.exit(f"plan: {problem}")
