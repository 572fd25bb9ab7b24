"""Looks at a page in a headless Chromium, and prints as JSON what it saw.

    .local/cloud/bin/python tests/local/browser.py report.html "document.title" …

`values` are what the expressions came to, one after the other; `requests` every address that the page asked for;
`problems` what the browser complained of: what the Content-Security-Policy refused, errors of the script.
"""

import argparse
import collections
import contextlib
import fcntl
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

INSTALLED = pathlib.Path(__file__).resolve().parent.parent.parent / ".local" / "browser"
ARGUMENTS = (
    "--headless=shell", "--no-sandbox", "--no-zygote", "--single-process", "--disable-gpu", "--no-first-run",
    "--remote-debugging-pipe",
)  # fmt: skip
# Chromium reads its commands from the one, and writes its answers to the other (--remote-debugging-pipe).
COMMANDS, ANSWERS = 3, 4
END = b"\0"
PATIENCE_SECONDS = 60


class Browser:
    """Speaks the Chrome DevTools Protocol, each message ended by a zero byte."""

    def __init__(self, commands: Any, answers: Any) -> None:
        self.commands, self.answers = commands, answers
        self.rest = b""
        self.events: collections.deque[dict[str, Any]] = collections.deque()
        self.last_id = 0
        self.session: str | None = None

    def call(self, method: str, **parameters: Any) -> Any:
        self.last_id += 1
        message = {"id": self.last_id, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        self.commands.write(json.dumps(message).encode() + END)
        self.commands.flush()
        while True:
            answer = self.read()
            if answer.get("id") != self.last_id:
                self.events.append(answer)
            elif "error" in answer:
                raise RuntimeError(f"{method}: {answer['error']}")
            else:
                return answer["result"]

    def read(self) -> dict[str, Any]:
        while END not in self.rest:
            part = os.read(self.answers.fileno(), 1 << 20)
            if not part:
                raise RuntimeError("Chromium has ended")
            self.rest += part
        message, _, self.rest = self.rest.partition(END)
        return dict(json.loads(message))

    def open(self, address: str) -> None:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.call(f"{domain}.enable")
        self.call("Page.navigate", url=address)
        while self.read_event()["method"] != "Page.loadEventFired":
            pass

    def read_event(self) -> dict[str, Any]:
        event = self.read()
        self.events.append(event)
        return event

    def evaluate(self, expression: str) -> Any:
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def seen(self, method: str) -> list[dict[str, Any]]:
        return [event["params"] for event in self.events if event.get("method") == method]


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """Ends Chromium with the block."""
    # Out of the way of the two numbers that Chromium wants.
    theirs_in, commands, answers, theirs_out = (fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (*os.pipe(), *os.pipe()))

    def arrange() -> None:
        os.dup2(theirs_in, COMMANDS)
        os.dup2(theirs_out, ANSWERS)

    with tempfile.TemporaryDirectory() as profile:
        process = subprocess.Popen(
            [INSTALLED / "chromium", *ARGUMENTS, f"--user-data-dir={profile}"],
            env={**os.environ, "LD_LIBRARY_PATH": str(INSTALLED / "lib"), "HOME": profile},
            pass_fds=(COMMANDS, ANSWERS),
            preexec_fn=arrange,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        try:
            yield Browser(os.fdopen(commands, "wb"), os.fdopen(answers, "rb"))
        finally:
            process.kill()
            process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=pathlib.Path)
    parser.add_argument("expressions", nargs="*")
    arguments = parser.parse_args()
    if not (INSTALLED / "chromium").exists():
        sys.exit("Chromium is not installed: run `make setup` first.")
    signal.alarm(PATIENCE_SECONDS)
    with browser() as chromium:
        chromium.open(arguments.page.resolve().as_uri())
        values = [chromium.evaluate(expression) for expression in arguments.expressions]
        requests = [request["request"]["url"] for request in chromium.seen("Network.requestWillBeSent")]
        complaints = [entry["entry"]["text"] for entry in chromium.seen("Log.entryAdded")]
        errors = [entry["exceptionDetails"]["text"] for entry in chromium.seen("Runtime.exceptionThrown")]
    print(json.dumps({"values": values, "requests": requests, "problems": complaints + errors}))


if __name__ == "__main__":
    main()
