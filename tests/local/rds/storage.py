"""What lies behind the records: a small directory of files where no database server is wanted.

`PostgresStorage` in `postgres.py` has the same methods. Each record owns one directory, named after
something that a rename does not change.
"""

import contextlib
import shutil
import uuid


class FileStorage:
    """The data of an instance or a snapshot is a text, made at creation and carried by copies."""

    def __init__(self, directory):
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    def create(self, instance):
        self._write(instance, f"{instance.fields['DbiResourceId']} {uuid.uuid4()}")

    def snapshot(self, instance, snapshot):
        self._copy(instance, snapshot)

    def copy(self, source, target):
        self._copy(source, target)

    def restore(self, snapshot, instance):
        self._copy(snapshot, instance)

    def delete(self, record):
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self._directory / record.data_name)

    def read(self, record):
        """The data, or None while they are being made; a replica's are those of its source."""
        while getattr(record, "follows", None):
            record = record.follows
        with contextlib.suppress(FileNotFoundError):
            return (self._directory / record.data_name / "data").read_text()

    def write(self, instance, text):
        """Stands for a client's write: only instances are written to."""
        if instance.follows or instance.is_frozen:
            raise ValueError(f"{instance.identifier} is read-only")
        self._write(instance, text)

    def socket_path(self, _instance):
        """No server, so nothing to forward an endpoint to."""
        return

    def stop(self, _instance):
        pass

    def start(self, _instance):
        pass

    def set_password(self, _instance, _password):
        pass

    # ---- replicas; nothing replicates here, so there is nothing to catch up with

    def replicate(self, source, replica):
        self._copy(source, replica)
        replica.follow(source)

    def promote(self, replica, _position=None, _wall_seconds=0):
        self.detach(replica)
        return True

    def detach(self, replica):
        if replica.follows:
            if (data := self.read(replica)) is not None:
                self._write(replica, data)
            replica.unfollow()

    def external_replication(self, _instance):
        return None

    def guardrail(self, _replica, _long_write_seconds):
        return None

    def freeze(self, instance):
        instance.is_frozen = True

    def thaw(self, instance):
        instance.is_frozen = False

    def close(self):
        pass

    def _copy(self, source, target):
        self._write(target, self.read(source))

    def _write(self, record, text):
        directory = self._directory / record.data_name
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "data").write_text(text)
