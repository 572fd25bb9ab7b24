"""What lies behind the records: a small directory of files where no database server is wanted.

`PostgresStorage` in `postgres.py` and `MariaDbStorage` in `mariadb.py` have the same methods. Each record owns one
directory, named after something that a rename does not change.
"""

from __future__ import annotations

import contextlib
import shutil
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from .records import Instance

if TYPE_CHECKING:
    from .records import Record, Snapshot


class Storage(Protocol):
    """What all kinds can do."""

    def create(self, instance: Instance) -> None: ...
    def snapshot(self, instance: Instance, snapshot: Snapshot) -> None: ...
    def copy(self, source: Snapshot, target: Snapshot) -> None: ...
    def restore(
        self, snapshot: Snapshot, instance: Instance, keeps_slots: bool = ..., seed_error: int | None = ...
    ) -> None: ...
    def delete(self, record: Record) -> None: ...
    def read(self, record: Record) -> str | None: ...
    def write(self, instance: Instance, text: str) -> None: ...
    def socket_path(self, instance: Instance) -> str | None: ...
    def admit_replication(self, instance: Instance) -> None: ...
    def stop(self, instance: Instance) -> None: ...
    def start(self, instance: Instance) -> None: ...
    def set_password(self, instance: Instance, password: str) -> None: ...
    def replicate(self, source: Instance, replica: Instance) -> None: ...
    def promote(self, replica: Instance, position: str = ..., wall_seconds: float = ...) -> bool: ...
    def detach(self, replica: Instance) -> None: ...
    def external_replication(self, instance: Instance) -> str | None: ...
    def guardrail(self, replica: Instance, long_write_seconds: float) -> str | None: ...
    def freeze(self, instance: Instance) -> str: ...
    def thaw(self, instance: Instance) -> None: ...
    def close(self) -> None: ...


class FileStorage:
    """The data of an instance or a snapshot is a text, made at creation and carried by copies."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    def create(self, instance: Instance) -> None:
        self._write(instance, f"{instance.fields['DbiResourceId']} {uuid.uuid4()}")

    def snapshot(self, instance: Instance, snapshot: Snapshot) -> None:
        self._copy(instance, snapshot)

    def copy(self, source: Snapshot, target: Snapshot) -> None:
        self._copy(source, target)

    def restore(
        self, snapshot: Snapshot, instance: Instance, _keeps_slots: bool = True, _seed_error: int | None = 0
    ) -> None:
        self._copy(snapshot, instance)

    def delete(self, record: Record) -> None:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self._directory / record.data_name)

    def read(self, record: Record) -> str | None:
        """The data, or None while they are being made; a replica's are those of its source."""
        while isinstance(record, Instance) and record.follows:
            record = record.follows
        with contextlib.suppress(FileNotFoundError):
            return (self._directory / record.data_name / "data").read_text()
        return None

    def write(self, instance: Instance, text: str) -> None:
        """Stands for a client's write: only instances are written to."""
        if instance.follows or instance.is_frozen:
            raise ValueError(f"{instance.identifier} is read-only")
        self._write(instance, text)

    def socket_path(self, instance: Instance) -> str | None:  # noqa: ARG002 (as of a server)
        """No server, so nothing to forward an endpoint to."""
        return None

    def admit_replication(self, instance: Instance) -> None:
        pass

    def stop(self, instance: Instance) -> None:
        pass

    def start(self, instance: Instance) -> None:
        pass

    def set_password(self, instance: Instance, _password: str) -> None:
        pass

    # ---- replicas; nothing replicates here, so there is nothing to catch up with

    def replicate(self, source: Instance, replica: Instance) -> None:
        self._copy(source, replica)
        replica.follow(source)

    def promote(self, replica: Instance, _position: str = "", _wall_seconds: float = 0) -> bool:
        self.detach(replica)
        return True

    def detach(self, replica: Instance) -> None:
        if replica.follows:
            if (data := self.read(replica)) is not None:
                self._write(replica, data)
            replica.unfollow()

    def external_replication(self, instance: Instance) -> str | None:  # noqa: ARG002
        return None

    def guardrail(self, _replica: Instance, _long_write_seconds: float) -> str | None:
        return None

    def freeze(self, instance: Instance) -> str:
        instance.is_frozen = True
        return ""

    def thaw(self, instance: Instance) -> None:
        instance.is_frozen = False

    def close(self) -> None:
        pass

    def _copy(self, source: Record, target: Record) -> None:
        self._write(target, self.read(source))

    def _write(self, record: Record, text: str | None) -> None:
        directory = self._directory / record.data_name
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "data").write_text(text or "")
