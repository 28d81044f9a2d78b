"""Definitions that run each other in a circle, on which nothing could end it."""

from collections.abc import Collection, Mapping
from typing import Any

from .draft import Draft, follows, reachable

# Of a step: whether it, or what needs it, runs at all is decided there.
WAYS_OUT = ("if", "map", "choose", "approval", "wait")


def long_form(run: Any) -> dict[str, Any]:
    """What a step's `run` says."""
    return run if isinstance(run, dict) else {"definition": run}


def always_run(steps: Mapping[str, Mapping[str, Any]], needs: Mapping[str, Collection[str]]) -> dict[str, str]:
    """The definitions that these steps run whatever happens, the newest version of each."""
    passed_by = {name for name, step in steps.items() if any(step.get(way) is not None for way in WAYS_OUT)}
    passed_by |= {target for step in steps.values() for target in follows(step)}
    found = {}
    for name, step in steps.items():
        said = long_form(step.get("run"))
        target = None if "version" in said else said.get("definition")
        if isinstance(target, str) and passed_by.isdisjoint({name} | reachable(name, needs)):
            found[name] = target
    return found


def circle_through(draft: Draft, name: str) -> list[str] | None:
    """The way from the definition back to itself that begins with this step: a name and those after it."""
    own, first = draft.root.value.get("name"), always_run(draft.steps, draft.needs).get(name)
    ways = [[own, first]] if first else []
    seen = {first}
    for way in ways:
        if way[-1] == own:
            return way
        facts = draft.definitions.get(way[-1])
        for target in sorted(facts.runs) if facts else ():
            if target not in seen:
                seen.add(target)
                ways.append([*way, target])
    return None
