"""Random definitions."""

from typing import Any

from hypothesis import strategies as st

from orchestration.engine.connection import decoded
from orchestration.models.layouts import row_kind, tolerated_by

LARGEST = 8
OVER = [10, 11, 12]  # what maps go over, or the first of it
STATUSES = ["completed", "failed", "skipped"]
TICK_SECONDS = 1200  # of the clock of rates
MAILBOXES = [("paid", ""), ("paid", "k"), ("sent", "")]  # names and keys of events
KEY = "${{ has(input.k) ? input.k : 'z' }}"  # of what starts share
CALLED = ["permanent", "temporary", "timeout"]
OF_CHILDREN = ["child_failed", "child_canceled", "child_rejected"]


@st.composite
def limits(draw, key):
    """What a step says of limits. `key`: the one that all steps of its kind may share."""
    wanted = {}
    most = st.integers(1, 2)
    if count := draw(st.sampled_from([0, 1, 1, 2])):
        keys = [key, None] if draw(st.integers(0, 3)) == 0 else [key, f"{key}2"]
        chosen = draw(st.permutations(keys))[:count]
        wanted["concurrency"] = [{"max": draw(most), **({"key": one} if one else {})} for one in chosen]
    if not wanted or draw(st.integers(0, 2)) == 0:
        most_units = draw(st.integers(1, 3))
        units = {"units": f"${{{{ {draw(st.integers(1, most_units))} }}}}"} if draw(st.booleans()) else {}
        wanted["rate"] = {"key": key, "max": most_units, "per": draw(st.sampled_from(["40m", "1h"])), **units}
    return wanted


@st.composite
def starts(draw):
    """What a definition says of how many of its runs go on at once, and how many begin in a time."""
    key = draw(st.sampled_from([{}, {}, {"key": KEY}]))
    wanted: dict[str, Any] = {}
    if draw(st.integers(0, 4)):
        when_full = draw(st.sampled_from(["queue", "cancel_oldest", "refuse"]))
        wanted["concurrency"] = {"max": draw(st.integers(1, 2)), "when_full": when_full, **key}
    if not wanted or draw(st.integers(0, 2)) == 0:
        per = draw(st.sampled_from(["40m", "1h"]))
        wanted["rate"] = {"max": draw(st.integers(1, 3)), "per": per, **draw(st.sampled_from([{}, key]))}
    return wanted


@st.composite
def retries(draw):
    """How often a call is tried; now and then one of some class less or more often than others."""
    often = st.integers(1, 3)
    classes = draw(st.lists(st.sampled_from(CALLED), unique=True, max_size=1)) if draw(st.integers(0, 2)) == 0 else []
    rules = {error: {"attempts": draw(often)} for error in classes}
    return {"attempts": draw(often), "backoff": "1h", **({"on": rules} if rules else {})}


@st.composite
def together(draw, gathers):
    """What a definition says of starts that follow each other. It `gathers`: lists in their inputs, perhaps."""
    key = draw(st.sampled_from([{}, {"key": KEY}]))
    most = draw(st.sampled_from([{}, {}, {"at_most": "60m"}]))
    wanted = {"debounce": {**key, "for": draw(st.sampled_from(["20m", "40m"])), **most}}
    if gathers and draw(st.booleans()):
        wanted["debounce"]["gather"] = draw(st.integers(2, 4))
        items, k = {"type": "array", "items": {"type": "integer"}}, {"type": "string"}
        wanted["input"] = {"type": "object", "required": ["items"], "properties": {"items": items, "k": k}}
    return wanted | {"labels": {"k": KEY}}


@st.composite
def waits(draw):
    """What a wait says: for a time, for an event, or for whichever comes first."""
    events = [{"event": name, **({"key": key} if key else {})} for name, key in MAILBOXES]
    match draw(st.integers(0, 5)):
        case 0:
            return {"for": "1h"}
        case 1 | 2:
            wait = dict(draw(st.sampled_from(events)))
        case _:
            chosen = draw(st.lists(st.sampled_from(events), unique_by=str, min_size=1, max_size=3))
            wait = {"any": [*chosen, *([{"for": "1h"}] if draw(st.integers(0, 2)) == 0 else [])]}
    return wait | ({"timeout": draw(st.sampled_from(["30m", "2h"]))} if draw(st.booleans()) else {})


@st.composite
def around(draw, given):
    """What stands around a call, if anything: a map or a repeat."""
    match draw(st.integers(0, 7)):
        case 0 | 1:
            given["item"] = "${{ item }}"
            window = draw(st.sampled_from([{}, {"concurrency": 1}, {"concurrency": 2}]))
            return {"map": {"over": OVER[: draw(st.integers(0, 3))], "tolerate": draw(st.integers(0, 2)), **window}}
        case 2:
            return draw(repeats())
    return {}


@st.composite
def repeats(draw):
    until, most = draw(st.integers(0, 2)), draw(st.integers(1, 3))
    return {"repeat": {"until": f"index == {until}", "max": most, "every": draw(st.sampled_from(["0s", "1h"]))}}


@st.composite
def definitions(
    draw, name, largest, kinds, *, most_needs=3, limited=False, hears=False, queues=False, joins=False, gathers=False
):
    """A definition: each step needs some before it, and reads some that it needs, directly or not. Its calls may be
    `limited`, its waits be for events, and its starts have limits of their own (`queues`), or come together (`joins`),
    with their lists (`gathers`)."""
    steps: dict[str, Any] = {}
    above: dict[str, set[str]] = {}
    for number in range(draw(st.integers(1, largest))):
        step = f"s{number}"
        earlier = sorted(above)
        needs = sorted(draw(st.sets(st.sampled_from(earlier), max_size=most_needs))) if earlier else []
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
        elif kind == "wait":
            spec["wait"] = draw(waits()) if hears else {"for": "1h"}
            if hears and draw(st.booleans()):
                spec |= draw(repeats())
        else:
            spec["agent"] = kind
            spec["with"] = {} if kind == "boss" else {"read": read}
            spec["retry"] = draw(retries())
            spec["repeatable"] = draw(st.booleans())
            spec |= {"timeout": "1h"} if kind == "boss" else {}
            spec |= draw(around(spec["with"])) if kind != "boss" or limited else {}
            if limited and draw(st.integers(0, 4)):
                spec |= draw(limits("b" if kind == "boss" else "x"))
        if draw(st.booleans()):
            spec["deliverable"] = {"name": step, "content": step}
        if needs and draw(st.integers(0, 2)) == 0:
            other, sign = draw(st.sampled_from(needs)), draw(st.sampled_from(["==", "!="]))
            status = draw(st.sampled_from(STATUSES))
            spec["if"] = f"steps.{other}.status {sign} '{status}'"
        if len(needs) > 1 and draw(st.integers(0, 3)) == 0:
            wanted = draw(st.integers(1, len(needs)))
            spec["needs"] = {"any": needs} if wanted == 1 else {"of": wanted, "in": needs}
        steps[step] = spec
    choose(draw, steps, above)
    follow_failures(draw, steps, above)
    output = {step: f"${{{{ steps.{step}.output }}}}" for step in steps}
    own = draw(starts()) if queues and (not joins or draw(st.booleans())) else {}
    own |= draw(together(gathers)) if joins else {}
    return {"name": name, **own, "steps": steps, **({"output": output} if draw(st.booleans()) else {})}


def choose(draw, steps, above):
    """Make a choice of a step that several need outright, now and then. No step needs two branches of it."""
    needed = {name: [other for other, spec in steps.items() if name in listed(spec["needs"])] for name in steps}
    forks = [name for name, others in needed.items() if len(others) > 1]
    if not forks or draw(st.integers(0, 2)):
        return
    name = draw(st.sampled_from(forks))
    first, last = needed[name][0], needed[name][-1]
    branch = {"if": draw(st.sampled_from(["round > 1", "true", "false"])), "then": first}
    kept = {key: steps[name][key] for key in ("needs", "if") if key in steps[name]}
    joined = last in above[first] or first in above[last] or any({first, last} <= others for others in above.values())
    steps[name] = {**kept, "choose": [branch, *([] if joined or draw(st.booleans()) else [{"else": last}])]}


def follow_failures(draw, steps, above):
    """Say what follows from failures, by their class too: the run fails, goes on, or has a step done that is there for
    that. Behind such a step lie only those that need nothing beside it, or any one of several."""
    rules: dict[str, dict[str, str]] = {name: {} for name in steps}
    for name in [name for name in steps if listed(steps[name]["needs"])]:
        behind = {name, *(other for other in steps if name in above[other])}
        beside = [set(listed(steps[other]["needs"])) for other in behind - {name}]
        is_apart = all(needs <= behind for needs in beside)
        is_apart = is_apart and not any("of" in steps[other]["needs"] for other in behind)
        needs = steps[name]["needs"]
        free = {need: [one for one in classes_of(steps[need]) if one not in rules[need]] for need in needs}
        if is_apart and all(free.values()) and draw(st.integers(0, 2)) == 0:
            for need in needs:
                rules[need][draw(st.sampled_from(free[need]))] = name
    for name, spec in steps.items():
        for error in draw(st.lists(st.sampled_from(classes_of(spec)), max_size=2)):
            rules[name].setdefault(error, draw(st.sampled_from(["continue", "continue", "fail"])))
        if rules[name]:
            spec["on_failure"] = rules[name].get("else") if len(rules[name]) == 1 else None
            spec["on_failure"] = spec["on_failure"] or rules[name]


def classes_of(step):
    """Those with which it may end; most end with one of the first."""
    if "agent" in step:
        return ["else", *CALLED, *(OF_CHILDREN if step["agent"] == "boss" else ()), "worker_lost"]
    return ["else", *(["timeout"] if "wait" in step else ()), "worker_lost", "permanent"]


def listed(needs):
    return needs if isinstance(needs, list) else []


def shown(step):
    """The steps whose outputs a step hands to its agent, or shows."""
    return sorted((step.get("with") or step.get("approval", {}).get("show") or {}).get("read", {}))


def limits_of(step):
    """As the model takes them, in the order in which they are made."""
    wanted = [
        {
            "kind": kind,
            "key": one["key"],
            "max": one["max"],
            "span": one["per"] / TICK_SECONDS if "per" in one else None,
            "units": int(str(one.get("units", 1)).strip("${} ")),
        }
        for kind, name in (("rate", "rate"), ("steps", "concurrency"))
        for one in step.get(name, ())
    ]
    return sorted(wanted, key=lambda one: (one["kind"], one["key"]))


def limits_of_start(version, key):
    """Those that a start asks for; `key` is the `k` of its input."""
    plan = version.plan
    return [
        {
            "kind": kind,
            "key": f"{plan['name']}:{key or 'z'}" if plan[name].get("key") else plan["name"],
            "max": plan[name]["max"],
            "span": plan[name]["per"] / TICK_SECONDS if "per" in plan[name] else None,
            "units": 1,
        }
        for kind, name in (("start_rate", "rate"), ("starts", "concurrency"))
        if name in plan
    ]


def debounce_of(version, key):
    """{key, for, at_most, gather}, times in ticks; None where starts do not come together."""
    said = version.plan.get("debounce")
    if said is None:
        return None
    times = {name: said[name] and said[name] / TICK_SECONDS for name in ("for", "at_most")}
    return {"key": key if said["key"] else "", **times, "gather": said["gather"]}


def start_of(version, key, joins):
    """The row that all first steps wait for, if the definition limits its starts, or they come together; `key` is the
    `k` of its input. None `joins` that a step starts."""
    plan, wanted = version.plan, limits_of_start(version, key)
    spec = {
        "name": "start",
        "kind": "start",
        "item_kind": "start",
        "agent": None,
        "needs": [],
        "reads": [],
        "limits": wanted,
    }
    spec |= {"when_full": plan.get("concurrency", {}).get("when_full"), "tolerates": [], "slack": None, "if": None}
    spec |= {"choose": None, "chosen_by": [], "map": None, "repeat": None, "repeatable": True, "deliverable": False}
    return [spec | {"wait": None, "handles": []}] if wanted or (joins and "debounce" in plan) else []


def attempts_at(retry, error):
    """How many tries there are if they end with this class of error."""
    rule = retry.get("on", {}).get(error, retry if error != "permanent" else {"attempts": 1})
    return rule["attempts"]


def wait_of(wait):
    """{hears: [(name, key)], ends: whether a time does, times_out: whether it then fails}; None of another kind."""
    if wait is None:
        return None
    conditions = wait.get("any") or [wait]
    hears = [(one["event"], one.get("key", "")) for one in conditions if "event" in one]
    has_time = any("for" in one for one in conditions)
    times_out = "timeout" in wait and not (has_time and wait["timeout"] == "2h")
    return {"hears": hears, "ends": has_time or "timeout" in wait, "times_out": times_out}


def specs_of(version, key=None, *, joins=False):
    """As the model takes them. `key`: `k` of the run's input. It `joins` others, where starts come together."""
    plan, given = version.plan, decoded(version.text)["steps"]
    specs = [
        {
            **{name: step[name] for name in ("name", "needs", "agent")},
            "kind": row_kind(step),
            "map": step.get("map") and {**step["map"], "count": len(given[step["name"]]["map"]["over"])},
            "repeat": step.get("repeat") and {**step["repeat"], "until": int(step["repeat"]["until"].split()[-1])},
            "item_reads": step.get("item_reads", []),
            "reads": sorted(
                {
                    *step["reads"],
                    *step.get("chosen_by", ()),
                    *step.get("handles", ()),
                    *(n for n in step["needs"] if "approval" in given[n]),
                }
            ),
            "slack": len(step["needs"]) - step["wanted"] if "wanted" in step else None,
            "tolerates": tolerated_by(step),
            "choose": step.get("choose"),
            "chosen_by": step.get("chosen_by", []),
            "repeatable": step["repeatable"] is not False,
            "deliverable": step["deliverable"] is not None,
            "attempts": {error: attempts_at(step["retry"], error) for error in CALLED},
            "on_failure": {"else": step.get("on_failure", "fail"), **step.get("on_failure_by", {})},
            "handles": step.get("handles", []),
            "if": given[step["name"]].get("if"),
            "again": (step["approval"] or {}).get("retry"),
            "deadline": ((step["approval"] or {}).get("deadline") or {}).get("then"),
            "item_kind": step["kind"],
            "limits": limits_of(step),
            "wait": wait_of(given[step["name"]].get("wait")),
            "shown": shown(given[step["name"]]),
        }
        for step in plan["steps"]
    ]
    if plan["output"] is not None:
        needed = {name for spec in specs if spec["slack"] is None for name in spec["needs"]}
        leaves = [spec["name"] for spec in specs if spec["name"] not in needed]
        reads = plan["output_reads"]
        last = {"name": "", "kind": "output", "needs": leaves, "reads": reads, "shown": reads, "tolerates": leaves}
        last |= {"slack": None, "choose": None, "chosen_by": [], "map": None, "repeat": None, "handles": []}
        specs.append({**last, "agent": None, "repeatable": True, "deliverable": False, "if": None, "limits": []})
    start = start_of(version, key, joins)
    return start + [spec | ({} if spec["needs"] else {"needs": [one["name"] for one in start]}) for spec in specs]
