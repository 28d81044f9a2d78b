"""Rounds that a person's retry opens: what runs again, what waits for it and reads it, what stays."""

import pytest
from django.db.models.functions import Now

from agents.exceptions import Permanent, Temporary
from approvals.models import Request
from orchestration.engine.connection import value
from orchestration.models import Run, Step
from tests.harness import assert_sound, claim, end, make_worker, until


def asked(run, name, round_=1, seconds=30):
    """The pending question of a gate in that round."""
    found = Request.objects.pending().filter(context__run=run.public_id, context__step=name, context__round=round_)
    return until(lambda: found.first(), seconds)


def answer(run, members, name, round_=1, choice="continue"):
    request = asked(run, name, round_)
    note = "" if choice == "continue" else "again"
    request.decide(by=members.approver, choice=choice, digest=request.digest, note=note)
    return request


def rounds(run, name):
    """Status of each round of a step."""
    return list(Step.objects.filter(run_id=run.pk, name=name).order_by("round").values_list("status", flat=True))


def newest(run, name):
    return Step.objects.filter(run_id=run.pk, name=name).order_by("-round").first()


def reached(run, name, status, round_=1):
    until(lambda: Step.objects.filter(run_id=run.pk, name=name, round=round_, status=status).exists())


BY_HAND = {"answer", "asked", "nothing_wakes"}  # a gate that is moved by hand has no question
TWO_GATES = """
  a: {agent: echo, with: {value: "${{ round }}"}}
  g1: {needs: [a], approval: {title: t, show: "${{ steps.a.output.value }}"}}
  g2: {needs: [a], approval: {title: t, show: "${{ steps.a.output.value }}"}}
  z: {agent: echo, needs: [g1, g2], with: {value: ["${{ steps.g1.output }}", "${{ steps.g2.output }}"]}}
output: "${{ steps.z.output.value }}"
"""


def test_a_second_gates_retry_waits_for_what_it_runs_again(begin, engine, members, finished):
    run = begin(TWO_GATES)
    answer(run, members, "g1", choice="retry")
    assert asked(run, "g1", 2).payload == 2
    answer(run, members, "g2", choice="retry")
    assert asked(run, "g2", 2).payload == 3
    assert assert_sound(run.pk).status == "waiting"
    answer(run, members, "g1", 2)
    answer(run, members, "g2", 2)
    assert finished(run).output == [2, 3]
    assert rounds(run, "a") == ["completed"] * 3


def test_a_gate_that_is_to_run_again_after_another_ones_retry_is_asked_once_more(begin, engine, members, finished):
    run = begin(
        """
  a: {agent: echo, with: {value: "${{ round }}"}}
  c: {agent: echo, needs: [a], with: {value: "${{ steps.a.output.value }}"}}
  g1: {needs: [a], approval: {title: t, show: "${{ steps.a.output.value }}"}}
  g2: {needs: [g1, c], approval: {title: t, retry: [a], show: "${{ [steps.a.output.value, steps.c.output.value] }}"}}
"""
    )
    answer(run, members, "g1", choice="retry")
    answer(run, members, "g1", 2)
    assert asked(run, "g2").payload == [2, 1]  # c had ended, and keeps its round
    answer(run, members, "g2", choice="retry")
    answer(run, members, "g1", 3)
    assert asked(run, "g2", 2).payload == [3, 3]
    answer(run, members, "g2", 2)
    assert finished(run).status == "completed"
    assert (rounds(run, "a"), rounds(run, "c")) == (["completed"] * 3, ["completed"] * 2)


def test_a_round_waits_for_a_need_outside_it_that_is_still_open(begin, engine, members, hold, finished):
    run = begin(
        """
  a: {agent: echo, with: {value: "${{ round }}"}}
  slow: {agent: hold}
  early: {needs: [a], approval: {title: t}}
  m: {agent: echo, needs: [a, slow], with: {value: "${{ steps.a.output.value }}"}}
  late: {needs: [m, early], approval: {title: t, show: "${{ steps.m.output.value }}"}}
"""
    )
    until(lambda: hold.calls)
    answer(run, members, "early", choice="retry")
    asked(run, "early", 2)
    assert_sound(run.pk)
    answer(run, members, "early", 2)
    hold.go.set()
    assert asked(run, "late").payload == 2
    answer(run, members, "late")
    assert finished(run).status == "completed"
    assert rounds(run, "m") == ["completed"]


TWO_BEHIND = """
  a: {agent: echo, with: {value: "${{ round }}"}}
  g: {needs: [a], approval: {title: t, show: "${{ steps.a.output.value }}"}}
  h1: {needs: [g], approval: {title: t, retry: [a], show: "${{ steps.g.output }}"}}
  h2: {needs: [g], approval: {title: t, retry: [a], show: "${{ steps.g.output }}"}}
output: ["${{ steps.h1.output }}", "${{ steps.h2.output }}"]
"""


def test_a_pending_question_in_the_way_of_a_round_is_withdrawn_and_put_anew(begin, engine, members, finished):
    run = begin(TWO_BEHIND)
    answer(run, members, "g")
    asked(run, "h2")
    answer(run, members, "h1", choice="retry")
    first = asked(run, "g", 2)
    answer(run, members, "h2", choice="retry")
    assert asked(run, "g", 3).payload == 3
    first.refresh_from_db()
    assert first.status == "withdrawn"
    assert assert_sound(run.pk).status == "waiting"
    answer(run, members, "g", 3)
    answer(run, members, "h1", 2)
    answer(run, members, "h2", 2)
    assert finished(run).output == [3, 3]
    assert rounds(run, "g") == ["completed", "canceled", "completed"]


def test_a_step_that_may_do_without_a_gate_reads_the_round_after_the_one_that_was_sent_back(
    begin, engine, members, hold, finished
):
    hold.go.set()
    hold.errors = [Temporary("busy")]
    run = begin(
        """
  a: {agent: echo}
  g: {needs: [a], approval: {title: t, show: 1}}
  z: {agent: hold, needs: {any: [a, g]}, with: {value: "${{ steps.g.output }}"}, retry: {attempts: 2, backoff: 1h}}
output: ${{ steps.z.output.value }}
"""
    )
    reached(run, "z", "waiting")  # it was called before the gate was answered
    answer(run, members, "g", choice="retry")
    answer(run, members, "g", 2)
    reached(run, "g", "completed", 2)
    Step.objects.filter(run_id=run.pk, name="z").update(wake_at=Now())
    assert finished(run).output == 1
    assert (len(hold.calls), rounds(run, "z")) == (2, ["completed"])


def reopen(run, gate, names):
    """As a person's retry does; `gate` is (run, key, fence)."""
    positions = list(Step.objects.filter(run_id=run.pk, round=1, name__in=names).values_list("position", flat=True))
    note = '{"choice": "retry"}'
    assert value("select engine_reopen_v2(%s, %s, %s, %s, %s, %s, '{}')", [*gate, positions, note, note])
    assert_sound(run.pk, besides=BY_HAND)


def test_what_a_round_makes_ready_takes_its_turn(begin, committed):
    run, worker = begin(TWO_GATES), make_worker()
    end(worker, *claim(worker))
    gates = sorted(claim(worker, 2))
    for gate in gates:
        end(worker, gate, "waiting", waits_for="approval")
    others = [begin("  a: {agent: echo}\n").pk for _ in range(2)]
    reopen(run, gates[0], ["a", "g1"])
    others.append(begin("  a: {agent: echo}\n").pk)
    assert [claim(worker)[0][0] for _ in range(4)] == [*others[:2], run.pk, others[2]]


@pytest.mark.parametrize("becomes", ["completed", "failed"])
def test_a_call_of_an_older_round_goes_on_and_starts_nothing(begin, committed, becomes):
    run, worker = begin(TWO_GATES), make_worker()
    end(worker, *claim(worker))
    gates = sorted(claim(worker, 2))
    for gate in gates:
        end(worker, gate, "waiting", waits_for="approval")
    reopen(run, gates[0], ["a", "g1"])
    (older,) = claim(worker, 9)
    reopen(run, gates[1], ["a", "g2"])
    (newer,) = claim(worker, 9)
    end(worker, older, becomes, **({"error": {"class": "permanent", "message": "no"}} if becomes == "failed" else {}))
    assert (claim(worker, 9), Run.objects.get(pk=run.pk).error) == ([], None)
    assert_sound(run.pk, besides=BY_HAND)
    end(worker, newer)
    gates = claim(worker, 9)
    assert len(gates) == 2
    for gate in gates:
        end(worker, gate)
    end(worker, *claim(worker))
    end(worker, *claim(worker))
    assert assert_sound(run.pk, besides=BY_HAND).status == "completed"


def test_a_question_that_is_just_being_put_gives_way_to_a_round(begin, committed):
    run, worker = begin(TWO_BEHIND), make_worker()
    end(worker, *claim(worker))
    end(worker, *claim(worker))
    gates = sorted(claim(worker, 2))
    for gate in gates:
        end(worker, gate, "waiting", waits_for="approval")
    reopen(run, gates[0], ["a", "g", "h1"])
    end(worker, *claim(worker))
    (asking,) = claim(worker, 9)
    reopen(run, gates[1], ["a", "g", "h2"])
    assert end(worker, asking, "waiting", waits_for="approval") == ["late"]
    assert rounds(run, "g") == ["completed", "canceled", "blocked"]
    assert_sound(run.pk, besides=BY_HAND)


def test_a_failure_that_is_run_again_is_none_of_the_runs(begin, engine, members, hold, finished):
    hold.errors = [Permanent("no")]
    hold.go.set()
    run = begin(
        """
  f: {agent: hold, with: {value: 1}}
  g: {needs: [f], if: "${{ steps.f.status != '' }}", approval: {title: t, retry: [f]}}
  y: {agent: echo, needs: [g, f], with: {value: 2}}
output: "${{ steps.y.output.value }}"
"""
    )
    answer(run, members, "g", choice="retry")
    asked(run, "g", 2)
    assert Run.objects.get(pk=run.pk).error is None
    answer(run, members, "g", 2)
    run = finished(run)
    assert (run.status, run.error, run.output) == ("completed", None, 2)
    assert (rounds(run, "f"), rounds(run, "y")) == (["failed", "completed"], ["completed"])


def test_another_failure_stays_the_runs(begin, engine, members, hold, finished):
    hold.errors = [Permanent("no")]
    hold.go.set()
    run = begin(
        """
  f: {agent: hold}
  bad: {agent: echo, needs: [f], if: "${{ steps.f.status != '' }}", with: {fail: {kind: permanent}}}
  g: {needs: [f], if: "${{ steps.f.status != '' }}", approval: {title: t, retry: [f]}}
"""
    )
    reached(run, "bad", "failed")
    answer(run, members, "g", choice="retry")
    answer(run, members, "g", 2)
    run = finished(run)
    assert (run.status, run.error["step"]) == ("failed", "bad")


def test_a_need_outside_the_round_that_failed_skips_what_needs_it_again(begin, engine, members, finished):
    run = begin(
        """
  a: {agent: echo}
  bad: {agent: echo, with: {fail: {kind: permanent}}}
  m: {agent: echo, needs: [a, bad]}
  g: {needs: [m], if: "${{ steps.m.status != '' }}", approval: {title: t, retry: [a]}}
"""
    )
    answer(run, members, "g", choice="retry")
    answer(run, members, "g", 2)
    assert finished(run).error["step"] == "bad"
    assert rounds(run, "m") == ["skipped", "skipped"]


def test_a_round_whose_step_cannot_run_ends_at_once(begin, engine, members, finished):
    run = begin(
        """
  bad: {agent: echo, with: {fail: {kind: permanent}}}
  m: {agent: echo, needs: [bad]}
  g: {needs: [m], if: "${{ steps.m.status == 'skipped' }}", approval: {title: t, retry: [m]}}
"""
    )
    answer(run, members, "g", choice="retry")
    answer(run, members, "g", 2)
    assert finished(run).status == "failed"
    assert (rounds(run, "m"), rounds(run, "g")) == (["skipped", "skipped"], ["completed", "completed"])


@pytest.mark.parametrize("near", [True, False])
def test_a_side_branch_that_has_not_started_reads_the_newest_round(begin, engine, members, hold, finished, near):
    """`near` needs what is run again itself; else it needs a finished branch that keeps its round."""
    run = begin(
        f"""
  a: {{agent: echo, with: {{value: "${{{{ round }}}}"}}}}
  done: {{agent: echo, needs: [a], with: {{value: "${{{{ steps.a.output.value }}}}"}}}}
  slow: {{agent: hold}}
  side: {{agent: echo, needs: [{"a" if near else "done"}, slow], with: {{value: "${{{{ steps.a.output.value }}}}"}}}}
  g: {{needs: [a], approval: {{title: t, retry: [a]}}}}
"""
    )
    until(lambda: hold.calls)
    reached(run, "done", "completed")
    answer(run, members, "g", choice="retry")
    asked(run, "g", 2)
    hold.go.set()
    answer(run, members, "g", 2)
    assert finished(run).status == "completed"
    assert (newest(run, "side").output, newest(run, "done").output) == ({"value": 2}, {"value": 1})
    assert (rounds(run, "side"), rounds(run, "done")) == (["completed"], ["completed"])


def test_a_side_branch_waits_for_a_round_that_still_runs(begin, engine, members, hold, save_agent, finished):
    run = begin(
        """
  a: {agent: hold}
  ask: {approval: {title: t}}
  side: {agent: echo, needs: [a, ask], with: {value: "${{ steps.a.output.value }}"}}
  g: {needs: [a], approval: {title: t, retry: [a]}}
"""
    )
    hold.output = {"value": "old"}
    hold.go.set()
    asked(run, "g")
    hold.go.clear()
    answer(run, members, "g", choice="retry")
    until(lambda: len(hold.calls) == 2)
    answer(run, members, "ask")
    reached(run, "ask", "completed")
    assert newest(run, "side").status == "blocked"
    assert_sound(run.pk)
    hold.output = {"value": "new"}
    hold.go.set()
    answer(run, members, "g", 2)
    assert finished(run).status == "completed"
    assert newest(run, "side").output == {"value": "new"}


def test_several_steps_behind_a_gate_ask_it_again_once(begin, engine, members, hold, save_agent, finished):
    hold.go.set()
    behind = "".join(f"  b{n}: {{agent: hold, needs: [g]}}\n" for n in range(5))
    run = begin(f"  g: {{approval: {{title: t}}}}\n{behind}")
    asked(run, "g")
    other = save_agent(name="hold", kind="tool", configuration={"tool": "hold"}, input={"type": "object"})
    Step.objects.filter(run_id=run.pk, name="b3").update(agent_version_id=other.pk)
    answer(run, members, "g")
    asked(run, "g", 2)
    until(lambda: Run.objects.filter(pk=run.pk, status="waiting").exists())
    assert {newest(run, f"b{n}").status for n in range(5)} == {"blocked"}
    assert_sound(run.pk)
    assert hold.calls == []
    answer(run, members, "g", 2)
    assert finished(run).status == "completed"
    assert (rounds(run, "g"), len(hold.calls)) == (["completed"] * 2, 5)


def test_a_gate_right_behind_a_gate_is_compared_too(begin, engine, members, hold, save_agent, finished):
    hold.go.set()
    run = begin(
        "  g1: {approval: {title: t}}\n  g2: {needs: [g1], approval: {title: t}}\n  b: {agent: hold, needs: [g1, g2]}\n"
    )
    asked(run, "g1")
    other = save_agent(name="hold", kind="tool", configuration={"tool": "hold"}, input={"type": "object"})
    Step.objects.filter(run_id=run.pk, name="b").update(agent_version_id=other.pk)
    answer(run, members, "g1")
    asked(run, "g1", 2)
    assert_sound(run.pk)
    assert not Request.objects.filter(context__step="g2").exists()
    answer(run, members, "g1", 2)
    answer(run, members, "g2")
    assert finished(run).status == "completed"
    assert (rounds(run, "g1"), rounds(run, "g2")) == (["completed"] * 2, ["completed"])
