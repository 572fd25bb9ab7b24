"""Real MariaDB servers behind instances, as their master users see them."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import tempfile
import threading
import time
import unittest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rds.mariadb import INSTALLED
from test_services import Service, ServiceTest, read_command, tearDownModule  # noqa: F401 (unittest calls the latter)

if TYPE_CHECKING:
    from rds.records import Fields

PASSWORD = "seeded-password"
IS_INSTALLED = (INSTALLED / "usr" / "sbin" / "mariadbd").exists()
NOT_INSTALLED = "MariaDB is not in .local/mariadb: `make setup` says why"
# Of the client's capabilities: SSL, PROTOCOL_41, PLUGIN_AUTH, SECURE_CONNECTION (MariaDB, "Connection").
CAPABILITIES = 0x800 | 0x200 | 0x80000 | 0x8000
PLANET = "CREATE TABLE planet (writer int, number int, PRIMARY KEY (writer, number))"


def client(*arguments: str) -> list[str]:
    return [str(INSTALLED / "usr" / "bin" / "mariadb"), "--no-defaults", *arguments]


def environment(password: str = PASSWORD) -> dict[str, str]:
    libraries = next(iter((INSTALLED / "usr" / "lib").glob("*/libmariadb.so.3"))).parent
    return os.environ | {"LD_LIBRARY_PATH": str(libraries), "MYSQL_PWD": password}


def servers(service: Service) -> list[str]:
    return [
        process.name
        for process in Path("/proc").iterdir()
        if process.name.isdigit()
        and str(service.directory).encode() in (command := read_command(process))
        and b"sbin/mariadbd" in command
    ]


def encrypted(endpoint: Fields, roots: str, name: str | None = None) -> ssl.SSLSocket:
    """A connection as clients open it that verify the certificate; `name` is who they believe to call."""
    plain = socket.create_connection((endpoint["Address"], endpoint["Port"]), 10)
    length = int.from_bytes(plain.recv(4, socket.MSG_WAITALL)[:3], "little")
    plain.recv(length, socket.MSG_WAITALL)
    # SSLRequest: it is the second packet.
    request = struct.pack("<IIB23x", CAPABILITIES, 1 << 24, 45)
    plain.sendall(struct.pack("<I", len(request) | 1 << 24) + request)
    try:
        return ssl.create_default_context(cadata=roots).wrap_socket(plain, server_hostname=name or endpoint["Address"])
    except ssl.SSLError:
        plain.close()
        raise


class Writer:
    """A session that writes one row after the other; `acknowledged` is the number of the last one it was told of."""

    def __init__(self, arguments: list[str], number: int) -> None:
        self.number, self.acknowledged = number, 0
        self._ends = False
        self._session = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment()
        )
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()

    def _write(self) -> None:
        assert self._session.stdin and self._session.stdout
        while not self._ends:
            row = self.acknowledged + 1
            self._session.stdin.write(f"INSERT INTO planet VALUES ({self.number}, {row}); SELECT {row};\n")
            self._session.stdin.flush()
            if self._session.stdout.readline().strip() != str(row):
                return
            self.acknowledged = row

    def end(self) -> None:
        self._ends = True
        self._thread.join(10)
        self._session.communicate()


@unittest.skipUnless(IS_INSTALLED, NOT_INSTALLED)
class MariaDbTest(ServiceTest):
    """Gives every test an emptied service, and SQL."""

    def seed_server(self, identifier: str = "source", parameters: dict[str, str] | None = None, **fields: Any) -> None:
        body = {
            "server": True,
            "fields": {"Engine": "mariadb", "DBName": "test"} | fields,
            "parameters": parameters or {},
        }
        self.control("PUT", f"instances/{identifier}", body)

    def arguments(self, identifier: str, *more: str, user: str = "master") -> list[str]:
        endpoint = self.instance(identifier)["Endpoint"]
        place = (f"--host={endpoint['Address']}", f"--port={endpoint['Port']}", f"--user={user}")
        return client("--batch", "--silent", "--connect-timeout=5", *place, *(more or ["--skip-column-names"]), "test")

    def sql(
        self,
        identifier: str,
        statement: str,
        *more: str,
        user: str = "master",
        password: str = PASSWORD,
        check: bool = True,
    ) -> str | None:
        """What it answers; None if it is refused and that is not checked."""
        done = subprocess.run(
            [*self.arguments(identifier, *more, user=user), "--execute", statement],
            capture_output=True,
            text=True,
            env=environment(password),
        )
        if check and done.returncode:
            raise AssertionError(done.stderr)
        return done.stdout.strip() if done.returncode == 0 else None

    def sql_refused(self, pattern: str, identifier: str, statement: str, **options: Any) -> None:
        with self.assertRaisesRegex(AssertionError, pattern):
            self.sql(identifier, statement, **options)

    def transactions(self, identifier: str) -> dict[str, str]:
        """The last one of each server in the instance's own log, by server_id."""
        state = self.sql(identifier, "SELECT @@gtid_binlog_state") or ""
        return {position.split("-")[1]: position for position in state.split(",") if position}

    def replicate(self, source: str, target: str, position: str) -> None:
        at = self.instance(source)["Endpoint"]
        self.sql(
            target,
            "CALL mysql.rds_set_external_master_gtid("
            f"'{at['Address']}', {at['Port']}, 'master', '{PASSWORD}', '{position}', 1);"
            "CALL mysql.rds_start_replication",
        )

    def replication(self, identifier: str) -> dict[str, str]:
        shown = self.sql(identifier, "SHOW SLAVE STATUS\\G", "--column-names") or ""
        pairs = (line.partition(":") for line in shown.splitlines() if ":" in line)
        return {name.strip(): value.strip() for name, _, value in pairs}

    def server_id(self, identifier: str) -> str:
        return self.sql(identifier, "SELECT @@server_id") or ""


class Instances(MariaDbTest):
    def test_the_master_has_the_privileges_that_rds_gives_and_no_others(self) -> None:
        self.seed_server()
        self.sql(
            "source", "CREATE USER app@'%' IDENTIFIED BY 'app-password' REQUIRE SSL; GRANT ALL ON test.* TO app@'%'"
        )
        self.sql("source", f"{PLANET}; INSERT INTO planet VALUES (1, 1); FLUSH TABLES WITH READ LOCK")
        self.assertEqual(self.sql("source", "SELECT CURRENT_USER()"), "master@%")
        for statement in (
            "SET GLOBAL read_only = 1",
            "SET GLOBAL gtid_slave_pos = '0-1-1'",
            "SET SESSION sql_log_bin = 0",
            "GRANT SUPER ON *.* TO app@'%'",
            "START SLAVE",
        ):
            self.sql_refused("Access denied", "source", statement)
        # No log of how it came to be, only RDS's own write.
        self.assertEqual(self.transactions("source").keys(), {self.server_id("source")})
        self.sql_refused("Access denied", "source", "SELECT 1", user="rdsadmin", password="")

    def test_an_account_that_is_locked_stays_out(self) -> None:
        self.seed_server()
        self.sql("source", "CREATE USER app@'%' IDENTIFIED BY 'app'; GRANT SELECT ON test.* TO app@'%'")
        self.assertEqual(self.sql("source", "SELECT 1", user="app", password="app"), "1")
        self.sql("source", "ALTER USER app@'%' ACCOUNT LOCK")
        self.sql_refused("this account is locked", "source", "SELECT 1", user="app", password="app")

    def test_a_session_can_be_ended(self) -> None:
        self.seed_server()
        sleeper = subprocess.Popen(
            [*self.arguments("source"), "--execute", "SELECT SLEEP(60)"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        look = "SELECT id, host FROM information_schema.processlist WHERE info LIKE 'SELECT SLEEP%'"
        self.wait_for(lambda: self.sql("source", look))
        thread, host = (self.sql("source", look) or "").split()
        self.assertTrue(host.startswith("127."), host)
        self.sql("source", f"CALL mysql.rds_kill({thread})")
        self.assertRegex(sleeper.communicate(timeout=10)[1], "ERROR 20(13|26)")

    def test_rdss_configuration_has_limits(self) -> None:
        self.seed_server()
        self.sql("source", "CALL mysql.rds_set_configuration('binlog retention hours', 24)")
        shown = (self.sql("source", "CALL mysql.rds_show_configuration") or "").split("\t")
        self.assertEqual(shown[:2], ["binlog retention hours", "24"])
        self.sql_refused("from 1 to 168", "source", "CALL mysql.rds_set_configuration('binlog retention hours', 169)")
        self.sql("source", "CALL mysql.rds_set_configuration('binlog retention hours', NULL)")

    def test_parameters_come_from_the_group_and_the_log_from_the_backups(self) -> None:
        self.seed_server("orders", {"binlog_format": "ROW", "event_scheduler": "ON"})
        asked = "SELECT @@log_bin, @@binlog_format, @@event_scheduler"
        self.assertEqual(self.sql("orders", asked), "1\tROW\tON")
        self.seed_server("bills", BackupRetentionPeriod=0)
        self.assertEqual(self.sql("bills", asked), "0\tMIXED\tOFF")
        # Nor has a copy that is to have none, though it recovers by its source's.
        self.available_snapshot(source="orders")
        self.restored(BackupRetentionPeriod=0)
        self.assertEqual(self.sql("target", asked), "0\tMIXED\tOFF")

    def test_a_new_password_counts_and_so_does_a_reboot(self) -> None:
        self.seed_server()
        before = self.server_id("source")
        self.rds.modify_db_instance(DBInstanceIdentifier="source", MasterUserPassword="it's \\new")
        self.wait_for(lambda: self.sql("source", "SELECT 1", password="it's \\new", check=False))
        self.instance_statuses("source")
        self.rds.reboot_db_instance(DBInstanceIdentifier="source")
        self.instance_statuses("source")
        self.assertEqual(self.sql("source", "SELECT @@server_id", password="it's \\new"), before)

    def test_only_who_asks_for_a_server_gets_one(self) -> None:
        self.seed("files", Engine="mariadb")
        self.assertIsNotNone(self.control("GET", "instances/files")["data"])
        self.assertEqual(servers(self.service), [])
        with self.assertRaisesRegex(AssertionError, "server: only an instance of the engine mariadb"):
            self.control("PUT", "instances/other", {"server": True, "fields": {"Engine": "mysql"}})


class Encryption(MariaDbTest):
    def roots(self) -> str:
        return str(self.control("GET", "")["database_roots"])

    def test_the_certificate_is_the_names_and_of_the_clouds_root(self) -> None:
        for name in ("orders", "bills"):
            self.seed_server(name)
        orders, bills = (self.instance(name)["Endpoint"] for name in ("orders", "bills"))
        for endpoint in (orders, bills):
            encrypted(endpoint, self.roots()).close()
        with self.assertRaisesRegex(ssl.SSLCertVerificationError, "IP address mismatch"):
            encrypted(orders, self.roots(), bills["Address"])

    def test_a_client_may_ask_for_tls_or_not_unless_its_account_says_so(self) -> None:
        self.seed_server()
        asked = "SELECT variable_value <> '' FROM information_schema.session_status WHERE variable_name = 'SSL_CIPHER'"
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(self.roots())
            file.flush()
            verifying = (f"--ssl-ca={file.name}", "--ssl-verify-server-cert", "--skip-column-names")
            self.assertEqual(self.sql("source", asked, *verifying), "1")
            self.assertEqual(self.sql("source", asked, "--skip-ssl", "--skip-column-names"), "0")
            self.sql("source", "CREATE USER app@'%' IDENTIFIED BY 'app' REQUIRE SSL; GRANT SELECT ON test.* TO app@'%'")
            with self.assertRaisesRegex(AssertionError, "Access denied"):
                self.sql("source", asked, "--skip-ssl", user="app", password="app")
            self.assertEqual(self.sql("source", asked, *verifying, user="app", password="app"), "1")

    def test_a_rename_moves_the_address_and_the_certificate_fits(self) -> None:
        for name in ("orders", "target"):
            self.seed_server(name)
            self.sql(name, f"CREATE TABLE name AS SELECT '{name}' AS name")
        addresses = {name: self.instance(name)["Endpoint"]["Address"] for name in ("orders", "target")}
        for old, new in (("orders", "orders-old"), ("target", "orders")):
            self.rds.modify_db_instance(DBInstanceIdentifier=old, NewDBInstanceIdentifier=new, ApplyImmediately=True)
            self.wait_for(lambda name=new: self.is_found(name))  # type: ignore[misc]
            self.statuses(lambda name=new: self.instance(name)["DBInstanceStatus"], "rebooting")  # type: ignore[misc]
            self.instance_statuses(new)
        self.assertEqual(self.sql("orders", "SELECT name FROM name"), "target")
        self.assertEqual(self.sql("orders-old", "SELECT name FROM name"), "orders")
        self.assertEqual(self.instance("orders")["Endpoint"]["Address"], addresses["orders"])
        for name in ("orders", "orders-old"):
            encrypted(self.instance(name)["Endpoint"], self.roots()).close()


class Copies(MariaDbTest):
    def writers(self, count: int = 3) -> list[Writer]:
        writers = [
            Writer(self.arguments("source", "--skip-column-names", "--unbuffered"), number) for number in range(count)
        ]
        for writer in writers:
            self.addCleanup(writer.end)
        self.wait_for(lambda: all(writer.acknowledged > 20 for writer in writers))
        return writers

    def rows(self, identifier: str) -> dict[int, tuple[int, int]]:
        """How many each writer has there, and the last of them."""
        shown = self.sql(identifier, "SELECT writer, COUNT(*), MAX(number) FROM planet GROUP BY writer") or ""
        return {int(writer): (int(count), int(last)) for writer, count, last in map(str.split, shown.splitlines())}

    def test_a_copy_made_under_load_has_what_was_acknowledged_and_catches_up(self) -> None:
        self.seed_server()
        self.sql("source", PLANET)
        writers = self.writers()
        acknowledged = {writer.number: writer.acknowledged for writer in writers}
        self.available_snapshot()
        later = {writer.number: writer.acknowledged for writer in writers}
        self.rds.copy_db_snapshot(SourceDBSnapshotIdentifier="snapshot", TargetDBSnapshotIdentifier="copy")
        self.snapshot_statuses("copy")
        self.restored(snapshot="copy")
        copied = self.rows("target")
        for number, (count, last) in copied.items():
            self.assertEqual(count, last, "a row is missing in between")
            self.assertLessEqual(acknowledged[number], last)
            self.assertLessEqual(last, later[number] + 1)
        source, target = self.server_id("source"), self.server_id("target")
        state = self.transactions("target")
        self.assertEqual(state.keys(), {source, target})
        # After the source's last one comes RDS's write into the copy.
        self.assertLess(int(state[source].split("-")[2]), int(state[target].split("-")[2]))
        self.replicate("source", "target", state[source])
        time.sleep(0.5)
        for writer in writers:
            writer.end()
        written = self.rows("source")
        self.assertEqual(written, {writer.number: (writer.acknowledged,) * 2 for writer in writers})
        self.assertNotEqual(written, copied)
        self.wait_for(lambda: self.rows("target") == written or self.replication("target")["Last_SQL_Error"])
        shown = self.replication("target")
        self.assertEqual((shown["Last_SQL_Error"], shown["Slave_SQL_Running"]), ("", "Yes"))
        self.assertEqual(self.rows("target"), written)
        self.assertEqual(self.transactions("target")[source], self.transactions("source")[source])
        self.sql_refused(
            "Replication is running", "target", "CALL mysql.rds_set_external_master_gtid('', 1, '', '', '', 0)"
        )
        # RDS goes on with it after a restart; that of the source it survives as well.
        for identifier in ("target", "source"):
            self.rds.reboot_db_instance(DBInstanceIdentifier=identifier)
            self.instance_statuses(identifier)
        self.sql("source", "INSERT INTO planet VALUES (9, 1)")
        self.wait_for(lambda: self.rows("target").get(9))
        self.sql("target", "CALL mysql.rds_stop_replication; CALL mysql.rds_reset_external_master")
        self.assertEqual(self.replication("target"), {})

    def test_a_copy_can_be_without_the_logs_of_its_source(self) -> None:
        self.control("PATCH", "settings", {"copies_keep_binlogs": False})
        self.seed_server()
        self.sql("source", PLANET)
        writers = self.writers()
        acknowledged = {writer.number: writer.acknowledged for writer in writers}
        self.available_snapshot()
        self.restored()
        for number, (_, last) in self.rows("target").items():
            self.assertLessEqual(acknowledged[number], last)
        self.assertEqual(self.transactions("target").keys(), {self.server_id("target")})
        self.assertEqual(self.sql("target", "SHOW BINARY LOGS", "--skip-column-names").count("\n"), 0)  # type: ignore[union-attr]

    def test_who_is_isolated_is_not_replicated_from(self) -> None:
        for name in ("source", "target"):
            self.seed_server(name)
        own = self.instance("source")["VpcSecurityGroups"]
        isolating = [{"VpcSecurityGroupId": "sg-0c1a1a", "Status": "active"}]
        for isolated in ("source", "target"):
            self.control("PATCH", f"instances/{isolated}", {"fields": {"VpcSecurityGroups": isolating}})
            self.replicate("source", "target", self.transactions("source")[self.server_id("source")])
            self.wait_for(lambda: self.replication("target")["Last_IO_Errno"] != "0")
            self.assertEqual(self.replication("target")["Slave_IO_Running"], "Connecting")
            self.control("PATCH", f"instances/{isolated}", {"fields": {"VpcSecurityGroups": own}})
            self.wait_for(lambda: self.replication("target")["Slave_IO_Running"] == "Yes")
            self.sql("target", "CALL mysql.rds_stop_replication; CALL mysql.rds_reset_external_master")


class Ending(MariaDbTest):
    def test_a_deleted_instance_leaves_nothing(self) -> None:
        self.seed_server()
        self.assertEqual(len(servers(self.service)), 1)
        self.rds.delete_db_instance(DBInstanceIdentifier="source", SkipFinalSnapshot=True)
        self.wait_for(lambda: servers(self.service) == [])
        data = self.service.directory / "data" / "mariadb"
        self.wait_for(
            lambda: (
                {path.name for path in data.iterdir()}
                == {"software", "sockets", "template", "template.log", "template.pem"}
            )
        )

    def test_no_server_outlives_the_cloud_however_it_ends(self) -> None:
        for ending in (signal.SIGTERM, signal.SIGKILL):
            service = Service()
            self.addCleanup(shutil.rmtree, service.directory, ignore_errors=True)
            service.control("PUT", "instances/source", {"server": True, "fields": {"Engine": "mariadb"}})
            self.assertEqual(len(servers(service)), 1)
            service.process.send_signal(ending)
            service.process.wait(20)
            assert service.process.stdout
            service.process.stdout.close()
            self.wait_for(lambda one=service: servers(one) == [])  # type: ignore[misc]


if __name__ == "__main__":
    unittest.main()
