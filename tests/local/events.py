"""Sends the events of the services here to EventBridge, in their order and without waiting: best effort, as on AWS."""

import json
import queue
import threading
import urllib.request
from typing import Any, NoReturn

# As botocore signs; who asks is told by the access key.
AUTHORIZATION = "AWS4-HMAC-SHA256 Credential={}/20260101/{}/events/aws4_request, SignedHeaders=host, Signature=0"


class Events:
    """`send(event)`: of an event `source`, `detail-type`, `resources` and `detail` go on."""

    def __init__(self, endpoint: str, cloud_id: str, account: str, region: str) -> None:
        self._endpoint, self._cloud_id = endpoint, cloud_id
        self._headers = {
            "Authorization": AUTHORIZATION.format(account, region),
            "Content-Type": "application/x-amz-json-1.1",
            "X-Amz-Target": "AWSEvents.PutEvents",
        }
        # Loopback never goes through a proxy.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self._waiting: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        threading.Thread(target=self._deliver, daemon=True).start()

    def send(self, event: dict[str, Any]) -> None:
        self._waiting.put(event)

    def _deliver(self) -> NoReturn:
        while True:
            event = self._waiting.get()
            entry = {
                "Source": event["source"],
                "DetailType": event["detail-type"],
                "Resources": event.get("resources", []),
                "Detail": json.dumps(event["detail"]),
            }
            body = json.dumps({"LocalCloud": self._cloud_id, "Entries": [entry]}).encode()
            try:
                with self._opener.open(
                    urllib.request.Request(self._endpoint, body, self._headers), timeout=10
                ) as reply:
                    answer = json.load(reply)
                if answer["FailedEntryCount"]:
                    print(f"services: an event was refused: {answer}", flush=True)
            except OSError as problem:
                print(f"services: an event was not delivered: {problem}", flush=True)
