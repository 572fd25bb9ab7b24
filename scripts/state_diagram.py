#!/usr/bin/env python3
"""Draws the state machines into a Markdown file, as Mermaid flowcharts.

    scripts/state_diagram.py docs/machines.md            redraws
    scripts/state_diagram.py --check docs/machines.md    fails if a drawing is out of date

The drawing goes between these lines, of which the first names the state machine:

    <!-- state diagram of statemachine/encrypt-instance.asl.json -->
    <!-- end of state diagram -->

What would drown the picture is folded: a polling loop (a Task, the Choice that looks at its
answer, the Wait that leads back) is one node, and states whose failures go to the same place
share one box with one dotted edge.
"""

import json
import pathlib
import re
from typing import Any

from generated import write_or_check

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
DRAWING = re.compile(
    r"(?P<begin><!-- state diagram of (?P<file>\S+) -->\n).*?(?P<end><!-- end of state diagram -->)", re.DOTALL
)
# Text and outline keep their contrast on GitHub's light and dark pages alike.
STYLES = """\
    classDef success fill:#2da44e,stroke:#1a7f37,color:#fff
    classDef failure fill:#cf222e,stroke:#a40e26,color:#fff
    classDef question fill:#ddf4ff,stroke:#0969da,color:#1f2328
"""
SHAPES = {"Choice": '{{"%s"}}', "Succeed": '(["%s"])', "Fail": '(["%s"])', "Pass": '["%s"]', "Task": '["%s"]'}
CLASSES = {"Choice": "question", "Succeed": "success", "Fail": "failure"}
OPERATORS = {
    "Equals": "is",
    "Matches": "is like",
    "LessThan": "<",
    "LessThanEquals": "≤",
    "GreaterThan": ">",
    "GreaterThanEquals": "≥",
}

# A state or a whole machine, as the States Language writes it, and where each state goes: [(label, target)].
State = dict[str, Any]
Edges = dict[str, list[tuple[str, str]]]


def draw(machine: State) -> str:
    states = machine["States"]
    edges = ordinary_edges(states)
    groups = failure_groups(states, edges)
    fold_loops(states, edges)
    boxes = {target: members & edges.keys() for target, members in groups.items()}
    boxed = {name for members in boxes.values() if len(members) > 1 for name in members}

    lines = ["flowchart TD", f"    start((start)) --> {machine['StartAt']}"]
    for target, members in boxes.items():
        if len(members) > 1:
            lines.append(f'    subgraph failures_to_{target}[" "]')
            lines += [f"        {node(name, states)}" for name in edges if name in members]
            lines.append("    end")
    lines += [f"    {node(name, states)}" for name in edges if name not in boxed]
    for name, targets in edges.items():
        lines += [f"    {name} {arrow(label)} {target}" for label, target in targets]
    for target, members in boxes.items():
        source = f"failures_to_{target}" if len(members) > 1 else next(iter(members))
        lines.append(f"    {source} -. any failure .-> {target}")
    return "\n".join(lines) + "\n" + STYLES


def node(name: str, states: dict[str, State]) -> str:
    state = states[name]
    each = [f"each: {inner}" for inner in state.get("ItemProcessor", {}).get("States", {})]
    beside = [f"at once: {', '.join(branch['States'])}" for branch in state.get("Branches", [])]
    label = "<br>".join([name, *state.get("Folded", []), *each, *beside])
    shape = SHAPES.get(state["Type"], '[["%s"]]') % label
    return f"{name}{shape}" + (f":::{CLASSES[state['Type']]}" if state["Type"] in CLASSES else "")


def arrow(label: str) -> str:
    return f'-- "{label}" -->' if label else "-->"


def ordinary_edges(states: dict[str, State]) -> Edges:
    """Where each state goes when nothing fails."""
    edges: Edges = {}
    for name, state in states.items():
        if state["Type"] == "Choice":
            targets = [choice["Next"] for choice in state["Choices"]]
            edges[name] = list(zip(labels(state["Choices"]), targets, strict=True))
            if "Default" in state:
                is_yes_or_no = [label for label, _ in edges[name]] == ["yes"]
                edges[name].append(("no" if is_yes_or_no else "otherwise", state["Default"]))
        elif "Next" in state:
            is_caught = state["Next"] in caught_by(state, "States.ALL")
            edges[name] = [("even if it fails" if is_caught else "", state["Next"])]
        else:
            edges[name] = []
    return edges


def caught_by(state: State, error: str | None = None) -> list[str]:
    """Where its failures lead, or one of them."""
    return [catcher["Next"] for catcher in state.get("Catch", []) if error is None or error in catcher["ErrorEquals"]]


def labels(rules: list[dict[str, Any]]) -> list[str]:
    """The conditions of one Choice; where several would say yes, each by what it asks for."""
    described = [describe(rule) for rule in rules]
    if len(set(described)) == len(described):
        return described
    return [words if words != "yes" else variable_of(rule) for words, rule in zip(described, rules, strict=True)]


def describe(rule: dict[str, Any]) -> str:
    """A Choice's condition in a few words; a test for true needs no more than yes."""
    for word in ("And", "Or"):
        if word in rule:
            return f" {word.lower()} ".join(describe(inner) for inner in rule[word])
    if "Not" in rule:
        return f"not {describe(rule['Not'])}"
    variable = variable_of(rule)
    operator, value = next((key, rule[key]) for key in rule if key not in ("Variable", "Next", "Comment"))
    if operator == "BooleanEquals":
        return "yes" if value else "no"
    if operator.startswith("Is"):
        is_given = value != (operator == "IsNull")
        return f"{variable} is {'given' if is_given else 'not given'}"
    comparison = re.sub(r"^(String|Numeric|Timestamp|Boolean)|Path$", "", operator)
    return f"{variable} {OPERATORS.get(comparison, comparison)} {str(value).removeprefix('$.')}"


def variable_of(rule: dict[str, Any]) -> str:
    return str(rule["Variable"].split(".")[-1])


def fold_loops(states: dict[str, State], edges: Edges) -> None:
    """Takes Waits, and Choices that only look at one Task's answer, out of the edges."""
    for wait in [name for name in edges if states[name]["Type"] == "Wait"]:
        sources = sources_of(wait, edges)
        if len(sources) != 1 or states[sources[0]]["Type"] != "Choice":
            continue
        choice, task = sources[0], states[wait]["Next"]
        del edges[wait]
        edges[choice] = [
            (f"{label}: {wait}", task) if target == wait else (label, target) for label, target in edges[choice]
        ]
        if sources_of(choice, edges) == [task] and states[task]["Type"] == "Task":
            # One way out needs no label: the loop's edge says what else can happen.
            ways_out = [target for _, target in edges[choice] if target != task]
            edges[task] = [
                (wait if target == task else "" if len(ways_out) == 1 else label, target)
                for label, target in edges.pop(choice)
            ]
            states[task]["Folded"] = [f"{choice}?"]


def sources_of(name: str, edges: Edges) -> list[str]:
    return [source for source, targets in edges.items() if any(target == name for _, target in targets)]


def failure_groups(states: dict[str, State], edges: Edges) -> dict[str, set[str]]:
    """The states whose failures are caught by the same state, by that state."""
    home: dict[str, str] = {}
    for name, state in states.items():
        if caught_by(state) and caught_by(state)[-1] != state.get("Next"):
            home[name] = caught_by(state)[-1]
    # What can only be reached from a box belongs into it.
    grew = True
    while grew:
        grew = False
        for name, state in states.items():
            sources = sources_of(name, edges)
            homes = {home.get(source) for source in sources}
            if name not in home and state["Type"] in ("Choice", "Pass") and len(homes) == 1 and sources[0] in home:
                home[name] = home[sources[0]]
                grew = True
    groups: dict[str, set[str]] = {}
    for name in states:
        if name in home:
            groups.setdefault(home[name], set()).add(name)
    return groups


def redraw(drawing: re.Match[str]) -> str:
    machine = json.loads((REPOSITORY / drawing["file"]).read_text())
    return f"```mermaid\n{draw(machine)}```\n"


def main() -> None:
    write_or_check(__doc__, DRAWING, redraw)


if __name__ == "__main__":
    main()
