"""The scripts of the build: what they refuse and what they draw."""

from __future__ import annotations

import datetime
import io
import json
import pathlib
import re
import struct
import subprocess
import sys
import tempfile
import unittest
import unittest.mock as mock
from typing import TYPE_CHECKING, Any

SCRIPTS = pathlib.Path(__file__).resolve().parent.parent.parent / "scripts"
sys.path.insert(0, str(SCRIPTS))

import state_diagram  # noqa: E402  Needs the path above.
import status  # noqa: E402

if TYPE_CHECKING:
    from rds.records import Fields

X86_64, AARCH64 = 62, 183


def elf(machine: int) -> bytes:
    """The first bytes of a 64-bit little-endian ELF executable."""
    return b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HH", 2, machine)


class CheckBootstraps(unittest.TestCase):
    def check(self, architecture: str, bootstraps: dict[str, bytes]) -> subprocess.CompletedProcess[str]:
        with tempfile.TemporaryDirectory() as folder:
            for name, content in bootstraps.items():
                bootstrap = pathlib.Path(folder, name, "bootstrap")
                bootstrap.parent.mkdir()
                bootstrap.write_bytes(content)
            command = [sys.executable, str(SCRIPTS / "check_bootstraps.py"), architecture, folder]
            return subprocess.run(command, capture_output=True, text=True)

    def test_same_architecture_passes(self) -> None:
        self.assertEqual(self.check("arm64", {"PlanFunction": elf(AARCH64)}).returncode, 0)
        self.assertEqual(self.check("x86_64", {"PlanFunction": elf(X86_64)}).returncode, 0)

    def test_one_of_another_architecture_is_named(self) -> None:
        result = self.check("arm64", {"PlanFunction": elf(AARCH64), "VerifyFunction": elf(X86_64)})
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("VerifyFunction/bootstrap is for x86_64, the template says arm64", result.stderr)
        self.assertNotIn("PlanFunction", result.stderr)

    def test_what_is_no_program_is_refused(self) -> None:
        for content in (b"", b"#!/bin/sh\n" + bytes(20)):
            self.assertIn("not an ELF file", self.check("x86_64", {"PlanFunction": content}).stderr)

    def test_nothing_built_is_refused(self) -> None:
        self.assertIn("holds no bootstrap", self.check("x86_64", {}).stderr)


class Status(unittest.TestCase):
    START = datetime.datetime(2026, 11, 25, 10, 0, tzinfo=datetime.timezone.utc)

    def line(self, document: dict[str, Any], **execution: Any) -> status.Line:
        described = {"name": "db-ORDERS-1", "status": "RUNNING", "startDate": self.START, **execution}
        return status.line_of(described, "WaitForEncryptedSnapshot", document)

    def test_a_running_execution_is_in_the_latest_loop_that_is_not_over(self) -> None:
        over = {"ready": True, "percent_progress": 100, "wait": {"waited_seconds": 300, "wait_seconds": 5, "looks": 9}}
        waits = {
            "ready": False,
            "percent_progress": 43,
            "wait": {"waited_seconds": 725, "wait_seconds": 35, "looks": 7},
        }
        ahead = {"ready": False, "wait": {"waited_seconds": 0, "wait_seconds": 0, "looks": 0}}
        document = {
            "instance_id": "orders",
            "no_encrypted_snapshot": over,
            "encrypted_snapshot": waits,
            "target": ahead,
        }
        line = self.line(document)
        self.assertEqual(
            line, ("orders", "RUNNING", "WaitForEncryptedSnapshot", "43 %", "12 min 05 s", "looks every 35 s")
        )

    def test_an_ended_execution_has_its_error_and_how_long_it_took(self) -> None:
        stop = self.START + datetime.timedelta(minutes=3)
        line = self.line({}, status="FAILED", error="KeyNotUsable", stopDate=stop)
        self.assertEqual(line, ("db-ORDERS-1", "FAILED", "KeyNotUsable", "", "3 min 00 s", ""))

    def test_a_fleet_tells_of_its_executions_once_and_how_many_are_over(self) -> None:
        item = {"instance_id": "orders", "state_machine_arn": "arn:stateMachine:encrypt", "name": "db-ORDERS-1"}
        fleet, child = "arn:execution:fleet:1", "arn:execution:encrypt:db-ORDERS-1"
        entered = {
            fleet: {"name": "EncryptEach", "input": json.dumps({"bucket": "reports", "items_key": "items.json"})},
            child: {"name": "CopyEncrypted", "input": "{}"},
        }

        def describe(**asked: str) -> Fields:
            return {"name": asked["executionArn"], "status": "RUNNING", "startDate": self.START}

        def history(**asked: Any) -> Fields:
            return {"events": [{"stateEnteredEventDetails": entered[asked["executionArn"]]}]}

        def map_run(**asked: str) -> Fields:
            is_over = "PlanEach" in asked["mapRunArn"]
            return {"itemCounts": {"total": 11, "pending": 0 if is_over else 4, "running": 0 if is_over else 2}}

        clients: dict[str, Any] = {name: mock.Mock() for name in ("stepfunctions", "s3", "cloudformation")}
        account = status.Account(mock.Mock(client=clients.__getitem__))
        clients["stepfunctions"].describe_execution.side_effect = describe
        clients["stepfunctions"].get_execution_history.side_effect = history
        clients["stepfunctions"].list_map_runs.return_value = {
            "mapRuns": [{"mapRunArn": f"arn:mapRun:fleet/{label}:1"} for label in ("PlanEach", "EncryptEach")]
        }
        clients["stepfunctions"].describe_map_run.side_effect = map_run
        clients["s3"].get_object.return_value = {"Body": io.BytesIO(json.dumps([item]).encode())}
        told = [(line.name, line.state, line.progress) for arn in (fleet, child) for line in account.lines(arn)]
        self.assertEqual(told, [(fleet, "EncryptEach", "5 of 11"), ("  orders", "CopyEncrypted", "")])

    def test_every_machine_of_the_stack_is_looked_at(self) -> None:
        outputs = re.findall(r"^  (\w*StateMachineArn):$", (SCRIPTS.parent / "template.yaml").read_text(), re.MULTILINE)
        self.assertEqual(set(status.MACHINES), set(outputs))

    def test_every_loop_of_the_machines_is_known(self) -> None:
        text = "".join(path.read_text() for path in (SCRIPTS.parent / "statemachine").glob("*.json"))
        waits = re.findall(r'"SecondsPath": "\$\.(\w+)\.wait\.wait_seconds"', text)
        self.assertEqual(len(waits), text.count('"SecondsPath"'))
        self.assertEqual(set(status.LOOPS), set(waits))


class StateDiagram(unittest.TestCase):
    def draw(self, **states: Fields) -> Any:
        return state_diagram.draw({"StartAt": next(iter(states)), "States": states})

    def catch(self, target: str) -> list[Fields]:
        return [{"ErrorEquals": ["States.ALL"], "Next": target}]

    def test_polling_loop_is_one_node(self) -> None:
        drawing = self.draw(
            Look={"Type": "Task", "Next": "IsReady"},
            IsReady={
                "Type": "Choice",
                "Choices": [{"Variable": "$.ready", "BooleanEquals": True, "Next": "Done"}],
                "Default": "Wait",
            },
            Wait={"Type": "Wait", "Next": "Look"},
            Done={"Type": "Succeed"},
        )
        self.assertIn('Look["Look<br>IsReady?"]', drawing)
        self.assertIn('Look -- "Wait" --> Look', drawing)
        self.assertIn("Look --> Done", drawing)
        self.assertNotIn("IsReady{{", drawing)

    def test_shared_failures_are_one_edge(self) -> None:
        drawing = self.draw(
            First={"Type": "Task", "Next": "Second", "Catch": self.catch("Failed")},
            Second={"Type": "Task", "Next": "Done", "Catch": self.catch("Failed")},
            Done={"Type": "Succeed"},
            Failed={"Type": "Fail"},
        )
        self.assertEqual(drawing.count(". any failure ."), 1)
        self.assertIn("failures_to_Failed -. any failure .-> Failed", drawing)

    def test_tolerated_failure_is_said(self) -> None:
        drawing = self.draw(
            Publish={"Type": "Task", "Next": "Done", "Catch": self.catch("Done")}, Done={"Type": "Succeed"}
        )
        self.assertIn('Publish -- "even if it fails" --> Done', drawing)
        self.assertNotIn("any failure", drawing)

    def test_conditions_are_words(self) -> None:
        for rule, words in (
            ({"Variable": "$.options.cutover", "StringEquals": "rename"}, "cutover is rename"),
            ({"Variable": "$.count", "NumericGreaterThanEquals": 3}, "count ≥ 3"),
            ({"Variable": "$.count", "NumericLessThanPath": "$.limit"}, "count < limit"),
            ({"Not": {"Variable": "$.group", "IsPresent": True}}, "not group is given"),
            ({"Variable": "$.group", "IsNull": True}, "group is not given"),
            (
                {"And": [{"Variable": "$.a", "StringEquals": "b"}, {"Variable": "$.c", "StringEquals": "d"}]},
                "a is b and c is d",
            ),
        ):
            self.assertEqual(state_diagram.describe(rule), words)

    def test_two_questions_of_one_choice_are_told_apart(self) -> None:
        rules = [{"Variable": f"$.{name}", "BooleanEquals": True, "Next": "Done"} for name in ("plan_only", "ready")]
        drawing = self.draw(Is={"Type": "Choice", "Choices": rules}, Done={"Type": "Succeed"})
        self.assertIn('Is -- "plan_only" --> Done', drawing)
        self.assertIn('Is -- "ready" --> Done', drawing)

    def test_check_finds_what_is_out_of_date(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            readme = pathlib.Path(folder, "README.md")
            readme.write_text(
                "<!-- state diagram of statemachine/encrypt-instance.asl.json -->\n<!-- end of state diagram -->\n"
            )
            command = [sys.executable, str(SCRIPTS / "state_diagram.py")]
            self.assertIn(
                "out of date", subprocess.run([*command, "--check", readme], capture_output=True, text=True).stderr
            )
            subprocess.run([*command, readme], check=True)
            self.assertEqual(subprocess.run([*command, "--check", readme]).returncode, 0)
            readme.write_text("no marker")
            self.assertNotEqual(subprocess.run([*command, readme], capture_output=True).returncode, 0)


if __name__ == "__main__":
    unittest.main()
