"""Which instances reach which: one behind a security group that isolates reaches nobody, and nobody reaches it.

Only connections between instances are judged, and only when they are opened: a group that changes cuts none that is
open already (EC2 User Guide, "Security group connection tracking"). Whoever is no instance, a test for example,
reaches every instance, whatever its groups. What AWS would leave without an answer is cut here.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .records import Instance, Records

# In the default VPC: EC2 would give a new group an id by chance, and tests name these.
ISOLATING_SECURITY_GROUPS = ("sg-0f00ba44", "sg-0fe7ce", "sg-0c1a1a")


class Network:
    """Judges the connections that the forwarders take. `server_of` is the process of an instance's server."""

    def __init__(self, records: Records, server_of: Callable[[Instance], int | None]) -> None:
        self._records, self._server_of = records, server_of

    def lets_through(self, client_port: int, identifier: str, port: int) -> bool:
        """Whether the connection from that port on may reach the instance, at that port of its endpoint."""
        # A copy: records come and go meanwhile.
        instances = list(self._records.instances.values())
        called = self._records.instances.get(identifier)
        shut_out = instances if called and is_isolated(called) else list(filter(is_isolated, instances))
        # PostgreSQL's workers are children of its first process, MariaDB's are its threads.
        servers = {server for instance in shut_out if (server := self._server_of(instance))}
        if not servers:
            return True
        callers = processes_with_connection(
            client_port, port, lambda process_id: bool(servers & {process_id, _parent(process_id)})
        )
        return not any(callers)


def is_isolated(instance: Instance) -> bool:
    """Groups add up, so that one which lets something through is enough."""
    groups = [group["VpcSecurityGroupId"] for group in instance.fields.get("VpcSecurityGroups", [])]
    return bool(groups) and all(group in ISOLATING_SECURITY_GROUPS for group in groups)


def processes_with_connection(
    local_port: int, remote_port: int, among: Callable[[int], object] = lambda _: True
) -> Iterator[int]:
    """Who holds the client's end of a loopback connection, from /proc; the fewer are asked, the sooner."""
    inodes = set()
    for line in Path("/proc/net/tcp").read_text().splitlines():
        columns = line.split()
        if columns[1].endswith(f":{local_port:04X}") and columns[2].endswith(f":{remote_port:04X}"):
            inodes.add(f"socket:[{columns[9]}]")
    # Of a client that has left, which would keep others waiting.
    inodes.discard("socket:[0]")
    if not inodes:
        return
    for process_id in filter(str.isdigit, os.listdir("/proc")):
        if not among(int(process_id)):
            continue
        with contextlib.suppress(OSError):
            if any(
                os.readlink(f"/proc/{process_id}/fd/{descriptor}") in inodes
                for descriptor in os.listdir(f"/proc/{process_id}/fd")
            ):
                yield int(process_id)


def descendants(process_id: int) -> set[int]:
    """All processes that it started, and those that these did."""
    children: dict[int | None, list[int]] = {}
    for one in filter(str.isdigit, os.listdir("/proc")):
        children.setdefault(_parent(int(one)), []).append(int(one))
    found: set[int] = set()
    waiting = [process_id]
    while waiting:
        born = children.get(waiting.pop(), [])
        found.update(born)
        waiting += born
    return found


def is_running(process_id: int) -> bool:
    """Not if all its threads are stopped, or gone, or it only waits for its parent to notice."""
    with contextlib.suppress(OSError):
        threads = os.listdir(f"/proc/{process_id}/task")
        return any(
            _status(f"{process_id}/task/{thread}")[:1] not in ([], ["T"], ["t"], ["Z"], ["X"]) for thread in threads
        )
    return False


def _parent(process_id: int) -> int | None:
    return int(status[1]) if (status := _status(process_id)) else None


def _status(process_id: int | str) -> list[str]:
    """State, parent and more; nothing of a process that is gone."""
    with contextlib.suppress(OSError):
        # "pid (name) state ppid …", and a name may hold anything.
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    return []
