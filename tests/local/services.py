"""The local cloud's AWS services other than CloudFormation and Lambda, in one process.

moto answers RDS, KMS, CloudWatch, Step Functions and the rest on 127.0.0.1. The package `rds` beside
this file replaces moto's DB instances and snapshots: a life cycle on a scaled clock, and a real
PostgreSQL server behind each instance of the engine postgres.

A client finds an instance's server as on AWS, by DescribeDBInstances: Endpoint.Address is a loopback
address (127.…) that belongs to the instance's name, Endpoint.Port the instance's own port:

    psql "host=<Endpoint.Address> port=<Endpoint.Port> user=<MasterUsername> dbname=<DBName>"

Tests steer it over the control API under /local/ on the same port: see rds/control.py and, for faults,
rds/faults.py. Nothing is kept: the service ends with the process that started it, and so do its servers.
"""

from __future__ import annotations

import argparse
import functools
import os
import signal
import sys
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

# A reset would read hundreds of machine images each time, for a cloud that has no use for one.
os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"
# moto warns where an error code is not in the service's model: Throttling, InvalidAction, ….
warnings.filterwarnings("ignore", message="Exception.*does not match an error shape")
sys.path.insert(0, str(Path(__file__).parent))

from moto import backends
from moto.core import responses, utils
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

import kms
import stepfunctions
from cbor import CborBridge
from dms import operations as dms_operations
from events import Events
from iam.guard import Guard
from managed_secrets import ManagedSecrets
from rds import metrics, operations
from rds.calls import Calls
from rds.cloud import Cloud
from rds.control import Control
from rds.faults import Faults

if TYPE_CHECKING:
    from werkzeug.serving import BaseWSGIServer


class RequestHandler(MotoRequestHandler):
    """moto's handler without a line of log for every request."""

    # Replies are written in pieces; Nagle's algorithm would hold the last one back for 40 ms.
    disable_nagle_algorithm = True

    def log_request(self, *_: object) -> None:
        pass

    def connection_dropped(self, *_: object) -> None:
        # A fault rule closed it: the handler must let go of the socket instead of waiting for the next request.
        self.close_connection = True


def main() -> None:
    arguments = parse_arguments()
    cloud = Cloud(arguments.time_scale, arguments.data_dir, arguments.storage, arguments.region)
    if arguments.lambda_endpoint:
        cloud.send = Events(arguments.lambda_endpoint, arguments.cloud_id, cloud.account_id, cloud.region).send
        cloud.keep_secret = ManagedSecrets(arguments.lambda_endpoint, cloud.account_id, cloud.region).keep
    operations.install(cloud)
    dms_operations.install(cloud)
    kms.install()
    metrics.publish(cloud)
    remember()
    faults = Faults(cloud, arguments.cloud_id)
    guard = Guard(cloud)
    cloud.may = guard.may
    calls = Calls(DomainDispatcherApplication(create_backend_app), faults, guard)
    control = Control(CborBridge(calls), cloud, calls, faults, guard)
    server = make_server("127.0.0.1", arguments.port, control, threaded=True, request_handler=RequestHandler)
    stepfunctions.install(cloud.clock, f"http://127.0.0.1:{server.port}", arguments.lambda_endpoint)
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_number, lambda *_: threading.Thread(target=server.shutdown).start())
    threading.Thread(target=stop_with, args=(arguments.parent_pid, server), daemon=True).start()
    print(f"services: listening on http://127.0.0.1:{server.port}", flush=True)
    try:
        server.serve_forever()
    finally:
        cloud.close()


def remember() -> None:
    """Keeps what moto finds out for every request anew, a tenth of its time, and which never changes."""
    modules = tuple(backends.list_of_moto_modules())
    backends.list_of_moto_modules = lambda: modules
    names = functools.cache(utils.method_names_from_class)
    responses.method_names_from_class = names  # type: ignore[attr-defined]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True, help="port on 127.0.0.1; 0 takes a free one")
    parser.add_argument(
        "--time-scale", type=float, default=1.0, help="wall seconds that an AWS second lasts (default 1)"
    )
    parser.add_argument(
        "--data-dir", type=Path, required=True, help="directory for the data; whoever made it removes it"
    )
    parser.add_argument(
        "--storage",
        choices=["postgres", "files"],
        default="postgres",
        help="what stands behind instances of the engine postgres",
    )
    parser.add_argument(
        "--region",
        default=os.environ.get("AWS_REGION", "us-east-1"),
        help="Region of what the control API seeds (default: AWS_REGION, else us-east-1)",
    )
    parser.add_argument(
        "--cloud-id",
        default="",
        help="only processes with RDS_ENCRYPT_LOCAL_CLOUD=<this> in their environment are ever killed by a fault",
    )
    parser.add_argument("--lambda-endpoint", help="where the state machines that run here invoke their functions")
    parser.add_argument(
        "--parent-pid",
        type=int,
        default=os.getppid(),
        help="stop when this process is gone (default: the parent; 0: never)",
    )
    return parser.parse_args()


def stop_with(parent: int, server: BaseWSGIServer) -> None:
    """Shuts the server down once the process that wanted it is gone."""
    while parent and alive(parent):
        threading.Event().wait(0.5)
    if parent:
        server.shutdown()


def alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


if __name__ == "__main__":
    main()
