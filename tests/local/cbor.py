"""The protocol rpc-v2-cbor for moto, which lacks it: the Rust SDK speaks nothing else to CloudWatch.

A request is handed on in the JSON protocol, and the JSON reply is handed back in CBOR. botocore has
both codecs, only for the other direction.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore.model import DenormalizedStructureBuilder
from botocore.parsers import JSONParser, RpcV2CBORParser
from botocore.serialize import RpcV2CBORSerializer
from moto.core.utils import get_service_model

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

SERVICE_BY_TARGET = {"GraniteServiceVersion20100801": "cloudwatch"}
ERROR_SHAPE = (
    DenormalizedStructureBuilder()
    .with_members({"__type": {"type": "string"}, "message": {"type": "string"}})
    .build_model()
)


class CborBridge:
    """WSGI middleware: translates requests for /service/…/operation/…, passes others on."""

    def __init__(self, application: WSGIApplication) -> None:
        self._application = application

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = re.fullmatch(r"/service/(\w+)/operation/(\w+)", environ["PATH_INFO"])
        if not path or path.group(1) not in SERVICE_BY_TARGET:
            return self._application(environ, start_response)
        target, name = path.groups()
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        request = json.dumps(_decode(body), default=_epoch).encode()
        environ |= {
            "PATH_INFO": "/",
            "HTTP_X_AMZ_TARGET": f"{target}.{name}",
            "CONTENT_TYPE": "application/x-amz-json-1.0",
            "CONTENT_LENGTH": str(len(request)),
            "wsgi.input": io.BytesIO(request),
        }
        captured: dict[str, Any] = {}
        written: list[bytes] = []

        def capture(status: str, headers: list[tuple[str, str]], _exc_info: object = None) -> Callable[[bytes], object]:
            captured.update(status=status, headers=headers)
            return written.append

        reply = b"".join(self._application(environ, capture))
        shape = get_service_model(SERVICE_BY_TARGET[target]).operation_model(name).output_shape
        encoded = _encode(reply, int(captured["status"].split()[0]), shape)
        start_response(
            captured["status"],
            [
                ("Content-Type", "application/cbor"),
                ("Smithy-Protocol", "rpc-v2-cbor"),
                ("Content-Length", str(len(encoded))),
            ],
        )
        return [encoded]


def _decode(body: bytes) -> Any:
    if not body:
        return {}
    parser = RpcV2CBORParser()
    return parser.parse_data_item(parser.get_peekable_stream_from_bytes(body))


def _encode(reply: bytes, status: int, shape: Any) -> bytes:
    if status >= 400:
        error = json.loads(reply)
        shape, value = (
            ERROR_SHAPE,
            {"__type": error["__type"], "message": error.get("message") or error.get("Message", "")},
        )
    elif shape is None:
        return b""
    else:
        value = JSONParser().parse({"status_code": status, "headers": {}, "body": reply}, shape)
        value.pop("ResponseMetadata")
    encoded = bytearray()
    RpcV2CBORSerializer()._serialize_data_item(encoded, value, shape)
    return bytes(encoded)


def _epoch(moment: Any) -> float:
    if isinstance(moment, datetime):
        return moment.timestamp()
    raise TypeError(f"cannot translate {moment!r} to JSON")
