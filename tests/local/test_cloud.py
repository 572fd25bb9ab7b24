"""A cloud lives exactly as long as the process that asked for it, and touches nothing outside its folder."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import unittest.mock
from collections.abc import Callable, Iterator
from typing import Any

from cloud import HERE, Cloud, deploy, scratch


def processes_of(cloud: Cloud) -> list[str]:
    """The command lines of all processes that have the cloud's folder in theirs, or its id in their environment."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit():
                command, environment = (entry / "cmdline").read_bytes(), (entry / "environ").read_bytes()
                if (
                    cloud.folder.encode() in command
                    or f"RDS_ENCRYPT_LOCAL_CLOUD={cloud.cloud_id}\0".encode() in environment
                ):
                    found.append(command.replace(b"\0", b" ").decode())
    return found


class Scratch(unittest.TestCase):
    def scratch(self, memory: int = 16 << 30, flags: int = 0, environment: dict[str, str] | None = None) -> str | None:
        usage = unittest.mock.Mock(free=16 << 30)
        with (
            unittest.mock.patch("os.statvfs", return_value=unittest.mock.Mock(f_flag=flags)),
            unittest.mock.patch("shutil.disk_usage", return_value=usage),
            unittest.mock.patch("os.access", return_value=True),
            unittest.mock.patch("cloud.available_memory", return_value=memory),
            unittest.mock.patch.dict("os.environ", environment or {}, clear=True),
        ):
            return scratch()

    def test_a_cloud_is_in_memory_only_where_it_has_room_and_can_run_what_is_there(self) -> None:
        self.assertEqual(self.scratch(), "/dev/shm")
        self.assertIsNone(self.scratch(memory=4 << 30))
        self.assertIsNone(self.scratch(flags=os.ST_NOEXEC))
        self.assertIsNone(self.scratch(environment={"TMPDIR": "/var/tmp"}))


@unittest.skipUnless(pathlib.Path("/proc").exists(), "looks for processes in /proc")
class CloudLife(unittest.TestCase):
    def start(self, *options: str) -> tuple[subprocess.Popen[str], Cloud]:
        process = subprocess.Popen(
            [sys.executable, HERE / "cloud.py", "run", "--storage", "files", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdin and process.stdout
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.addCleanup(process.stdin.close)
        return process, Cloud.from_json(process.stdout.readline())

    def assert_gone(self, cloud: Cloud) -> None:
        deadline = time.monotonic() + 15
        while (left := processes_of(cloud)) or os.path.exists(cloud.folder):
            self.assertLess(time.monotonic(), deadline, f"left behind: {left} {cloud.folder}")
            time.sleep(0.1)

    def test_every_end_of_its_owner_is_its_own(self) -> None:
        ends: tuple[Callable[[Any], None], ...] = (
            lambda process: process.send_signal(signal.SIGTERM),
            lambda process: process.send_signal(signal.SIGINT),
            lambda process: process.kill(),
            lambda process: process.stdin.close(),
        )
        for end in ends:
            with self.subTest(end):
                process, cloud = self.start("--until-stdin-closes")
                self.assertEqual(len(processes_of(cloud)), 2)
                end(process)
                self.assert_gone(cloud)

    def test_a_dead_service_ends_it_with_its_last_words(self) -> None:
        process = subprocess.Popen(
            [sys.executable, HERE / "cloud.py", "run", "--storage", "files"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout
        cloud = Cloud.from_json(process.stdout.readline())
        services = next(
            int(entry.name)
            for entry in pathlib.Path("/proc").iterdir()
            if entry.name.isdigit() and f"{cloud.folder}/data".encode() in (entry / "cmdline").read_bytes()
        )
        os.kill(services, signal.SIGKILL)
        _, errors = process.communicate(timeout=15)
        self.assertEqual(process.returncode, 1)
        self.assertIn("services ended with code -9", errors)
        self.assert_gone(cloud)

    def test_two_stand_side_by_side(self) -> None:
        _, first = self.start()
        _, second = self.start()
        self.assertNotEqual(first.endpoint, second.endpoint)
        for number, cloud in enumerate((first, second)):
            queues = cloud.session().client("sqs", endpoint_url=cloud.endpoint)
            queues.create_queue(QueueName=f"queue-{number}")
            self.assertEqual(len(queues.list_queues()["QueueUrls"]), 1)

    def test_what_is_deployed_twice_in_a_row_stays(self) -> None:
        template = {
            "Globals": {"Function": {"Environment": {"Variables": {}}}},
            "Resources": {"Topic": {"Type": "AWS::SNS::Topic"}},
            "Outputs": {"Topic": {"Value": {"Ref": "Topic"}}},
        }
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        build = pathlib.Path(folder.name)
        (build / "template.yaml").write_text(json.dumps(template))
        _, cloud = self.start()
        outputs = [deploy(cloud, "stack", {}, build=build) for _ in range(2)]
        self.assertIn("Topic", outputs[0])
        self.assertEqual(outputs[0], outputs[1])

    def test_a_template_that_asks_for_the_databases_roots_is_given_them(self) -> None:
        template = {
            "Globals": {"Function": {"Environment": {"Variables": {}}}},
            "Parameters": {"ExtraDatabaseRoots": {"Type": "String", "Default": ""}},
            "Resources": {"Topic": {"Type": "AWS::SNS::Topic"}},
            "Outputs": {"Roots": {"Value": {"Ref": "ExtraDatabaseRoots"}}},
        }
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        build = pathlib.Path(folder.name)
        (build / "template.yaml").write_text(json.dumps(template))
        _, cloud = self.start()
        self.assertTrue(cloud.database_roots.startswith("-----BEGIN CERTIFICATE-----\n"))
        one_line = cloud.database_roots.replace("\n", "\\n")  # a definition's substitution stands in a JSON string
        self.assertEqual(deploy(cloud, "stack", {}, build=build), {"Roots": one_line})
        self.assertEqual(deploy(cloud, "stack", {"ExtraDatabaseRoots": "others"}, build=build), {"Roots": "others"})

    def test_listens_on_loopback_only(self) -> None:
        _, cloud = self.start()
        leaders = {int(line) for line in self.group_members(cloud)}
        for table in ("/proc/net/tcp", "/proc/net/tcp6"):
            for line in pathlib.Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and self.is_of(leaders, fields[9]):  # 0A: listening
                    self.assertTrue(fields[1].startswith("0100007F:"), f"listens on {fields[1]} in {table}")

    def group_members(self, cloud: Cloud) -> Iterator[str]:
        for entry in pathlib.Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and cloud.cloud_id.encode() in (entry / "environ").read_bytes():
                    yield entry.name

    def is_of(self, processes: set[int], inode: str) -> bool:
        for process in processes:
            with contextlib.suppress(OSError):
                for descriptor in pathlib.Path(f"/proc/{process}/fd").iterdir():
                    if os.readlink(descriptor) == f"socket:[{inode}]":
                        return True
        return False

    def test_functions_see_nothing_of_the_users_environment(self) -> None:
        os.environ["AWS_SESSION_TOKEN"] = os.environ["SECRET_OF_THE_USER"] = "planted"
        self.addCleanup(os.environ.pop, "AWS_SESSION_TOKEN")
        self.addCleanup(os.environ.pop, "SECRET_OF_THE_USER")
        _, cloud = self.start()
        for process in self.group_members(cloud):
            self.assertNotIn(b"planted", pathlib.Path(f"/proc/{process}/environ").read_bytes())
        self.assertNotIn("planted", json.dumps(cloud.environment))


if __name__ == "__main__":
    unittest.main()
