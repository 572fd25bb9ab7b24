"""IAM of the local cloud: what a deployed function's role does not allow is denied as AWS denies it.

`asks` says what AWS asks of the caller's role for a call, `roles` whether a role allows it, `tags` which tags
count, and `guard` brings them together. A call is tied to its function by AWS_SDK_UA_APP_ID, which the SDK puts
into the User-Agent; calls without one (the tests' own, the command line's) are the account's owner's and not judged.
"""

import re
from urllib.parse import unquote


def app_id(*user_agents: str) -> str | None:
    """AWS_SDK_UA_APP_ID of the caller: which function made the call."""
    found = re.search(r"(?:^|\s)app/(\S+)", " ".join(user_agents))
    return unquote(found.group(1)) if found else None
