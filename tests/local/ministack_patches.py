"""Makes ministack 1.5.33 as strict as AWS wherever this product would notice the difference.

Each patch names its source: the AWS Step Functions Developer Guide ("Guide"), the API
Reference ("API"), or the Amazon States Language specification ("ASL",
states-language.net). None of it was compared with AWS itself.

Known and left alone: JitterStrategy and HeartbeatSeconds are ignored, JSONPath `Assign`
does nothing, the history lacks some events, RedriveExecution is missing.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import json
import os
import queue
import re
import threading
import time
import urllib.request
from collections.abc import Callable
from typing import Any

from ministack.core import lambda_runtime
from ministack.core.responses import (
    AccountRegionScopedDict,
    error_response_json,
    get_account_id,
    json_response,
    now_iso,
)
from ministack.services import iam as iam_service
from ministack.services import lambda_svc
from ministack.services import stepfunctions as engine
from ministack.services.cloudformation import stacks

import iam

Fields = dict[str, Any]
# API, StartExecution: input at most 262,144 bytes; Guide, "Service quotas": so is every state's output.
DATA_LIMIT_BYTES = 262_144
# How soon a sleeping execution notices that it was stopped, or that the scale changed.
SLEEP_SLICE_SECONDS = 0.05

# What the engine as it is does. Calls inside it go through its module's names, hence to the patches.
original_add_event = engine._add_event
original_add_stack_event = stacks._add_event
original_emit_status = engine._emit_execution_status_event
original_evaluate_rule = engine._evaluate_rule
original_execute_task = engine._execute_task
original_execute_wait = engine._execute_wait
original_fail_execution = engine._fail_execution
original_fail_state_error = engine._fail_state_error
original_handle_request = engine.handle_request
original_find_matching_retrier = engine._find_matching_retrier
original_apply_result_path = engine._apply_result_path_raw
original_resolve_path = engine._resolve_path
original_run_execution = engine._run_execution
original_start_execution = engine._start_execution
original_worker_environment = lambda_svc._provided_worker_env
original_runtime_handler = lambda_runtime.ProvidedWorker._build_handler_class
original_drain_log = lambda_runtime.ProvidedWorker._drain_stderr_bounded

current_execution: contextvars.ContextVar[Fields | None] = contextvars.ContextVar("current_execution", default=None)
# Whether a Parallel's other branch has failed.
branches_ended: contextvars.ContextVar[threading.Event] = contextvars.ContextVar("branches_ended")


class ExecutionEnded(BaseException):
    """Leaves the interpreter's thread once the execution, or the Parallel it is a branch of, has ended.

    Not an Exception: the interpreter would take it for a failure of the state.
    """


def apply() -> None:
    engine._add_event = add_event
    engine._apply_result_path_raw = apply_result_path
    engine._emit_execution_status_event = emit_execution_status_event
    engine._error_matches = error_matches
    engine._evaluate_rule = evaluate_rule
    engine._execute_task = execute_task
    engine._execute_wait = execute_wait
    engine._fail_execution = fail_execution
    engine._fail_state_error = fail_state_error
    engine._find_matching_retrier = find_matching_retrier
    engine.handle_request = handle_request
    engine._nested_execution_failure = nested_execution_failure
    engine._resolve_path = resolve_path
    engine._run_execution = run_execution
    engine._run_parallel_branches = run_parallel_branches
    engine._scaled_sleep = scaled_sleep
    engine._start_execution = start_execution
    stacks._add_event = add_stack_event
    engine._state_machines = StateMachines()
    lambda_svc._provided_worker_env = worker_environment
    lambda_runtime.ProvidedWorker._build_handler_class = runtime_handler
    lambda_runtime.ProvidedWorker._drain_stderr_bounded = drain_log


def runtime_error(cause: str) -> Any:
    return engine._ExecutionError("States.Runtime", cause)


# --- Starting ------------------------------------------------------------------


def start_execution(request: Fields) -> Any:
    """API, StartExecution: name and input are checked; the same start again is answered as before."""
    text = request.get("input", "{}")
    if len(text.encode()) > DATA_LIMIT_BYTES:
        return error_response_json(
            "ValidationException",
            "1 validation error detected: Value at 'input' failed to satisfy constraint: "
            f"Member must have length less than or equal to {DATA_LIMIT_BYTES}",
            400,
        )
    try:
        json.loads(text)
    except json.JSONDecodeError as problem:
        return error_response_json("InvalidExecutionInput", f"Invalid State Machine Execution Input: '{problem}'", 400)
    name = request.get("name")
    if name is not None:
        # API, StartExecution, name: 1 to 80 characters, and not these.
        if not 1 <= len(name) <= 80 or re.search(r'[\s<>{}\[\]?*"#%\\^|~`$&,;:/\x00-\x1f\x7f-\x9f]', name):
            return error_response_json("InvalidName", f"Invalid Name: '{name}'", 400)
        running = running_execution(request.get("stateMachineArn", ""), name)
        if running and running["input"] == text:
            return json_response({"executionArn": running["executionArn"], "startDate": running["startDate"]})
    status, headers, body = original_start_execution(request)
    if status == 200:
        execution = engine._executions[json.loads(body)["executionArn"]]
        execution["machine"] = dict(engine._state_machines[execution["stateMachineArn"]])
    return status, headers, body


class StateMachines(AccountRegionScopedDict):  # type: ignore[misc]
    """API, UpdateStateMachine: running executions continue to use the previous definition and roleArn.

    The engine reads its machine a moment after the start, in the execution's own thread.
    """

    __slots__ = ()

    def get(self, arn: str, default: Any = None) -> Any:
        execution = current_execution.get()
        if execution and execution["stateMachineArn"] == arn and "machine" in execution:
            return execution["machine"]
        return super().get(arn, default)


def running_execution(machine_arn: str, name: str) -> Fields | None:
    execution_arn = f"{machine_arn.replace(':stateMachine:', ':execution:')}:{name}"
    execution = engine._executions.get(execution_arn)
    return execution if execution and execution["status"] == "RUNNING" else None


# --- Ending ----------------------------------------------------------------------


def run_execution(execution_arn: str) -> None:
    """Adds the machine's own TimeoutSeconds, on the scale of the Waits (ASL, "Top-level fields")."""
    execution = engine._executions.get(execution_arn)
    timer = None
    if execution:
        current_execution.set(execution)
        machine = engine._state_machines.get(execution["stateMachineArn"], {})
        seconds = json.loads(machine.get("definition", "{}")).get("TimeoutSeconds")
        if seconds is not None:
            context = contextvars.copy_context()  # Account and region of the caller.
            timer = threading.Timer(seconds * engine._SFN_WAIT_SCALE, context.run, (time_out, execution))
            timer.daemon = True
            timer.start()
    try:
        original_run_execution(execution_arn)
    except ExecutionEnded:
        pass
    finally:
        if timer:
            timer.cancel()


def time_out(execution: Fields) -> None:
    """Guide, "Execution status change events": no Catch runs, status TIMED_OUT."""
    if execution["status"] != "RUNNING":
        return
    execution["status"] = "TIMED_OUT"
    execution["stopDate"] = now_iso()
    engine._add_event(execution, "ExecutionTimedOut", {"executionTimedOutEventDetails": {}})
    engine._emit_execution_status_event(execution)


def fail_execution(execution: Fields, error: str, cause: str) -> None:
    """An execution that was stopped stays ABORTED, whatever its last state still does."""
    if execution["status"] == "RUNNING":
        original_fail_execution(execution, error, cause)


def add_event(execution: Fields, event_type: str, details: Fields | None = None) -> None:
    """Nothing follows the event that ends an execution; no state may grow beyond the limit."""
    if execution["status"] != "RUNNING" and not event_type.startswith("Execution"):
        raise ExecutionEnded
    output = (details or {}).get("stateExitedEventDetails", {}).get("output", "")
    if details and len(output.encode()) > DATA_LIMIT_BYTES:
        name = details["stateExitedEventDetails"]["name"]
        raise engine._ExecutionError(
            "States.DataLimitExceeded",
            f"The state '{name}' returned a result with a size exceeding the maximum number of bytes service limit.",
        )
    keep_once(execution, details or {})
    original_add_event(execution, event_type, details)
    stop_if_asked(execution, (details or {}).get("stateEnteredEventDetails", {}).get("name"))


def keep_once(execution: Fields, details: Fields) -> None:
    """What a state exits with, the next one enters with: else a thousand executions take gigabytes."""
    texts = execution.setdefault("texts", {})
    for part in details.values():
        for field in ("input", "output"):
            if isinstance(part, dict) and isinstance(part.get(field), str):
                part[field] = texts.setdefault(part[field], part[field])


def stop_if_asked(execution: Fields, state: str | None) -> None:
    """A test says in which states executions are stopped, beside the mocked answers, which we do not use:

    POST /_ministack/config {"stepfunctions._sfn_mock_config": {"StopIn": [[<machine's ARN>, <state>]]}}
    """
    if state and [execution["stateMachineArn"], state] in engine._sfn_mock_config.get("StopIn", []):
        engine._stop_execution({"executionArn": execution["executionArn"]})
        raise ExecutionEnded


def emit_execution_status_event(execution: Fields) -> None:
    """Guide, "Data at rest encryption": the events of what a customer key encrypts hold none of its data."""
    if execution["encryptionConfiguration"]["type"] == "CUSTOMER_MANAGED_KMS_KEY":
        execution = {**execution, "input": None, "output": None, "error": None, "cause": None}
    original_emit_status(execution)


def leave_if_ended(execution: Fields | None) -> None:
    ended = branches_ended.get(None)
    if (execution and execution["status"] != "RUNNING") or (ended and ended.is_set()):
        raise ExecutionEnded


def scaled_sleep(seconds: float) -> None:
    """Sleeps that much of the cloud's time, but no longer than the execution runs."""
    execution = current_execution.get()
    remaining = seconds
    while remaining > 0 and (scale := engine._SFN_WAIT_SCALE) > 0:
        leave_if_ended(execution)
        slice_seconds = min(remaining * scale, SLEEP_SLICE_SECONDS)
        time.sleep(slice_seconds)
        remaining -= slice_seconds / scale


def run_parallel_branches(state: Fields, state_input: Any, execution: Fields, context: Fields) -> Any:
    """Guide, "Parallel workflow state": if any branch fails, all are stopped [A116]. The engine waits for all."""
    branch_input = engine._apply_parameters(state, engine._apply_input_path(state, state_input, context), context)
    contexts = [dict(context) for _ in state["Branches"]]
    outcomes: queue.Queue[tuple[int, Any]] = queue.Queue()
    ended = threading.Event()

    def run(number: int) -> None:
        branches_ended.set(ended)
        branch = state["Branches"][number]
        with contextlib.suppress(ExecutionEnded):
            try:
                arguments = (branch["States"], branch["StartAt"], branch_input, execution, contexts[number])
                outcomes.put((number, engine._run_sub_machine(*arguments)))
            except Exception as error:
                outcomes.put((number, error))

    for number in range(len(contexts)):
        threading.Thread(target=contextvars.copy_context().run, args=(run, number), daemon=True).start()
    results: dict[int, Any] = {}
    try:
        while len(results) < len(contexts):
            leave_if_ended(execution)
            with contextlib.suppress(queue.Empty):
                number, results[number] = outcomes.get(timeout=SLEEP_SLICE_SECONDS)
                if isinstance(results[number], Exception):
                    raise results[number]
    finally:
        ended.set()
        # Whoever answers now is told that nobody waits.
        for ended_context in contexts:
            if waiting := engine._task_tokens.pop(ended_context.get("Task", {}).get("Token"), None):
                waiting["event"].set()
    result = engine._apply_result_selector(state, [results[number] for number in range(len(contexts))])
    output = engine._apply_result_path_raw(state.get("ResultPath", "$"), state_input, result)
    return engine._apply_output_path(state, output, context), engine._next_or_end(state)


# --- Errors ------------------------------------------------------------------------


def find_matching_retrier(
    retriers: list[Fields], error: str, retry_counts: dict[int, int]
) -> tuple[Fields | None, int]:
    """Honours MaxDelaySeconds, and no other cap (Guide, "Retrying after an error").

    It sleeps here, and hands the engine an interval of 0: the engine's own cap is 60 s.
    """
    execution = current_execution.get()
    if execution and execution["status"] != "RUNNING":
        raise ExecutionEnded
    retrier, index = original_find_matching_retrier(retriers, error, retry_counts)
    if retrier is None:
        return None, -1
    delay = retrier.get("IntervalSeconds", 1) * retrier.get("BackoffRate", 2.0) ** retry_counts.get(index, 0)
    scaled_sleep(min(delay, retrier.get("MaxDelaySeconds", delay)))
    return {**retrier, "IntervalSeconds": 0}, index


def error_matches(error_equals: list[str], error: str) -> bool:
    """Guide, "Handling errors": States.ALL and States.TaskFailed do not match the two terminal errors."""
    if error in error_equals:
        return error != "States.Runtime"
    if error in ("States.Runtime", "States.DataLimitExceeded"):
        return False
    return "States.ALL" in error_equals or ("States.TaskFailed" in error_equals and error != "States.Timeout")


def fail_state_error(state: Fields, state_input: Any, context: Any = None) -> tuple[str, str]:
    """ASL, "Errors": custom error names MUST NOT begin with the prefix "States."."""
    error, cause = original_fail_state_error(state, state_input, context)
    if error.startswith("States."):
        raise runtime_error(f"Custom Error Names MUST NOT begin with 'States.', got '{error}'.")
    return error, cause


def nested_execution_failure(child: Fields) -> tuple[str, str]:
    """Guide, "Start workflow executions from a task state": States.TaskFailed, described in the cause."""
    fields = ("executionArn", "stateMachineArn", "name", "status", "startDate", "stopDate", "input", "error", "cause")
    description = {name[0].upper() + name[1:]: child[name] for name in fields if child.get(name) is not None}
    return "States.TaskFailed", json.dumps(description)


# --- Paths -------------------------------------------------------------------------


def resolve_path(path: str | None, data: Any) -> Any:
    """A path that leads nowhere is States.Runtime (Guide, "Handling errors"), not null."""
    if path == "$" or not path or not path.startswith("$"):
        return original_resolve_path(path, data)
    tokens = engine._parse_jsonpath_tokens(path)
    if tokens is None:
        raise runtime_error(f"The JSONPath '{path}' is not understood by the local cloud.")
    if any(kind == "wildcard" for kind, _ in tokens):
        return original_resolve_path(path, data)
    value = data
    try:
        for _, key in tokens:
            # A list takes only an index, an object only a name.
            value = value[key] if isinstance(value, (dict, list)) else {}[key]
    except (KeyError, IndexError, TypeError):
        raise runtime_error(f"The JSONPath '{path}' could not be found in the input '{json.dumps(data)}'") from None
    return value


def apply_result_path(result_path: str | None, state_input: Any, result: Any) -> Any:
    """ASL, "Errors": States.ResultPathMatchFailure where the input has no place for the result."""
    if result_path not in (None, "$") and not isinstance(state_input, dict):
        raise engine._ExecutionError(
            "States.ResultPathMatchFailure",
            f"Unable to apply ReferencePath {result_path} to input {json.dumps(state_input)}",
        )
    return original_apply_result_path(result_path, state_input, result)


# What the engine compares; it silently answers false to any other operator.
KNOWN_OPERATORS = frozenset(
    [
        "IsPresent",
        "IsNull",
        "IsNumeric",
        "IsString",
        "IsBoolean",
        "IsTimestamp",
        "StringEquals",
        "StringEqualsPath",
        "StringLessThan",
        "StringGreaterThan",
        "StringLessThanEquals",
        "StringGreaterThanEquals",
        "StringMatches",
        "NumericEquals",
        "NumericEqualsPath",
        "NumericLessThan",
        "NumericGreaterThan",
        "NumericLessThanEquals",
        "NumericGreaterThanEquals",
        "NumericLessThanPath",
        "NumericGreaterThanPath",
        "NumericLessThanEqualsPath",
        "NumericGreaterThanEqualsPath",
        "BooleanEquals",
        "BooleanEqualsPath",
        "TimestampEquals",
        "TimestampLessThan",
        "TimestampGreaterThan",
        "TimestampLessThanEquals",
        "TimestampGreaterThanEquals",
    ]
)


def evaluate_rule(rule: Fields, data: Any, context: Any = None) -> Any:
    """ASL, "Choice state": IsPresent is the one test that a missing variable survives, and null is present."""
    if "Variable" in rule:
        unknown = rule.keys() - KNOWN_OPERATORS - {"Variable", "Next", "Comment"}
        if unknown:
            raise runtime_error(f"The local cloud has no {', '.join(sorted(unknown))}.")
        if "IsPresent" in rule:
            try:
                engine._resolve_path_or_ctx(rule["Variable"], data, context)
            except engine._ExecutionError:
                return not rule["IsPresent"]
            return rule["IsPresent"]
    return original_evaluate_rule(rule, data, context)


def execute_task(state: Fields, state_input: Any, execution: Fields, context: Any) -> Any:
    """ASL, "Timeouts": TimeoutSecondsPath. What waits for a person waits on the scale of the Waits."""
    leave_if_ended(execution)
    if ".waitForTaskToken" in state.get("Resource", ""):
        effective = engine._apply_input_path(state, state_input, context)
        path = state.get("TimeoutSecondsPath")
        seconds = resolve_path(path, effective) if path else state.get("TimeoutSeconds")
        if seconds is not None:
            state = {**state, "TimeoutSeconds": seconds * engine._SFN_WAIT_SCALE}
    return original_execute_task(state, state_input, execution, context)


def execute_wait(state: Fields, state_input: Any, context: Any = None) -> Any:
    """ASL, "Wait state": SecondsPath must lead to a whole number that is not negative."""
    if "SecondsPath" in state:
        effective = engine._apply_input_path(state, state_input, context)
        seconds = resolve_path(state["SecondsPath"], effective)
        if not isinstance(seconds, int) or isinstance(seconds, bool) or seconds < 0:
            raise runtime_error(f"The SecondsPath parameter does not lead to a whole number: {json.dumps(seconds)}")
    return original_execute_wait(state, state_input, context)


# --- Functions ---------------------------------------------------------------------


def worker_environment(configuration: Fields, code_folder: str, port: int) -> Any:
    """Lambda Developer Guide, "Configuring JSON and plain text log formats": told by these variables."""
    environment = original_worker_environment(configuration, code_folder, port)
    logging = configuration.get("LoggingConfig") or {}
    environment["AWS_LAMBDA_LOG_FORMAT"] = logging.get("LogFormat", "Text")
    if "ApplicationLogLevel" in logging:
        environment["AWS_LAMBDA_LOG_LEVEL"] = logging["ApplicationLogLevel"]
    return environment


def runtime_handler(worker: Any, generation: Any, pending: Any) -> Any:
    """Sends header and body without 40 ms between them (Nagle's algorithm against delayed ACKs)."""
    handler = original_runtime_handler(worker, generation, pending)
    handler.disable_nagle_algorithm = True
    return handler


def drain_log(worker: Any, first_line_wait: float = 0.005, **waits: float) -> Any:
    """Our functions write before they answer: waiting 50 ms for more would double each call."""
    return original_drain_log(worker, first_line_wait=first_line_wait, **waits)


# --- Permissions -------------------------------------------------------------------


def add_stack_event(
    stack_id: str, stack_name: str, logical_id: str, resource_type: str, status: str, *rest: Any, **named: Any
) -> None:
    """A stack that is done may have given functions new roles, or roles new policies."""
    if resource_type == "AWS::CloudFormation::Stack" and status.endswith("_COMPLETE"):
        call_services("PUT", "roles", roles_of_functions())
    original_add_stack_event(stack_id, stack_name, logical_id, resource_type, status, *rest, **named)


def roles_of_functions() -> dict[str, Fields]:
    """The functions' roles as services.py judges by them; without managed policies: SAM's are for logs and traces."""
    found = {}
    for function in lambda_svc._functions.values():
        configuration = function["config"]
        app_id = configuration.get("Environment", {}).get("Variables", {}).get("AWS_SDK_UA_APP_ID")
        role = iam_service._roles.get(configuration["Role"].split("/")[-1])
        if app_id and role:
            session = f"assumed-role/{role['RoleName']}/{configuration['FunctionName']}"
            policies = [json.loads(policy) for policy in role["InlinePolicies"].values()]
            found[app_id] = {"principal": f"arn:aws:sts::{get_account_id()}:{session}", "policies": policies}
    return found


async def handle_request(method: str, path: str, headers: dict[str, str], body: bytes, query_params: Any) -> Any:
    """A call of a function is judged by its role before anything else."""
    operation = headers.get("x-amz-target", "").split(".")[-1]
    denied = await denial(headers, lambda: asks_of(operation, json.loads(body or "{}")))
    if denied:
        return error_response_json(denied[0] or "AccessDeniedException", denied[1], 400)
    return await original_handle_request(method, path, headers, body, query_params)


async def denial(headers: dict[str, str], asks: Callable[[], list[Fields]]) -> tuple[str | None, str] | None:
    """Code and message, where the call is a function's whose role does not allow what the call asks for."""
    app_id = iam.app_id(headers.get("x-amz-user-agent", ""), headers.get("user-agent", ""))
    if app_id is None:
        return None
    judgement = await asyncio.to_thread(call_services, "POST", "judgement", {"app_id": app_id, "asks": asks()})
    return tuple(judgement["denial"]) if judgement["denial"] else None


def asks_of(operation: str, request: Fields) -> list[Fields]:
    """Service Authorization Reference: the ARN in the request is the resource.

    What a customer key encrypts is decrypted with the caller's permissions (Guide, "Data at rest encryption",
    "Required permissions for API callers"; API, DescribeExecution: KmsAccessDeniedException).
    """
    asks = [
        {
            "action": f"states:{operation}",
            "resource": request.get("executionArn") or request.get("stateMachineArn") or "*",
        }
    ]
    execution = engine._executions.get(request.get("executionArn"))
    if execution and execution["encryptionConfiguration"]["type"] == "CUSTOMER_MANAGED_KMS_KEY":
        context = {"kms:EncryptionContext:aws:states:stateMachineArn": execution["stateMachineArn"]}
        denial = [
            "KmsAccessDeniedException",
            "Either your KMS key policy or API caller does not have the required permissions.",
        ]
        key = execution["encryptionConfiguration"]["kmsKeyId"]
        asks.append({"action": "kms:Decrypt", "resource": key, "context": context, "denial": denial})
    return asks


def call_services(method: str, path: str, body: Any) -> Any:
    """The control API of services.py, which judges."""
    url = f"{os.environ['AWS_ENDPOINT_URL_RDS']}/local/{path}"
    with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), method=method)) as reply:
        return json.load(reply)
