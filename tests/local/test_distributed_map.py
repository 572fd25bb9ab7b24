"""What distributed_map, eventbridge and buckets promise, each run through the patched emulator."""

import asyncio
import json
import os
import time
import unittest
import unittest.mock
from collections.abc import Callable
from typing import Any

os.environ["MINISTACK_ACCOUNT_ID"] = "123456789012"  # Read at import.
os.environ["RDS_ENCRYPT_LOCAL_CLOUD"] = "this-cloud"

from ministack.services import eventbridge as emulated_eventbridge
from ministack.services import s3
from ministack.services import stepfunctions as engine
from ministack.services.cloudformation import provisioners

import buckets
import distributed_map
import eventbridge
import ministack_patches

ministack_patches.apply()
distributed_map.apply()
eventbridge.apply()
buckets.apply()

ROLE = "arn:aws:iam::123456789012:role/role"
NESTED = "arn:aws:states:::states:startExecution.sync:2"


class Case(unittest.TestCase):
    def setUp(self) -> None:
        engine.reset()
        s3.reset()
        engine._SFN_WAIT_SCALE = 0.001

    def create(self, name: str, states: dict[str, Any]) -> str:
        definition = json.dumps({"StartAt": next(iter(states)), "States": states})
        _, _, body = engine._create_state_machine({"name": name, "definition": definition, "roleArn": ROLE})
        return str(json.loads(body)["stateMachineArn"])

    def start(self, arn: str, state_input: Any = None) -> Any:
        _, _, body = engine._start_execution({"stateMachineArn": arn, "input": json.dumps(state_input or {})})
        return engine._executions[json.loads(body)["executionArn"]]

    def until(self, is_so: Callable[[], Any]) -> None:
        deadline = time.monotonic() + 20
        while not is_so():
            self.assertLess(time.monotonic(), deadline, "it never came to that")
            time.sleep(0.01)

    def finish(self, execution: Any) -> Any:
        self.until(lambda: execution["status"] != "RUNNING")
        return execution

    def executions(self, machine_name: str) -> list[Any]:
        return [
            execution
            for execution in list(engine._executions.values())
            if execution["stateMachineArn"].endswith(f":{machine_name}")
        ]


class Nested(Case):
    """An execution within an execution."""

    def parent(self, child: str, **parameters: Any) -> str:
        task = {"Type": "Task", "Resource": NESTED, "Parameters": {"StateMachineArn": child, **parameters}, "End": True}
        return self.create("parent", {"Run": task})

    def test_a_child_is_an_ordinary_execution_and_its_output_is_json(self) -> None:
        child = self.create("child", {"Done": {"Type": "Pass", "End": True}})
        with unittest.mock.patch.object(engine, "_emit_execution_status_event") as emitted:
            parent = self.finish(self.start(self.parent(child, Name="one", Input={"a": 1})))
        output = json.loads(parent["output"])
        self.assertEqual((output["Name"], output["Status"], output["Output"]), ("one", "SUCCEEDED", {"a": 1}))
        told = [(call.args[0]["name"], call.args[0]["status"]) for call in emitted.call_args_list]
        self.assertIn("one", [name for name, _ in told])

    def test_a_child_that_fails_is_a_failed_task_with_its_description(self) -> None:
        child = self.create("child", {"Fail": {"Type": "Fail", "Error": "Bad", "Cause": "luck"}})
        parent = self.finish(self.start(self.parent(child)))
        self.assertEqual((parent["status"], parent["error"]), ("FAILED", "States.TaskFailed"))
        described = json.loads(parent["cause"])
        self.assertEqual((described["Error"], described["Cause"], described["Status"]), ("Bad", "luck", "FAILED"))

    def test_a_name_that_is_taken_is_refused(self) -> None:
        child = self.create("child", {"Done": {"Type": "Pass", "End": True}})
        parent = self.parent(child, Name="one", Input={})
        self.assertEqual(self.finish(self.start(parent))["status"], "SUCCEEDED")
        again = self.finish(self.start(parent))
        self.assertEqual(again["error"], "StepFunctions.ExecutionAlreadyExistsException")

    def test_a_stopped_parent_stops_its_child(self) -> None:
        child = self.create("child", {"Wait": {"Type": "Wait", "Seconds": 100_000, "End": True}})
        parent = self.start(self.parent(child))
        self.until(lambda: self.executions("child"))
        engine._stop_execution({"executionArn": parent["executionArn"]})
        self.assertEqual(self.finish(self.executions("child")[0])["status"], "ABORTED")


class Map(Case):
    """A Map in distributed mode."""

    def run_map(self, items: list[Any], inner: dict[str, Any], **fields: Any) -> Any:
        state = {
            "Type": "Map",
            "Label": "Each",
            "ItemsPath": "$.items",
            "ItemProcessor": {
                "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
                "StartAt": next(iter(inner)),
                "States": inner,
            },
            "End": True,
            **fields,
        }
        return self.start(self.create("fleet", {"Map": state}), {"items": items, "most": 2})

    def failing_with_two(self) -> dict[str, Any]:
        two = {"Variable": "$", "NumericEquals": 2, "Next": "Fail"}
        return {
            "IsTwo": {"Type": "Choice", "Choices": [two], "Default": "Done"},
            "Fail": {"Type": "Fail", "Error": "Bad", "Cause": "luck"},
            "Done": {"Type": "Pass", "End": True},
        }

    def test_failures_are_tolerated_as_far_as_asked(self) -> None:
        tolerant = self.finish(self.run_map([1, 2, 3], self.failing_with_two(), ToleratedFailurePercentage=100))
        self.assertEqual((tolerant["status"], json.loads(tolerant["output"])), ("SUCCEEDED", [1, 3]))
        for tolerated in ({}, {"ToleratedFailurePercentage": 30}, {"ToleratedFailureCount": 0}):
            with self.subTest(tolerated):
                engine.reset()
                strict = self.finish(self.run_map([1, 2, 3], self.failing_with_two(), **tolerated))
                self.assertEqual(strict["error"], "States.ExceedToleratedFailureThreshold")

    def test_no_more_run_side_by_side_than_asked(self) -> None:
        running = []
        wait = {"Wait": {"Type": "Wait", "Seconds": 300, "End": True}}
        fleet = self.run_map([1, 2, 3, 4, 5], wait, MaxConcurrencyPath="$.most")
        while fleet["status"] == "RUNNING":
            running.append(sum(child["status"] == "RUNNING" for child in self.executions("fleet/Each")))
            time.sleep(0.01)
        self.assertEqual((fleet["status"], max(running)), ("SUCCEEDED", 2))

    def test_a_stopped_fleet_stops_its_children_and_starts_no_more(self) -> None:
        wait = {"Wait": {"Type": "Wait", "Seconds": 100_000, "End": True}}
        fleet = self.run_map([1, 2, 3], wait, MaxConcurrency=2)
        self.until(lambda: len(self.executions("fleet/Each")) == 2)
        engine._stop_execution({"executionArn": fleet["executionArn"]})
        self.until(lambda: all(child["status"] == "ABORTED" for child in self.executions("fleet/Each")))
        time.sleep(0.3)
        self.assertEqual(len(self.executions("fleet/Each")), 2)

    def test_items_come_from_an_object_and_results_go_to_files(self) -> None:
        s3._create_bucket("lists", b"", {})
        s3._put_object("lists", "items.json", b"[1, 2, 3]", {})
        reader = {
            "Resource": "arn:aws:states:::s3:getObject",
            "ReaderConfig": {"InputType": "JSON"},
            "Parameters": {"Bucket": "lists", "Key": "items.json"},
        }
        writer = {"Resource": "arn:aws:states:::s3:putObject", "Parameters": {"Bucket": "lists", "Prefix": "results"}}
        fields = {"ItemReader": reader, "ResultWriter": writer, "ToleratedFailurePercentage": 100}
        fleet = self.finish(self.run_map([], self.failing_with_two(), **fields))
        place = json.loads(fleet["output"])["ResultWriterDetails"]
        manifest = self.object(place["Key"])
        self.assertEqual(manifest["ResultFiles"]["PENDING"], [])
        succeeded = self.object(manifest["ResultFiles"]["SUCCEEDED"][0]["Key"])
        failed = self.object(manifest["ResultFiles"]["FAILED"][0]["Key"])
        self.assertEqual(sorted(child["Output"] for child in succeeded), ["1", "3"])
        self.assertEqual([(child["Input"], child["Error"], child["Cause"]) for child in failed], [("2", "Bad", "luck")])

    def object(self, key: str) -> Any:
        return json.loads(s3._get_object("lists", key, {}, {})[2])

    def test_what_aws_refuses_is_refused(self) -> None:
        for fields in ({"Label": "x" * 41}, {"MaxConcurrency": -1}, {"MaxConcurrencyPath": "$.items"}):
            with self.subTest(fields):
                engine.reset()
                self.assertEqual(
                    self.finish(self.run_map([1], self.failing_with_two(), **fields))["error"], "States.Runtime"
                )


class Events(Case):
    """EventBridge and the schedules."""

    def test_only_a_service_sends_in_awss_name(self) -> None:
        entry = {"Source": "aws.rds", "DetailType": "RDS DB Instance Event", "Detail": "{}"}
        for sender, refused in ((None, 1), ("another-cloud", 1), ("this-cloud", 0)):
            request = {"Entries": [entry], **({"LocalCloud": sender} if sender else {})}
            _, _, body = emulated_eventbridge._put_events(request)
            self.assertEqual(json.loads(body)["FailedEntryCount"], refused, sender)

    def test_rates_pass_on_the_scale(self) -> None:
        self.assertEqual(emulated_eventbridge._parse_rate_seconds("rate(2 hours)"), 7.2)
        self.assertIsNone(emulated_eventbridge._parse_rate_seconds("cron(0 3 * * ? *)"))


class Buckets(Case):
    """A function's call of S3."""

    def call(self, method: str, agent: str, denial: Any = None) -> tuple[int, list[Any]]:
        headers = {"user-agent": agent}
        with unittest.mock.patch.object(ministack_patches, "call_services", return_value={"denial": denial}) as judged:
            status, _, _ = asyncio.run(s3.handle_request(method, "/lists/fleets/a", headers, b"[]", {}))
        return status, [call.args[2] for call in judged.call_args_list]

    def test_a_functions_call_is_judged_and_nobody_elses(self) -> None:
        s3._create_bucket("lists", b"", {})
        self.assertEqual(self.call("PUT", "aws-cli/2"), (200, []))
        asks = [{"action": "s3:PutObject", "resource": "arn:aws:s3:::lists/fleets/a"}]
        self.assertEqual(self.call("PUT", "app/step"), (200, [{"app_id": "step", "asks": asks}]))
        self.assertEqual(self.call("GET", "app/step", [None, "no"])[0], 403)

    def test_a_customer_key_is_asked_for(self) -> None:
        encryption = {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "arn:key"}}
        properties = {"BucketName": "lists", "BucketEncryption": {"ServerSideEncryptionConfiguration": [encryption]}}
        provisioners._RESOURCE_HANDLERS["AWS::S3::Bucket"]["create"]("Bucket", properties, "stack")
        self.addCleanup(buckets.keys.clear)
        ask = self.call("GET", "app/step")[1][0]["asks"][1]
        self.assertEqual((ask["action"], ask["resource"]), ("kms:Decrypt", "arn:key"))
        self.assertEqual(ask["context"], {"kms:EncryptionContext:aws:s3:arn": "arn:aws:s3:::lists"})


if __name__ == "__main__":
    unittest.main()
