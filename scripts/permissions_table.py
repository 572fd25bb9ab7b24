#!/usr/bin/env python3
"""Writes the permissions that template.yaml gives into a Markdown file, as a table.

    scripts/permissions_table.py docs/permissions.md            writes the table anew
    scripts/permissions_table.py --check docs/permissions.md    fails if the table is out of date

The table goes between these lines:

    <!-- permissions of template.yaml -->
    <!-- end of permissions -->

cfn-lint reads the template, since YAML alone knows nothing of `!Sub`: run it with the Python of
.local/tools. What SAM adds to the functions' roles by itself is not in the template, so not in the table.
"""

import pathlib
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from cfnlint.decode import cfn_yaml

from generated import write_or_check

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
TABLE = re.compile(
    r"(?P<begin><!-- permissions of template.yaml -->\n).*?(?P<end><!-- end of permissions -->)", re.DOTALL
)
HEAD = "| Role of | May | On | Only if |\n|---|---|---|---|\n"


def main() -> None:
    write_or_check(__doc__, TABLE, lambda _: HEAD + "".join(rows(template()["Resources"])))


def template() -> dict[str, Any]:
    loaded: dict[str, Any] = cfn_yaml.load(str(REPOSITORY / "template.yaml"))
    return loaded


def rows(resources: dict[str, Any]) -> Iterator[str]:
    for name, resource in resources.items():
        allowed: dict[tuple[tuple[str, ...], str], list[str]] = {}
        for statement in statements(resource.get("Properties", {}).get("Policies", [])):
            if statement["Effect"] != "Allow":
                sys.exit(f"{name}: the table has no column for {statement['Effect']}")
            what = (tuple(listed(statement["Action"])), condition(statement.get("Condition", {})))
            allowed.setdefault(what, []).extend(map(shown, listed(statement["Resource"])))
        for (actions, only_if), on in allowed.items():
            yield f"| {name} | {lines(actions)} | {lines(on)} | {only_if} |\n"
            name = ""


def statements(policies: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for policy in policies:
        # A policy under a condition is shown as if that held.
        if "Fn::If" in policy:
            _, policy, _ = policy["Fn::If"]
        # SAM takes a function's policies without the document around them.
        yield from listed(policy.get("PolicyDocument", policy)["Statement"])


def shown(value: str | dict[str, Any]) -> str:
    """A text of the template, an ARN in it without the stack's own Region and account."""
    if isinstance(value, str):
        return value
    ((function, argument),) = value.items()
    if function != "Fn::Sub":
        # The name of a resource; of an attribute, too, the resource says enough.
        return str(argument[0] if function == "Fn::GetAtt" else argument)
    text = re.sub(r"\$\{AWS::(\w+)}", lambda match: f"<{match[1].lower()}>", argument)
    text = re.sub(r"\$\{(\w+)\.Arn}", r"\1", text)
    if not text.startswith("arn:"):
        return text
    _, _, service, _, account, resource = text.split(":", 5)
    if resource == "*":
        return f"{service}:*"
    return resource if account == "<accountid>" else f"{account}:{resource}"


def condition(operators: dict[str, dict[str, Any]]) -> str:
    return "<br>".join(
        f"`{key}` is {expected(operator, value)}" for operator, keys in operators.items() for key, value in keys.items()
    )


def expected(operator: str, value: Any) -> str:
    if operator == "Null":
        return "missing" if value == "true" else "there"
    return " or ".join(f"`{shown(one)}`" for one in listed(value))


def lines(texts: Iterable[str]) -> str:
    return "<br>".join(f"`{text}`" for text in texts)


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


if __name__ == "__main__":
    main()
