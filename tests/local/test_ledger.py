"""Tests of the ledger of writes: what it does not find out, no end-to-end test would."""

from __future__ import annotations

import functools
import threading
import unittest

from ledger import CLIENTS, Ledger, Outcome
from test_services import PostgresTest, tearDownModule  # noqa: F401 (unittest calls it)


class LedgerTest(PostgresTest):
    def test_what_is_lost_twice_or_foreign_is_told(self) -> None:
        self.seed("orders", DBName="test")
        endpoint = self.instance("orders")["Endpoint"]
        with Ledger(endpoint["Address"], endpoint["Port"], "master", "test", "seeded-password", sessions=2) as ledger:
            self.wait_for(lambda: ledger.acknowledged > 20)
        self.assertTrue(ledger.compare().holds)
        for statement, counts in (
            ("delete from ledger where session = 1 and number = 1", (1, 0, 0)),
            ("insert into ledger (session, number) values (2, 1)", (1, 1, 0)),
            ("insert into ledger (session, number) values (9, 9)", (1, 1, 1)),
        ):
            self.psql("orders", statement, password="seeded-password")
            outcome = ledger.compare()
            self.assertEqual((outcome.lost, outcome.twice, outcome.foreign), counts)
            self.assertFalse(outcome.holds)

    def test_who_was_cut_at_the_end_writes_once_more_or_is_shut_out(self) -> None:
        self.seed("orders", DBName="test")
        endpoint = self.instance("orders")["Endpoint"]
        place = (endpoint["Address"], endpoint["Port"], "clerk", "test", "seeded-password")
        for statement in (
            "create role clerk login password 'seeded-password'",
            "grant create on schema public to clerk",
        ):
            self.psql("orders", statement, password="seeded-password")
        for shut_out, opened_after_seconds in ((0, 0.5), (2, 10)):
            with self.subTest(shut_out=shut_out):
                outcome = self.outcome_of_a_cut(Ledger(*place, sessions=2), opened_after_seconds)
                self.assertEqual((outcome.shut_out, outcome.reconnects), (shut_out, 2 - shut_out))
                self.assertEqual(outcome.holds, not shut_out)

    def outcome_of_a_cut(self, ledger: Ledger, opened_after_seconds: float) -> Outcome:
        sql = functools.partial(self.psql, "orders", password="seeded-password")
        sql("drop table if exists ledger")
        opened = threading.Timer(opened_after_seconds, sql, ["alter role clerk login"])
        ledger.grace_seconds = 5
        with ledger:
            self.wait_for(lambda: ledger.acknowledged > 20)
            cut = "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'clerk'"
            sql(f"alter role clerk nologin; {cut}")
            self.wait_for(lambda: all(session.in_doubt for session in ledger.sessions))
            opened.start()
        opened.cancel()
        sql("alter role clerk login")
        return ledger.compare()


class ClientTest(unittest.TestCase):
    """What the clients are told, and how they tell of a refusal."""

    def test_a_refusal_is_told_by_its_sqlstate_and_a_cut_is_none(self) -> None:
        for engine, answer, refused in (
            ("postgres", "ERROR:  25006", "25006"),
            ("postgres", "FATAL:  57P01", None),
            ("postgres", "17", None),
            ("mariadb", "ERROR 1213 (40001) at line 3: Deadlock found when trying to get lock", "40001"),
            ("mariadb", "ERROR 1290 (HY000) at line 2: The server is running with --read-only", "HY000"),
            ("mariadb", "ERROR 1045 (28000): Access denied for user 'application'@'localhost'", "28000"),
            ("mariadb", "ERROR 2013 (HY000) at line 4: Lost connection to server during query", None),
            ("mariadb", "ERROR 1053 (08S01) at line 4: Server shutdown in progress", None),
            ("mariadb", "ERROR 1927 (70100) at line 4: Connection was killed", None),
            ("mariadb", "17", None),
        ):
            with self.subTest(answer):
                self.assertEqual(CLIENTS[engine].refused(answer), refused)

    def test_a_client_has_the_place_on_its_command_line_and_the_password_beside_it(self) -> None:
        for engine, variable, words in (
            ("postgres", "PGPASSWORD", ["host=127.0.0.2 port=5 user=u dbname=d connect_timeout=2", "ON_ERROR_STOP=1"]),
            (
                "mariadb",
                "MYSQL_PWD",
                ["--host=127.0.0.2", "--port=5", "--user=u", "--database=d", "--batch", "--skip-reconnect"],
            ),
        ):
            with self.subTest(engine):
                client = CLIENTS[engine]
                command = client.command("127.0.0.2", 5, "u", "d")
                self.assertLessEqual(set(words), set(command))
                self.assertNotIn("kept", " ".join(map(str, command)))
                self.assertEqual(client.environment("kept")[variable], "kept")


if __name__ == "__main__":
    unittest.main()
