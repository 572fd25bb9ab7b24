"""Judges the functions' calls of Secrets Manager, which ministack answers, by their roles; the rest is ministack's.

Service Authorization Reference: every action of a secret asks for its ARN, with the secret's tags. What a customer key
encrypts is decrypted with the caller's permissions (Secrets Manager User Guide, "Secret encryption and decryption").
"""

import json
from typing import Any

from ministack.core.responses import error_response_json, get_account_id, get_region
from ministack.services import secretsmanager

import ministack_patches as patches

original_handle_request = secretsmanager.handle_request


def apply() -> None:
    secretsmanager.handle_request = handle_request


async def handle_request(method: str, path: str, headers: dict[str, str], body: bytes, query_params: Any) -> Any:
    operation = headers.get("x-amz-target", "").split(".")[-1]
    denial = await patches.denial(headers, lambda: asks_of(operation, json.loads(body or "{}")))
    if denial:
        return error_response_json(denial[0] or "AccessDeniedException", denial[1], 400)
    return await original_handle_request(method, path, headers, body, query_params)


def asks_of(operation: str, request: dict[str, Any]) -> list[dict[str, Any]]:
    name = request.get("SecretId") or request.get("Name")
    if name is None:
        return [{"action": f"secretsmanager:{operation}", "resource": "*"}]
    _, secret = secretsmanager._resolve(name)
    if secret is None:
        arn = f"arn:aws:secretsmanager:{get_region()}:{get_account_id()}:secret:{name}"
        return [{"action": f"secretsmanager:{operation}", "resource": name if name.startswith("arn:") else arn}]
    tags = {
        f"{prefix}:ResourceTag/{tag['Key']}": tag["Value"]
        for tag in secret["Tags"]
        for prefix in ("aws", "secretsmanager")
    }
    asks = [{"action": f"secretsmanager:{operation}", "resource": secret["ARN"], "context": tags}]
    key = secret["KmsKeyId"] or ""
    # Named by its ARN: which key another name stands for, only the other process knows.
    if operation == "GetSecretValue" and key.startswith("arn:"):
        context = {
            "kms:ViaService": f"secretsmanager.{get_region()}.amazonaws.com",
            "kms:EncryptionContext:SecretARN": secret["ARN"],
        }
        denial = ["AccessDeniedException", "Access to KMS is not allowed"]
        asks.append({"action": "kms:Decrypt", "resource": key, "context": context, "denial": denial})
    return asks
