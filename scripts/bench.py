#!/usr/bin/env python3
"""Measures the built bootstraps, each alone on this machine, and prints a Markdown table of medians.

    make bench

Init is from the process's start to its first poll of the Lambda Runtime API. The first reply is the
handler's first call of AWS, over TLS to a server on loopback that denies access at once: the path
through signing, TLS and parsing without an AWS service's own time. Each function gets the request
that an execution in a local cloud gave it.
"""

import argparse
import collections
import datetime
import http.server
import io
import ipaddress
import json
import pathlib
import queue
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zipfile

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from ministack.services import stepfunctions as engine

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY / "tests" / "local"))

from cloud import ACCOUNT_ID, BUILT_TEMPLATE, REGION, STACK_NAME, CloudError, deploy  # noqa: E402  Needs the path above.
from demo import DemoFailed, running_cloud  # noqa: E402

INSTANCE_ID = "bench"
WARM_CALLS = 50
COLUMNS = ("function", "size (MB)", "zipped (MB)", "init (ms)", "first reply (ms)", "CPU to first reply (ms)",
           "warm (ms)", "peak memory (MB)")


# --- What the functions are asked ---------------------------------------------------


def deployed_functions():
    """[(name, environment, request)] of all functions, as deployed and called in a local cloud."""
    with running_cloud(time_scale=0.002, storage="files") as cloud:
        outputs = deploy(cloud, STACK_NAME, {})
        client = {name: cloud.session().client(name, endpoint_url=cloud.endpoint) for name in ("lambda", "stepfunctions")}
        requests = recorded_requests(cloud, client["stepfunctions"], outputs["StateMachineArn"])
        for function in client["lambda"].list_functions()["Functions"]:
            logical_id = function["FunctionName"].removeprefix(f"{STACK_NAME}-").rsplit("-", 1)[0]
            environment = function.get("Environment", {}).get("Variables", {})
            yield logical_id, environment, requests.get(function["FunctionArn"])


def recorded_requests(cloud, states, machine_arn):
    """By function, what the first Task that called it in one execution handed over."""
    cloud.session().client("rds", endpoint_url=cloud.services_endpoint).create_db_instance(
        DBInstanceIdentifier=INSTANCE_ID, Engine="postgres", DBInstanceClass="db.m7g.large", AllocatedStorage=20,
        MasterUsername="postgres", MasterUserPassword="correct-horse-battery",
    )
    execution_input = {"instance_id": INSTANCE_ID, "cutover": "rename", "accept_lost_writes": True}
    execution_arn = states.start_execution(stateMachineArn=machine_arn, input=json.dumps(execution_input))["executionArn"]
    while (execution := states.describe_execution(executionArn=execution_arn))["status"] == "RUNNING":
        time.sleep(0.2)
    if execution["status"] != "SUCCEEDED":
        sys.exit(f"bench: the execution ended {execution['status']}: {execution.get('error')}: {execution.get('cause')}")
    machine = states.describe_state_machine(stateMachineArn=machine_arn)
    definitions = json.loads(machine["definition"])["States"]
    context = {
        "Execution": {"Id": execution_arn, "Name": execution["name"], "Input": execution_input,
                      "StartTime": execution["startDate"].isoformat()},
        "StateMachine": {"Id": machine_arn, "Name": machine["name"]},
    }
    requests = {}
    for page in states.get_paginator("get_execution_history").paginate(executionArn=execution_arn):
        for event in page["events"]:
            entered = event.get("stateEnteredEventDetails")
            if not entered or definitions[entered["name"]]["Type"] != "Task":
                continue
            state = definitions[entered["name"]]
            context["State"] = {"Name": entered["name"], "EnteredTime": event["timestamp"].isoformat(), "RetryCount": 0}
            request = engine._apply_parameters(state, json.loads(entered["input"]), context)
            requests.setdefault(state["Resource"], request)
    return requests


# --- The two servers ------------------------------------------------------------------


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Header and body are two writes: Nagle's algorithm and delayed ACKs would put 40 ms between them.
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def answer(self, status, content=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


class DenyingHandler(Handler):
    """Any AWS service, refusing at once: AccessDenied is not retried."""

    def do_POST(self):
        self.body()
        if "json" in self.headers.get("Content-Type", ""):
            self.answer(400, b'{"__type":"AccessDeniedException","message":"bench"}', Content_Type="application/x-amz-json-1.1")
        else:
            error = b"<Error><Type>Sender</Type><Code>AccessDenied</Code><Message>bench</Message></Error>"
            self.answer(403, b"<ErrorResponse>" + error + b"<RequestId>1</RequestId></ErrorResponse>", Content_Type="text/xml")


class RuntimeApi(http.server.ThreadingHTTPServer):
    """The Lambda Runtime API for one process: hands out events and notes when things happen."""

    daemon_threads = True

    def __init__(self):
        self.events = queue.Queue()
        self.happened = queue.Queue()
        server = self

        class RuntimeHandler(Handler):
            def do_GET(self):
                server.happened.put(("polled", time.perf_counter()))
                event = server.events.get()
                if event is not None:
                    self.answer(
                        200, event, Content_Type="application/json", Lambda_Runtime_Aws_Request_Id="bench",
                        Lambda_Runtime_Deadline_Ms=str(int((time.time() + 60) * 1000)),
                        Lambda_Runtime_Invoked_Function_Arn=f"arn:aws:lambda:{REGION}:{ACCOUNT_ID}:function:bench",
                    )

            def do_POST(self):
                at = time.perf_counter()
                server.reply = self.body().decode()
                self.answer(202)
                server.happened.put(("replied", at))

        super().__init__(("127.0.0.1", 0), RuntimeHandler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def wait_for(self, what):
        while True:
            happened, at = self.happened.get(timeout=30)
            if happened == what:
                return at


def denying_server(folder):
    """The TLS server's port and the file with the certificate to trust."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "bench")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / "certificate.pem", folder / "key.pem"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate_file, key_file)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), DenyingHandler)
    server.daemon_threads = True
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1], certificate_file


# --- Measuring ------------------------------------------------------------------------


def measure(bootstrap, environment, request):
    """One process's figures; those of calls are missing where no execution called the function."""
    runtime = RuntimeApi()
    begin = time.perf_counter()
    process = subprocess.Popen(
        [bootstrap], env={**environment, "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{runtime.server_address[1]}"},
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    try:
        figures = {"init (ms)": 1000 * (runtime.wait_for("polled") - begin)}
        if request is not None:
            event = json.dumps(request).encode()
            figures["first reply (ms)"] = 1000 * call(runtime, event)
            if "AccessDenied" not in runtime.reply:
                sys.exit(f"bench: {bootstrap} did not reach the server: {runtime.reply}")
            figures["CPU to first reply (ms)"] = cpu_milliseconds(process.pid)
            figures["warm (ms)"] = statistics.median(1000 * call(runtime, event) for _ in range(WARM_CALLS))
        figures["peak memory (MB)"] = peak_memory_megabytes(process.pid)
    finally:
        process.kill()
        process.wait()
        runtime.events.put(None)
        runtime.shutdown()
        runtime.server_close()
    return figures


def call(runtime, event):
    begin = time.perf_counter()
    runtime.events.put(event)
    seconds = runtime.wait_for("replied") - begin
    runtime.wait_for("polled")
    return seconds


def cpu_milliseconds(process_id):
    """The CPU time of the process's threads so far, in finer steps than the 10 ms of /proc/PID/stat."""
    threads = pathlib.Path(f"/proc/{process_id}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e6


def peak_memory_megabytes(process_id):
    """Of the program itself; getrusage would count what the parent held when it forked."""
    status = pathlib.Path(f"/proc/{process_id}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


def zipped_size(file):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(file, file.name)
    return len(content.getvalue())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=9, help="processes started for each function (default 9)")
    arguments = parser.parse_args()
    functions = sorted(deployed_functions(), key=lambda function: function[0])
    print(f"| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}")
    with tempfile.TemporaryDirectory() as folder:
        port, certificate = denying_server(pathlib.Path(folder))
        figures = collections.defaultdict(lambda: collections.defaultdict(list))
        for _ in range(arguments.runs):  # Turn by turn, so that a busy moment does not hit one function alone.
            for name, variables, request in functions:
                environment = {
                    **variables, "AWS_REGION": REGION, "AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench",
                    "AWS_ENDPOINT_URL": f"https://127.0.0.1:{port}", "SSL_CERT_FILE": str(certificate),
                    "AWS_LAMBDA_FUNCTION_NAME": name, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
                    "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST", "AWS_LAMBDA_LOG_FORMAT": "JSON",
                }
                bootstrap = BUILT_TEMPLATE.parent / name / "bootstrap"
                for column, value in measure(bootstrap, environment, request).items():
                    figures[name][column].append(value)
    for name, _, _ in functions:
        bootstrap = BUILT_TEMPLATE.parent / name / "bootstrap"
        sizes = {"size (MB)": [bootstrap.stat().st_size / 1e6], "zipped (MB)": [zipped_size(bootstrap) / 1e6]}
        medians = {column: statistics.median(values) for column, values in {**sizes, **figures[name]}.items()}
        cells = [f"{medians[column]:.2f}" if column in medians else "not called" for column in COLUMNS[1:]]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    try:
        main()
    except (CloudError, DemoFailed) as problem:
        sys.exit(f"bench: {problem}")
