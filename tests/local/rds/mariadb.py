"""A real MariaDB server behind each DB instance of that engine which was asked for one: `"server": true` in control.py.

The binaries are Debian's or Ubuntu's (setup.py); `servers.py` says under whom they run. The servers end TLS themselves,
with the certificate of the address that their instance has just then.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from .records import Instance
from .servers import ADMIN, Servers

if TYPE_CHECKING:
    import subprocess

    from .records import Record, Snapshot

INSTALLED = Path(__file__).resolve().parents[3] / ".local" / "mariadb"
# RDS's own procedures, that which tells a replica whom to follow among them [A115].
SETUP = Path(__file__).with_name("mariadb_setup.sql")
LOG = "mysql-bin-changelog"
# Lean, and as careless of a power cut as a throw-away server can be. What is acknowledged is written, so that it is in
# the next snapshot. Of the kernel's own I/O nothing must go on while a server is frozen.
SERVER_SETTINGS = {
    "debug-no-sync": "ON",
    "innodb-buffer-pool-size": "24M",
    "innodb-flush-method": "fsync",
    "innodb-log-buffer-size": "2M",
    "innodb-log-file-size": "8M",
    "innodb-temp-data-file-path": "ibtmp1:3M:autoextend",
    "innodb-use-native-aio": "OFF",
    "aria-pagecache-buffer-size": "2M",
    "key-buffer-size": "64K",
    "max-connections": "60",
    "performance-schema": "OFF",
    "table-open-cache": "200",
    # What a replica has of its own, by no name that another machine would not have.
    "relay-log": "relaylog",
    # So that replicas soon notice that they may again.
    "slave-net-timeout": "10",
    # The endpoint tells who comes.
    "proxy-protocol-networks": "localhost",
    "skip-name-resolve": "ON",
    "skip-networking": "ON",
}
# As on RDS, unless the parameter group says otherwise.
DEFAULT_PARAMETERS = {
    "binlog_format": "MIXED",
    "binlog_row_image": "FULL",
    "event_scheduler": "OFF",
    "innodb_flush_log_at_trx_commit": "1",
    "sync_binlog": "1",
}
# Parameters of a group that a server here takes; of all others it has the above or MariaDB's own.
TAKEN_PARAMETERS = {
    *DEFAULT_PARAMETERS,
    "gtid_strict_mode",
    "log_bin_compress",
    "log_bin_trust_function_creators",
    "lower_case_table_names",
    "read_only",
    "slave_run_triggers_for_rbr",
    "sql_mode",
}
# RDS User Guide, "Master user account privileges": those of 10.11 [A114]. RELOAD and CREATE USER, but nothing of SUPER.
MASTER_PRIVILEGES = (
    "SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, RELOAD, PROCESS, REFERENCES, INDEX, ALTER, SHOW DATABASES, "
    "CREATE TEMPORARY TABLES, LOCK TABLES, EXECUTE, BINLOG MONITOR, SLAVE MONITOR, CREATE VIEW, SHOW VIEW, "
    "CREATE ROUTINE, ALTER ROUTINE, CREATE USER, EVENT, TRIGGER, DELETE HISTORY, REPLICATION SLAVE"
)


class MariaDbStorage(Servers):
    """The servers of MariaDB; they have no read replicas."""

    SOCKET = "mysqld.sock"
    # Its file of the process's id lies beside the socket.
    NOT_OF_A_COPY = ()
    STOPS = signal.SIGTERM
    # It has no quicker way out, and one of its own that is stuck would outlive the cloud.
    ABORTS = signal.SIGKILL

    def __init__(
        self,
        directory: Path,
        parameters: Callable[[Instance], dict[str, str]],
        certificate: Callable[[str], Path],
        keeps_binlogs: Callable[[], bool],
    ) -> None:
        """`parameters`: those that the instance's parameter group sets; `certificate(address)`: the file of its key
        and certificate; `keeps_binlogs`: whether a restored copy has the binary logs of its source."""
        if not (INSTALLED / "usr" / "sbin" / "mariadbd").exists():
            raise RuntimeError("MariaDB is not in .local/mariadb: run `make setup` where apt-get and dpkg-deb are")
        self._parameters, self._certificate, self._keeps_binlogs = parameters, certificate, keeps_binlogs
        # Of the superuser, once it has one.
        self._password = ""
        super().__init__(directory)
        self._software = self._prepare_software()
        self._check_reach(self._software / "sbin" / "mariadbd")
        self._template_made = threading.Lock()
        self._has_template = False

    def create(self, instance: Instance) -> None:
        with self._template_made:
            if not self._has_template:
                self._make_template()
                self._has_template = True
        self._copy_directory("template", instance.data_name)
        self._run_server(instance)
        master = f"{_text(instance.fields['MasterUsername'])}@'%'"
        database = instance.fields.get("DBName")
        self._sql(
            instance,
            # With what it may execute are the procedures of RDS, which it may hand on as well.
            f"CREATE USER {master} IDENTIFIED BY {_text(instance.master_password or '')};"
            f"GRANT {MASTER_PRIVILEGES} ON *.* TO {master} WITH GRANT OPTION;"
            + (f"CREATE DATABASE {_name(database)}" if database else ""),
        )
        self._beat(instance)

    def restore(
        self, snapshot: Snapshot, instance: Instance, _keeps_slots: bool = True, _seed_error: int | None = 0
    ) -> None:
        self._copy_directory(snapshot.data_name, instance.data_name)
        # It recovers by the binary log, whether or not it is to have one: that says which transactions there are.
        self._run_server(instance, has_log=(self._directory / instance.data_name / f"{LOG}.index").exists())
        if not self._keeps_binlogs() and self._sql(instance, "SELECT @@log_bin") == "1":
            self._sql(instance, "RESET MASTER")
        if self._sql(instance, "SELECT @@log_bin") != str(int(_is_logging(instance))):
            self.stop(instance)
            self._run_server(instance)
        self._beat(instance)

    def start(self, instance: Instance) -> None:
        self._run_server(instance)
        self._beat(instance)

    def certify(self, instance: Instance, address: str) -> None:
        """Gives the server the certificate of the address that leads to it from now on."""
        self._hand_certificate(instance, address)
        # One that is going away shows none any more.
        if self.is_running(instance):
            self._sql(instance, "FLUSH LOCAL SSL")

    def set_password(self, instance: Instance, password: str) -> None:
        master = f"{_text(instance.fields['MasterUsername'])}@'%'"
        self._sql(instance, f"ALTER USER {master} IDENTIFIED BY {_text(password)}")

    def delete(self, record: Record) -> None:
        super().delete(record)
        self._certificate_file(record).unlink(missing_ok=True)

    def admit_replication(self, instance: Instance) -> None:
        pass

    def read(self, _record: Record) -> str | None:
        raise NotImplementedError("the data is in MariaDB: connect to the instance's endpoint")

    def write(self, _record: Record, _text: str) -> None:
        raise NotImplementedError("the data is in MariaDB: connect to the instance's endpoint")

    # ---- replicas

    def replicate(self, _source: Instance, _replica: Instance) -> NoReturn:
        raise NotImplementedError("instances with a MariaDB server have no read replicas here")

    def promote(self, _replica: Instance, _position: str = "", _wall_seconds: float = 0) -> NoReturn:
        raise NotImplementedError("instances with a MariaDB server have no read replicas here")

    def detach(self, replica: Instance) -> None:
        replica.unfollow()

    def external_replication(self, instance: Instance) -> str | None:
        is_replica = self._sql(instance, "SHOW SLAVE STATUS")
        return "external replication on the blue primary instance" if is_replica else None

    def guardrail(self, _replica: Instance, _long_write_seconds: float) -> str | None:
        return None

    def freeze(self, _instance: Instance) -> NoReturn:
        raise NotImplementedError("instances with a MariaDB server have no read replicas here")

    def thaw(self, _instance: Instance) -> NoReturn:
        raise NotImplementedError("instances with a MariaDB server have no read replicas here")

    # ----

    def _run_server(self, instance: Instance, has_log: bool | None = None) -> None:
        """Starts the server and waits until it answers."""
        if not self._certificate_file(instance).exists():
            # Of no endpoint, but without one at its start it would know nothing of TLS.
            self._hand_certificate(instance, "127.0.0.1")
        server = self._launch(instance, self._command(instance, has_log), **self._libraries)
        self._wait(server, instance)

    def _wait(self, server: subprocess.Popen[bytes], instance: Instance) -> None:
        while not _greets(self.socket_path(instance)):
            if server.poll() is not None:
                raise RuntimeError(f"MariaDB did not start: {self._log(instance).read_text()[-2000:]}")
            time.sleep(0.02)

    def _command(self, instance: Instance, has_log: bool | None) -> list[str | Path]:
        """With what the parameter group says, from this start on: of static parameters that is RDS's rule, too."""
        # The template is of no group.
        parameters = self._parameters(instance) if instance.fields else {}
        given = {name: value for name, value in parameters.items() if name in TAKEN_PARAMETERS}
        sockets, certificate = self._socket_directory(instance), self._certificate_file(instance)
        settings = {
            **SERVER_SETTINGS,
            **DEFAULT_PARAMETERS,
            **given,
            "basedir": self._software,
            "datadir": self._directory / instance.data_name,
            "socket": sockets / self.SOCKET,
            "pid-file": sockets / "pid",
            "tmpdir": sockets,
            "ssl-cert": certificate,
            "ssl-key": certificate,
            # Every instance has one of its own, for good, whatever it was restored from [A113].
            "server-id": zlib.crc32(instance.data_name.encode()) or 1,
            "gtid-domain-id": "0",
        }
        if _is_logging(instance) if has_log is None else has_log:
            settings |= {"log-bin": LOG, "log-slave-updates": "ON"}
        return [
            self._software / "sbin" / "mariadbd",
            "--no-defaults",
            *(f"--{name}={value}" for name, value in settings.items()),
        ]

    def _beat(self, instance: Instance) -> None:
        """RDS's own write, as it makes one from time to time: into the log, with the instance's server_id [A113]."""
        self._sql(
            instance,
            f"INSERT INTO mysql.rds_heartbeat2 (id, value) VALUES (1, {int(time.time() * 1000)}) "
            "ON DUPLICATE KEY UPDATE value = VALUES(value)",
            is_logged=True,
        )

    def _hand_certificate(self, instance: Instance, address: str) -> None:
        file = self._certificate_file(instance)
        file.touch(mode=0o600)
        file.write_bytes(self._certificate(address).read_bytes())
        self._give_away(file)

    def _certificate_file(self, record: Record) -> Path:
        return self._directory / f"{record.data_name}.pem"

    def _prepare_software(self) -> Path:
        """A copy in the cloud's folder: the unprivileged user cannot look into a home folder of mode 700."""
        source, target = INSTALLED / "usr", self._directory / "software"
        for part in ("sbin/mariadbd", "bin/mariadb", "bin/mariadb-install-db", "bin/my_print_defaults"):
            (target / part).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / part, target / part)
        for folder in ("lib", "share/mysql"):
            shutil.copytree(source / folder, target / folder, dirs_exist_ok=True)
        return target

    def _make_template(self) -> None:
        """What every new instance is a copy of: the tables of the system, the superuser, and what RDS adds."""
        self._as_user(
            self._software / "bin" / "mariadb-install-db",
            "--no-defaults",
            f"--basedir={self._software}",
            f"--datadir={self._directory / 'template'}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            "--skip-name-resolve",
            # Whatever this machine is called.
            "--force",
            f"--innodb-log-file-size={SERVER_SETTINGS['innodb-log-file-size']}",
            "--debug-no-sync",
        )
        template = Instance({})
        template.data_name = "template"
        self._run_server(template)
        password = secrets.token_urlsafe(16)
        self._sql(
            template,
            "DELETE FROM mysql.global_priv WHERE User NOT IN ('root', 'mariadb.sys') OR Host <> 'localhost';"
            "DELETE FROM mysql.proxies_priv; FLUSH PRIVILEGES;"
            f"RENAME USER root@localhost TO {ADMIN}@localhost;"
            f"ALTER USER {ADMIN}@localhost IDENTIFIED BY {_text(password)}",
            user="root",
        )
        self._password = password
        self._sql(template, SETUP.read_text())
        self.stop(template)

    def _sql(self, instance: Instance, statements: str, *, is_logged: bool = False, user: str = ADMIN) -> str:
        """Runs the statements one after the other; the last line that they answer."""
        done = self._as_user(
            self._software / "bin" / "mariadb",
            "--no-defaults",
            "--batch",
            "--skip-column-names",
            f"--socket={self.socket_path(instance)}",
            f"--user={user}",
            sent=f"SET SESSION sql_mode = '', SESSION sql_log_bin = {int(is_logged)};\n{statements};",
        )
        return (done.stdout.splitlines() or [""])[-1]

    @property
    def _libraries(self) -> dict[str, str]:
        return {"LD_LIBRARY_PATH": str(next(iter((self._software / "lib").glob("*/libmariadb.so.3"))).parent)}

    @property
    def _environment(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "MYSQL_PWD": self._password, "LC_ALL": "C", **self._libraries}


def _is_logging(instance: Instance) -> bool:
    """RDS switches the log off with the automated backups (RDS User Guide, "Binary logging for MariaDB")."""
    return bool(instance.fields.get("BackupRetentionPeriod", 0) > 0)


def _greets(socket_path: str) -> bool:
    """Whether a server there takes clients: with protocol 10 (MariaDB, "Initial handshake packet"), not an error."""
    with socket.socket(socket.AF_UNIX) as client, contextlib.suppress(OSError):
        client.settimeout(1)
        client.connect(socket_path)
        return client.recv(5, socket.MSG_WAITALL)[4:] == b"\n"
    return False


def _name(identifier: str) -> str:
    return "`" + identifier.replace("`", "``") + "`"


def _text(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"
