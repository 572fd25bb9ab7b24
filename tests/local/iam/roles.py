"""Whether a role allows what AWS asks of it, and which parts of the role nothing has needed yet.

ministack's evaluator does the comparing (wildcards, conditions). Here it sees one action, one resource and one
value of each condition at a time, so that each can be told to be used or not.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from ministack.core.iam_actions import identity_denial_message
from ministack.core.iam_evaluator import EvalContext, ParsedStatement, evaluate, parse_policy_document

from .asks import Ask

# Code and message; without a code, the code is the service's own for access that is denied.
Denial = tuple[str | None, str]


class Role:
    """A role of a function, from the policies that the deployed stack gives it."""

    def __init__(self, principal: str, policies: list[dict[str, Any]]) -> None:
        self.principal = principal
        statements = [statement for policy in policies for statement in _listed(policy["Statement"])]
        self._grants = [grant for number, statement in enumerate(statements) for grant in _grants(number, statement)]
        # Actions, resources and values of conditions that no ask has needed.
        self.unused = {part for grant in self._grants for part in grant.parts}
        # What it was asked for in vain, but for a tag of the resource, which may come or was there.
        self.refused: set[str] = set()
        self._decided: dict[Ask, Denial | None] = {}

    def denial(self, asks: Iterable[Ask]) -> Denial | None:
        """Of the first ask that it does not allow."""
        return next(filter(None, map(self._decision, asks)), None)

    def forget_refusals(self) -> None:
        """So that the next one in vain is told again, even if it is the same."""
        self.refused.clear()
        self._decided = {ask: denial for ask, denial in self._decided.items() if denial is None}

    def _decision(self, ask: Ask) -> Denial | None:
        if ask not in self._decided:
            self._decided[ask] = self._decide(ask)
        return self._decided[ask]

    def _decide(self, ask: Ask) -> Denial | None:
        allowing = [grant for grant in self._grants if grant.allows(self.principal, ask)]
        for grant in allowing:
            self.unused -= grant.parts
        if allowing:
            return None
        message = identity_denial_message(ask.action, self.principal, ask.resource, explicit_deny=False)
        if not any(grant.without_tags().allows(self.principal, ask) for grant in self._grants):
            self.refused.add(message)
        return ask.denial or (None, message)


@dataclasses.dataclass(frozen=True)
class Grant:
    """One action on one resource under one value of each condition, and where in the role's policies it stands."""

    number: int
    action: str
    resource: str
    # (operator, key, value), …
    conditions: tuple[tuple[str, str, str], ...]

    @property
    def parts(self) -> set[str]:
        parts = [("Action", self.action), ("Resource", self.resource), *self.conditions]
        return {f"statement {self.number}: {' '.join(part)}" for part in parts}

    def allows(self, principal: str, ask: Ask) -> bool:
        keys = {key.lower(): list(value) if isinstance(value, tuple) else value for key, value in ask.context}
        account = principal.split(":")[4]
        context = EvalContext(principal, "AssumedRole", account, ask.action, ask.resource, "", service_context=keys)
        return bool(evaluate(context, [self._statements]).decision == "Allow")

    def without_tags(self) -> Grant:
        kept = [condition for condition in self.conditions if not condition[1].lower().startswith("aws:resourcetag/")]
        return dataclasses.replace(self, conditions=tuple(kept))

    @functools.cached_property
    def _statements(self) -> list[ParsedStatement]:
        conditions: dict[str, dict[str, str]] = {}
        for operator, key, value in self.conditions:
            conditions.setdefault(operator, {})[key] = value
        statement = {"Effect": "Allow", "Action": self.action, "Resource": self.resource, "Condition": conditions}
        parsed: list[ParsedStatement] = parse_policy_document({"Statement": statement})
        return parsed


def _grants(number: int, statement: dict[str, Any]) -> Iterator[Grant]:
    """The statement as its single grants, any of which suffices: so it is for what allows and compares for likeness."""
    keys = [
        (operator, key, values)
        for operator, keys in statement.get("Condition", {}).items()
        for key, values in keys.items()
    ]
    negates = any("Not" in operator or operator.startswith("ForAll") for operator, _, _ in keys)
    if negates or statement["Effect"] != "Allow":
        raise ValueError(
            f"the local cloud judges no Deny, and no condition that negates or is for all values: {statement}"
        )
    conditions = [[(operator, key, value) for value in _listed(values)] for operator, key, values in keys]
    for action, resource in itertools.product(_listed(statement["Action"]), _listed(statement["Resource"])):
        for chosen in itertools.product(*conditions):
            yield Grant(number, action, resource, chosen)


def _listed(value: str | list[Any] | dict[str, Any]) -> list[Any]:
    return value if isinstance(value, list) else [value]
