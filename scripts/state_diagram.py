#!/usr/bin/env python3
"""Draws the state machines into a Markdown file, as Mermaid flowcharts.

    scripts/state_diagram.py README.md            redraws
    scripts/state_diagram.py --check README.md    fails if a drawing is out of date

The drawing goes between these lines, of which the first names the state machine:

    <!-- state diagram of statemachine/encrypt-instance.asl.json -->
    <!-- end of state diagram -->

What would drown the picture is folded: a Wait is drawn as the edge that loops back,
and states whose failures go to the same place share one box with one dotted edge.
"""

import argparse
import json
import pathlib
import re
import sys

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
OPERATORS = {"Equals": "is", "Matches": "is like", "LessThan": "<", "LessThanEquals": "≤", "GreaterThan": ">",
             "GreaterThanEquals": "≥"}


def draw(machine):
    states = machine["States"]
    edges = ordinary_edges(states)
    groups = failure_groups(states, edges)
    drawn = [name for name in states if not is_folded(name, states, edges)]

    lines = ["flowchart TD", f"    start((start)) --> {machine['StartAt']}"]
    for target, members in groups.items():
        lines.append(f'    subgraph failures_to_{target}[" "]')
        lines += [f"        {node(name, states[name])}" for name in drawn if name in members]
        lines.append("    end")
    grouped = set().union(*groups.values())
    lines += [f"    {node(name, states[name])}" for name in drawn if name not in grouped]
    for name in drawn:
        lines += [f"    {name} {arrow} {target}" for arrow, target in drawn_edges(name, states, edges)]
    lines += [f"    failures_to_{target} -. any failure .-> {target}" for target in groups]
    return "\n".join(lines) + "\n" + STYLES


def node(name, state):
    shape = SHAPES.get(state["Type"], '[["%s"]]') % name
    return f"{name}{shape}" + (f":::{CLASSES[state['Type']]}" if state["Type"] in CLASSES else "")


def ordinary_edges(states):
    """Where each state goes when nothing fails: [(label, target)]."""
    edges = {}
    for name, state in states.items():
        if state["Type"] == "Choice":
            edges[name] = [(describe(choice), choice["Next"]) for choice in state["Choices"]]
            if "Default" in state:
                is_yes_or_no = [label for label, _ in edges[name]] == ["yes"]
                edges[name].append(("no" if is_yes_or_no else "otherwise", state["Default"]))
        else:
            edges[name] = [("", state["Next"])] if "Next" in state else []
    return edges


def describe(rule):
    """A Choice's condition in a few words; a test for true needs no more than yes."""
    for word in ("And", "Or"):
        if word in rule:
            return f" {word.lower()} ".join(describe(inner) for inner in rule[word])
    if "Not" in rule:
        return f"not {describe(rule['Not'])}"
    variable = rule["Variable"].split(".")[-1]
    operator, value = next((key, rule[key]) for key in rule if key not in ("Variable", "Next", "Comment"))
    if operator == "BooleanEquals":
        return "yes" if value else "no"
    if operator == "IsPresent":
        return f"{variable} is {'there' if value else 'missing'}"
    comparison = re.sub(r"^(String|Numeric|Timestamp|Boolean)|Path$", "", operator)
    return f"{variable} {OPERATORS.get(comparison, comparison)} {str(value).removeprefix('$.')}"


def is_folded(name, states, edges):
    """A Wait that one Choice leads to is drawn as that Choice's edge."""
    sources = [source for source, targets in edges.items() if any(target == name for _, target in targets)]
    return states[name]["Type"] == "Wait" and len(sources) == 1 and states[sources[0]]["Type"] == "Choice"


def drawn_edges(name, states, edges):
    for label, target in edges[name]:
        if is_folded(target, states, edges):
            yield f'-- "{label}: {target}" -->', edges[target][0][1]
        elif label:
            yield f'-- "{label}" -->', target
        else:
            yield "-->", target


def failure_groups(states, edges):
    """The states whose failures are caught by the same state, by that state."""
    caught_by = {
        name: state["Catch"][-1]["Next"] for name, state in states.items() if state.get("Catch")
    }
    # What can only be reached from a box belongs into it.
    grew = True
    while grew:
        grew = False
        for name, state in states.items():
            homes = {caught_by.get(source) for source, targets in edges.items() if name in [t for _, t in targets]}
            if name not in caught_by and state["Type"] in ("Choice", "Pass") and len(homes) == 1 and None not in homes:
                caught_by[name] = homes.pop()
                grew = True
    groups = {}
    for name in states:
        if name in caught_by:
            groups.setdefault(caught_by[name], set()).add(name)
    return groups


def redraw(text):
    def replacement(match):
        machine = json.loads((REPOSITORY / match["file"]).read_text())
        return f"{match['begin']}```mermaid\n{draw(machine)}```\n{match['end']}"

    drawn, count = DRAWING.subn(replacement, text)
    if not count:
        sys.exit(f"no line like this one was found: <!-- state diagram of FILE -->\n\n{__doc__}")
    return drawn


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; fail if a drawing is out of date")
    parser.add_argument("file", type=pathlib.Path)
    arguments = parser.parse_args()
    before = arguments.file.read_text()
    after = redraw(before)
    if arguments.check:
        if after != before:
            sys.exit(f"{arguments.file}: a state diagram is out of date. Run: make diagram")
    elif after != before:
        arguments.file.write_text(after)


if __name__ == "__main__":
    main()
