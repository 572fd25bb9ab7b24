"""Shows a whole account at work: many instances of all kinds, of which the unencrypted ones get encrypted twins.

Use `make demo FLEET=20`, which builds first. What a user would run on AWS runs on the local cloud: `sam deploy`,
`aws stepfunctions`, `aws s3`. Behind the instances stand files, since there are many.
"""

import argparse
import json
import shlex
import sys
import time
import urllib.request
from typing import Any

from cloud import REPOSITORY
from demo import Demo, DemoFailed, Screen, running_cloud

POLL_SECONDS = 0.5
REPORT = REPOSITORY / "target" / "fleet" / "report.html"
# One after the other, again and again: fields of the instance, or a fault that befalls a call of its execution.
KINDS: tuple[dict[str, Any], ...] = (
    {},
    {"AllocatedStorage": 200},
    {"Engine": "postgres", "AllocatedStorage": 50},
    {"StorageEncrypted": True, "StorageEncryptionType": "sse-kms"},
    {"Engine": "mariadb", "BackupRetentionPeriod": 1},
    {"TagList": [{"Key": "rds-encrypt", "Value": "exempt"}]},
    {"DBInstanceStatus": "stopped"},
    {"Engine": "sqlserver-ex"},
)
# One mail would ask for the switchovers that the plans recommend.
INPUT = '{"accept_interruption": true}'
MAPS = (("plans", "PlanEach"), ("encrypts", "EncryptEach"))
FAILING = {"operation": "CopyDBSnapshot", "action": {"type": "error", "code": "KMSKeyNotAccessibleFault"}}


class FleetDemo:
    """The account, the fleet and its report."""

    def __init__(self, demo: Demo) -> None:
        self.demo, self.cloud, self.screen, self.states = demo, demo.cloud, demo.screen, demo.states

    def show(self, count: int) -> bool:
        """Whether the fleet succeeded; the report is where it says."""
        self.demo.deploy()
        self.fill(count)
        fleet = self.start()
        self.follow(fleet)
        description = self.states.describe_execution(executionArn=fleet)
        if description["status"] != "SUCCEEDED":
            self.screen.line(self.screen.red(f"{description['status']}: {description.get('cause')}"))
            return False
        self.fetch(json.loads(description["output"])["report"])
        return True

    def fill(self, count: int) -> None:
        self.screen.heading(f"An account with {count} DB instances")
        for number in range(count):
            fields = {"Engine": "mysql", "StorageEncrypted": False, **KINDS[number % len(KINDS)]}
            self.control("PUT", f"instances/database-{number + 1:02}", {"fields": fields})
        self.control("POST", "faults", {**FAILING, "naming": "database-02-encrypted"})
        self.screen.line("unencrypted, encrypted, exempt, stopped and unsuitable ones; one that fails half way")

    def control(self, method: str, path: str, body: dict[str, Any]) -> Any:
        url = f"{self.cloud.services_endpoint}/local/{path}"
        with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), method=method)) as reply:
            return json.load(reply)

    def start(self) -> str:
        self.screen.heading("The fleet")
        machine = self.demo.outputs["FleetStateMachineArn"]
        command = ("aws", "stepfunctions", "start-execution", "--state-machine-arn", machine, "--input", INPUT)
        return str(json.loads(self.demo.call(*command))["executionArn"])

    def follow(self, fleet: str) -> None:
        begin, last = time.monotonic(), ""
        while self.states.describe_execution(executionArn=fleet)["status"] == "RUNNING":
            runs = [run["mapRunArn"] for run in self.states.list_map_runs(executionArn=fleet)["mapRuns"]]
            texts = [self.progress(run, title) for title, label in MAPS for run in runs if f"/{label}:" in run]
            text = "; ".join(texts) or "looks at every instance"
            if self.screen.is_terminal:
                self.screen.move(f"{text}   {self.demo.both_clocks(time.monotonic() - begin)}")
            elif text != last:
                self.screen.line(text)
            last = text
            time.sleep(POLL_SECONDS)
        self.screen.line(f"{self.screen.green('ended')} after {self.demo.both_clocks(time.monotonic() - begin)}")

    def progress(self, run: str, title: str) -> str:
        counts = self.states.describe_map_run(mapRunArn=run)["itemCounts"]
        done = {name: counts[name] for name in ("pending", "running", "succeeded", "failed")}
        return f"{title}: " + ", ".join(f"{count} {name}" for name, count in done.items() if count)

    def fetch(self, report: dict[str, Any]) -> None:
        self.screen.heading("The report")
        self.screen.line(report["message"].split("\nReport:")[0])
        REPORT.parent.mkdir(parents=True, exist_ok=True)
        self.demo.call("aws", "s3", "cp", report["report"], str(REPORT))
        self.screen.line()
        self.screen.line(self.screen.green(f"Open {shlex.quote(str(REPORT))} in a browser."))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", choices=("arm64", "x86_64"), required=True, help="of the functions")
    parser.add_argument("--fleet", type=int, default=20, help="how many instances (default 20)")
    parser.add_argument("--time-scale", type=float, default=0.005, help="how much of each AWS wait is really waited")
    arguments = parser.parse_args()
    screen = Screen()
    screen.line(screen.bold("rds-encrypt on a local cloud: no AWS account, nothing leaves this machine"))
    with running_cloud(arguments.time_scale, storage="files") as cloud:
        has_succeeded = FleetDemo(Demo(cloud, arguments.architecture, None, screen)).show(arguments.fleet)
    return 0 if has_succeeded else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except DemoFailed as problem:
        sys.exit(f"demo: {problem}")
    except KeyboardInterrupt:
        sys.exit(130)
