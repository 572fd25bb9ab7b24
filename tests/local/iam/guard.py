"""Stands between the functions' calls and the services."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .asks import Ask, Asks
from .roles import Denial, Role
from .tags import Tags

if TYPE_CHECKING:
    from rds.calls import Call
    from rds.cloud import Cloud


class Guard:
    """Judges a call before it has an effect, and looks afterwards at the tags that it may have changed."""

    def __init__(self, cloud: Cloud) -> None:
        self._tags = Tags(cloud.clock)
        self._asks = Asks(cloud, self._tags)
        # Of the deployed functions, by their AWS_SDK_UA_APP_ID.
        self.roles: dict[str | None, Role] = {}

    def learn(self, roles: dict[str, Any]) -> None:
        """{app id: {"principal": ARN, "policies": [document, …]}}, instead of what was known."""
        self.roles = {app_id: Role(**role) for app_id, role in roles.items()}

    def denial(self, call: Call) -> Denial | None:
        role = self.roles.get(call.app_id)
        return role.denial(self._asks.of_call(call)) if role else None

    def may(self, app_id: str, action: str, resource: str) -> bool:
        """For what is no call of a service: a login by a token."""
        role = self.roles.get(app_id)
        return not (role and role.denial([Ask(action, resource)]))

    def look_after(self, call: Call) -> None:
        for record in call.records:
            # Of other services' resources a call notes the ARN alone.
            if not isinstance(record, str):
                self._tags.note(record, is_new=record is call.added)
