"""Mends of moto's KMS: a key's usage has a default, the keys behind alias/aws/… are AWS's, one of each.

Calls that concern a key are noted with it, as those of RDS are with their instances and snapshots.
"""

import threading

from moto.kms.models import KmsBackend

from rds import calls

_lock = threading.Lock()


def install():
    create = KmsBackend.create_key

    def create_key(self, policy, key_usage, *arguments, **options):
        # "The default value is ENCRYPT_DECRYPT" (API model, CreateKey).
        return create(self, policy, key_usage or "ENCRYPT_DECRYPT", *arguments, **options)

    describe = KmsBackend.describe_key

    def describe_key(self, key_id):
        key = describe(self, key_id)
        calls.touch(key.arn, "kms")
        return key

    lookup = KmsBackend.get_key_id_from_alias

    def key_id_from_alias(self, alias_name):
        # moto makes the key at its first mention; two mentions at once would make two.
        with _lock:
            key_id = lookup(self, alias_name)
        if key_id and alias_name.startswith("alias/aws/"):
            self.keys[key_id].key_manager = "AWS"
        return key_id

    KmsBackend.create_key = create_key
    KmsBackend.describe_key = describe_key
    KmsBackend.get_key_id_from_alias = key_id_from_alias
