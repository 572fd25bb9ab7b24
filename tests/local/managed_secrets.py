"""Keeps the master passwords that RDS manages in Secrets Manager, which the first process answers."""

import json
import urllib.request

# As botocore signs; who asks is told by the access key.
AUTHORIZATION = (
    "AWS4-HMAC-SHA256 Credential={}/20260101/{}/secretsmanager/aws4_request, SignedHeaders=host, Signature=0"
)


class ManagedSecrets:
    def __init__(self, endpoint: str, account: str, region: str) -> None:
        self._endpoint = endpoint
        self._headers = {
            "Authorization": AUTHORIZATION.format(account, region),
            "Content-Type": "application/x-amz-json-1.1",
            "X-Amz-Target": "secretsmanager.CreateSecret",
        }
        # Loopback never goes through a proxy.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def keep(self, name: str, key: str | None, user: str, password: str) -> None:
        """RDS User Guide, "Password management with Amazon RDS and AWS Secrets Manager": a user and a password. The key
        is a customer's, or None."""
        request = {"Name": name, "SecretString": json.dumps({"username": user, "password": password})}
        if key:
            request["KmsKeyId"] = key
        call = urllib.request.Request(self._endpoint, json.dumps(request).encode(), self._headers)
        self._opener.open(call, timeout=10).close()
