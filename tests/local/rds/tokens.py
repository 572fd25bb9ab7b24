"""IAM database authentication: who is granted rds_iam sends a token in the place of a password.

RDS User Guide, "IAM database authentication": a token is a presigned request (Signature Version 4) for the host, port
and user of the connection, and lives for 15 minutes; the instance must have IAMDatabaseAuthenticationEnabled; and
whoever signed it needs rds-db:connect on the user of the instance's DbiResourceId [A109]. It goes as it is, so over
TLS alone.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from .network import processes_with_connection

if TYPE_CHECKING:
    from .records import Records

# What everybody signs with here.
SECRET_KEY = "local"
LIFETIME_SECONDS = 900
# What tells the functions apart, as in their calls.
APP_ID = b"AWS_SDK_UA_APP_ID="


class Tokens:
    """Judges a login by a token. `may(app id, action, resource)` asks the role of the function that logs in."""

    def __init__(self, records: Records, region: str, account_id: str, may: Callable[[str, str, str], bool]) -> None:
        self._records, self._may = records, may
        self._users = f"arn:aws:rds-db:{region}:{account_id}:dbuser"

    def refusal(self, identifier: str, endpoint: tuple[str, int], client_port: int, user: str, token: str) -> str:
        """Why the user may not log in at this endpoint of the instance; empty if he may."""
        instance = self._records.instances.get(identifier)
        if instance is None or not instance.fields.get("IAMDatabaseAuthenticationEnabled"):
            return "the instance has no IAM database authentication"
        if problem := _problem(token, f"{endpoint[0]}:{endpoint[1]}", user):
            return problem
        resource = f"{self._users}:{instance.fields['DbiResourceId']}/{user}"
        callers = map(_app_id, processes_with_connection(client_port, endpoint[1], _app_id))
        denied = any(caller and not self._may(caller, "rds-db:connect", resource) for caller in callers)
        return f"rds-db:connect on {resource} is not allowed" if denied else ""


def _problem(token: str, host: str, user: str) -> str:
    url = urllib.parse.urlsplit(f"https://{token}")
    query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
    signature = query.pop("X-Amz-Signature", "")
    if url.netloc != host:
        return f"the token is for {url.netloc}, and this is {host}"
    if (query.get("Action"), query.get("DBUser")) != ("connect", user):
        return f"the token is not for the user {user}"
    try:
        scope = query["X-Amz-Credential"].split("/")[1:]
        signed_at = datetime.datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%S%z")
        lifetime = int(query["X-Amz-Expires"])
    except (KeyError, ValueError):
        return "it is no token"
    age = (datetime.datetime.now(datetime.timezone.utc) - signed_at).total_seconds()
    if not -LIFETIME_SECONDS < age < min(lifetime, LIFETIME_SECONDS):
        return "the token has expired"
    if not hmac.compare_digest(signature, _signature(query, scope, host)):
        return "the token's signature is wrong"
    return ""


def _signature(query: dict[str, str], scope: list[str], host: str) -> str:
    """Signature Version 4 ("Create a signed AWS API request", IAM User Guide)."""
    quote = urllib.parse.quote
    canonical_query = "&".join(f"{quote(name, '')}={quote(value, '')}" for name, value in sorted(query.items()))
    nothing = hashlib.sha256(b"").hexdigest()
    request = f"GET\n/\n{canonical_query}\nhost:{host}\n\nhost\n{nothing}"
    hashed = hashlib.sha256(request.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{query['X-Amz-Date']}\n{'/'.join(scope)}\n{hashed}"
    key = f"AWS4{SECRET_KEY}".encode()
    for part in [*scope, text]:
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key.hex()


def _app_id(process_id: int) -> str:
    try:
        environment = Path(f"/proc/{process_id}/environ").read_bytes().split(b"\0")
    except OSError:
        return ""
    return next((line[len(APP_ID) :].decode() for line in environment if line.startswith(APP_ID)), "")
