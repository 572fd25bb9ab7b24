"""What load.py writes where the server is MariaDB: the same transactions, in what is awkward there.

A schema is a database: beside `test` there is `stock_test`, and a transaction writes into both. Rows go by a cascade,
which is not in the binary log; a table has no primary key, and each of its rows a double; a key is of letters whose
case matters and of bytes that end in zeros; a sequence is asked by a trigger; an index is on a virtual column.

To make a trigger, the master user needs log_bin_trust_function_creators = 1 in the parameter group: nobody
is SUPER on RDS.
"""

from __future__ import annotations

import random

from ledger import Ledger

ACCOUNTS = 3_000
DOCUMENTS = 200
SHELVES = 300
LARGE_VALUE = "repeat(md5({0}), 400)"  # 12,800 characters
SLOW_EVERY, SLOW_SECONDS = 50, 0.4
# Two shelves differ in a letter's case, and the last character has four bytes.
PLACE = "concat(if({0} % 2, 'Shelf ', 'shelf '), {0} DIV 2, _utf8mb4 x'F09F93A6')"
# One byte to sixteen, and then zeros.
CODE = "unhex(rpad(left(md5({0}), 2 + {0} % 16 * 2), 32, '0'))"
# Of the accounts that do not stay: beyond those that do, and each the matter of one session.
PASSING = "{session} * 1000000 + {number}"

# A table that is joined without an index is read once a row: hence those that nothing else needs.
# The first database is perhaps of the server's own character set.
SCHEMA = f"""
ALTER DATABASE `{{0}}` CHARACTER SET utf8mb4;
CREATE TABLE ledger (
    id bigint AUTO_INCREMENT PRIMARY KEY,
    session int NOT NULL,
    number int NOT NULL) ENGINE InnoDB;
CREATE TABLE account (
    id int PRIMARY KEY,
    balance bigint NOT NULL DEFAULT 0,
    changed timestamp(6) NOT NULL DEFAULT current_timestamp(6) ON UPDATE current_timestamp(6)) ENGINE InnoDB;
CREATE TABLE noted (
    account int NOT NULL,
    what varchar(40) NOT NULL,
    FOREIGN KEY (account) REFERENCES account (id) ON DELETE CASCADE) ENGINE InnoDB;
CREATE TABLE entry (
    id bigint AUTO_INCREMENT PRIMARY KEY,
    account int NOT NULL,
    amount int NOT NULL,
    doubled int GENERATED ALWAYS AS (amount * 2) STORED,
    FOREIGN KEY (account) REFERENCES account (id) ON DELETE CASCADE) ENGINE InnoDB;
CREATE SEQUENCE audit_number ENGINE InnoDB;
CREATE TABLE audit (
    id bigint PRIMARY KEY,
    entry bigint NOT NULL,
    written timestamp(6) NOT NULL DEFAULT current_timestamp(6),
    KEY (entry)) ENGINE InnoDB;
CREATE TRIGGER audit_entry AFTER INSERT ON entry FOR EACH ROW
    INSERT INTO audit (id, entry) VALUES (nextval(audit_number), NEW.id);
CREATE TABLE shelf (
    place varchar(40) COLLATE utf8mb4_bin NOT NULL,
    code binary(16) NOT NULL,
    visits bigint NOT NULL DEFAULT 0,
    digest char(32) NOT NULL,
    PRIMARY KEY (place, code)) ENGINE InnoDB;
CREATE DATABASE `stock_{{0}}` CHARACTER SET utf8mb4;
CREATE TABLE `stock_{{0}}`.document (
    id int PRIMARY KEY,
    version int NOT NULL DEFAULT 0,
    body longtext NOT NULL,
    digest char(32) NOT NULL) ENGINE InnoDB;
CREATE TABLE `stock_{{0}}`.`Order Line` (
    id bigint AUTO_INCREMENT PRIMARY KEY,
    `Price` decimal(20, 9) NOT NULL,
    properties json,
    writer int AS (json_value(properties, '$.by')) VIRTUAL,
    KEY (writer)) ENGINE InnoDB;
INSERT INTO account (id) SELECT seq FROM seq_1_to_{ACCOUNTS};
INSERT INTO shelf (place, code, digest)
    SELECT place, code, md5(concat(place, code))
    FROM (SELECT {PLACE.format("seq")} AS place, {CODE.format("seq")} AS code FROM seq_1_to_{SHELVES}) AS new;
INSERT INTO `stock_{{0}}`.document
    SELECT seq, 0, {LARGE_VALUE.format("seq")}, md5({LARGE_VALUE.format("seq")}) FROM seq_1_to_{DOCUMENTS};
INSERT INTO entry (account, amount) SELECT id, 0 FROM account;
INSERT INTO `stock_{{0}}`.`Order Line` (`Price`, properties) SELECT id / 3.0, json_object('id', id) FROM account;
"""

GIVES_AGAIN = """
    SELECT count(*) FROM information_schema.tables
    WHERE (table_schema, table_name) = ({0}, '{1}') AND auto_increment <= (SELECT max(id) FROM {2})"""
# What each transaction keeps true: how much of it is broken.
# What a sequence would give is known once it has given it: its table is ahead of that.
INVARIANTS = {
    "accounts whose balance is not what their entries say": """
        SELECT count(*) FROM account
        LEFT JOIN (SELECT account, sum(amount) AS total FROM entry GROUP BY 1) AS written ON account = account.id
        WHERE balance <> coalesce(total, 0)""",
    "entries that are not in the audit once": """
        SELECT count(*) FROM (SELECT entry.id FROM entry LEFT JOIN audit ON audit.entry = entry.id
        GROUP BY 1 HAVING count(audit.id) <> 1) AS one""",
    "audits of no entry": "SELECT count(*) FROM audit WHERE NOT EXISTS (SELECT 1 FROM entry WHERE id = audit.entry)",
    "entries of no account": """
        SELECT count(*) FROM entry WHERE NOT EXISTS (SELECT 1 FROM account WHERE id = entry.account)""",
    "notes of no account": """
        SELECT count(*) FROM noted WHERE NOT EXISTS (SELECT 1 FROM account WHERE id = noted.account)""",
    "passing accounts without two notes": f"""
        SELECT count(*) FROM (SELECT id FROM account LEFT JOIN noted ON account = id WHERE id > {ACCOUNTS}
        GROUP BY 1 HAVING count(what) <> 2) AS one""",
    "generated columns that are wrong": """
        SELECT (SELECT count(*) FROM entry WHERE doubled <> amount * 2)
        + (SELECT count(*) FROM `stock_{0}`.`Order Line` WHERE NOT writer <=> json_value(properties, '$.by'))""",
    "large values that are damaged": "SELECT count(*) FROM `stock_{0}`.document WHERE md5(body) <> digest",
    "keys that are damaged": "SELECT count(*) FROM shelf WHERE md5(concat(place, code)) <> digest",
    # A row for each write and its entry, beside those that were there from the start.
    "entries too many or too few": f"""
        SELECT abs((SELECT count(*) FROM entry) - {ACCOUNTS} - (SELECT count(*) FROM ledger))""",
    "visits too many or too few": """
        SELECT abs((SELECT coalesce(sum(visits), 0) FROM shelf) - (SELECT count(*) FROM ledger))""",
    "sequences that would give a value again": f"""
        SELECT (nextval(audit_number) <= (SELECT max(id) FROM audit))
        + ({GIVES_AGAIN.format("database()", "ledger", "ledger")})
        + ({GIVES_AGAIN.format("database()", "entry", "entry")})
        + ({GIVES_AGAIN.format("'stock_{0}'", "Order Line", "`stock_{0}`.`Order Line`")})""",
}


class Mariadb:
    """An application's schema and its transactions."""

    def prepare(self, master: Ledger, application: str, password: str) -> None:
        """As the master user; nothing of it is there, but perhaps the first database."""
        somewhere = "information_schema"
        quoted = password.replace("\\", "\\\\").replace("'", "''")
        master.sql(somewhere, f"CREATE USER {application}@'%' IDENTIFIED BY '{quoted}'")
        for database in master.databases:
            master.sql(somewhere, f"CREATE DATABASE IF NOT EXISTS `{database}`")
            master.sql(database, SCHEMA.format(database))
            for name in (database, f"stock_{database}"):
                # Otherwise it stands for any character, and the right is one on other databases, too.
                pattern = name.replace("_", "\\_")
                master.sql(somewhere, f"GRANT SELECT, INSERT, UPDATE, DELETE ON `{pattern}`.* TO {application}@'%'")

    def invariants(self, database: str) -> dict[str, str]:
        return {what: query.format(database) for what, query in INVARIANTS.items()}

    def statement(self, database: str, session: int, number: int) -> str:
        """One transaction: locks are taken in the order of the tables, so that none waits for ever.

        Its statements go one by one, as the client takes them from the line.
        """
        chance = random.Random(f"{session} {number}")
        account, amount = chance.randint(1, ACCOUNTS), chance.randint(-500, 500)
        shelf, document = chance.randint(1, SHELVES), chance.randint(1, DOCUMENTS)
        parts = ["BEGIN", f"UPDATE account SET balance = balance + {amount} WHERE id = {account}"]
        if number % 11 == 0:
            passing = PASSING.format(session=session, number=number)
            parts += [
                f"INSERT INTO account (id) VALUES ({passing})",
                f"INSERT INTO noted VALUES ({passing}, 'twice'), ({passing}, 'twice')",
            ]
        if number % 22 == 16:
            # With its notes. One in two stays.
            parts.append(f"DELETE FROM account WHERE id = {PASSING.format(session=session, number=number - 5)}")
        parts += [
            f"INSERT INTO entry (account, amount) VALUES ({account}, {amount})",
            f"INSERT INTO ledger (session, number) VALUES ({session}, {number})",
            f"UPDATE shelf SET visits = visits + 1 WHERE place = {PLACE.format(shelf)} AND code = {CODE.format(shelf)}",
        ]
        if number % 5 == 0:
            parts.append(f"UPDATE `stock_{database}`.document SET version = version + 1 WHERE id = {document}")
        if number % 12 == 0:
            body = LARGE_VALUE.format(f"'{session} {number}'")
            change = f"version = version + 1, body = {body}, digest = md5({body})"
            parts.append(f"UPDATE `stock_{database}`.document SET {change} WHERE id = {document}")
        lines = f"`stock_{database}`.`Order Line`"
        if number % 7 == 0:
            # In two statements: a subquery would lock what it reads.
            parts += [
                f"SELECT max(id) INTO @last FROM {lines} WHERE writer = {session}",
                f"DELETE FROM {lines} WHERE id = @last",
            ]
        line = f"""INSERT INTO {lines} (`Price`, properties) VALUES ({amount}.5, '{{"by": {session}}}')"""
        parts.append(line)
        if number % 13 == 0:
            parts += ["SAVEPOINT attempt", line, "ROLLBACK TO attempt"]
        if (number + 6 * session) % SLOW_EVERY == 0:
            # Not all sessions at once, which the ledger would take for a gap.
            parts.append(f"DO sleep({SLOW_SECONDS})")
        return "; ".join([*parts, "COMMIT", f"SELECT {number}"])
