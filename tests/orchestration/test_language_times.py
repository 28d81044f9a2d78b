"""`retry`, `timeout`, `on_failure` and `expect`, those of a run too: what is found, and what is planned."""

import pytest

from orchestration.language import AgentFacts, compile_definition
from orchestration.models.layouts import layout

AGENTS = {"echo": AgentFacts("tool"), "boss": AgentFacts("orchestrator")}
CLASSES = "  a: {agent: echo, on_failure: {timeout: tell, permanent: warn}}"
HANDLERS = ["  tell: {agent: echo, needs: a}", "  warn: {agent: echo, needs: a}"]
A, B = "  a: {agent: echo, on_failure: tell}", "  b: {agent: echo}"


def compiled(*lines):
    text = "\n".join(["name: d", "steps:", *lines])
    return compile_definition(text, file="f.yaml", agents=AGENTS, policies=["default"])


def planned(*lines):
    result = compiled(*lines)
    assert result.findings == []
    return result.plan


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (["  a: {agent: echo, retry: {attempts: 2, on: {late: {}}}}"], [(3, 46, "unknown-key")]),
        (["  a: {agent: echo, retry: {attempts: 2, on: {child_failed: {}}}}"], [(3, 46, "retry")]),
        (["  a: {agent: boss, retry: {attempts: 2, on: {child_failed: {}}}}"], []),
        (["  a: {agent: echo, retry: {attempts: 2, max: 1m, on: {timeout: {backoff: 2m}}}}"], [(3, 64, "retry")]),
        (["  a: {agent: echo, retry: {attempts: 2, add: 5}}"], [(3, 46, "duration")]),
        (["  a: {agent: echo, timeout: 5}"], [(3, 29, "duration")]),
        (["  a: {agent: echo, timeout: fast}"], [(3, 29, "duration")]),
        (["  a: {agent: echo, timeout: {}}"], [(3, 29, "duration")]),
        (["  a: {agent: echo, timeout: {step: 5x}}"], [(3, 36, "duration")]),
        (["  a: {agent: echo, timeout: {stpe: 5s}}"], [(3, 30, "unknown-key")]),
        (["  a: {agent: echo, timeout: {attempt: 2m, step: 1m}}"], [(3, 39, "timeout")]),
        (["  a: {agent: echo, expect: {within: soon}}"], [(3, 37, "duration")]),
        (["  a: {agent: echo, on_failure: tell}"], [(3, 32, "unknown-step")]),
        ([A, "  tell: {agent: echo}"], [(3, 32, "on-failure")]),
        ([A, B, "  tell: {agent: echo, needs: [a, b]}"], [(3, 32, "on-failure")]),
        (["  a: {agent: echo, on_failure: a}"], [(3, 32, "on-failure")]),
        ([A, "  b: {agent: echo, on_failure: tell}", "  tell: {agent: echo, needs: [a, b]}"], []),
        (["  a: {approval: {title: t}, on_failure: continue, expect: {within: 1d}}"], []),
        (["  a: {agent: echo, on_failure: {timeout: tell}}"], [(3, 42, "unknown-step")]),
        (["  a: {agent: echo, on_failure: {late: fail}}"], [(3, 33, "unknown-key")]),
        (["  a: {agent: echo, on_failure: {}}"], [(3, 32, "shape")]),
        (["  a: {agent: echo, on_failure: {timeout: 5}}"], [(3, 42, "shape")]),
        (["  a: {agent: echo, on_failure: [fail]}"], [(3, 32, "shape")]),
        (["  a: {agent: echo, on_failure: {child_failed: continue}}"], [(3, 33, "on-failure")]),
        (["  a: {agent: boss, on_failure: {child_failed: continue}}"], []),
        (["  a: {wait: {for: 1h}, on_failure: {temporary: continue}}"], [(3, 37, "on-failure")]),
        (["  a: {approval: {title: t}, on_failure: {timeout: continue}}"], [(3, 42, "on-failure")]),
        ([CLASSES, "  tell: {agent: echo}", "  warn: {agent: echo, needs: a}"], [(3, 42, "on-failure")]),
        ([CLASSES, "  tell: {agent: echo, needs: a}", "  warn: {agent: echo, needs: a}"], []),
        (
            [CLASSES, *HANDLERS, "  both: {agent: echo, needs: [tell, warn]}"],
            [(6, 30, "unreachable")],
        ),
        ([CLASSES, *HANDLERS, "  either: {agent: echo, needs: {any: [tell, warn]}}"], []),
        ([CLASSES, *HANDLERS, "  c: {agent: echo, needs: [a, tell]}"], [(6, 27, "unreachable")]),
        ([f"{CLASSES[:-2]}, else: continue}}}}", *HANDLERS, "  c: {agent: echo, needs: [a, tell]}"], []),
        ([B, "timeout: soon"], [(4, 10, "duration")]),
        ([B, "expect: {within: soon}"], [(4, 18, "duration")]),
        ([B, "expect: 2h"], [(4, 9, "shape")]),
        ([B, "expect: {}"], [(4, 1, "missing-key")]),
        ([B, "expect: {within: 2h}", "timeout: 2h"], [(4, 18, "timeout")]),
        ([B, "expect: {within: 2h}", "timeout: 3h"], []),
    ],
)
def test_each_finding_names_its_place(lines, found):
    assert [(each.line, each.column, each.rule) for each in compiled(*lines).findings] == found


def test_tries_are_planned_by_class():
    plan = planned(
        "  a:",
        "    agent: echo",
        "    retry: {attempts: 4, backoff: 2s, add: 1s, total: 1h,",
        "            on: {timeout: {attempts: 2}, permanent: {backoff: 2m}}}",
    )
    tries = {"attempts": 4, "backoff": 2.0, "factor": 2.0, "max": 60.0, "jitter": 0.1, "add": 1.0}
    on = {"timeout": {**tries, "attempts": 2}, "permanent": {**tries, "backoff": 120.0, "max": 120.0}}
    assert plan["steps"][0]["retry"] == {**tries, "total": 3600.0, "on": on}
    assert plan["level"] == 1


def test_a_timeout_in_one_word_is_planned_as_ever():
    (one,) = planned("  a: {agent: echo, timeout: 30s}")["steps"]
    assert one == planned("  a: {agent: echo, timeout: {attempt: 30s}}")["steps"][0]
    (more,) = planned("  a: {agent: echo, timeout: {step: 15m, queue: 1m, silence: 20s}}")["steps"]
    assert (more["timeout"], more["timeouts"]) == (None, {"step": 900.0, "queue": 60.0, "silence": 20.0})


def test_what_is_no_other_than_the_default_is_planned_as_ever():
    assert planned("  a: {agent: echo, on_failure: fail}") == planned("  a: {agent: echo}")
    assert planned("  a: {agent: echo, on_failure: {timeout: fail}}") == planned("  a: {agent: echo}")
    by_class = planned("  a: {agent: echo, on_failure: {else: continue}}")
    assert by_class == planned("  a: {agent: echo, on_failure: continue}")


def test_what_follows_is_planned_by_class():
    plan = planned(CLASSES, *HANDLERS)
    a, tell, warn = plan["steps"]
    assert (plan["level"], "on_failure" in a) == (3, False)
    assert a["on_failure_by"] == {"else": "fail", "timeout": "tell", "permanent": "warn"}
    assert (tell["handles"], warn["handles"]) == (["a"], ["a"])
    first, *handlers = layout(plan)
    assert first["on_failure"] == {"else": "fail", "timeout": "other", "permanent": "other"}
    assert (first["dependants"], "forgiven" in first, "carries" in first) == ([-2, -3], False, False)
    assert [row["reads"] for row in handlers] == [[1], [1]]


def test_the_rows_of_a_run_know_their_times_and_what_follows_from_a_failure():
    a, b, after, tell = layout(
        planned(
            A,
            "  b: {agent: echo, on_failure: continue, timeout: {step: 15m, queue: 1m}, expect: {within: 2m}}",
            "  after: {agent: echo, needs: [a, b]}",
            "  tell: {agent: echo, needs: [a]}",
        )
    )
    assert (a["dependants"], a["forgiven"], tell["reads"]) == ([3, -4], True, [1])
    assert (b["dependants"], b["carries"], b["forgiven"]) == ([3], True, True)
    assert (b["total"], b["patience"], b["expects"]) == (900.0, 60.0, 120.0)
    assert not {"forgiven", "carries", "total", "patience", "expects"} & {*after, *tell, *({"carries"} & a.keys())}
