"""Mends of moto's KMS: a key's usage has a default, the keys behind alias/aws/… are AWS's, one of each.

Calls that concern a key are noted with it, as those of RDS are with their instances and snapshots.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from moto.kms.models import KmsBackend

from rds import calls

if TYPE_CHECKING:
    from moto.kms.models import Key

_lock = threading.Lock()


def install() -> None:
    create = KmsBackend.create_key

    def create_key(self: KmsBackend, policy: str, key_usage: str | None, *arguments: Any, **options: Any) -> Key:
        # "The default value is ENCRYPT_DECRYPT" (API model, CreateKey).
        return create(self, policy, key_usage or "ENCRYPT_DECRYPT", *arguments, **options)

    describe = KmsBackend.describe_key

    def describe_key(self: KmsBackend, key_id: str) -> Key:
        key = describe(self, key_id)
        calls.touch(key.arn, "kms")
        return key

    lookup = KmsBackend.get_key_id_from_alias

    def key_id_from_alias(self: KmsBackend, alias_name: str) -> str | None:
        # moto makes the key at its first mention; two mentions at once would make two.
        with _lock:
            key_id = lookup(self, alias_name)
        if key_id and alias_name.startswith("alias/aws/"):
            self.keys[key_id].key_manager = "AWS"
        return key_id

    KmsBackend.create_key = create_key  # type: ignore[assignment,method-assign]
    KmsBackend.describe_key = describe_key  # type: ignore[method-assign]
    KmsBackend.get_key_id_from_alias = key_id_from_alias  # type: ignore[method-assign]
