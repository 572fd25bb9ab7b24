#!/usr/bin/env python3
"""Measures what each function costs to start and to answer, against a TLS endpoint on this machine.

    .local/cloud/bin/python scripts/bench.py [--runs N] [FOLDER]

FOLDER holds one folder with a `bootstrap` for each function: .aws-sam/build, or target/lambda.

This plays both sides of a function: the Runtime API that hands out the invocations, and AWS, which
answers with HTTPS under a certificate authority made for this run. The invocations are those of the
state machines, with the state that the plan's own reply began. Every process is new, and the
functions take turns, so that what else the machine does falls on all of them alike.
"""

import argparse
import contextlib
import ctypes
import datetime
import http.server
import io
import ipaddress
import json
import os
import pathlib
import queue
import re
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import zipfile
from collections.abc import Iterator
from typing import IO, Any, NamedTuple, TypeVar

import certifi
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

Event = TypeVar("Event")

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
WARM_CALLS = 20
TIMEOUT_SECONDS = 30

# The state that each function is measured in: its usual one, where it has several.
ENCRYPT, UNDO = "encrypt-instance", "undo-instance"
STATES = {
    "plan": (ENCRYPT, "Plan"),
    "create-snapshot": (ENCRYPT, "CreateSnapshot"),
    "describe-status": (ENCRYPT, "DescribeInstance"),
    "copy-encrypted": (ENCRYPT, "CopyEncrypted"),
    "restore": (ENCRYPT, "RestoreInstance"),
    "apply-settings": (ENCRYPT, "ApplySettings"),
    "verify": (ENCRYPT, "Verify"),
    "check-writes": (ENCRYPT, "CheckWrites"),
    "fence-source": (ENCRYPT, "FenceSource"),
    "rename-instance": (ENCRYPT, "RenameSource"),
    "clean-up": (ENCRYPT, "CleanUp"),
    "read-execution": (UNDO, "ReadExecution"),
}

# Megabytes are millions of bytes.
COLUMNS = {
    "size": "MB",
    "zipped": "MB",
    "init": "ms",
    "first": "ms",
    "CPU": "ms",
    "warm": "ms",
    "warm CPU": "ms",
    "memory": "MB",
}
AIMS = {"zipped": 2.5, "init": 10, "CPU": 45, "memory": 12}
LEGEND = """\
zipped    as `sam deploy` uploads it
init      from the start of the process to its first request for work; loads the root certificates
first     from the first invocation to its reply, with the TLS handshake and the calls to AWS
CPU       processor time of the whole process from its start to that reply
warm      an invocation after that; this program's own part of it is in the time, not in its CPU
memory    peak of the resident memory
"""


# What AWS holds: an instance, its encrypted twin, and the two snapshots.

ACCOUNT, REGION = "123456789012", "us-east-1"
SOURCE, TARGET = "orders", "orders-encrypted"
KEY_ARN = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
EXECUTION = f"arn:aws:states:{REGION}:{ACCOUNT}:execution:EncryptInstance:bench"
UNDO_MACHINE = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:UndoInstance"
INPUT = {"instance_id": SOURCE}
CONTEXT = {
    "Execution": {"Id": EXECUTION, "Input": INPUT, "StartTime": "2026-01-05T10:00:00Z"},
    "State": {"RetryCount": 0},
}
TAGS = [{"Tag": {"Key": "team", "Value": "sales"}}]
OWNED_TAGS = [
    *TAGS,
    {"Tag": {"Key": "rds-encrypt:execution", "Value": EXECUTION}},
    {"Tag": {"Key": "rds-encrypt:source", "Value": f"db-{SOURCE}"}},
]

# A document as AWS and the state machines write it: names, lists and plain values, nested.
Document = dict[str, Any]


def arn(kind: str, identifier: str) -> str:
    return f"arn:aws:rds:{REGION}:{ACCOUNT}:{kind}:{identifier}"


def instance(identifier: str) -> Document:
    encrypted = identifier == TARGET
    key = {"KmsKeyId": KEY_ARN} if encrypted else {}
    return {"DBInstance": {
        "DBInstanceIdentifier": identifier, "DbiResourceId": f"db-{identifier}", "DBInstanceArn": arn("db", identifier),
        "DBInstanceClass": "db.t3.medium", "DBInstanceStatus": "available", "Engine": "postgres",
        "EngineVersion": "16.4", "LicenseModel": "postgresql-license", "MasterUsername": "postgres", "DBName": "test",
        "InstanceCreateTime": "2024-05-04T10:11:12.123Z", "AllocatedStorage": 100, "StorageType": "gp3", "Iops": 3000,
        "StorageThroughput": 125, "MultiAZ": False, "AvailabilityZone": f"{REGION}a",
        "Endpoint": {
            "Address": f"{identifier}.c1.{REGION}.rds.amazonaws.com", "Port": 5432, "HostedZoneId": "Z2R2ITUGPM61AM",
        },
        "DBSubnetGroup": {
            "DBSubnetGroupName": "private", "DBSubnetGroupDescription": "private", "VpcId": "vpc-1",
            "SubnetGroupStatus": "Complete",
            "Subnets": [
                {"Subnet": {"SubnetIdentifier": f"subnet-{zone}", "SubnetAvailabilityZone": {"Name": REGION + zone}}}
                for zone in "abc"
            ],
        },
        "VpcSecurityGroups": [
            {"VpcSecurityGroupMembership": {"VpcSecurityGroupId": group, "Status": "active"}}
            for group in ("sg-1", "sg-2")
        ],
        "DBParameterGroups": [
            {"DBParameterGroup": {"DBParameterGroupName": "orders-16", "ParameterApplyStatus": "in-sync"}},
        ],
        "OptionGroupMemberships": [
            {"OptionGroupMembership": {"OptionGroupName": "default:postgres-16", "Status": "in-sync"}},
        ],
        "PendingModifiedValues": {}, "ReadReplicaDBInstanceIdentifiers": [], "AssociatedRoles": [],
        "DomainMemberships": [], "BackupRetentionPeriod": 7, "PreferredBackupWindow": "03:00-03:30",
        "PreferredMaintenanceWindow": "sun:04:00-sun:04:30", "LatestRestorableTime": "2026-01-05T09:58:00Z",
        "AutoMinorVersionUpgrade": True, "PubliclyAccessible": False, "CopyTagsToSnapshot": True,
        "DeletionProtection": False, "IAMDatabaseAuthenticationEnabled": False, "PerformanceInsightsEnabled": False,
        "MonitoringInterval": 0, "NetworkType": "IPV4", "BackupTarget": "region",
        "CACertificateIdentifier": "rds-ca-rsa2048-g1", "EngineLifecycleSupport": "open-source-rds-extended-support",
        "StorageEncrypted": encrypted, "StorageEncryptionType": "sse-kms" if encrypted else "none", **key,
        "TagList": OWNED_TAGS if encrypted else TAGS,
    }}  # fmt: skip


def snapshot(identifier: str) -> Document:
    return {"DBSnapshot": {
        "DBSnapshotIdentifier": identifier, "DBSnapshotArn": arn("snapshot", identifier),
        "DBInstanceIdentifier": SOURCE, "Status": "available", "PercentProgress": 100, "Engine": "postgres",
        "EngineVersion": "16.4", "SnapshotType": "manual", "SnapshotCreateTime": "2026-01-05T10:01:00Z",
        "SnapshotDatabaseTime": "2026-01-05T10:01:00Z", "AllocatedStorage": 100, "DbiResourceId": f"db-{SOURCE}",
        "Encrypted": False, "TagList": OWNED_TAGS,
    }}  # fmt: skip


def answer_rds(action: str, parameters: dict[str, str]) -> Document | None:
    """The result of an action of RDS's query protocol; None if nothing is known of it."""
    filtered = parameters.get("Filters.Filter.1.Values.Value.1", "").removeprefix("db-")
    named = parameters.get("DBInstanceIdentifier", filtered)
    snapshot_named = parameters.get("TargetDBSnapshotIdentifier") or parameters.get("DBSnapshotIdentifier", "")
    match action:
        case "DescribeDBInstances":
            return {"DBInstances": [instance(named)]}
        case "ModifyDBInstance" | "RestoreDBInstanceFromDBSnapshot":
            return instance(named)
        case "DescribeDBSnapshots":
            return {"DBSnapshots": [snapshot(snapshot_named)]}
        case "CreateDBSnapshot" | "CopyDBSnapshot" | "DeleteDBSnapshot":
            return snapshot(snapshot_named)
        case "DescribeAccountAttributes":
            quotas = ("DBInstances", "ManualSnapshots", "AllocatedStorage")
            quota = {"Used": 1, "Max": 1000}
            return {"AccountQuotas": [{"AccountQuota": {"AccountQuotaName": name, **quota}} for name in quotas]}
        case "DescribeOrderableDBInstanceOptions":
            options = [{"OrderableDBInstanceOption": {"StorageType": "gp3", "SupportsStorageEncryption": True}}]
            return {"OrderableDBInstanceOptions": options}
        case "DescribeBlueGreenDeployments" | "DescribePendingMaintenanceActions":
            return {}
        case _:
            return None


ANSWERS_IN_JSON = {
    "DescribeKey": {"KeyMetadata": {
        "KeyId": KEY_ARN.split("/")[1], "Arn": KEY_ARN, "KeyState": "Enabled", "KeyUsage": "ENCRYPT_DECRYPT",
        "KeySpec": "SYMMETRIC_DEFAULT", "KeyManager": "AWS", "Enabled": True, "CreationDate": 1.7e9,
    }},
    "DescribeExecution": {
        "executionArn": EXECUTION, "stateMachineArn": EXECUTION, "name": "bench", "status": "RUNNING",
        "startDate": 1.7e9,
    },
}  # fmt: skip

# {"Datapoints": []}. CBOR is the only protocol that the SDK speaks with CloudWatch.
ANSWERS_IN_CBOR = {"GetMetricStatistics": b"\xa1\x6aDatapoints\x80"}


def xml(value: object) -> str:
    """Names and values as elements; an item of a list brings its own name."""
    match value:
        case dict():
            return "".join(f"<{name}>{xml(inner)}</{name}>" for name, inner in value.items())
        case list():
            return "".join(map(xml, value))
        case bool():
            return str(value).lower()
        case _:
            return str(value)


def answer(path: str, target: str | None, body: str) -> tuple[str, str, bytes | None]:
    """The operation that is called in one of AWS's three protocols, and the reply if there is one."""
    if target:
        operation = target.split(".")[-1]
        known = ANSWERS_IN_JSON.get(operation)
        return operation, "application/x-amz-json-1.1", json.dumps(known).encode() if known else None
    if path.startswith("/service/"):
        operation = path.split("/")[-1]
        return operation, "application/cbor", ANSWERS_IN_CBOR.get(operation)
    parameters = dict(urllib.parse.parse_qsl(body))
    operation = parameters["Action"]
    result = answer_rds(operation, parameters)
    reply = None if result is None else xml({f"{operation}Response": {f"{operation}Result": result}}).encode()
    return operation, "text/xml", reply


# The two servers.


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Headers and body are two writes: Nagle's algorithm would hold the second back for 40 ms.
    disable_nagle_algorithm = True

    def reply(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response_only(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"] or 0))

    def log_message(self, *_: object) -> None:
        pass


class Aws(Handler):
    server: "AwsServer"

    def do_POST(self) -> None:
        operation, kind, body = answer(self.path, self.headers["X-Amz-Target"], self.body().decode(errors="replace"))
        if body is None:
            self.server.unanswered.add(operation)
            self.reply(400)
        else:
            self.reply(200, body, {"Content-Type": kind, "smithy-protocol": "rpc-v2-cbor"})


class RuntimeApi(Handler):
    """https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html"""

    server: "RuntimeServer"

    def do_GET(self) -> None:
        self.server.function.asks.put(time.perf_counter())
        invocation = self.server.function.invocations.get()
        if invocation is None:  # The run is over, and the process is gone.
            self.close_connection = True
            return
        headers = {
            "Content-Type": "application/json",
            "Lambda-Runtime-Aws-Request-Id": "bench",
            "Lambda-Runtime-Deadline-Ms": str(int(time.time() + TIMEOUT_SECONDS) * 1000),
            "Lambda-Runtime-Invoked-Function-Arn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:bench",
        }
        self.server.function.handed_out_at = time.perf_counter()
        self.reply(200, invocation, headers)

    def do_POST(self) -> None:
        function, at = self.server.function, time.perf_counter()
        cpu_seconds = function.cpu_seconds()
        failed = self.path.endswith("/error")
        function.replies.put(Reply(self.body(), failed, at - function.handed_out_at, cpu_seconds))
        self.reply(202)


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        # A process that is ended cuts its connections.
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class AwsServer(Server):
    def __init__(self, tls: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), Aws)
        self.socket = tls.wrap_socket(self.socket, server_side=True)
        self.unanswered: set[str] = set()


class RuntimeServer(Server):
    # Set before a process of it is started.
    function: "Function"

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), RuntimeApi)


@contextlib.contextmanager
def serving(server: Server) -> Iterator[None]:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


def private_authority(folder: pathlib.Path) -> tuple[ssl.SSLContext, pathlib.Path]:
    """A TLS context for this machine, and the file of root certificates to trust it by.

    The file holds the public authorities, too, since a function loads all of them. RSA with 2048
    bits is what the endpoints of AWS show.
    """
    now = datetime.datetime.now(datetime.timezone.utc)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]

    def certificate(
        subject: str,
        key: rsa.RSAPrivateKey,
        issuer: str,
        issuer_key: rsa.RSAPrivateKey,
        extension: x509.ExtensionType,
    ) -> x509.Certificate:
        builder = x509.CertificateBuilder(
            x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer)]),
            x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)]),
            key.public_key(),
            x509.random_serial_number(),
            now - datetime.timedelta(hours=1),
            now + datetime.timedelta(days=1),
        )
        return builder.add_extension(extension, critical=True).sign(issuer_key, hashes.SHA256())

    authority_key, server_key = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
    constraints = x509.BasicConstraints(ca=True, path_length=0)
    authority = certificate("bench", authority_key, "bench", authority_key, constraints)
    server = certificate("localhost", server_key, "bench", authority_key, x509.SubjectAlternativeName(names))
    pem = serialization.Encoding.PEM
    roots, chain = folder / "roots.pem", folder / "server.pem"
    roots.write_bytes(pathlib.Path(certifi.where()).read_bytes() + authority.public_bytes(pem))
    private = server_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    chain.write_bytes(private + server.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    return context, roots


# The functions.


class Failed(Exception):
    """A function did not answer as it should: the message says which and how."""


class Reply(NamedTuple):
    """What a function answered, after how long, and its process's processor time until then."""

    body: bytes
    failed: bool
    seconds: float
    cpu_seconds: float


class Function:
    """One process of a function, from its start to its end."""

    process: subprocess.Popen[bytes]
    handed_out_at: float

    def __init__(self, step: str, bootstrap: pathlib.Path, environment: dict[str, str], log: IO[str]) -> None:
        self.step = step
        self.log = log
        # The moments at which it asked for work; what it is handed, None at the end; what it answered.
        self.asks: queue.SimpleQueue[float] = queue.SimpleQueue()
        self.invocations: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.replies: queue.SimpleQueue[Reply] = queue.SimpleQueue()
        self.bootstrap = bootstrap
        self.environment = environment | {"AWS_SDK_UA_APP_ID": f"rds-encrypt.{step}", "AWS_LAMBDA_FUNCTION_NAME": step}

    def start(self) -> float:
        """Starts the process, and returns when that was."""
        started_at = time.perf_counter()
        try:
            self.process = subprocess.Popen(
                [self.bootstrap], env=self.environment, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log
            )
        except OSError as problem:
            raise Failed(f"{self.bootstrap} does not start here ({problem}): build it for this processor") from None
        return started_at

    def invoke(self, payload: Document) -> Reply:
        self.invocations.put(json.dumps(payload).encode())
        reply = self.wait_for(self.replies)
        if reply.failed:
            raise Failed(f"{self.step} failed: {reply.body.decode()}")
        self.wait_for(self.asks)
        return reply

    def wait_for(self, events: "queue.SimpleQueue[Event]") -> Event:
        try:
            return events.get(timeout=TIMEOUT_SECONDS)
        except queue.Empty:
            self.log.seek(0)
            logged = self.log.read()[-3000:]
            raise Failed(f"{self.step} was silent for {TIMEOUT_SECONDS} s. It logged:\n{logged}") from None

    def cpu_seconds(self) -> float:
        """In nanosecond steps, other than /proc/PID/stat, and with the threads that have ended."""
        clock = ctypes.c_int()
        ctypes.CDLL(None).clock_getcpuclockid(self.process.pid, ctypes.byref(clock))
        return time.clock_gettime(clock.value)

    def peak_memory_bytes(self) -> int:
        """Of this program alone; ru_maxrss would begin with that of the Python that started it."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        (kilobytes,) = re.findall(r"VmHWM:\s+(\d+) kB", status)
        return int(kilobytes) * 1024

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self.invocations.put(None)


def request_of(step: str, state: Document) -> Document:
    """What the state machine hands to the step: its Parameters, with the paths followed."""
    if step not in STATES:
        raise Failed(f"{step} is new: say in STATES ({__file__}) in which state it is to be measured")
    machine, name = STATES[step]
    states = json.loads((REPOSITORY / "statemachine" / f"{machine}.asl.json").read_text())["States"]
    if name not in states:
        raise Failed(f"statemachine/{machine}.asl.json has no state {name} any more: change STATES in {__file__}")

    def follow(path: str) -> Any:
        start, keys = (CONTEXT, path[3:]) if path.startswith("$$.") else (state, path[2:])
        value: Any = start
        for key in filter(None, keys.split(".")):
            value = (value or {}).get(key)
        return value

    def filled(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        is_path = {key: key.endswith(".$") for key in value}
        return {
            key.removesuffix(".$"): follow(inner) if is_path[key] else filled(inner) for key, inner in value.items()
        }

    request: Document = filled(states[name]["Parameters"])
    return request


def measure(function: Function, request: Document) -> tuple[dict[str, float], Document]:
    """One process's figures, in seconds and bytes, and its first reply."""
    started_at = function.start()
    try:
        init = function.wait_for(function.asks) - started_at
        first = function.invoke(request)
        warm = [function.invoke(request) for _ in range(WARM_CALLS)]
        figures = {
            "init": init,
            "first": first.seconds,
            "CPU": first.cpu_seconds,
            "warm": statistics.median(reply.seconds for reply in warm),
            "warm CPU": (warm[-1].cpu_seconds - first.cpu_seconds) / WARM_CALLS,
            "memory": function.peak_memory_bytes(),
        }
        return figures, json.loads(first.body)
    finally:
        function.stop()


def zipped_bytes(bootstrap: pathlib.Path) -> int:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.write(bootstrap, "bootstrap")
    return len(archive.getvalue())


def run_all(bootstraps: dict[str, pathlib.Path], runs: int) -> dict[str, dict[str, float]]:
    """For each step the medians of its processes' figures."""
    figures: dict[str, list[dict[str, float]]] = {step: [] for step in bootstraps}
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rds-encrypt-bench-")))
        context, roots = private_authority(folder)
        aws, runtime_api = AwsServer(context), RuntimeServer()
        stack.enter_context(serving(aws))
        stack.enter_context(serving(runtime_api))
        environment = {
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{runtime_api.server_port}",
            "AWS_ENDPOINT_URL": f"https://localhost:{aws.server_port}",
            # Another name, another connection: in AWS, KMS is another host than RDS.
            "AWS_ENDPOINT_URL_KMS": f"https://127.0.0.1:{aws.server_port}",
            "SSL_CERT_FILE": str(roots),
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": ACCOUNT,
            "AWS_SECRET_ACCESS_KEY": "bench",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_LOG_FORMAT": "JSON",
            "AWS_LAMBDA_LOG_LEVEL": "INFO",
            "OPERATION_TIMEOUT_SECONDS": "20",
            "UNDO_STATE_MACHINE_ARN": UNDO_MACHINE,
        }
        state: Document = {}
        for _ in range(runs):
            for step, bootstrap in bootstraps.items():
                with tempfile.TemporaryFile("w+") as log:
                    function = runtime_api.function = Function(step, bootstrap, environment, log)
                    try:
                        measured, reply = measure(function, request_of(step, INPUT if step == "plan" else state))
                    except Failed as problem:
                        unanswered = ", ".join(aws.unanswered)
                        raise Failed(
                            f"{problem}\nNo answer here to: {unanswered}" if unanswered else str(problem)
                        ) from None
                figures[step].append(measured)
                if step == "plan":
                    state = {**reply, "executionArn": EXECUTION}
    return {
        step: {figure: statistics.median(one[figure] for one in measured) for figure in measured[0]}
        for step, measured in figures.items()
    }


def find_bootstraps(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """By step, the plan first: SAM calls the folder PlanFunction, cargo-lambda plan."""
    steps = {}
    for bootstrap in sorted(folder.glob("*/bootstrap")):
        words = re.findall(r"[A-Z][a-z]+", bootstrap.parent.name.removesuffix("Function"))
        steps["-".join(words).lower() or bootstrap.parent.name] = bootstrap.resolve()
    if "plan" not in steps:
        raise Failed(f"{folder} holds no plan, from whose reply the others' requests are made: run `make build`")
    return {"plan": steps.pop("plan"), **steps}


def show(table: dict[str, dict[str, float]]) -> None:
    print(f"\n{'':16}" + "".join(f"{name:>10}" for name in COLUMNS))
    print(f"{'':16}" + "".join(f"{unit:>10}" for unit in COLUMNS.values()))
    for step, row in table.items():
        cells = (f"{row[name]:.1f}" + ("!" if missed(row, name) else " ") for name in COLUMNS)
        print(f"{step:16}" + "".join(f"{cell:>10}" for cell in cells))
    aims = (f"≤ {AIMS[name]} " if name in AIMS else "" for name in COLUMNS)
    print(f"{'aim':16}" + "".join(f"{aim:>10}" for aim in aims) + "\n")
    for name, aim in AIMS.items():
        misses = [step for step, row in table.items() if missed(row, name)]
        print(f"{name} ≤ {aim} {COLUMNS[name]}: " + (f"not met by {', '.join(misses)}" if misses else "met by all"))
    print(f"\n{LEGEND}")


def missed(row: dict[str, float], name: str) -> bool:
    return name in AIMS and row[name] > AIMS[name]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=9, help="processes of each function; default: %(default)s")
    built = REPOSITORY / ".aws-sam" / "build"
    parser.add_argument("folder", nargs="?", type=pathlib.Path, default=built, metavar="FOLDER")
    arguments = parser.parse_args()
    bootstraps = find_bootstraps(arguments.folder)
    load_before, _, _ = os.getloadavg()
    table = run_all(bootstraps, arguments.runs)
    for step, bootstrap in bootstraps.items():
        table[step] |= {"size": bootstrap.stat().st_size, "zipped": zipped_bytes(bootstrap)}
    scale = {"MB": 1e-6, "ms": 1e3}
    show({step: {name: row[name] * scale[unit] for name, unit in COLUMNS.items()} for step, row in table.items()})
    print(
        f"Medians of {arguments.runs} processes, each with {WARM_CALLS} warm calls. Load of this machine before: "
        f"{load_before:.1f} on {os.cpu_count()} processors; a busy one spoils init, first and warm."
    )


if __name__ == "__main__":
    try:
        main()
    except Failed as problem:
        sys.exit(f"bench: {problem}")
