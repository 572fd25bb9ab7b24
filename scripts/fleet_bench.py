#!/usr/bin/env python3
"""Encrypts many instances in a local cloud, and prints how long it took, and what it cost in calls and memory.

    make bench FLEET=1000

The bound is what the limits allow: RDS makes 20 copies at a time. Behind the instances stand
files, and AWS's times pass on a clock that runs faster.
"""

import argparse
import contextlib
import json
import pathlib
import re
import sys
import time
import urllib.request
from collections import Counter
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests" / "local"))

from cloud import STACK_NAME, Cloud, CloudError, deploy
from demo import DemoFailed, running_cloud

POLL_SECONDS = 1.0
ROOM = {"DBInstances": 100_000, "ManualSnapshots": 100_000, "AllocatedStorage": 100_000_000}
# What an instance of some size takes, in AWS seconds.
DURATIONS = {"snapshot": 600, "copy": 1800, "restore": 900}
# One of each for each instance, however often RDS refused it before.
MAKE = ("CreateDBSnapshot", "CopyDBSnapshot", "RestoreDBInstanceFromDBSnapshot")


class Bench:
    """One fleet over a cloud of its own."""

    def __init__(self, cloud: Cloud, side_by_side: int) -> None:
        self.cloud = cloud
        outputs = deploy(cloud, STACK_NAME, {"FleetConcurrency": str(side_by_side)})
        self.machine, self.fleet_machine = outputs["StateMachineArn"], outputs["FleetStateMachineArn"]
        session = cloud.session()
        self.states = session.client("stepfunctions", endpoint_url=cloud.endpoint)

    def control(self, method: str, path: str, body: dict[str, Any]) -> Any:
        url = f"{self.cloud.services_endpoint}/local/{path}"
        with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), method=method)) as reply:
            return json.load(reply)

    def fill(self, count: int) -> None:
        self.control("PATCH", "settings", {"quotas": ROOM, "publish_metrics": False, "durations": DURATIONS})
        for number in range(count):
            fields = {"Engine": "mysql", "StorageEncrypted": False, "AllocatedStorage": 20}
            self.control("PUT", f"instances/database-{number:05}", {"fields": fields})
        self.control("DELETE", "calls", {})

    def run(self) -> dict[str, Any]:
        """The fleet's description, with how long it took by AWS's clock."""
        begin = time.monotonic()
        fleet = self.states.start_execution(stateMachineArn=self.fleet_machine, input='{"way": "snapshot"}')[
            "executionArn"
        ]
        while (described := self.states.describe_execution(executionArn=fleet))["status"] == "RUNNING":
            time.sleep(POLL_SECONDS)
        seconds = time.monotonic() - begin
        return {**described, "minutes": seconds / self.cloud.time_scale / 60, "seconds": seconds}

    def show(self, count: int, fleet: dict[str, Any]) -> bool:
        """Whether each instance got its one twin."""
        if fleet["status"] != "SUCCEEDED":
            print(f"{fleet['status']}: {fleet.get('cause')}")
            return False
        counts = json.loads(fleet["output"])["report"]["counts"]
        made_calls = self.control("GET", "calls?after=0", {})
        calls = Counter(call["operation"] for call in made_calls)
        effects = Counter(call["operation"] for call in made_calls if call["status"] == 200)
        executions = self.states.get_paginator("list_executions").paginate(stateMachineArn=self.machine)
        each = [execution["executionArn"] for page in executions for execution in page["executions"]]
        started = len(each)
        at_a_time = self.control("GET", "settings", {})["copies_at_a_time"]
        # The first copy needs its snapshot, the last one is restored.
        bound = (count / at_a_time * DURATIONS["copy"] + DURATIONS["snapshot"] + DURATIONS["restore"]) / 3600
        events = len(self.history(fleet["executionArn"]))
        print(f"instances          {count}, {', '.join(f'{number} {name}' for name, number in counts.items())}")
        print(f"executions         {started}")
        hours = fleet["minutes"] / 60
        print(f"time               {hours:.1f} h by AWS's clock, {hours / bound:.2f} of the bound")
        print(f"RDS calls          {sum(calls.values()) / count:.1f} for each instance")
        for operation, number in calls.most_common(6):
            print(f"  {operation:<34} {number / count:.1f}")
        print("made               " + ", ".join(f"{effects[name]} by {name}" for name in MAKE))
        print(f"the fleet's events {events}, its state {len(fleet['output'])} bytes")
        entered = [event["type"].endswith("StateEntered") for event in self.history(each[0])]
        print(f"of an execution    {len(entered)} events, {sum(entered)} transitions")
        for step, megabytes in self.memory().items():
            print(f"memory             {megabytes:.0f} MB at most of {step}")
        return counts == {"encrypted": count} and started == count and all(effects[name] == count for name in MAKE)

    def memory(self) -> dict[str, float]:
        """The two steps that hold a list of all, and the most of any other; on Linux alone."""
        peaks: dict[str, float] = {}
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if self.cloud.folder not in str((process / "exe").readlink()):
                    continue
                step = re.search(rb"AWS_SDK_UA_APP_ID=rds-encrypt\.([\w-]+)", (process / "environ").read_bytes())
                peak = re.search(r"VmHWM:\s+(\d+) kB", (process / "status").read_text())
                if step and peak:
                    name = step[1].decode() if step[1] in (b"find-unencrypted", b"report-fleet") else "any other"
                    peaks[name] = max(peaks.get(name, 0), int(peak[1]) / 1024)
        return dict(sorted(peaks.items()))

    def history(self, execution: str) -> list[Any]:
        pages = self.states.get_paginator("get_execution_history").paginate(executionArn=execution)
        return [event for page in pages for event in page["events"]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fleet", type=int, help="how many instances")
    parser.add_argument("--side-by-side", type=int, default=50, help="FleetConcurrency (default 50)")
    parser.add_argument("--time-scale", type=float, default=0.008, help="how much of each AWS wait is really waited")
    arguments = parser.parse_args()
    with running_cloud(arguments.time_scale, storage="files") as cloud:
        bench = Bench(cloud, arguments.side_by_side)
        bench.fill(arguments.fleet)
        return 0 if bench.show(arguments.fleet, bench.run()) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (CloudError, DemoFailed) as problem:
        sys.exit(f"bench: {problem}")
