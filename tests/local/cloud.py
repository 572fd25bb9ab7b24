"""The local cloud: AWS's stand-in on loopback, in which the product is tried and tested.

    cloud.py run       starts a cloud, prints one JSON line that describes it, serves until ended
    cloud.py deploy    deploys the built template to a running cloud, prints the stack's outputs

A cloud is two processes: `ministack_server.py` (CloudFormation, Lambda, Step Functions,
SNS, EventBridge, ...) and `services.py` (RDS, KMS, CloudWatch metrics, with a real
PostgreSQL behind each DB instance). The AWS_ENDPOINT_URL_* variables, which every SDK
reads, send each call to the right one, the calls of the deployed functions too.

Several clouds run side by side: each has its own ports and its own temporary folder.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import hashlib
import io
import json
import os
import pathlib
import random
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Collection
from typing import Any

HERE = pathlib.Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
CLOUD_PYTHON = REPOSITORY / ".local" / "cloud" / "bin" / "python"
BUILD = REPOSITORY / ".aws-sam" / "build"
STACK_NAME = "rds-encrypt"

# The reference's. Not us-east-1: there, AWS CLI 1 sends `aws rds` to AWS whatever AWS_ENDPOINT_URL_RDS says.
REGION = "ap-northeast-1"
ACCOUNT_ID = "123456789012"
# What services.py answers; everything else goes to ministack.
SERVICES_ENDPOINTS = (
    "AWS_ENDPOINT_URL_RDS",
    "AWS_ENDPOINT_URL_KMS",
    "AWS_ENDPOINT_URL_CLOUDWATCH",
    "AWS_ENDPOINT_URL_DATABASE_MIGRATION_SERVICE",
    "AWS_ENDPOINT_URL_EC2",
)
IN_MEMORY = "/dev/shm"
# Of several clouds with some 40 servers each.
ROOM_IN_MEMORY = 8 << 30
# The template's parameter by which the functions trust the databases' endpoints.
DATABASE_ROOTS_PARAMETER = "ExtraDatabaseRoots"
# Users bring one of their own.
REPLICATION_SUBNET_GROUP = "local"
START_SECONDS = 60
STOP_SECONDS = 10


class CloudError(Exception):
    """What went wrong, in words for the person at the keyboard."""


@dataclasses.dataclass(frozen=True)
class Cloud:
    """Describes a running cloud; printed as one JSON line by `cloud.py run`."""

    cloud_id: str
    endpoint: str
    services_endpoint: str
    time_scale: float
    storage: str
    folder: str
    # Whom the certificates of the databases' endpoints are from, in PEM; known once the services run.
    database_roots: str = ""

    @property
    def environment(self) -> dict[str, str]:
        """Sends any AWS SDK or CLI to this cloud, and to nowhere else."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            **dict.fromkeys(SERVICES_ENDPOINTS, self.services_endpoint),
            # ministack takes a 12-digit access key as the account's number.
            "AWS_ACCESS_KEY_ID": ACCOUNT_ID,
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            # The user's own profiles must not leak in: they lead to a real account.
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_PAGER": "",
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
        }

    def process_environment(self) -> dict[str, str]:
        """The caller's environment with all of its own AWS settings replaced."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        return {**kept, **self.environment}

    def session(self) -> Any:
        import boto3  # Here, because `run` needs no environment.

        return boto3.Session(ACCOUNT_ID, "local", region_name=REGION)

    def to_json(self) -> str:
        return json.dumps({**dataclasses.asdict(self), "environment": self.environment})

    def parameters(self, template: dict[str, Any]) -> dict[str, str]:
        """What the cloud itself knows of the template's parameters."""
        known = {
            DATABASE_ROOTS_PARAMETER: self.database_roots.replace("\n", "\\n"),
            "ReplicationSubnetGroup": REPLICATION_SUBNET_GROUP,
        }
        return {name: value for name, value in known.items() if name in template.get("Parameters", {})}

    @classmethod
    def from_json(cls, text: str) -> Cloud:
        description = json.loads(text)
        description.pop("environment", None)
        return cls(**description)


# --- Running -----------------------------------------------------------------


def run(options: list[str], until_stdin_closes: bool) -> int:
    """Starts the supervisor, and ends it by closing its input: which the end of this
    process does too, however it comes (SIGKILL included), so nothing can be left behind."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, end_quietly)
    supervisor = subprocess.Popen(
        [sys.executable, __file__, "supervise", *options],
        stdin=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C in the terminal must not reach it.
    )
    try:
        watched = [sys.stdin] if until_stdin_closes else []
        while supervisor.poll() is None:
            readable, _, _ = select.select(watched, [], [], 0.2)
            if readable and not os.read(sys.stdin.fileno(), 4096):
                break
    finally:
        if supervisor.stdin:
            supervisor.stdin.close()
        supervisor.wait()
    return supervisor.returncode


def end_quietly(number: int, _frame: object) -> None:
    # As an exception, so that `finally` is obeyed on the way out.
    sys.exit(128 + number)


def scratch() -> str | None:
    """Where clouds have their folders: in memory if there is room, since servers and their copies are thousands of
    small files, made and deleted all the time; else, or if TMPDIR says so, the usual place."""
    try:
        can_execute = not os.statvfs(IN_MEMORY).f_flag & os.ST_NOEXEC
        free = min(shutil.disk_usage(IN_MEMORY).free, available_memory())
    except OSError:
        return None
    usable = can_execute and free >= ROOM_IN_MEMORY and os.access(IN_MEMORY, os.W_OK)
    return IN_MEMORY if usable and "TMPDIR" not in os.environ else None


def available_memory() -> int:
    words = pathlib.Path("/proc/meminfo").read_text().split()
    return int(words[words.index("MemAvailable:") + 1]) << 10


def supervise(time_scale: float, storage: str) -> None:
    """Owns the cloud's processes and folder until its standard input closes."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if not CLOUD_PYTHON.exists():
        raise CloudError("the local cloud is not installed: run `make setup` first")
    folder = tempfile.mkdtemp(prefix="rds-encrypt-cloud-", dir=scratch())
    # PostgreSQL may run as another user, who must be able to walk in.
    os.chmod(folder, 0o711)
    processes: dict[str, subprocess.Popen[bytes]] = {}
    try:
        cloud_port, services_port = free_port(), free_port()
        cloud = Cloud(
            cloud_id=secrets.token_hex(4),
            endpoint=f"http://127.0.0.1:{cloud_port}",
            services_endpoint=f"http://127.0.0.1:{services_port}",
            time_scale=time_scale,
            storage=storage,
            folder=folder,
        )
        start_processes(cloud, cloud_port, services_port, processes)
        cloud = dataclasses.replace(cloud, database_roots=database_roots(cloud))
        print(cloud.to_json(), flush=True)
        while not select.select([sys.stdin], [], [], 0.5)[0]:
            for name, process in processes.items():
                check_alive(name, process, folder)
    finally:
        end_processes(processes.values())
        shutil.rmtree(folder, ignore_errors=True)


def end_processes(processes: Collection[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        signal_group(process, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0, deadline - time.monotonic()))
        # The group outlives its leader: the functions that ministack started.
        signal_group(process, signal.SIGKILL)
        process.wait()


def signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def free_port() -> int:
    """A port below the kernel's ephemeral range, where no outgoing connection takes it meanwhile."""
    while True:
        port = random.SystemRandom().randrange(20000, 32000)
        with socket.socket() as probe:
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port


def start_processes(
    cloud: Cloud, cloud_port: int, services_port: int, processes: dict[str, subprocess.Popen[bytes]]
) -> None:
    folder = pathlib.Path(cloud.folder)
    temporary, data = folder / "temporary", folder / "data"
    temporary.mkdir()
    data.mkdir()
    os.chmod(data, 0o711)

    environment = {
        # No more of the user's environment than this: the functions inherit it. Tests of faults set
        # AWS_MAX_ATTEMPTS to 1, so that a fault reaches the step instead of the SDK's own retries.
        **{name: os.environ[name] for name in ("PATH", "LANG", "AWS_MAX_ATTEMPTS") if name in os.environ},
        **cloud.environment,
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(cloud_port),
        "IOT_MTLS_ENABLED": "0",  # Else it listens for MQTT on every interface.
        "SFTP_ENABLED": "0",
        "LOG_LEVEL": "INFO",
        "MINISTACK_ACCOUNT_ID": ACCOUNT_ID,
        "MINISTACK_REGION": REGION,
        "SFN_WAIT_SCALE": str(cloud.time_scale),
        # Whatever ministack writes: deployed code, keys, objects.
        "TMPDIR": str(temporary),
        "HOME": str(temporary),
        "STATE_DIR": str(temporary / "state"),
        "S3_DATA_DIR": str(temporary / "objects"),
        # The functions inherit it, so that their processes can be told apart by cloud.
        "RDS_ENCRYPT_LOCAL_CLOUD": cloud.cloud_id,
        "PYTHONUNBUFFERED": "1",
    }
    services = [CLOUD_PYTHON, HERE / "services.py", "--port", services_port, "--time-scale", cloud.time_scale]
    services += ["--data-dir", data, "--storage", cloud.storage, "--cloud-id", cloud.cloud_id]
    services += ["--lambda-endpoint", cloud.endpoint]
    ministack = [CLOUD_PYTHON, HERE / "ministack_server.py"]

    for name, command in (("services", services), ("ministack", ministack)):
        with open(folder / f"{name}.log", "wb") as log:
            processes[name] = subprocess.Popen(
                [str(word) for word in command],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    wait_until_ready("services", processes["services"], f"{cloud.services_endpoint}/moto-api/", folder)
    wait_until_ready("ministack", processes["ministack"], f"{cloud.endpoint}/_ministack/health", folder)


def wait_until_ready(name: str, process: subprocess.Popen[bytes], url: str, folder: str | pathlib.Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        with contextlib.suppress(OSError):
            with without_proxy().open(url, timeout=5):
                return
        check_alive(name, process, folder)
        if time.monotonic() > deadline:
            raise CloudError(f"{name} did not answer on {url} within {START_SECONDS} s:\n{log_end(name, folder)}")
        time.sleep(0.05)


def without_proxy() -> urllib.request.OpenerDirector:
    """Loopback never goes through one."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


def database_roots(cloud: Cloud) -> str:
    with without_proxy().open(f"{cloud.services_endpoint}/local/", timeout=START_SECONDS) as reply:
        return str(json.load(reply)["database_roots"])


def check_alive(name: str, process: subprocess.Popen[bytes], folder: str | pathlib.Path) -> None:
    if process.poll() is not None:
        raise CloudError(f"{name} ended with code {process.returncode}:\n{log_end(name, folder)}")


def log_end(name: str, folder: str | pathlib.Path) -> str:
    return pathlib.Path(folder, f"{name}.log").read_text(errors="replace")[-3000:]


# --- Deploying ---------------------------------------------------------------


def make_replication_subnet_group(cloud: Cloud) -> None:
    services = {"endpoint_url": cloud.services_endpoint}
    subnets = cloud.session().client("ec2", **services).describe_subnets()["Subnets"]
    dms = cloud.session().client("dms", **services)
    with contextlib.suppress(dms.exceptions.ResourceAlreadyExistsFault):
        dms.create_replication_subnet_group(
            ReplicationSubnetGroupIdentifier=REPLICATION_SUBNET_GROUP,
            ReplicationSubnetGroupDescription="of the local cloud",
            SubnetIds=[subnet["SubnetId"] for subnet in subnets],
        )


def deploy(
    cloud: Cloud,
    stack_name: str,
    parameters: dict[str, str],
    variables: dict[str, str] | tuple[()] = (),
    build: pathlib.Path = BUILD,
) -> dict[str, str]:
    """What `sam deploy` does, in a tenth of its time, for tests that start many clouds.

    Uploads what `sam build` left in the folder `build`, and creates or updates the stack; returns its outputs.
    """
    # Imported here: the rest of this file runs without the environment that setup makes.
    import botocore.exceptions

    session = cloud.session()
    template = built_template(build)
    template["Globals"]["Function"]["Environment"]["Variables"].update(variables)
    parameters = cloud.parameters(template) | parameters
    make_replication_subnet_group(cloud)

    storage = session.client("s3", endpoint_url=cloud.endpoint)
    bucket = f"{stack_name}-deployment"
    with contextlib.suppress(storage.exceptions.BucketAlreadyOwnedByYou):
        storage.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})

    def upload(content: bytes) -> str:
        # As `sam package` names them: what has not changed keeps its name, hence its version.
        key = hashlib.sha256(content).hexdigest()
        storage.put_object(Bucket=bucket, Key=key, Body=content)
        return key

    for resource in template["Resources"].values():
        properties = resource.get("Properties", {})
        if resource["Type"] == "AWS::Serverless::Function":
            key = upload(zipped(build / properties["CodeUri"]))
            properties["CodeUri"] = {"Bucket": bucket, "Key": key}
        elif resource["Type"] == "AWS::StepFunctions::StateMachine":
            key = upload((build / properties["DefinitionS3Location"]).read_bytes())
            properties["DefinitionS3Location"] = {"Bucket": bucket, "Key": key}
    stacks = session.client("cloudformation", endpoint_url=cloud.endpoint)
    stack = {
        "StackName": stack_name,
        "TemplateURL": f"{cloud.endpoint}/{bucket}/{upload(json.dumps(template).encode())}",
        "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        "Parameters": [{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
    }
    waiter = "stack_create_complete"
    try:
        stacks.create_stack(**stack)
    except stacks.exceptions.AlreadyExistsException:
        waiter = "stack_update_complete"
        try:
            stacks.update_stack(**stack)
        except botocore.exceptions.ClientError as error:
            if "No updates are to be performed" not in error.response["Error"]["Message"]:
                raise
            # As with `sam deploy --no-fail-on-empty-changeset`: the stack is as asked for.
            waiter = "stack_exists"
    try:
        stacks.get_waiter(waiter).wait(StackName=stack_name, WaiterConfig={"Delay": 0.1, "MaxAttempts": 600})
    except botocore.exceptions.WaiterError:
        events = stacks.describe_stack_events(StackName=stack_name)["StackEvents"]
        reasons = [
            f"{event['LogicalResourceId']}: {event['ResourceStatusReason']}"
            for event in events
            if event.get("ResourceStatusReason")
        ]
        raise CloudError("the stack was not deployed:\n" + "\n".join(reasons)) from None
    outputs = stacks.describe_stacks(StackName=stack_name)["Stacks"][0].get("Outputs", [])
    return {output["OutputKey"]: output["OutputValue"] for output in outputs}


def built_template(build: pathlib.Path = BUILD) -> dict[str, Any]:
    import cfnlint.decode  # Here, as above.

    file = build / "template.yaml"
    if not file.exists():
        raise CloudError("nothing is built yet: run `make build` first")
    template, problems = cfnlint.decode.decode(str(file))
    if problems:
        raise CloudError(f"{file}: {problems}")
    return template  # type: ignore[no-any-return]


def zipped(folder: pathlib.Path) -> bytes:
    """The folder as a deployment package; stored, since nothing here travels far enough to be worth deflating."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            archive.write(file, file.relative_to(folder))
    return content.getvalue()


# --- Command line ------------------------------------------------------------


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    cloud_options = argparse.ArgumentParser(add_help=False)
    cloud_options.add_argument(
        "--time-scale",
        type=time_scale,
        default=0.01,
        metavar="FACTOR",
        help="how much of each AWS wait is really waited: 0.01 makes a minute 0.6 s (default)",
    )
    cloud_options.add_argument(
        "--storage",
        choices=("postgres", "files"),
        default="postgres",
        help="what stands behind a DB instance: a PostgreSQL server (default), or a file, for many instances",
    )

    run_command = commands.add_parser("run", parents=[cloud_options], help="start a cloud and serve until ended")
    run_command.add_argument(
        "--until-stdin-closes",
        action="store_true",
        help="end when standard input closes, so that the cloud never outlives the program that started it",
    )
    commands.add_parser("supervise", parents=[cloud_options])  # Started by `run` only.

    deploy_command = commands.add_parser(
        "deploy", help="deploy what is built to a running cloud, or over what is there"
    )
    deploy_command.add_argument(
        "--cloud", required=True, metavar="FILE", help="the line that `run` printed; - reads it from standard input"
    )
    deploy_command.add_argument("--stack-name", default=STACK_NAME)
    deploy_command.add_argument(
        "--build", type=pathlib.Path, default=BUILD, metavar="FOLDER", help="what to deploy (default: .aws-sam/build)"
    )
    deploy_command.add_argument(
        "--parameter", action="append", default=[], metavar="NAME=VALUE", help="a parameter of the template"
    )
    deploy_command.add_argument(
        "--variable",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a variable in the functions' environment, instead of the template's",
    )
    return parser.parse_args()


def time_scale(text: str) -> float:
    value = float(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 (excluded) and 1")
    return value


def main() -> None:
    arguments = parse_arguments()
    if arguments.command == "run":
        options = ["--time-scale", str(arguments.time_scale), "--storage", arguments.storage]
        sys.exit(run(options, arguments.until_stdin_closes))
    if arguments.command == "supervise":
        supervise(arguments.time_scale, arguments.storage)
    elif arguments.command == "deploy":
        text = sys.stdin.read() if arguments.cloud == "-" else pathlib.Path(arguments.cloud).read_text()
        parameters = dict(parameter.split("=", 1) for parameter in arguments.parameter)
        variables = dict(variable.split("=", 1) for variable in arguments.variable)
        cloud = Cloud.from_json(text)
        print(json.dumps(deploy(cloud, arguments.stack_name, parameters, variables, arguments.build)))


if __name__ == "__main__":
    try:
        main()
    except CloudError as problem:
        sys.exit(f"cloud: {problem}")
