"""The second, stricter Step Functions interpreter: moto's, really executing.

ministack runs the deployed state machines but accepts more than AWS does; what only ministack accepts
is a bug. moto's interpreter fails on missing JSONPaths, heartbeats and reserved error names. Here its
Task states invoke the functions where they are deployed, and its waits pass on the cloud's clock.
"""

from __future__ import annotations

import functools
import json
import uuid
from datetime import datetime
from typing import TYPE_CHECKING, Any

import boto3
import moto.stepfunctions.responses
from botocore.config import Config
from moto.core.config import default_user_config

if TYPE_CHECKING:
    from rds.clock import Clock

# Longer than the longest a function may run (900 s), and never a second attempt: retrying is the machine's affair.
CLIENT_CONFIG = Config(
    parameter_validation=False, retries={"total_max_attempts": 1}, read_timeout=910, max_pool_connections=100
)


class ScaledTime:
    """What moto's retriers know as the module `time`."""

    def __init__(self, clock: Clock) -> None:
        self.sleep = clock.sleep


# moto leaves both empty. An optimized integration names what it takes and gives with a capital, and times in
# milliseconds ("Start Step Functions workflow executions", and the samples of its sync:2).


def to_request(_task: object, parameters: dict[str, Any], *_of: object, **_more: object) -> None:
    given = parameters.get("Input", {})
    parameters["Input"] = given if isinstance(given, str) else json.dumps(given)
    for name in list(parameters):
        parameters[name[0].lower() + name[1:]] = parameters.pop(name)


def from_answer(_task: object, response: dict[str, Any], *_of: object, **_more: object) -> None:
    for name in list(response):
        value = response.pop(name)
        is_time = isinstance(value, datetime)
        response[name[0].upper() + name[1:]] = int(value.timestamp() * 1000) if is_time else value


def install(clock: Clock, own_endpoint: str, functions_endpoint: str | None) -> None:
    """Makes moto use the interpreter, which is loaded with the first request for it."""

    @functools.cache
    def backends() -> Any:
        return load_interpreter(clock, own_endpoint, functions_endpoint)

    moto.stepfunctions.responses.get_backend = lambda account, region: backends()[account][region]
    default_user_config["stepfunctions"]["execute_state_machine"] = True


def load_interpreter(clock: Clock, own_endpoint: str, functions_endpoint: str | None) -> Any:
    """moto's interpreter with our clients and clock: mended before its other modules bind their names."""
    import moto.stepfunctions.parser.asl.utils.boto_client as clients

    @functools.cache
    def client_for(region: str, service: str) -> Any:
        endpoint = own_endpoint if service == "stepfunctions" or functions_endpoint is None else functions_endpoint
        return boto3.client(
            service,
            region_name=region,
            endpoint_url=endpoint,
            config=CLIENT_CONFIG,
            aws_access_key_id="123456789012",
            aws_secret_access_key="local",
        )

    clients.boto_client_for = lambda region, service, state_credentials=None: client_for(  # noqa: ARG005 (moto names it)
        region, service
    )

    from moto.stepfunctions.parser.asl.component.common.retry import retrier_decl
    from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_sfn import (
        StateTaskServiceSfn,
    )
    from moto.stepfunctions.parser.asl.component.state.wait.wait_function.wait_function import WaitFunction
    from moto.stepfunctions.parser.models import StepFunctionsParserBackend, stepfunctions_parser_backends

    def wait(_self: object, env: Any, wait_seconds: float) -> None:
        deadline = clock.now() + wait_seconds
        # The event tells that the execution was stopped; once a second the scale may have changed.
        while env.is_running() and (left := deadline - clock.now()) > 0:
            env.program_state_event.wait(min(left * clock.scale, 1))

    WaitFunction._wait_interval = wait  # type: ignore[assignment,method-assign]
    retrier_decl.time = ScaledTime(clock)  # type: ignore[assignment,attr-defined]

    StateTaskServiceSfn._normalise_parameters = to_request  # type: ignore[assignment,method-assign]
    StateTaskServiceSfn._normalise_response = from_answer  # type: ignore[assignment,method-assign]

    start_execution = StepFunctionsParserBackend.start_execution

    # moto calls every execution without a name "None" and then refuses the second; AWS makes up a UUID (API model).
    def start_named_execution(
        self: Any, state_machine_arn: str, name: str | None = None, *arguments: Any, **options: Any
    ) -> Any:
        return start_execution(self, state_machine_arn, name or str(uuid.uuid4()), *arguments, **options)

    StepFunctionsParserBackend.start_execution = start_named_execution  # type: ignore[method-assign]
    return stepfunctions_parser_backends
