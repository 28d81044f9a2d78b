"""Random definitions."""

from typing import Any

from hypothesis import strategies as st

from orchestration.engine.connection import decoded

LARGEST = 8
STATUSES = ["completed", "failed", "skipped"]


@st.composite
def definitions(draw, name, largest, kinds):
    """{name: step} of a definition: each needs some before it, and reads some that it needs, directly or not."""
    steps: dict[str, Any] = {}
    above: dict[str, set[str]] = {}
    for number in range(draw(st.integers(1, largest))):
        step = f"s{number}"
        earlier = sorted(above)
        needs = sorted(draw(st.sets(st.sampled_from(earlier), max_size=3))) if earlier else []
        above[step] = set(needs).union(*(above[need] for need in needs))
        upward = st.sampled_from(sorted(above[step]))
        read = {
            other: f"${{{{ steps.{other}.output }}}}"
            for other in (draw(st.lists(upward, unique=True, max_size=2)) if needs else [])
        }
        kind = draw(st.sampled_from(kinds))
        spec: dict[str, Any] = {"needs": needs}
        if kind == "approval":
            spec["approval"] = {"title": step, "show": {"note": step, "read": read}, "editable": "/note"}
            if needs and draw(st.booleans()):
                spec["approval"]["retry"] = draw(st.lists(upward, unique=True, min_size=1, max_size=2))
            if then := draw(st.sampled_from([None, "continue", "abort"])):
                spec["approval"]["deadline"] = {"after": "1h", "then": then}
        else:
            spec["agent"] = kind
            spec["with"] = {} if kind == "boss" else {"read": read}
            spec["retry"] = {"attempts": draw(st.integers(1, 3)), "backoff": "1h"}
            spec["repeatable"] = draw(st.booleans())
            spec |= {"timeout": "1h"} if kind == "boss" else {}
        if draw(st.booleans()):
            spec["deliverable"] = {"name": step, "content": step}
        if needs and draw(st.integers(0, 2)) == 0:
            other, sign = draw(st.sampled_from(needs)), draw(st.sampled_from(["==", "!="]))
            status = draw(st.sampled_from(STATUSES))
            spec["if"] = f"steps.{other}.status {sign} '{status}'"
        steps[step] = spec
    output = {step: f"${{{{ steps.{step}.output }}}}" for step in steps}
    return {"name": name, "steps": steps, **({"output": output} if draw(st.booleans()) else {})}


def shown(step):
    """The steps whose outputs a step hands to its agent, or shows."""
    return sorted((step.get("with") or step.get("approval", {}).get("show") or {}).get("read", {}))


def specs_of(version):
    """As the model takes them."""
    plan, given = version.plan, decoded(version.text)["steps"]
    specs = [
        {
            **{name: step[name] for name in ("name", "kind", "needs", "agent")},
            "reads": sorted({*step["reads"], *(n for n in step["needs"] if "approval" in given[n])}),
            "tolerant": step["reads_status"],
            "repeatable": step["repeatable"] is not False,
            "deliverable": step["deliverable"] is not None,
            "attempts": step["retry"]["attempts"],
            "if": given[step["name"]].get("if"),
            "again": (step["approval"] or {}).get("retry"),
            "deadline": ((step["approval"] or {}).get("deadline") or {}).get("then"),
            "shown": shown(given[step["name"]]),
        }
        for step in plan["steps"]
    ]
    if plan["output"] is not None:
        needed = {name for spec in specs for name in spec["needs"]}
        leaves = [spec["name"] for spec in specs if spec["name"] not in needed]
        reads = plan["output_reads"]
        last = {"name": "", "kind": "output", "needs": leaves, "reads": reads, "shown": reads}
        specs.append({**last, "agent": None, "tolerant": True, "repeatable": True, "deliverable": False, "if": None})
    return specs
