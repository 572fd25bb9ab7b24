"""Tests of the ledger of writes: what it does not find out, no end-to-end test would."""

from __future__ import annotations

import unittest

from ledger import Ledger
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


if __name__ == "__main__":
    unittest.main()
