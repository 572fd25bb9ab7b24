"""Judges the functions' calls of S3, which ministack answers, by their roles; the rest of S3 is ministack's.

Service Authorization Reference: GetObject and PutObject ask for the object's ARN. With a customer key on the bucket S3
asks KMS in the caller's name, with a bucket key for the bucket alone (S3 User Guide, "Reducing the cost of SSE-KMS with
Amazon S3 Bucket Keys": the encryption context is the bucket's ARN).
"""

from typing import Any

from ministack.services import s3
from ministack.services.cloudformation import provisioners

import ministack_patches as patches

BUCKET = "AWS::S3::Bucket"
# What a method does to an object, and what that asks of the key.
ACTIONS = {"GET": ("s3:GetObject", "kms:Decrypt"), "PUT": ("s3:PutObject", "kms:GenerateDataKey")}

original_handle_request = s3.handle_request
original_create = provisioners._RESOURCE_HANDLERS[BUCKET]["create"]

# The customer keys of buckets, by name.
keys: dict[str, str] = {}


def apply() -> None:
    s3.handle_request = handle_request
    provisioners._RESOURCE_HANDLERS[BUCKET]["create"] = create


def create(logical_id: str, properties: dict[str, Any], stack_name: str) -> Any:
    """ministack forgets BucketEncryption."""
    name, attributes = original_create(logical_id, properties, stack_name)
    rules = (properties.get("BucketEncryption") or {}).get("ServerSideEncryptionConfiguration", [{}])
    key = rules[0].get("ServerSideEncryptionByDefault", {}).get("KMSMasterKeyID")
    if key:
        keys[name] = key
    return name, attributes


async def handle_request(
    method: str, path: str, headers: dict[str, str], body: bytes, query_params: Any, **rest: Any
) -> Any:
    denied = await patches.denial(headers, lambda: asks_of(method, path))
    if denied:
        return s3._error("AccessDenied", denied[1], 403, path)
    return await original_handle_request(method, path, headers, body, query_params, **rest)


def asks_of(method: str, path: str) -> list[dict[str, Any]]:
    bucket = path.strip("/").split("/")[0]
    action, of_the_key = ACTIONS[method]
    asks: list[dict[str, Any]] = [{"action": action, "resource": f"arn:aws:s3:::{path.strip('/')}"}]
    if key := keys.get(bucket):
        context = {"kms:EncryptionContext:aws:s3:arn": f"arn:aws:s3:::{bucket}"}
        asks.append({"action": of_the_key, "resource": key, "context": context})
    return asks
