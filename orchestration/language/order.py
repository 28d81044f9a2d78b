"""Which step waits for which: none for itself."""

from collections.abc import Mapping

from .draft import Draft


def check_order(draft: Draft) -> None:
    told: set[str] = set()
    ancestors = draft.ancestors
    for name in draft.steps:
        if name in ancestors[name] and name not in told:
            cycle = _cycle(name, draft.needs)
            told |= {*cycle, *(other for other in ancestors[name] if name in ancestors[other])}
            message = f"These steps wait for each other: {' -> '.join(cycle)}."
            draft.find(["steps", name, "needs"], "cycle", message, "Take one need out.")


def in_order(draft: Draft) -> list[str]:
    """The steps, those needed first, so that their outputs are known when others read them."""
    return sorted(draft.steps, key=lambda name: len(draft.ancestors[name]))


def _cycle(start: str, edges: Mapping[str, list[str]]) -> list[str]:
    """The shortest way from a step back to itself."""
    ways = [[start, name] for name in edges[start]]
    seen = set(edges[start])
    for way in ways:
        if way[-1] == start:
            return way
        for name in edges[way[-1]]:
            if name not in seen or name == start:
                seen.add(name)
                ways.append([*way, name])
    return [start]
