#!/usr/bin/env python3
"""Prints how far executions have got, one line each: what runs, or one execution, or each instance of a fleet.

    make status
    make status EXECUTION=arn:aws:states:…

It asks the account of your AWS credentials, and changes nothing.
"""

import argparse
import datetime
import json
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

import boto3

STACK_NAME = "rds-encrypt"
# The outputs of the stack that hold its machines' ARNs.
MACHINES = (
    "FleetStateMachineArn", "StateMachineArn", "BlueGreenStateMachineArn", "OnlineStateMachineArn",
    "UndoStateMachineArn", "VerifyDataStateMachineArn",
)  # fmt: skip
# The loops of a state document, the latest first: what is waited for is in the first that is not over.
LOOPS = (
    "undo", "cleaned", "protected", "replication_cleaned", "verified", "switched", "lag", "loaded", "target_renamed",
    "source_renamed", "writes", "fenced", "cut_over", "verification", "replication", "created", "proof", "applied",
    "target", "deployment", "encrypted_snapshot", "no_encrypted_snapshot", "source",
)  # fmt: skip


class Line(NamedTuple):
    """What is printed of an execution."""

    name: str
    status: str
    state: str = ""
    progress: str = ""
    waited: str = ""
    next_look: str = ""


class Account:
    """The clients, and what they say of executions."""

    def __init__(self, session: boto3.Session) -> None:
        self.states = session.client("stepfunctions")
        self.objects = session.client("s3")
        self.stacks = session.client("cloudformation")
        # What a fleet has told of its own executions.
        self.told: set[str] = set()

    def running(self, stack_name: str) -> list[str]:
        """The executions of the stack's machines that run, or the latest of each if none does."""
        outputs = self.stacks.describe_stacks(StackName=stack_name)["Stacks"][0]["Outputs"]
        values = {output["OutputKey"]: output["OutputValue"] for output in outputs}
        machines = [values[name] for name in MACHINES if name in values]
        running = [arn for machine in machines for arn in self.executions(machine, statusFilter="RUNNING")]
        return running or [arn for machine in machines for arn in self.executions(machine, maxResults=5)[:5]]

    def executions(self, machine: str, **wanted: Any) -> list[str]:
        pages = self.states.get_paginator("list_executions").paginate(stateMachineArn=machine, **page_of(wanted))
        return [execution["executionArn"] for page in pages for execution in page["executions"]]

    def lines(self, arn: str) -> list[Line]:
        """The execution's own line, unless a fleet has told of it; of a fleet each of its executions follows."""
        if arn in self.told:
            return []
        execution = self.states.describe_execution(executionArn=arn)
        state, document = self.current(arn)
        lines = [line_of(execution, state, document)]
        if "items_key" in document:
            lines = [lines[0]._replace(progress=self.progress_of_map(arn, state))]
            text = self.objects.get_object(Bucket=document["bucket"], Key=document["items_key"])["Body"].read()
            lines += [self.line_of_item(item) for item in json.loads(text)]
        return lines

    def progress_of_map(self, fleet: str, state: str) -> str:
        """Of the Map that runs."""
        runs = (run["mapRunArn"] for run in self.states.list_map_runs(executionArn=fleet)["mapRuns"])
        run = next((run for run in runs if f"/{state}:" in run), None)
        if not run:
            return ""
        counts = self.states.describe_map_run(mapRunArn=run)["itemCounts"]
        return f"{counts['total'] - counts['pending'] - counts['running']} of {counts['total']}"

    def line_of_item(self, item: dict[str, Any]) -> Line:
        arn = f"{item['state_machine_arn'].replace(':stateMachine:', ':execution:')}:{item['name']}"
        name = f"  {item['instance_id']}"
        self.told.add(arn)
        try:
            execution = self.states.describe_execution(executionArn=arn)
        except self.states.exceptions.ExecutionDoesNotExist:
            return Line(name, "not started")
        # What has ended needs no look into its history: a fleet can have a thousand.
        current = self.current(arn) if execution["status"] == "RUNNING" else ("", {})
        return line_of(execution, *current)._replace(name=name)

    def current(self, arn: str) -> tuple[str, dict[str, Any]]:
        """The last state that was entered, and the document with which it was."""
        history = self.states.get_execution_history(executionArn=arn, reverseOrder=True, maxResults=25)
        entered = (event.get("stateEnteredEventDetails") for event in history["events"])
        details = next((details for details in entered if details), {"name": "", "input": "{}"})
        document = json.loads(details.get("input") or "{}")
        return details["name"], document if isinstance(document, dict) else {}


def page_of(wanted: dict[str, Any]) -> dict[str, Any]:
    """A paginator takes a page's size in another place."""
    size = wanted.pop("maxResults", None)
    return {**wanted, **({"PaginationConfig": {"MaxItems": size}} if size else {})}


def line_of(execution: Mapping[str, Any], state: str, document: dict[str, Any]) -> Line:
    name = document.get("instance_id") or execution["name"]
    if execution["status"] != "RUNNING":
        ran = execution["stopDate"] - execution["startDate"]
        return Line(name, execution["status"], execution.get("error") or "", "", minutes(ran))
    loop = loop_of(document)
    wait = loop.get("wait") or {}
    percent = loop.get("percent_progress")
    return Line(
        name,
        execution["status"],
        state,
        "" if percent is None else f"{percent} %",
        minutes(datetime.timedelta(seconds=wait.get("waited_seconds", 0))),
        f"looks every {wait['wait_seconds']} s" if wait.get("wait_seconds") else "",
    )


def loop_of(document: dict[str, Any]) -> dict[str, Any]:
    begun = (document.get(name) for name in LOOPS)
    looks = (loop for loop in begun if isinstance(loop, dict) and loop.get("wait", {}).get("looks"))
    return next((loop for loop in looks if not loop.get("ready")), {})


def minutes(time: datetime.timedelta) -> str:
    seconds = round(time.total_seconds())
    return f"{seconds // 60} min {seconds % 60:02} s" if seconds else ""


def show(lines: list[Line]) -> None:
    rows = [("execution", "status", "state", "done", "waited", "next look"), *lines]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("execution", nargs="?", help="the execution's ARN; without it, whatever runs")
    parser.add_argument("--stack-name", default=STACK_NAME)
    arguments = parser.parse_args()
    session = boto3.Session()
    if not (session.get_credentials() and session.region_name):
        sys.exit("Which account and Region? Set AWS_PROFILE, or AWS_REGION and your credentials.")
    account = Account(session)
    executions = [arguments.execution] if arguments.execution else account.running(arguments.stack_name)
    if not executions:
        sys.exit(f"The stack {arguments.stack_name} has run nothing yet.")
    show([line for arn in executions for line in account.lines(arn)])


if __name__ == "__main__":
    main()
