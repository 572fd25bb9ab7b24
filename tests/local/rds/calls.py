"""Every AWS call passes here: it is recorded and judged, and the faults that were asked for befall it."""

from __future__ import annotations

import io
import itertools
import json
import re
import sys
import threading
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from moto.core.exceptions import ServiceException
from moto.core.parse import PROTOCOL_PARSERS
from moto.core.request import determine_request_protocol
from moto.core.serialize import get_serializer_class
from moto.core.utils import get_service_model

import iam

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from iam.guard import Guard

    from .faults import Fault, Faults
    from .records import Fields, Record

# Values that must not stand in a record that tests print.
SECRET_PARAMETERS = {"MasterUserPassword", "Password", "TdeCredentialPassword"}
# Where the name in a request's signature is not the service's name in botocore.
SERVICE_BY_SIGNING_NAME = {"monitoring": "cloudwatch", "states": "stepfunctions"}

_current = threading.local()


class CallError(ServiceException):
    """An error that is no service's own: moto looks its code up in the service of the class's module."""


class Call:
    """One AWS call, from its HTTP request."""

    def __init__(self, number: int, environ: WSGIEnvironment, body: bytes) -> None:
        self.number = number
        self.service = _service(environ)
        self.operation = _operation(environ, body)
        self.app_id = iam.app_id(environ.get("HTTP_X_AMZ_USER_AGENT", ""), environ.get("HTTP_USER_AGENT", ""))
        self.protocol: str | None = None
        self.parameters: dict[str, Any] = {}
        with suppress(Exception):
            self._parse(environ, body)
        self.client_port = int(environ.get("REMOTE_PORT", 0))
        self.status: int | None = None
        self.error_code: str | None = None
        self.records: list[Record | str] = []
        # Their ARNs at the time of the call: a rename changes them.
        self.resources: list[str] = []
        self.added: Record | None = None

    def touch(self, record: Record | str) -> None:
        if record not in self.records:
            self.records.append(record)
            self.resources.append(record if isinstance(record, str) else record.arn)

    def error(self, code: str, message: str, status: int | None = None) -> Reply:
        """An error reply in the protocol that the call was made in."""
        operation = get_service_model(self.service).operation_model(self.operation)
        serializer = get_serializer_class(self.service, self.protocol or "json")(operation)
        reply = serializer.serialize(CallError(code, message))
        content = reply["body"]
        content = content if isinstance(content, bytes) else content.encode()
        return Reply(status or reply["status_code"], list(reply["headers"].items()), content)

    def finish(self, reply: Reply) -> None:
        self.status = reply.status
        if reply.status >= 400:
            self.error_code = _error_code(reply.body)

    def describe(self) -> Fields:
        return {
            "number": self.number,
            "service": self.service,
            "operation": self.operation,
            "app_id": self.app_id,
            "parameters": self.parameters,
            "status": self.status,
            "error_code": self.error_code,
            "resources": self.resources,
        }

    def _parse(self, environ: WSGIEnvironment, body: bytes) -> None:
        model = get_service_model(self.service)
        self.protocol = determine_request_protocol(model, environ.get("CONTENT_TYPE", "").split(";")[0])
        values: dict[str, str] = {}
        if self.protocol in ("query", "ec2"):
            values = dict(parse_qsl(body.decode(), keep_blank_values=True))
        request: Any = {
            "method": "POST",
            "values": values,
            "headers": {},
            "body": body,
            "url_path": "/",
            "url_params": {},
        }
        parsed = PROTOCOL_PARSERS[self.protocol](model.operation_model(self.operation)).parse(request)
        self.parameters = {name: "****" if name in SECRET_PARAMETERS else value for name, value in parsed.items()}


class Reply:
    """An HTTP reply, whole."""

    def __init__(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    def send(self, start_response: StartResponse) -> Iterable[bytes]:
        kept = [(name, value) for name, value in self.headers if name.lower() not in ("content-length", "status")]
        start_response(f"{self.status} .", [*kept, ("Content-Length", str(len(self.body)))])
        return [self.body]


class Calls:
    """WSGI middleware in front of moto: keeps the record of calls, denies what IAM would, and applies the faults."""

    def __init__(self, application: WSGIApplication, faults: Faults, guard: Guard) -> None:
        self._application = application
        self._faults = faults
        self._guard = guard
        self._numbers = itertools.count(1)
        self.record: list[Call] = []

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        if "HTTP_AUTHORIZATION" not in environ:
            return self._application(environ, start_response)
        call = Call(next(self._numbers), environ, body)
        self.record.append(call)
        if call.service == "rds" and not self._faults.cloud.throttle.takes_one_more():
            throttled = call.error("Throttling", "Rate exceeded", 400)
            call.finish(throttled)
            return throttled.send(start_response)
        fault = self._faults.next_for(call)
        reply = self._befall(fault, "before", call, environ)
        if reply is None:
            reply = self._deny(call) or self._answer(call, environ)
            reply = self._befall(fault, "after", call, environ) or reply
        self._guard.look_after(call)
        call.finish(reply)
        return reply.send(start_response)

    def _befall(self, fault: Fault | None, moment: str, call: Call, environ: WSGIEnvironment) -> Reply | None:
        if fault is None:
            return None
        try:
            return fault.befall(moment, call, environ)
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            return call.error("InternalFailure", f"the fault rule {fault.number} could not be met: {error}", 500)

    def _deny(self, call: Call) -> Reply | None:
        """IAM's denial, which comes before the service looks for what the call names [A25]."""
        denial = self._guard.denial(call)
        if denial is None:
            return None
        code, message = denial
        if code:
            return call.error(code, message)
        if call.protocol == "ec2":
            # EC2 has a code and a first sentence of its own (Developer Guide, "Error codes for the Amazon EC2 API").
            return call.error(
                "UnauthorizedOperation", f"You are not authorized to perform this operation. {message}", 403
            )
        # "Common errors" of the services' API references: 403 in the Query protocol, 400 in JSON.
        return call.error(
            *(("AccessDenied", message, 403) if call.protocol == "query" else ("AccessDeniedException", message, 400))
        )

    def _answer(self, call: Call, environ: WSGIEnvironment) -> Reply:
        captured: dict[str, Any] = {}
        written: list[bytes] = []

        def start_response(
            status: str, headers: list[tuple[str, str]], _exc_info: object = None
        ) -> Callable[[bytes], object]:
            captured.update(status=int(status.split()[0]), headers=headers)
            return written.append

        _current.call = call
        try:
            body = b"".join(self._application(environ, start_response))
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            return call.error("InternalFailure", f"{type(error).__name__}: {error}", 500)
        finally:
            _current.call = None
        return Reply(captured["status"], captured["headers"], body)


def touch(record: Record | str, service: str = "rds") -> None:
    """Notes that the call of the service that is under way concerns the record (or the ARN)."""
    call = getattr(_current, "call", None)
    if call and call.service == service:
        call.touch(record)


def added(record: Record, service: str = "rds") -> None:
    """Notes that the call under way made the record."""
    touch(record, service)
    if call := getattr(_current, "call", None):
        call.added = record


def _service(environ: WSGIEnvironment) -> str:
    # Credential=<key>/<date>/<region>/<service>/aws4_request
    scope = re.search(r"Credential=[^/]*/[^/]*/[^/]*/([^/]*)/", environ["HTTP_AUTHORIZATION"])
    name = scope.group(1) if scope else ""
    return SERVICE_BY_SIGNING_NAME.get(name, name)


def _operation(environ: WSGIEnvironment, body: bytes) -> str | None:
    if target := environ.get("HTTP_X_AMZ_TARGET"):
        return str(target).split(".")[-1]
    if path := re.fullmatch(r"/service/\w+/operation/(\w+)", environ["PATH_INFO"]):
        return path.group(1)
    action = re.search(rb"(?:^|&)Action=(\w+)", body)
    return action.group(1).decode() if action else None


def _error_code(body: bytes) -> str | None:
    if xml := re.search(rb"<Code>([^<]+)</Code>", body):
        return xml.group(1).decode()
    with suppress(ValueError):
        return str(json.loads(body)["__type"]).split("#")[-1]
    return None
