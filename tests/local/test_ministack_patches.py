"""What ministack_patches promises, each run through the patched interpreter."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
import unittest
import unittest.mock
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

os.environ["MINISTACK_ACCOUNT_ID"] = "123456789012"  # Read at import.

from ministack.services import iam as iam_service
from ministack.services import lambda_svc
from ministack.services import stepfunctions as engine
from ministack.services.cloudformation import stacks

import ministack_patches

if TYPE_CHECKING:
    from rds.records import Fields

ministack_patches.apply()

FUNCTION = "arn:aws:lambda:us-east-1:123456789012:function:step"


def task(**fields: Any) -> Fields:
    return {"Type": "Task", "Resource": FUNCTION, "End": True, **fields}


def machine(state: Fields, **fields: Any) -> Fields:
    succeed = {"Type": "Succeed"}
    return {"StartAt": "First", "States": {"First": state, "Caught": succeed, "Done": succeed}, **fields}


class Patches(unittest.TestCase):
    def setUp(self) -> None:
        engine.reset()
        engine._SFN_WAIT_SCALE = 0.001
        events = unittest.mock.patch.object(engine, "_emit_execution_status_event")
        self.emitted = events.start()
        self.machines: dict[str, Any] = {}
        self.addCleanup(events.stop)

    def create(self, definition: Fields) -> str:
        text = json.dumps(definition)
        if text not in self.machines:
            request = {"name": f"machine-{len(self.machines)}", "definition": text}
            _, _, body = engine._create_state_machine({**request, "roleArn": "arn:aws:iam::123456789012:role/role"})
            self.machines[text] = json.loads(body)["stateMachineArn"]
        return str(self.machines[text])

    def start(self, definition: Fields, state_input: Any = None, **request: Any) -> tuple[int, Fields]:
        arn = self.create(definition)
        status, _, body = engine._start_execution(
            {"stateMachineArn": arn, "input": json.dumps(state_input or {}), **request}
        )
        return status, json.loads(body)

    def finish(self, execution_arn: str) -> Any:
        deadline = time.monotonic() + 10
        while (execution := engine._executions[execution_arn])["status"] == "RUNNING":
            self.assertLess(time.monotonic(), deadline, "the execution never ended")
            time.sleep(0.01)
        return execution

    def run_machine(self, state: Fields, state_input: Any = None, **fields: Any) -> Any:
        _, started = self.start(machine(state, **fields), state_input)
        return self.finish(started["executionArn"])

    def failing_with(self, *errors: str, then: Any = None) -> Any:
        """A function that fails so often, then answers."""
        outcomes = [engine._ExecutionError(error, "{}") for error in errors] + [then or {}]
        return unittest.mock.patch.object(engine, "_call_lambda", side_effect=outcomes)

    @contextlib.contextmanager
    def recorded_sleeps(self) -> Iterator[list[float]]:
        sleeps: list[float] = []
        with unittest.mock.patch.object(ministack_patches, "scaled_sleep", sleeps.append):
            yield sleeps

    def assert_failed(self, execution: Fields, error: str) -> None:
        self.assertEqual((execution["status"], execution.get("error")), ("FAILED", error), execution.get("cause"))

    def test_retries_obey_their_longest_delay_and_no_other(self) -> None:
        retry = [
            {"ErrorEquals": ["Busy"], "IntervalSeconds": 50, "BackoffRate": 2, "MaxAttempts": 4, "MaxDelaySeconds": 150}
        ]
        with self.failing_with("Busy", "Busy", "Busy", "Busy"), self.recorded_sleeps() as sleeps:
            self.assertEqual(self.run_machine(task(Retry=retry))["status"], "SUCCEEDED")
        self.assertEqual(sleeps, [50, 100, 150, 150])

    def test_machine_times_out_whatever_it_waits_for(self) -> None:
        execution = self.run_machine({"Type": "Wait", "Seconds": 100_000, "Next": "Done"}, TimeoutSeconds=100)
        self.assertEqual(execution["status"], "TIMED_OUT")
        time.sleep(2 * ministack_patches.SLEEP_SLICE_SECONDS)
        self.assertEqual(execution["events"][-1]["type"], "ExecutionTimedOut")
        self.assertEqual(self.emitted.call_count, 2)  # RUNNING and TIMED_OUT

    def test_stopped_execution_stays_aborted(self) -> None:
        _, started = self.start(machine({"Type": "Wait", "Seconds": 300, "Next": "Done"}))
        time.sleep(0.3)
        engine._stop_execution({"executionArn": started["executionArn"]})
        execution = engine._executions[started["executionArn"]]
        engine._fail_execution(execution, "Late", "its last call failed")
        time.sleep(0.3)
        self.assertEqual(execution["status"], "ABORTED")
        self.assertEqual(execution["events"][-1]["type"], "ExecutionAborted")

    def test_events_of_an_encrypted_machine_hold_no_data(self) -> None:
        with unittest.mock.patch.object(ministack_patches, "original_emit_status") as emit:
            for key, shown in (("AWS_OWNED_KEY", "{}"), ("CUSTOMER_MANAGED_KMS_KEY", None)):
                ministack_patches.emit_execution_status_event({"input": "{}", "encryptionConfiguration": {"type": key}})
                self.assertEqual(emit.call_args.args[0]["input"], shown)

    def test_nothing_sleeps_for_an_ended_execution(self) -> None:
        token = ministack_patches.current_execution.set({"status": "ABORTED"})
        self.addCleanup(ministack_patches.current_execution.reset, token)
        with self.assertRaises(ministack_patches.ExecutionEnded):
            engine._scaled_sleep(1)

    def test_a_branch_that_fails_ends_the_others(self) -> None:
        """The state's error is the branch's, as recorded of AWS; a task that waits for a token is over [A116]."""
        looking: Fields = {"Wait": {"Type": "Wait", "Seconds": 20, "Next": "Look"}, "Look": {**task(), "Next": "Wait"}}
        del looking["Look"]["End"]
        asking = {"Ask": {**task(), "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken"}}
        asking["Ask"]["Parameters"] = {"FunctionName": FUNCTION, "Payload": {"token.$": "$$.Task.Token"}}
        failing: Fields = {
            "Pause": {"Type": "Wait", "Seconds": 200, "Next": "Fail"},
            "Fail": {"Type": "Fail", "Error": "Enough", "Cause": "because"},
        }
        branches = [{"StartAt": next(iter(states)), "States": states} for states in (looking, asking, failing)]
        catch = [{"ErrorEquals": ["Enough"], "Next": "Caught"}]
        with unittest.mock.patch.object(engine, "_call_lambda", return_value={}) as called:
            parallel = {"Type": "Parallel", "Branches": branches, "Catch": catch, "Next": "Done"}
            execution = self.run_machine(parallel)
            self.assertEqual(json.loads(execution["output"]), {"Error": "Enough", "Cause": "because"})
            calls = called.call_count
            self.assertGreater(calls, 3)
            token = next(call.args[1]["token"] for call in called.call_args_list if call.args[1])
            answer = engine._send_task_success({"taskToken": token, "output": "{}"})
            self.assertEqual(answer[0], 400)
            time.sleep(0.2)
            self.assertEqual(called.call_count, calls)

    def test_a_stopped_execution_ends_its_branches(self) -> None:
        states = {"Wait": {"Type": "Wait", "Seconds": 300, "Next": "Look"}, "Look": task()}
        branches = [{"StartAt": "Wait", "States": states}]
        with unittest.mock.patch.object(engine, "_call_lambda", return_value={}) as called:
            _, started = self.start(machine({"Type": "Parallel", "Branches": branches, "Next": "Done"}))
            time.sleep(0.1)
            engine._stop_execution({"executionArn": started["executionArn"]})
            time.sleep(0.4)
            self.assertEqual(engine._executions[started["executionArn"]]["status"], "ABORTED")
            called.assert_not_called()

    def test_same_start_is_answered_twice_and_another_input_refused(self) -> None:
        wait = machine({"Type": "Wait", "Seconds": 500, "Next": "Done"})
        first = self.start(wait, {"a": 1}, name="once")
        self.assertEqual(self.start(wait, {"a": 1}, name="once"), first)
        self.assertEqual(self.start(wait, {"a": 2}, name="once")[1]["__type"], "ExecutionAlreadyExists")
        self.finish(first[1]["executionArn"])
        self.assertEqual(self.start(wait, {"a": 1}, name="once")[1]["__type"], "ExecutionAlreadyExists")

    def test_an_execution_keeps_the_definition_that_it_was_started_with(self) -> None:
        before, after = (machine({"Type": "Pass", "Result": result, "End": True}) for result in ("before", "after"))
        _, started = self.start(before)
        engine._update_state_machine({"stateMachineArn": self.create(before), "definition": json.dumps(after)})
        self.assertEqual(self.finish(started["executionArn"])["output"], '"before"')
        _, started = self.start(before)
        self.assertEqual(self.finish(started["executionArn"])["output"], '"after"')

    def test_bad_starts_are_refused(self) -> None:
        succeed = machine({"Type": "Pass", "End": True})
        at_limit = {"input": json.dumps("x" * (ministack_patches.DATA_LIMIT_BYTES - 2))}
        self.assertEqual(self.start(succeed, **at_limit)[0], 200)
        for request, error in (
            ({"input": at_limit["input"] + " "}, "ValidationException"),
            ({"input": "{"}, "InvalidExecutionInput"),
            ({"name": "a:b"}, "InvalidName"),
            ({"name": "a" * 81}, "InvalidName"),
        ):
            self.assertEqual(self.start(succeed, **request)[1]["__type"], error)

    def test_a_text_that_repeats_is_kept_once(self) -> None:
        execution = self.run_machine({"Type": "Pass", "Next": "Done"}, {"a": "x" * 100})
        entered = [
            event["stateEnteredEventDetails"] for event in execution["events"] if "stateEnteredEventDetails" in event
        ]
        self.assertIs(entered[0]["input"], entered[1]["input"])

    def test_oversized_result_ends_the_execution(self) -> None:
        catch = [{"ErrorEquals": ["States.ALL"], "Next": "Caught"}]
        with self.failing_with(then={"much": "x" * ministack_patches.DATA_LIMIT_BYTES}):
            self.assert_failed(self.run_machine(task(Catch=catch)), "States.DataLimitExceeded")

    def test_missing_paths_cannot_be_caught(self) -> None:
        catch = [{"ErrorEquals": ["States.ALL"], "Next": "Caught"}]
        for state in (
            task(Parameters={"a.$": "$.missing"}, Catch=catch),
            task(Parameters={"a.$": "States.Format('{}', $.missing)"}, Catch=catch),
            task(Parameters={"a.$": "$.list[2]"}, Catch=catch),
            task(ResultSelector={"a.$": "$.missing"}, Catch=catch),
            task(InputPath="$.missing", Catch=catch),
            {"Type": "Wait", "SecondsPath": "$.missing", "Next": "Done"},
            {
                "Type": "Choice",
                "Choices": [{"Variable": "$.missing", "IsNull": True, "Next": "Done"}],
                "Default": "Done",
            },
            {"Type": "Fail", "ErrorPath": "$.missing"},
        ):
            with self.subTest(state), self.failing_with():
                self.assert_failed(self.run_machine(state, {"list": [1, 2]}), "States.Runtime")

    def test_null_is_present_and_found(self) -> None:
        rule = {"Variable": "$.null", "IsPresent": True}
        self.assertTrue(engine._evaluate_rule(rule, {"null": None}))
        self.assertFalse(engine._evaluate_rule(rule, {}))
        self.assertTrue(engine._evaluate_rule({"Not": rule}, {}))
        self.assertIsNone(engine._resolve_path("$.null", {"null": None}))
        self.assertEqual(engine._resolve_path("$.list[*].a", {"list": [{"a": 1}, {"a": 2}]}), [1, 2])

    def test_operators_that_the_engine_lacks_are_not_taken_for_false(self) -> None:
        rule = {"Variable": "$.at", "TimestampLessThanPath": "$.until", "Next": "Done"}
        self.assert_failed(
            self.run_machine({"Type": "Choice", "Choices": [rule], "Default": "Done"}, {"at": "", "until": ""}),
            "States.Runtime",
        )

    def test_wait_takes_whole_numbers(self) -> None:
        wait = {"Type": "Wait", "SecondsPath": "$.seconds", "Next": "Done"}
        self.assertEqual(self.run_machine(wait, {"seconds": 3})["status"], "SUCCEEDED")
        for seconds in (1.5, -1, "3", True, None):
            with self.subTest(seconds):
                self.assert_failed(self.run_machine(wait, {"seconds": seconds}), "States.Runtime")

    def test_waits_follow_the_scale(self) -> None:
        start = time.monotonic()
        self.run_machine({"Type": "Wait", "SecondsPath": "$.seconds", "Next": "Done"}, {"seconds": 1000})
        self.assertGreater(time.monotonic() - start, 1.0)
        self.assertLess(time.monotonic() - start, 2.0)

    def test_result_needs_an_object_to_be_put_into(self) -> None:
        catch = [{"ErrorEquals": ["Broken"], "ResultPath": "$.error", "Next": "Caught"}]
        with self.failing_with("Broken"):
            self.assert_failed(self.run_machine(task(Catch=catch), [1]), "States.ResultPathMatchFailure")

    def test_fail_states_may_not_borrow_the_services_names(self) -> None:
        fail = {"Type": "Fail", "ErrorPath": "$.error", "CausePath": "$.cause"}
        self.assert_failed(self.run_machine(fail, {"error": "States.Timeout", "cause": ""}), "States.Runtime")
        self.assert_failed(self.run_machine(fail, {"error": "StepTimedOut", "cause": ""}), "StepTimedOut")

    def test_failed_child_is_a_failed_task(self) -> None:
        error, cause = engine._nested_execution_failure({"status": "FAILED", "error": "NameConflict", "name": "child"})
        self.assertEqual(error, "States.TaskFailed")
        self.assertEqual(json.loads(cause), {"Status": "FAILED", "Error": "NameConflict", "Name": "child"})

    def test_functions_are_told_their_log_format(self) -> None:
        logging = {"LogFormat": "JSON", "ApplicationLogLevel": "DEBUG"}
        configuration = {"FunctionArn": FUNCTION, "LoggingConfig": logging}
        environment = lambda_svc._provided_worker_env(configuration, "/var/task", 9001)
        self.assertEqual(environment["AWS_LAMBDA_LOG_FORMAT"], "JSON")
        self.assertEqual(environment["AWS_LAMBDA_LOG_LEVEL"], "DEBUG")

    def call_services(self, reply: Fields) -> Any:
        """In place of services.py."""
        return unittest.mock.patch.object(ministack_patches, "call_services", return_value=reply)

    def test_a_finished_stack_tells_what_its_functions_may(self) -> None:
        policy = {"Statement": [{"Effect": "Allow", "Action": "rds:DescribeDBInstances", "Resource": "*"}]}
        role = {"RoleName": "step-role", "InlinePolicies": {"first": json.dumps(policy)}}
        arn = "arn:aws:iam::123456789012:role/step-role"
        of_ours = {
            "FunctionName": "step",
            "Role": arn,
            "Environment": {"Variables": {"AWS_SDK_UA_APP_ID": "rds-encrypt.step"}},
        }
        functions = {"step": {"config": of_ours}, "other": {"config": {"FunctionName": "other", "Role": arn}}}
        with (
            unittest.mock.patch.object(lambda_svc, "_functions", functions),
            unittest.mock.patch.object(iam_service, "_roles", {"step-role": role}),
            self.call_services({}) as call,
        ):
            for kind, status in (
                ("AWS::CloudFormation::Stack", "UPDATE_IN_PROGRESS"),
                ("AWS::IAM::Role", "UPDATE_COMPLETE"),
            ):
                stacks._add_event("id", "name", "logical", kind, status)
            call.assert_not_called()
            stacks._add_event("id", "name", "name", "AWS::CloudFormation::Stack", "UPDATE_COMPLETE", physical_id="id")
        told = {"principal": "arn:aws:sts::123456789012:assumed-role/step-role/step", "policies": [policy]}
        call.assert_called_once_with("PUT", "roles", {"rds-encrypt.step": told})

    def describe_execution(self, execution: str, agent: str) -> tuple[int, Fields]:
        headers = {"x-amz-target": "AWSStepFunctions.DescribeExecution", "user-agent": agent}
        request = json.dumps({"executionArn": execution}).encode()
        status, _, body = asyncio.run(engine.handle_request("POST", "/", headers, request, {}))
        return status, json.loads(body)

    def test_a_functions_call_is_judged_and_nobody_elses(self) -> None:
        execution = self.run_machine({"Type": "Succeed"})["executionArn"]
        with self.call_services({"denial": [None, "User: x is not authorized"]}) as call:
            self.assertEqual(self.describe_execution(execution, "aws-cli/2")[0], 200)
            call.assert_not_called()
            denied = (400, {"__type": "AccessDeniedException", "message": "User: x is not authorized"})
            self.assertEqual(self.describe_execution(execution, "aws-sdk-rust app/rds-encrypt.step"), denied)
        asks = [{"action": "states:DescribeExecution", "resource": execution}]
        call.assert_called_once_with("POST", "judgement", {"app_id": "rds-encrypt.step", "asks": asks})
        with self.call_services({"denial": None}):
            self.assertEqual(self.describe_execution(execution, "app/rds-encrypt.step")[0], 200)

    def test_what_a_customer_key_encrypts_asks_for_the_key(self) -> None:
        execution = self.run_machine({"Type": "Succeed"})
        execution["encryptionConfiguration"] = {"type": "CUSTOMER_MANAGED_KMS_KEY", "kmsKeyId": "arn:key"}
        with self.call_services({"denial": ["KmsAccessDeniedException", "no"]}) as call:
            status, body = self.describe_execution(execution["executionArn"], "app/rds-encrypt.step")
        self.assertEqual((status, body["__type"]), (400, "KmsAccessDeniedException"))
        ask = call.call_args.args[2]["asks"][1]
        self.assertEqual((ask["action"], ask["resource"]), ("kms:Decrypt", "arn:key"))
        self.assertEqual(
            ask["context"], {"kms:EncryptionContext:aws:states:stateMachineArn": execution["stateMachineArn"]}
        )


if __name__ == "__main__":
    unittest.main()
