"""What the database servers behind instances have in common, whatever their engine.

They refuse to run as root, so root hands them, their binaries and their data to an unprivileged user. They listen on
Unix sockets only; `endpoints.py` forwards a loopback address to each.
"""

from __future__ import annotations

import abc
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .network import descendants, is_running

if TYPE_CHECKING:
    from .records import Instance, Record, Snapshot

# nobody: the servers need some user that is not root and owns the data.
UNPRIVILEGED_USER = 65534
# A Unix socket's path must fit into 107 bytes (sockaddr_un).
SOCKET_PATH_LIMIT = 107
# RDS keeps the superuser for itself under this name, of whatever engine.
ADMIN = "rdsadmin"
# Runs the servers' clean-up even when this process is killed: it waits for the end of its input.
KEEPER = """
import os, signal, sys
servers = set()
for line in sys.stdin:
    verb, process_id = line.split()
    (servers.add if verb == "add" else servers.discard)(int(process_id))
for process_id in servers:
    try:
        os.kill(process_id, int(sys.argv[1]))
        # One that is frozen for a snapshot.
        os.kill(process_id, signal.SIGCONT)
    except ProcessLookupError:
        pass
"""


class Servers(abc.ABC):
    """The servers of one cloud, their data directories and the copies of these that are snapshots."""

    # The name of a server's socket in its folder.
    SOCKET: str
    # What of a server's folder is the running server's own.
    NOT_OF_A_COPY: tuple[str, ...]
    # What ends a server cleanly, and what ends one whose data is thrown away anyhow.
    STOPS: signal.Signals
    ABORTS: signal.Signals

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._servers: dict[str, subprocess.Popen[bytes]] = {}
        # Held while a server starts, so that none slips through when the cloud ends.
        self._starting = threading.Lock()
        self._closed = False
        # Held while a server is frozen: who comes second must not find it thawed under its hands.
        self._freezing = threading.Lock()
        self._user: dict[str, Any] = (
            {"user": UNPRIVILEGED_USER, "group": UNPRIVILEGED_USER, "extra_groups": []} if os.geteuid() == 0 else {}
        )
        directory.mkdir(parents=True, exist_ok=True)
        if self._user:
            os.chmod(directory, 0o711)
            self._give_away(directory)
        self._keeper = subprocess.Popen(
            [sys.executable, "-Sc", KEEPER, str(int(self.ABORTS))],
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    @property
    @abc.abstractmethod
    def _environment(self) -> dict[str, str]:
        """Of the servers' own programs."""

    def snapshot(self, instance: Instance, snapshot: Snapshot) -> None:
        """As of the volumes: with the logs, and with all that tells a replica's or a subscriber's place [A94]."""
        with self._freezing, self._frozen(instance):
            self._copy_directory(instance.data_name, snapshot.data_name)
        for file in self.NOT_OF_A_COPY:
            (self._directory / snapshot.data_name / file).unlink(missing_ok=True)

    @contextlib.contextmanager
    def _frozen(self, instance: Instance) -> Iterator[None]:
        """No process of the server runs meanwhile. By their ids: a backend leaves its server's process group."""
        server = self.process_id(instance)
        frozen: set[int] = set()
        try:
            # Until no child is found that was born meanwhile.
            while server and (running := {server, *descendants(server)} - frozen):
                frozen |= running
                for process_id in running:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process_id, signal.SIGSTOP)
                while any(map(is_running, running)):
                    time.sleep(0.001)
            yield
        finally:
            for process_id in frozen:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process_id, signal.SIGCONT)

    def copy(self, source: Snapshot, target: Snapshot) -> None:
        self._copy_directory(source.data_name, target.data_name)

    def stop(self, instance: Instance) -> None:
        self._end(instance, self.STOPS)

    def delete(self, record: Record) -> None:
        self._end(record, self.ABORTS)
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self._directory / record.data_name)
        with contextlib.suppress(FileNotFoundError):
            (self._directory / f"{record.data_name}.log").unlink()

    def process_id(self, instance: Instance) -> int | None:
        server = self._servers.get(instance.data_name)
        return server.pid if server else None

    def is_running(self, instance: Instance) -> bool:
        return instance.data_name in self._servers

    def socket_path(self, instance: Instance) -> str:
        return str(self._socket_directory(instance) / self.SOCKET)

    def close(self) -> None:
        with self._starting:
            self._closed = True
        for server in list(self._servers.values()):
            server.send_signal(self.ABORTS)
        for server in list(self._servers.values()):
            server.wait()
        self._servers.clear()
        if self._keeper.stdin:
            self._keeper.stdin.close()
        self._keeper.wait()

    def _launch(self, instance: Instance, command: list[str | Path], **environment: str) -> subprocess.Popen[bytes]:
        sockets = self._socket_directory(instance)
        sockets.mkdir(parents=True, exist_ok=True)
        self._give_away(sockets)
        with open(self._log(instance), "ab") as log, self._starting:
            if self._closed:
                raise RuntimeError("the cloud is ending")
            server = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=os.environ | environment,
                **self._user,
            )
            self._servers[instance.data_name] = server
            self._tell_keeper("add", server)
        return server

    def _log(self, instance: Instance) -> Path:
        return self._directory / f"{instance.data_name}.log"

    def _end(self, record: Record, number: signal.Signals) -> None:
        server = self._servers.pop(record.data_name, None)
        if server:
            server.send_signal(number)
            server.wait()
            self._tell_keeper("remove", server)

    def _socket_directory(self, instance: Instance) -> Path:
        directory = self._directory / "sockets" / instance.data_name[-12:]
        if len(str(directory)) > SOCKET_PATH_LIMIT - len(f"/{self.SOCKET}"):
            raise SystemExit(f"{directory} is too long for a Unix socket: choose a shorter --data-dir")
        return directory

    def _copy_directory(self, source: str, target: str) -> None:
        self._as_user("cp", "-a", "--reflink=auto", self._directory / source, self._directory / target)

    def _check_reach(self, program: Path) -> None:
        """That the servers' user can run what lies in the cloud's folder."""
        try:
            subprocess.run([program, "--version"], capture_output=True, check=True, env=self._environment, **self._user)
        except PermissionError:
            raise SystemExit(
                f"user {UNPRIVILEGED_USER} cannot reach {self._directory}: make every folder of --data-dir passable "
                "(chmod o+x)"
            ) from None

    def _give_away(self, path: Path) -> None:
        if self._user:
            os.chown(path, UNPRIVILEGED_USER, UNPRIVILEGED_USER)

    def _tell_keeper(self, verb: str, server: subprocess.Popen[bytes]) -> None:
        assert self._keeper.stdin
        self._keeper.stdin.write(f"{verb} {server.pid}\n")
        self._keeper.stdin.flush()

    def _as_user(
        self, *command: str | Path, sent: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        done: subprocess.CompletedProcess[str] = subprocess.run(
            command,
            input=sent,
            capture_output=True,
            text=True,
            cwd="/",
            **self._user,
            env=self._environment,
        )
        if check and done.returncode != 0:
            raise RuntimeError(f"{Path(command[0]).name} failed: {done.stderr or done.stdout}")
        return done
