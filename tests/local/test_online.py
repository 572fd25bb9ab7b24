"""What the way by replication needs of the local cloud: databases as RDS has them, as their master user sees them."""

from __future__ import annotations

import functools
import json
import os
import re
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
import types
import unittest
import unittest.mock
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from cloud import Cloud
from demo import running_cloud
from ledger import PSQL, Ledger
from rds.certificates import Authority
from rds.endpoints import SSL_REQUEST, Endpoints
from rds.tokens import Tokens
from test_iam import PRINCIPAL, STEP, allow
from test_services import TIME_SCALE, PostgresTest, tearDownModule  # noqa: F401 (unittest calls the latter)

if TYPE_CHECKING:
    from rds.records import Fields

LOAD = Path(__file__).parent / "load.py"
# A client's first message: protocol 3.0 and whom it wants to be.
STARTUP = b"\0\3\0\0user\0master\0database\0test\0\0"
# The server's answer to it: a request for SASL (PostgreSQL, "Message Formats": AuthenticationSASL).
SASL = 10


def encrypted(endpoint: Fields, roots: str) -> ssl.SSLSocket:
    """A connection as PostgreSQL's clients open it with sslmode=verify-full."""
    plain = socket.create_connection((endpoint["Address"], endpoint["Port"]), 10)
    plain.sendall(SSL_REQUEST)
    if plain.recv(1) != b"S":
        raise AssertionError("no TLS there")
    context = ssl.create_default_context(cadata=roots)
    return context.wrap_socket(plain, server_hostname=endpoint["Address"])


class Encryption(PostgresTest):
    def test_a_client_that_knows_the_root_is_served(self) -> None:
        self.seed("orders")
        roots = self.control("GET", "")["database_roots"]
        with encrypted(self.instance("orders")["Endpoint"], roots) as client:
            client.sendall(struct.pack("!I", len(STARTUP) + 4) + STARTUP)
            kind, _length, code = struct.unpack("!cII", client.recv(9))
            self.assertEqual((kind, code), (b"R", SASL))

    def test_a_client_that_knows_another_root_is_not(self) -> None:
        self.seed("orders")
        with tempfile.TemporaryDirectory() as folder, self.assertRaises(ssl.SSLCertVerificationError):
            encrypted(self.instance("orders")["Endpoint"], Authority(Path(folder)).root)

    def test_the_certificate_is_the_names_and_not_another_ones(self) -> None:
        for name in ("orders", "bills"):
            self.seed(name, DBName="test")
        orders, bills = (self.instance(name)["Endpoint"] for name in ("orders", "bills"))
        context = ssl.create_default_context(cadata=self.control("GET", "")["database_roots"])
        plain = socket.create_connection((orders["Address"], orders["Port"]), 10)
        self.addCleanup(plain.close)
        plain.sendall(SSL_REQUEST)
        plain.recv(1)
        with self.assertRaisesRegex(ssl.SSLCertVerificationError, "IP address mismatch"):
            context.wrap_socket(plain, server_hostname=bills["Address"])
        # Nobody else is worse off for it.
        self.assertEqual(self.psql("orders", "select 1", password="seeded-password"), "1")


class LoginByToken(unittest.TestCase):
    def setUp(self) -> None:
        fields = {"IAMDatabaseAuthenticationEnabled": True, "DbiResourceId": "db-ONE"}
        self.instances = {"orders": types.SimpleNamespace(fields=fields)}
        self.allowed = True
        self.asked: list[tuple[str, str, str]] = []
        records: Any = types.SimpleNamespace(instances=self.instances)
        self.tokens = Tokens(records, "eu-west-1", "123456789012", self.may)
        keys = {"aws_access_key_id": "123456789012", "aws_secret_access_key": "local"}
        self.rds = boto3.client("rds", region_name="eu-west-1", **keys)

    def may(self, *ask: str) -> bool:
        self.asked.append((ask[0], ask[1], ask[2]))
        return self.allowed

    def refusal(self, user: str = "dba", host: str = "127.0.0.1", token: str | None = None) -> str:
        signed = self.rds.generate_db_auth_token(DBHostname="127.0.0.1", Port=5432, DBUsername="dba")
        return self.tokens.refusal("orders", (host, 5432), 1, user, signed if token is None else token)

    def test_a_token_is_for_its_host_and_user_and_as_it_was_signed(self) -> None:
        self.assertEqual(self.refusal(), "")
        self.assertIn("is not for the user root", self.refusal(user="root"))
        self.assertIn("this is 127.0.0.2:5432", self.refusal(host="127.0.0.2"))
        good = self.rds.generate_db_auth_token(DBHostname="127.0.0.1", Port=5432, DBUsername="dba")
        self.assertIn("signature is wrong", self.refusal(token=good[:-4] + "0000"))
        self.assertIn("signature is wrong", self.refusal(token=good.replace("Expires=900", "Expires=901")))
        old = re.sub(r"Date=\d{8}", "Date=20200101", good)
        self.assertIn("has expired", self.refusal(token=old))
        for nothing in ("", "password", "127.0.0.1:5432/?Action=connect&DBUser=dba"):
            self.assertNotEqual(self.refusal(token=nothing), "")

    def test_the_instance_must_take_tokens_and_the_function_may_log_in(self) -> None:
        with unittest.mock.patch("rds.tokens.processes_with_connection", return_value=[os.getpid()]):
            with unittest.mock.patch("rds.tokens._app_id", return_value="rds-encrypt.cut-over"):
                self.assertEqual(self.refusal(), "")
                resource = "arn:aws:rds-db:eu-west-1:123456789012:dbuser:db-ONE/dba"
                self.assertEqual(self.asked, [("rds-encrypt.cut-over", "rds-db:connect", resource)])
                self.allowed = False
                self.assertIn("is not allowed", self.refusal())
        self.instances["orders"].fields["IAMDatabaseAuthenticationEnabled"] = False
        self.assertIn("no IAM database authentication", self.refusal())


class EncryptedForwarder(unittest.TestCase):
    def test_much_travels_both_ways(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        authority = Authority(Path(folder.name) / "certificates")
        endpoints = Endpoints(lambda *_: True, lambda *_: "", authority)
        self.addCleanup(endpoints.close_all)
        path = f"{folder.name}/server"
        echo = socket.socket(socket.AF_UNIX)
        self.addCleanup(echo.close)
        echo.bind(path)
        echo.listen()
        threading.Thread(target=self.echo, args=(echo,), daemon=True).start()
        endpoint = endpoints.open("orders", 15432, path)
        sent = os.urandom(1 << 20) * 8
        with encrypted(endpoint, authority.root) as client:
            received = bytearray()
            self.send_and_receive(client, sent, received)
        self.assertEqual(bytes(received), sent)

    def echo(self, listener: socket.socket) -> None:
        server, _ = listener.accept()
        with server:
            while data := server.recv(65536):
                server.sendall(data)

    def send_and_receive(self, client: ssl.SSLSocket, data: bytes, received: bytearray) -> None:
        """In pieces that fit into the buffers on the way, since this client is of one thread."""
        piece = 32768
        for start in range(0, len(data), piece):
            client.sendall(data[start : start + piece])
            end = len(received) + piece
            while len(received) < end:
                got = client.recv(65536)
                self.assertTrue(got, "the connection broke")
                received += got


class OnlineTest(PostgresTest):
    """With instances that take subscribers, and SQL of their master users."""

    def sql(self, identifier: str, statement: str, **options: Any) -> Any:
        return self.psql(identifier, statement, password="seeded-password", **options)

    def seed_orders(self, identifier: str = "orders", **parameters: str) -> None:
        body = {"fields": {"DBName": "test"}, "parameters": {"rds.logical_replication": "1"} | parameters}
        self.control("PUT", f"instances/{identifier}", body)

    def restored_like_orders(self, snapshot: str = "snapshot") -> None:
        self.restored(snapshot=snapshot, DBParameterGroupName="of-orders")


class ParameterGroups(OnlineTest):
    def logical(self, identifier: str) -> tuple[Any, Any]:
        return self.sql(identifier, "show rds.logical_replication"), self.sql(identifier, "show wal_level")

    def test_logical_replication_is_off_by_default_and_comes_with_a_reboot(self) -> None:
        self.seed("orders", DBName="test")
        self.assertEqual(self.logical("orders"), ("off", "replica"))
        slot = "select pg_create_logical_replication_slot('slot', 'pgoutput')"
        self.assertIsNone(self.sql("orders", slot, check=False))
        self.rds.modify_db_instance(DBInstanceIdentifier="orders", DBParameterGroupName=self.logical_replication())
        self.instance_statuses("orders", "modifying")
        self.instance_statuses("orders")
        self.assertEqual(self.logical("orders"), ("off", "replica"))
        self.rds.reboot_db_instance(DBInstanceIdentifier="orders")
        self.instance_statuses("orders")
        self.assertEqual(self.logical("orders"), ("on", "logical"))
        self.assertIsNotNone(self.sql("orders", slot))

    def test_a_restored_copy_has_what_its_own_group_says(self) -> None:
        self.seed_orders(max_slot_wal_keep_size="100", max_prepared_transactions="5")
        self.available_snapshot(source="orders")
        self.restored("plain")
        self.assertEqual(self.logical("plain"), ("off", "replica"))
        self.assertEqual(self.sql("plain", "show max_slot_wal_keep_size"), "-1")
        self.restored_like_orders()
        self.assertEqual(self.logical("target"), ("on", "logical"))
        for identifier in ("orders", "target"):
            self.assertEqual(self.sql(identifier, "show max_slot_wal_keep_size"), "100MB")
            self.assertEqual(self.sql(identifier, "show max_prepared_transactions"), "5")

    def test_a_copy_with_slots_does_not_start_without_logical_replication(self) -> None:
        self.seed_orders()
        self.sql("orders", "select pg_create_logical_replication_slot('slot', 'pgoutput')")
        self.available_snapshot(source="orders")
        self.rds.restore_db_instance_from_db_snapshot(DBInstanceIdentifier="plain", DBSnapshotIdentifier="snapshot")
        self.instance_statuses("plain", "failed")


class MasterUser(OnlineTest):
    """No superuser, and yet it can do all that replication between two instances takes."""

    def connection(self, identifier: str, user: str, password: str) -> str:
        at = self.instance(identifier)["Endpoint"]
        return f"host={at['Address']} port={at['Port']} user={user} password={password} dbname=test"

    def test_it_is_no_superuser(self) -> None:
        self.seed_orders()
        attributes = (
            "select rolsuper, rolcreaterole, rolcreatedb, rolreplication from pg_roles where rolname = 'master'"
        )
        self.assertEqual(self.sql("orders", attributes), "f|t|t|t")
        self.assertEqual(self.sql("orders", "select pg_has_role('master', 'rds_superuser', 'member')"), "t")
        for statement in ("create publication everything for all tables", "set session_authorization = 'rdsadmin'"):
            self.assertIsNone(self.sql("orders", statement, check=False), statement)
        self.assertEqual(self.sql("orders", "set session_replication_role = replica; select 1"), "SET\n1")

    def test_it_replicates_from_one_instance_to_the_other(self) -> None:
        for name in ("orders", "target"):
            self.seed_orders(name)
            self.sql(name, "create table item (id int primary key)")
        for statement in (
            "create role subscriber login password 'of-a-run'",
            "grant rds_replication to subscriber",
            "grant select on item to subscriber",
            "create publication items for table item",
            "select pg_create_logical_replication_slot('items', 'pgoutput')",
            "insert into item values (1)",
            "select pg_replication_slot_advance('items', pg_current_wal_lsn())",
            "insert into item values (2)",
        ):
            self.sql("orders", statement)
        connection = self.connection("orders", "subscriber", "of-a-run")
        options = "copy_data = false, create_slot = false, enabled = false, slot_name = 'items'"
        for statement in (
            f"create subscription items connection '{connection}' publication items with ({options})",
            f"alter subscription items connection '{connection} application_name=ours'",
            "alter subscription items enable",
        ):
            self.sql("target", statement)
        self.wait_for(lambda: self.sql("target", "select string_agg(id::text, ',') from item") == "2")
        for statement in (
            "alter subscription items disable",
            "alter subscription items set (slot_name = none)",
            "drop subscription items",
        ):
            self.sql("target", statement)
        self.wait_for(lambda: self.sql("orders", "select active from pg_replication_slots") == "f")
        for statement in (
            "select pg_drop_replication_slot('items')",
            "drop publication items",
            # "drop owned by" takes more than having made the role (PostgreSQL 16).
            "revoke all on item from subscriber",
            "drop role subscriber",
        ):
            self.sql("orders", statement)

    def test_who_is_not_in_rds_replication_does_not_replicate(self) -> None:
        self.seed_orders()
        for role, does in (("subscriber replication", True), ("reader", False)):
            self.sql("orders", f"create role {role} login password 'of-a-run'")
            at = self.connection("orders", role.split()[0], "of-a-run") + " replication=database"
            done = subprocess.run([PSQL, at, "-c", "IDENTIFY_SYSTEM"], capture_output=True, text=True)
            self.assertEqual(done.returncode == 0, does, done.stderr)

    def test_it_shuts_everybody_else_out_and_in_again(self) -> None:
        self.seed_orders()
        self.sql("orders", "create role application login password 'of-the-application'")
        self.sql("orders", "create database bills")
        application = self.connection("orders", "application", "of-the-application")
        sleeper = subprocess.Popen([PSQL, application, "-c", "select pg_sleep(60)"], stderr=subprocess.DEVNULL)
        self.addCleanup(sleeper.kill)
        asleep = "select count(*) from pg_stat_activity where usename = 'application'"
        self.wait_for(lambda: self.sql("orders", asleep) == "1")
        # From another database, since this one lets nobody in meanwhile.
        bills = self.connection("orders", "master", "seeded-password").replace("dbname=test", "dbname=bills")
        self.run_at(bills, "alter database test connection limit 0")
        self.run_at(bills, "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'application'")
        self.assertNotEqual(sleeper.wait(10), 0)
        self.assertIsNone(self.sql("orders", "select 1", check=False))
        self.run_at(bills, "alter database test connection limit -1")
        self.assertEqual(self.sql("orders", "select 1"), "1")

    def run_at(self, connection: str, statement: str) -> None:
        subprocess.run([PSQL, connection, "-qc", statement], check=True, capture_output=True)


class Troubles(OnlineTest):
    def setUp(self) -> None:
        super().setUp()
        for name in ("orders", "target"):
            self.seed_orders(name)
            self.sql(name, "create table item (id int primary key)")
        self.sql("orders", "create publication items for table item")
        at = self.instance("orders")["Endpoint"]
        connection = f"host={at['Address']} port={at['Port']} user=master password=seeded-password dbname=test"
        self.sql("target", f"create subscription items connection '{connection}' publication items")
        self.write(1)
        self.wait_for(lambda: self.items() == "1")

    def write(self, number: int) -> None:
        self.sql("orders", f"insert into item values ({number})")

    def items(self) -> Any:
        return self.sql("target", "select string_agg(id::text, ',' order by id) from item")

    def befall(self, identifier: str, **what: Any) -> Any:
        return self.control("POST", f"instances/{identifier}/replication", what)

    def test_a_cut_ends_nothing(self) -> None:
        self.assertEqual(self.befall("orders", terminate_walsenders=True), {"terminated": 1})
        self.write(2)
        self.wait_for(lambda: self.items() == "1,2")

    def test_a_subscription_that_is_held_gets_nowhere_until_it_is_released(self) -> None:
        self.befall("target", hold_apply={"database": "test", "table": "item"})
        self.write(2)
        time.sleep(1)
        self.assertEqual(self.items(), "1")
        self.befall("target", release_apply=True)
        self.wait_for(lambda: self.items() == "1,2")
        with self.assertRaisesRegex(AssertionError, "does not exist"):
            self.befall("target", hold_apply={"database": "test", "table": "absent"})
        # What is held does not outlive its instance.
        self.befall("target", hold_apply={"database": "test", "table": "item"})
        self.control("DELETE", "instances/target")

    def test_a_slot_is_dropped_under_its_reader(self) -> None:
        self.befall("orders", drop_slot="items")
        self.assertEqual(self.sql("orders", "select count(*) from pg_replication_slots"), "0")
        with self.assertRaises(AssertionError):
            self.befall("orders", drop_slot="items")

    def test_a_copy_can_come_without_slots(self) -> None:
        self.control("PATCH", "settings", {"copies_keep_slots": False})
        self.available_snapshot(source="orders")
        self.restored("copy", DBParameterGroupName="of-orders")
        self.assertEqual(self.sql("copy", "select count(*) from pg_replication_slots"), "0")
        self.assertEqual(self.sql("orders", "select count(*) from pg_replication_slots"), "1")


class VolumeSnapshots(OnlineTest):
    """A snapshot is of the volume: what the server had in files at one moment."""

    def restored_amid_replication(self) -> None:
        """A copy with the first item, and a slot of the source that has not told of it; the source has a second one."""
        self.seed_orders()
        self.sql("orders", "create table item (id int primary key); create publication items for table item")
        self.sql("orders", "select pg_create_logical_replication_slot('items', 'pgoutput')")
        self.sql("orders", "insert into item values (1)")
        self.available_snapshot(source="orders")
        self.sql("orders", "insert into item values (2)")
        self.restored_like_orders()

    def test_a_restored_copy_has_the_replication_slots_and_their_log(self) -> None:
        self.restored_amid_replication()
        slots = "select slot_name, active, confirmed_flush_lsn from pg_replication_slots"
        self.assertEqual(self.sql("target", slots), self.sql("orders", slots))
        self.assertIn("items|f|", self.sql("target", slots))
        commits = """
            select count(*) from pg_logical_slot_peek_binary_changes(
                'items', null, null, 'proto_version', '1', 'publication_names', 'items')
            where get_byte(data, 0) = ascii('C')"""
        self.assertEqual((self.sql("target", commits), self.sql("orders", commits)), ("1", "2"))
        self.assertEqual(self.sql("target", "select * from item"), "1")

    def test_what_was_acknowledged_before_is_in_it_and_writing_goes_on(self) -> None:
        self.seed_orders()
        endpoint = self.instance("orders")["Endpoint"]
        with Ledger(endpoint["Address"], endpoint["Port"], "master", "test", "seeded-password", sessions=4) as ledger:
            self.wait_for(lambda: ledger.acknowledged > 20)
            counted = {session.number: len(session.acknowledged) for session in ledger.sessions}
            self.available_snapshot(source="orders")
            known = ledger.acknowledged
            self.wait_for(lambda: ledger.acknowledged > known + 20)
        self.assertTrue(ledger.compare().holds)
        self.assertEqual(ledger.compare().reconnects, 0)
        self.restored(snapshot="snapshot")
        lines = self.sql("target", "select session, max(number) from ledger group by 1").splitlines()
        found = {int(session): int(number) for session, number in (line.split("|") for line in lines)}
        for session, number in counted.items():
            self.assertGreaterEqual(found[session], number)

    def test_a_restored_copy_knows_up_to_where_it_has_recovered(self) -> None:
        self.restored_amid_replication()
        seed = "select rds_tools.logical_seed_lsn()"
        for name in ("orders", "target"):
            self.assertIsNone(self.sql(name, seed, check=False), "an extension of RDS's has to be created")
            self.sql(name, "create extension rds_tools")
        self.assertEqual(self.sql("orders", seed), "")
        position = self.sql("target", seed)
        self.rds.reboot_db_instance(DBInstanceIdentifier="target")
        self.instance_statuses("target", "rebooting")
        self.instance_statuses("target")
        self.assertEqual(self.sql("target", seed), position)
        # From there on, the source's slot tells what the copy lacks, and nothing else.
        self.sql("orders", f"select pg_replication_slot_advance('items', '{position}')")
        self.sql("target", "select pg_drop_replication_slot('items')")
        at = self.instance("orders")["Endpoint"]
        connection = f"host={at['Address']} port={at['Port']} user=master password=seeded-password dbname=test"
        options = "copy_data = false, create_slot = false, disable_on_error = true"
        self.sql("target", f"create subscription items connection '{connection}' publication items with ({options})")
        self.wait_for(lambda: self.sql("target", "select string_agg(id::text, ',') from item") == "1,2")

    def test_no_process_stays_frozen(self) -> None:
        self.seed_orders()
        self.available_snapshot(source="orders")
        states = [(server / "stat").read_text().rpartition(")")[2].split()[0] for server in self.servers()]
        self.assertTrue(states)
        self.assertNotIn("T", states)

    def test_a_copy_of_a_source_or_of_its_replica_stands_alone(self) -> None:
        self.seed_orders()
        self.sql("orders", "create table item as select 1 as id")
        self.seed("replica", DBName="test", ReadReplicaSourceDBInstanceIdentifier="orders")
        self.wait_for(lambda: self.sql("replica", "select count(*) from pg_class where relname = 'item'") == "1")
        for source in ("orders", "replica"):
            self.available_snapshot(f"of-{source}", source)
            self.restored(f"copy-of-{source}", f"of-{source}")
            self.sql(f"copy-of-{source}", "insert into item values (2)")
            self.assertEqual(self.sql(f"copy-of-{source}", "select count(*) from pg_replication_slots"), "0")
        self.assertEqual(self.sql("orders", "select count(*) from pg_replication_slots where active"), "1")


class LoadTest(OnlineTest):
    """With an application's load on orders."""

    def load(self, verb: str, *options: str) -> subprocess.Popen[str]:
        at = self.instance("orders")["Endpoint"]
        place = ("--host", at["Address"], "--port", str(at["Port"]))
        process = subprocess.Popen(
            [sys.executable, LOAD, verb, *place, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PGPASSWORD": "seeded-password"},
        )
        self.addCleanup(process.kill)
        return process

    def outcome(self, process: subprocess.Popen[str]) -> Any:
        """Once it is told to end."""
        told, _ = process.communicate(timeout=60)
        return json.loads(told)

    def start(self) -> subprocess.Popen[str]:
        self.assertEqual(self.load("prepare", "--user", "master").wait(60), 0)
        process = self.load("run")
        assert process.stdout
        self.assertEqual(process.stdout.readline(), "writing\n")
        return process


class ApplicationLoad(LoadTest):
    """What the load does not find out, no end-to-end test would."""

    def test_it_holds_through_a_cut(self) -> None:
        self.seed_orders()
        process = self.start()
        self.rds.reboot_db_instance(DBInstanceIdentifier="orders")
        self.instance_statuses("orders", "rebooting")
        self.instance_statuses("orders")
        written = "select count(*) from ledger"
        before = int(self.sql("orders", written))
        # Into the second database, too.
        self.wait_for(lambda: int(self.sql("orders", written)) > before + 400)
        outcome = self.outcome(process)
        self.assertEqual(process.returncode, 0, outcome)
        self.assertTrue(outcome["holds"])
        self.assertEqual((outcome["lost"], outcome["twice"], outcome["broken"], outcome["errors"]), (0, 0, {}, {}))
        self.assertGreaterEqual(outcome["reconnects"], 1)
        self.assertEqual(set(outcome["gap_milliseconds"]), {"test", "bills"})
        self.assertGreater(outcome["gap_milliseconds"]["bills"], 0)

    def test_what_is_wrong_is_told(self) -> None:
        self.seed_orders()
        process = self.start()
        self.wait_for(lambda: int(self.sql("orders", "select count(*) from ledger")) > 20)
        for statement in (
            "delete from ledger where (session, number) = (2, 1)",
            "insert into ledger (session, number) values (4, 1)",
            "insert into entry (account, amount) values (1, 1000000)",
            "delete from audit where entry = 1",
            "update stock.document set body = body || 'x' where id = 1",
            """insert into stock."Order Line" (id, "Price") values (10000000, 1)""",
        ):
            self.sql("orders", statement)
        outcome = self.outcome(process)
        self.assertEqual(process.returncode, 1)
        self.assertEqual((outcome["lost"], outcome["twice"]), (1, 1))
        self.assertEqual(
            outcome["broken"],
            {
                f"test: {what}": 1
                for what in (
                    "accounts whose balance is not what their entries say",
                    "entries that are not in the audit once",
                    "large values that are damaged",
                    "entries too many or too few",
                    "sequences that would give a value again",
                )
            },
        )
        self.assertFalse(outcome["holds"])

    def test_a_write_that_is_refused_is_told_by_its_sqlstate(self) -> None:
        self.seed_orders()
        process = self.start()
        self.sql("orders", "alter sequence ledger_id_seq restart")
        self.wait_for(lambda: int(self.sql("orders", "select last_value from ledger_id_seq")) > 3)
        outcome = self.outcome(process)
        self.assertGreater(outcome["errors"].get("23505", 0), 0, outcome)
        self.assertGreaterEqual(outcome["in_doubt"], outcome["errors"]["23505"])


class WholeWay(LoadTest):
    """The moves of the way by replication, by hand and in short, under the load: the cloud carries them."""

    DATABASES = ("test", "bills")

    def session(self, identifier: str, database: str) -> Callable[[str], str]:
        """Asks for one value at a time, in one session: while nobody else is let in, it is the only way."""
        endpoint = self.instance(identifier)["Endpoint"]
        place = f"host={endpoint['Address']} port={endpoint['Port']} user=master dbname={database} connect_timeout=5"
        process = subprocess.Popen(
            [PSQL, "-qAtX", place],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"PGPASSWORD": "seeded-password"},
        )
        self.addCleanup(process.wait)
        self.addCleanup(process.stdin.close)  # type: ignore[union-attr]

        def ask(statement: str) -> str:
            assert process.stdin and process.stdout
            process.stdin.write(f"{statement};\n\\echo end\n")
            process.stdin.flush()
            lines: list[str] = []
            while (line := process.stdout.readline()) not in ("end\n", ""):
                lines.append(line.strip())
            self.assertNotIn("ERROR", " ".join(lines), statement)
            return (lines or [""])[-1]

        return ask

    def test_an_application_is_moved_to_the_copy(self) -> None:
        self.seed_orders()
        endpoint = self.instance("orders")["Endpoint"]
        place = f"host={endpoint['Address']} port={endpoint['Port']}"
        load = self.start()

        tables = 'ledger, account, entry, audit, stock.document, stock."Order Line"'
        source = {database: self.session("orders", database) for database in self.DATABASES}
        for database, ask in source.items():
            ask(f"create publication moved for table {tables}")
            ask(f"select pg_create_logical_replication_slot('moved_{database}', 'pgoutput')")
        self.available_snapshot(source="orders")
        self.restored_like_orders()
        target = {database: self.session("target", database) for database in self.DATABASES}
        options = "copy_data = false, create_slot = false, disable_on_error = true"
        for database, ask in target.items():
            ask("create extension rds_tools")
            seed = ask("select rds_tools.logical_seed_lsn()")
            source[database](f"select pg_replication_slot_advance('moved_{database}', '{seed}')")
            ask(f"select pg_drop_replication_slot('moved_{database}')")
            connection = f"{place} user=master password=seeded-password dbname={database}"
            ask(
                f"create subscription moved connection '{connection}' publication moved "
                f"with ({options}, slot_name = 'moved_{database}')"
            )
        written = source["test"]("select pg_current_wal_flush_lsn()")
        self.wait_for(lambda: self.is_drained(source["test"], written))

        for database, ask in source.items():
            ask(f"alter database {database} connection limit 0")
        ends = "select count(pg_terminate_backend(pid, 5000)) from pg_stat_activity where usename = 'application'"
        self.wait_for(lambda: source["test"](ends) == "0")
        written = source["test"]("select pg_current_wal_flush_lsn()")
        self.wait_for(lambda: self.is_drained(source["test"], written))
        for database, ask in target.items():
            for statement in ("disable", "set (slot_name = none)"):
                ask(f"alter subscription moved {statement}")
            ask("drop subscription moved")
            for sequence in ("ledger_id_seq", "entry_id_seq", "audit_id_seq", 'stock."Order Line_id_seq"'):
                last = source[database](f"select last_value from {sequence}")
                ask(f"select setval('{sequence}', {last})")

        for old, new in (("orders", "orders-old"), ("target", "orders")):
            self.rds.modify_db_instance(DBInstanceIdentifier=old, NewDBInstanceIdentifier=new, ApplyImmediately=True)
            self.wait_for(functools.partial(self.is_found, new))
            self.instance_statuses(new, "rebooting")
            self.instance_statuses(new)
        self.assertEqual(self.instance("orders")["Endpoint"], endpoint)
        rows = int(self.sql("orders", "select count(*) from ledger"))
        self.wait_for(lambda: int(self.sql("orders", "select count(*) from ledger")) > rows + 50)
        told, _ = load.communicate(timeout=60)
        outcome = json.loads(told)
        self.assertTrue(outcome["holds"], outcome)
        self.assertEqual(outcome["errors"], {})

    def is_drained(self, ask: Callable[[str], str], written: str) -> bool:
        behind = "select count(*) from pg_replication_slots where slot_type = 'logical' and confirmed_flush_lsn < "
        return ask(f"{behind}'{written}'") == "0"


class Secrets(unittest.TestCase):
    """A function reads only what its role lets it read."""

    cloud: Cloud
    orders: str
    bills: str
    # A client as a function has it.
    step: Any

    @classmethod
    def setUpClass(cls) -> None:
        context = running_cloud(TIME_SCALE)
        cls.cloud = context.__enter__()
        cls.addClassCleanup(context.__exit__, None, None, None)
        owner = cls.client()
        made = (owner.create_secret(Name=name, SecretString=f"password of {name}") for name in ("orders", "bills"))
        cls.orders, cls.bills = (secret["ARN"] for secret in made)
        cls.step = cls.client(STEP)

    @classmethod
    def client(cls, app_id: str | None = None) -> Any:
        configuration = Config(user_agent_appid=app_id, retries={"total_max_attempts": 1})
        return cls.cloud.session().client("secretsmanager", endpoint_url=cls.cloud.endpoint, config=configuration)

    def give(self, *statements: Fields) -> None:
        roles = {STEP: {"principal": PRINCIPAL, "policies": [{"Statement": list(statements)}]}}
        request = urllib.request.Request(
            f"{self.cloud.services_endpoint}/local/roles", json.dumps(roles).encode(), method="PUT"
        )
        urllib.request.urlopen(request).close()

    def denied(self, secret: str) -> str:
        with self.assertRaises(ClientError) as caught:
            self.step.get_secret_value(SecretId=secret)
        error = caught.exception.response["Error"]
        self.assertEqual(error["Code"], "AccessDeniedException")
        return str(error["Message"])

    def test_the_role_says_which_secret_a_function_reads(self) -> None:
        self.give(allow("secretsmanager:GetSecretValue", self.orders))
        for name in ("orders", self.orders):
            self.assertEqual(self.step.get_secret_value(SecretId=name)["SecretString"], "password of orders")
        for name in ("bills", self.bills):
            self.assertIn(
                f"{PRINCIPAL} is not authorized to perform: secretsmanager:GetSecretValue on resource: {self.bills} ",
                self.denied(name),
            )
        self.assertEqual(self.client().get_secret_value(SecretId="bills")["SecretString"], "password of bills")

    def test_another_action_does_not_read_and_what_is_not_there_is_denied_too(self) -> None:
        self.give(allow("secretsmanager:DescribeSecret"))
        self.assertEqual(self.step.describe_secret(SecretId="orders")["Name"], "orders")
        self.denied("orders")
        self.assertIn(":secret:absent ", self.denied("absent"))
        self.give(allow("secretsmanager:GetSecretValue"))
        with self.assertRaises(self.step.exceptions.ResourceNotFoundException):
            self.step.get_secret_value(SecretId="absent")

    def test_a_condition_on_the_secrets_tags_counts(self) -> None:
        self.client().create_secret(Name="tagged", SecretString="s", Tags=[{"Key": "for", "Value": "rds-encrypt"}])
        condition = {"StringEquals": {"aws:ResourceTag/for": "rds-encrypt"}}
        self.give(allow("secretsmanager:GetSecretValue", "*", condition))
        self.step.get_secret_value(SecretId="tagged")
        self.denied("orders")

    def test_a_secret_with_a_customer_key_asks_for_the_key(self) -> None:
        key = "arn:aws:kms:us-east-1:123456789012:key/of-a-customer"
        self.client().create_secret(Name="locked", SecretString="s", KmsKeyId=key)
        self.give(allow("secretsmanager:GetSecretValue"))
        self.assertEqual(self.denied("locked"), "Access to KMS is not allowed")
        self.give(allow("secretsmanager:GetSecretValue"), allow("kms:Decrypt", key))
        self.step.get_secret_value(SecretId="locked")

    def test_a_password_that_rds_manages_is_in_its_secret(self) -> None:
        rds = self.cloud.session().client("rds", endpoint_url=self.cloud.services_endpoint)
        rds.create_db_instance(
            DBInstanceIdentifier="managed",
            Engine="postgres",
            DBInstanceClass="db.t3.micro",
            AllocatedStorage=20,
            MasterUsername="boss",
            ManageMasterUserPassword=True,
        )
        rds.get_waiter("db_instance_available").wait(DBInstanceIdentifier="managed", WaiterConfig={"Delay": 1})
        instance = rds.describe_db_instances(DBInstanceIdentifier="managed")["DBInstances"][0]
        secret, at = instance["MasterUserSecret"], instance["Endpoint"]
        self.give(allow("secretsmanager:GetSecretValue", f"{secret['SecretArn']}*"))
        kept = json.loads(self.step.get_secret_value(SecretId=secret["SecretArn"])["SecretString"])
        done = subprocess.run(
            [PSQL, "-h", at["Address"], "-p", str(at["Port"]), "-U", kept["username"], "-Atc", "select 1", "postgres"],
            capture_output=True,
            text=True,
            env=os.environ | {"PGPASSWORD": kept["password"]},
        )
        self.assertEqual((kept["username"], done.stdout), ("boss", "1\n"), done.stderr)


if __name__ == "__main__":
    unittest.main()
