"""Nested executions and Distributed Maps, of which ministack 1.5.33 has the outline alone.

Sources are named as in `ministack_patches`; "Map" is the Guide's "Using Map state in Distributed mode", with its pages
"ItemReader (Map)" and "ResultWriter (Map)"; "Nested" its "Start workflow executions from a task state".

Not imitated, since no machine here needs it: ItemBatcher, thresholds by path, ResultWriter's WriterConfig, redrive.
"""

import contextvars
import json
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

from ministack.core.responses import new_uuid, now_iso
from ministack.services import s3
from ministack.services import stepfunctions as engine

import ministack_patches as patches

# Map, "MaxConcurrency": 0 is no limit of ours, and Step Functions runs at most 10,000 children.
CHILDREN_MAX = 10_000
# Map, "Label": at most 40 characters.
LABEL_CHARACTERS_MAX = 40
# How soon whoever waits for an execution notices that it was stopped itself.
LOOK_SECONDS = 0.1
# How an execution's end is counted (API, MapRunExecutionCounts).
COUNTED = {"SUCCEEDED": "succeeded", "FAILED": "failed", "TIMED_OUT": "timedOut", "ABORTED": "aborted"}
# API, MapRunItemCounts and MapRunExecutionCounts.
COUNTS = ("pending", "running", *COUNTED.values(), "total", "resultsWritten", "failuresNotRedrivable", "pendingRedrive")

# A document of the States Language, or of an execution, as the engine keeps it.
Document = dict[str, Any]


def apply() -> None:
    engine._invoke_nested_start_execution_sync = run_nested
    engine._run_distributed_map = run_map


# --- Nested executions -----------------------------------------------------------


def run_nested(resource: str, request_data: Document) -> Document:
    """An ordinary execution, and not ministack's StartSyncExecution, of which no rule hears and no name is taken."""
    parent = patches.current_execution.get()
    status, _, body = engine._start_execution(engine._nested_start_execution_request(request_data))
    answer = json.loads(body)
    if status >= 400:
        # [A70]
        error = answer["__type"].removesuffix("Exception")
        raise engine._ExecutionError(f"StepFunctions.{error}Exception", answer["message"])
    child = engine._executions[answer["executionArn"]]
    while child["status"] == "RUNNING":
        if parent and parent["status"] != "RUNNING":
            # Guide, "Run a Job (.sync)": what a stopped execution waits for is stopped, best effort.
            engine._stop_execution({"executionArn": child["executionArn"]})
            raise patches.ExecutionEnded
        threading.Event().wait(LOOK_SECONDS)
    if child["status"] != "SUCCEEDED":
        raise engine._ExecutionError(*engine._nested_execution_failure(child))
    return described(child, parsed=resource.endswith(".sync:2"))


def described(execution: Document, parsed: bool) -> Document:
    """Nested: DescribeExecution's fields, by other names; with `.sync:2` input and output are JSON and no texts."""
    names = ("executionArn", "stateMachineArn", "name", "status", "startDate", "stopDate", "error", "cause")
    fields = {name[0].upper() + name[1:]: execution[name] for name in names if execution.get(name) is not None}
    for name in ("input", "output") if execution["status"] == "SUCCEEDED" else ("input",):
        text = execution[name]
        fields[name.title()] = json.loads(text) if parsed else text
        fields[f"{name.title()}Details"] = {"Included": True}
    return fields


# --- Distributed Map -------------------------------------------------------------


def run_map(
    state: Document, raw_input: Any, effective: Any, processor: Document, execution: Document, context: Document
) -> tuple[Any, str | None]:
    if state.get("ItemReader"):
        items = engine._read_map_items(state["ItemReader"], effective, context)
    else:
        items = engine._resolve_path_or_ctx(state.get("ItemsPath", "$"), effective, context)
    if not isinstance(items, list):
        raise patches.runtime_error(f"The items of a Map must be an array, and are {type(items).__name__}.")
    run = MapRun(state, effective, processor, execution, context, items)
    engine._add_event(execution, "MapRunStarted", {"mapRunStartedEventDetails": {"mapRunArn": run.arn}})
    run.work()
    result = engine._apply_result_selector(state, run.result())
    output = engine._apply_result_path(state, raw_input, result)
    return engine._apply_output_path(state, output, context), engine._next_or_end(state)


class MapRun:
    """A child execution for each item, with a history of its own."""

    def __init__(
        self,
        state: Document,
        effective: Any,
        processor: Document,
        execution: Document,
        context: Document,
        items: list[Any],
    ) -> None:
        self.state, self.effective, self.execution, self.context = state, effective, execution, context
        label = state.get("Label") or context["State"]["Name"]
        if len(label) > LABEL_CHARACTERS_MAX:
            raise patches.runtime_error(f"A Label has at most {LABEL_CHARACTERS_MAX} characters.")
        self.machine_arn = f"{execution['stateMachineArn']}/{label}"
        self.id = new_uuid()
        self.arn = f"{self.machine_arn.replace(':stateMachine:', ':mapRun:')}:{self.id}"
        # DescribeStateMachine knows no such machine: the children carry it (patches.StateMachines).
        definition = json.dumps({"StartAt": processor["StartAt"], "States": processor["States"]})
        parent = engine._state_machines.get(execution["stateMachineArn"])
        self.machine = {**parent, "stateMachineArn": self.machine_arn, "definition": definition}
        self.inputs = [self.select(index, item) for index, item in enumerate(items)]
        self.children: list[Document] = []
        self.counts = dict.fromkeys(COUNTS, 0) | {"total": len(items), "pending": len(items)}
        self.lock = threading.Lock()
        self.concurrency = self.number("MaxConcurrency") or CHILDREN_MAX
        self.record = engine._map_runs[self.arn] = {
            "mapRunArn": self.arn,
            "executionArn": execution["executionArn"],
            "status": "RUNNING",
            "startDate": now_iso(),
            "maxConcurrency": self.number("MaxConcurrency"),
            "toleratedFailurePercentage": float(self.number("ToleratedFailurePercentage")),
            "toleratedFailureCount": self.number("ToleratedFailureCount"),
            "redriveCount": 0,
            "itemCounts": self.counts,
            "executionCounts": self.counts,
            "_stateMachineArn": self.machine_arn,
        }

    def number(self, field: str) -> Any:
        path = self.state.get(f"{field}Path")
        value = engine._resolve_path_or_ctx(path, self.effective, self.context) if path else self.state.get(field, 0)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
            raise patches.runtime_error(f"{field} must be a number that is not negative, and is {json.dumps(value)}.")
        return value

    def select(self, index: int, item: Any) -> Any:
        selector = self.state.get("ItemSelector")
        if not selector:
            return item
        context = {**self.context, "Map": {"Item": {"Index": index, "Value": item}}}
        return engine._resolve_params_obj(selector, self.effective, context)

    def work(self) -> None:
        """Map: at most so many children at a time; once the failures are not tolerated, no more, and none goes on."""
        waiting = iter(self.inputs)
        with ThreadPoolExecutor(max_workers=min(self.concurrency, len(self.inputs)) or 1) as pool:
            running: set[Future[None]] = set()
            while True:
                while (
                    not self.is_over() and len(running) < self.concurrency and (text := next(waiting, None)) is not None
                ):
                    running.add(pool.submit(contextvars.copy_context().run, self.run_child, text))
                if not running:
                    break
                done, running = wait(running, timeout=LOOK_SECONDS, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
                if self.is_over():
                    self.stop()
        if self.execution["status"] != "RUNNING":
            self.record.update(status="ABORTED", stopDate=now_iso())
            raise patches.ExecutionEnded

    def is_over(self) -> bool:
        return self.execution["status"] != "RUNNING" or self.exceeds()

    def exceeds(self) -> bool:
        """Map, "Tolerated failure threshold": of the two the one that is exceeded first; with neither, any failure."""
        failed = self.counts["failed"] + self.counts["timedOut"]
        if "ToleratedFailurePercentage" in self.state and failed * 100 <= self.number(
            "ToleratedFailurePercentage"
        ) * len(self.inputs):
            return False
        return bool(failed > self.number("ToleratedFailureCount"))

    def stop(self) -> None:
        with self.lock:
            running = [child for child in self.children if child["status"] == "RUNNING"]
        for child in running:
            engine._stop_execution({"executionArn": child["executionArn"]})

    def run_child(self, child_input: Any) -> None:
        name, start, text = new_uuid(), now_iso(), json.dumps(child_input)
        arn = f"{self.machine_arn.replace(':stateMachine:', ':execution:')}:{name}"
        started = {"input": text, "roleArn": self.machine["roleArn"]}
        child = {
            "executionArn": arn,
            "stateMachineArn": self.machine_arn,
            "machine": self.machine,
            "name": name,
            "status": "RUNNING",
            "startDate": start,
            "stopDate": None,
            "input": text,
            "output": None,
            "inputDetails": {"included": True},
            "outputDetails": {"included": True},
            "mapRunArn": self.arn,
            "testCase": "",
            "mockAttempts": {},
            "encryptionConfiguration": self.execution["encryptionConfiguration"],
            "events": [
                {"id": 1, "type": "ExecutionStarted", "timestamp": start, "executionStartedEventDetails": started}
            ],
        }
        with self.lock:
            engine._executions[arn] = child
            self.children.append(child)
            self.counts["pending"] -= 1
            self.counts["running"] += 1
        engine._run_execution(arn)
        with self.lock:
            self.counts["running"] -= 1
            self.counts[COUNTED[child["status"]]] += 1

    def result(self) -> Any:
        exceeded = self.exceeds()
        exported = self.export() if self.state.get("ResultWriter") else None
        self.record.update(status="FAILED" if exceeded else "SUCCEEDED", stopDate=now_iso())
        if exceeded:
            cause = "The specified tolerated failure threshold was exceeded"
            raise engine._ExecutionError("States.ExceedToleratedFailureThreshold", cause)
        engine._add_event(self.execution, "MapRunSucceeded")
        return exported or [json.loads(child["output"]) for child in self.children if child["status"] == "SUCCEEDED"]

    def export(self) -> Document:
        """ResultWriter: a file for each kind of end, and a manifest that names them."""
        place = engine._resolve_params_obj(self.state["ResultWriter"]["Parameters"], self.effective, self.context)
        folder = f"{place['Prefix'].strip('/')}/{self.id}"

        def put(name: str, content: Any) -> Document:
            text = json.dumps(content).encode()
            key = f"{folder}/{name}"
            if s3._put_object(place["Bucket"], key, text, {"content-type": "application/json"})[0] != 200:
                raise engine._ExecutionError("States.ResultWriterFailed", f"{place['Bucket']} cannot be written to.")
            return {"Key": key, "Size": len(text)}

        succeeded = [child for child in self.children if child["status"] == "SUCCEEDED"]
        failed = [child for child in self.children if child["status"] != "SUCCEEDED"]
        pending = [{"Input": json.dumps(text)} for text in self.inputs[len(self.children) :]]
        kinds = {
            "FAILED": [described(child, parsed=False) for child in failed],
            "PENDING": pending,
            "SUCCEEDED": [described(child, parsed=False) for child in succeeded],
        }
        files = {kind: [put(f"{kind}_0.json", records)] if records else [] for kind, records in kinds.items()}
        self.counts["resultsWritten"] = len(self.children)
        manifest = {"DestinationBucket": place["Bucket"], "MapRunArn": self.arn, "ResultFiles": files}
        key = put("manifest.json", manifest)["Key"]
        return {"MapRunArn": self.arn, "ResultWriterDetails": {"Bucket": place["Bucket"], "Key": key}}
