"""The engine's protocol on rows: what the definition language promises, step by step, with real threads and commits."""

import threading

import pytest
from django.db import connection, transaction

from accounts.clock import ClockTimestamp
from agents.exceptions import Temporary
from approvals.exceptions import AlreadyEnded, StaleDigest
from approvals.models import Request
from orchestration.engine import answers
from orchestration.engine import process as engine_process
from orchestration.engine.connection import rows, value
from orchestration.engine.starts import start, start_version
from orchestration.exceptions import InvalidInput, NotUncertain, RunEnded, UnknownDefinition
from orchestration.models import Deliverable, Event, Payload, Run, Step
from tests.harness import assert_sound, claim, end, end_lease, make_worker, sweep, until

GATE = """
  figures:
    agent: echo
    with:
      value: {rows: [{amount: 1}], round: "${{ round }}", note: "${{ feedback == null ? '' : feedback.note }}"}
  side: {agent: echo, needs: [figures], with: {value: side}}
  check:
    needs: [figures]
    approval: {title: Figures, show: "${{ steps.figures.output.value }}", editable: /rows, retry: [figures]}
  after: {agent: echo, needs: [check], with: {value: "${{ steps.check.output.rows[0].amount }}"}}
output:
  amount: "${{ steps.after.output.value }}"
  by: "${{ steps.check.decision.by }}"
  round: "${{ steps.check.output.round }}"
"""


def step(run, name):
    """The newest round's row."""
    return Step.objects.filter(run_id=run.pk, name=name).order_by("-round").first()


def statuses(run):
    return {row.name: row.status for row in Step.objects.filter(run_id=run.pk).order_by("round") if row.name}


def nested(depth):
    """Lists in lists; not from JSON's text, which Python reads only so deep."""
    value = []
    for _ in range(depth - 1):
        value = [value]
    return value


def types(run):
    return list(Event.objects.filter(run_id=run.pk).order_by("seq").values_list("type", flat=True))


def pending(run, seconds=30):
    return until(lambda: Request.objects.pending().filter(context__run=run.public_id).first(), seconds)


def waiting(run, seconds=30):
    until(lambda: Run.objects.filter(pk=run.pk, status="waiting").exists(), seconds)
    return assert_sound(run.pk)


def decide(run, by, choice="continue", **words):
    request = pending(run)
    return request.decide(by=by, choice=choice, digest=request.digest, **words)


# --- order, joins, skips, failures


def test_a_chain_runs_and_its_events_tell_it_once(begin, engine, finished):
    run = begin(
        """
  a: {agent: echo, with: {value: "${{ input.n }}"}}
  b: {agent: echo, needs: [a], with: {value: "${{ steps.a.output.value + 1 }}"}}
output: {n: "${{ steps.b.output.value }}"}
""",
        {"n": 1},
    )
    engine.look()
    run = finished(run)
    assert (run.status, run.output) == ("completed", {"n": 2})
    assert types(run) == [
        "run.started",
        "step.started",
        "step.completed",
        "step.started",
        "step.completed",
        "run.completed",
    ]


def test_a_join_waits_for_all_of_a_fan_out(begin, engine, finished):
    branches = "".join(
        f"  b{n}: {{agent: echo, needs: [a], with: {{value: {n}, seconds: 0.0{n}}}}}\n" for n in range(6)
    )
    reads = " + ".join(f"steps.b{n}.output.value" for n in range(6))
    names = ", ".join(f"b{n}" for n in range(6))
    join = f"  z: {{agent: echo, needs: [{names}], with: {{value: '${{{{ {reads} }}}}'}}}}\n"
    run = begin(f"  a: {{agent: echo}}\n{branches}{join}")
    engine.look()
    run = finished(run)
    assert (run.status, step(run, "z").output) == ("completed", {"value": 15})


def test_a_false_condition_skips_the_step_and_all_that_need_it(begin, engine, finished):
    run = begin(
        """
  a: {agent: echo, if: "${{ input.go }}"}
  b: {agent: echo, needs: [a]}
  c: {agent: echo, needs: [b]}
  d: {agent: echo, needs: [c], if: "${{ steps.c.status == 'skipped' }}", with: {value: "${{ steps.a.output }}"}}
  free: {agent: echo}
output: {d: "${{ steps.d.output.value }}"}
""",
        {"go": False},
    )
    engine.look()
    run = finished(run)
    assert statuses(run) == {"a": "skipped", "b": "skipped", "c": "skipped", "d": "completed", "free": "completed"}
    assert (run.status, run.output) == ("completed", {"d": None})


def test_a_skipped_gate_parks_nothing(begin, engine, finished):
    run = begin(
        """
  a: {agent: echo, if: "1 > 2"}
  gate: {needs: [a], approval: {title: t}}
  off: {approval: {title: t}, if: "1 > 2"}
  b: {agent: echo, needs: [gate]}
"""
    )
    engine.look()
    run = finished(run)
    assert set(statuses(run).values()) == {"skipped"}
    assert (run.status, Request.objects.count()) == ("completed", 0)


def test_a_failure_keeps_other_branches_and_the_first_is_the_runs_error(begin, engine, finished):
    run = begin(
        """
  bad: {agent: echo, with: {value: 1, fail: {kind: permanent}}}
  child: {agent: echo, needs: [bad]}
  told: {agent: echo, needs: [bad], if: "${{ steps.bad.status == 'failed' }}", with: {value: seen}}
  good: {agent: echo, with: {seconds: 0.05}}
  more: {agent: echo, needs: [good], with: {value: 2}}
  late: {agent: echo, needs: [more], with: {fail: {kind: permanent}}}
output: {never: "${{ steps.more.output.value }}"}
"""
    )
    engine.look()
    run = finished(run)
    assert statuses(run) == {
        "bad": "failed",
        "child": "skipped",
        "told": "completed",
        "good": "completed",
        "more": "completed",
        "late": "failed",
    }
    assert (run.status, run.output) == ("failed", None)
    assert (run.error["step"], run.error["class"]) == ("bad", "permanent")


@pytest.mark.parametrize(
    ("text", "error_class"),
    [
        ('  a: {agent: echo, with: {value: "${{ input.x / 0 }}"}}\n', "expression"),
        ('  a: {agent: echo, if: "${{ input.nothing.here }}"}\n', "expression"),
        ('  a: {agent: echo, with: {no_such_field: 1, value: "${{ input.x }}"}}\n', None),
        ('  a: {agent: echo}\noutput: {x: "${{ input.x / 0 }}"}\n', "expression"),
    ],
)
def test_what_errs_in_an_expression_fails_without_another_try(begin, engine, finished, text, error_class):
    if error_class is None:
        with pytest.raises(Exception, match="errors"):
            begin(text, {"x": 1})
        return
    run = begin(text, {"x": 1})
    engine.look()
    run = finished(run)
    assert (run.status, run.error["class"], run.output) == ("failed", error_class, None)
    assert types(run).count("step.started") == 1


def test_an_input_against_the_schema_and_an_unknown_definition_start_nothing(begin, committed):
    text = "name: d\ninput: {type: object, required: [month]}\nsteps: {a: {agent: echo}}"
    with pytest.raises(InvalidInput) as refused:
        begin(text, {"year": 1})
    assert refused.value.errors[0]["pointer"] == "/input"
    assert Run.objects.count() == 0


def test_an_unknown_definition_is_refused(db, organization, members):
    with pytest.raises(UnknownDefinition, match="nothing-of-that-name"):
        start(organization=organization, definition="nothing-of-that-name", given={}, by=members.operator)


# --- tries


def test_temporary_failures_are_tried_again_with_back_off(begin, engine_later, finished, settings):
    settings.WORKER_SWEEP_SECONDS = 3600  # its thread sleeps until the nearest timer, however seldom it looks
    run = begin(
        """
  a:
    agent: echo
    with: {value: 7, fail: {times: 2}}
    retry: {attempts: 3, backoff: 20ms, factor: 2, max: 1s, jitter: 0}
"""
    )
    engine_later()
    run = finished(run)
    assert (run.status, step(run, "a").attempt, step(run, "a").error) == ("completed", 3, None)
    assert types(run) == [
        "run.started",
        *["step.started", "step.retrying", "step.ready"] * 2,
        "step.started",
        "step.completed",
        "run.completed",
    ]
    first, second, third = [
        event.at for event in Event.objects.filter(run_id=run.pk, type="step.started").order_by("seq")
    ]
    assert (second - first).total_seconds() >= 0.02
    assert (third - second).total_seconds() >= 0.04


def test_the_last_try_fails_the_step_with_its_class(begin, engine, finished):
    run = begin("  a: {agent: echo, with: {fail: {times: 9}}, retry: {attempts: 2, backoff: 10ms}}\n")
    engine.look()
    run = finished(run)
    assert (run.status, run.error["class"], step(run, "a").attempt) == ("failed", "temporary", 2)


def test_a_longer_retry_after_is_obeyed_and_the_key_stays(begin, engine_later, finished, hold, settings):
    settings.WORKER_SWEEP_SECONDS = 3600
    hold.go.set()
    hold.errors = [Temporary("busy", retry_after=0.3)]
    run = begin("  a: {agent: hold, retry: {attempts: 2, backoff: 1ms, max: 5ms}}\n")
    engine_later()
    run = finished(run)
    first, second = [event.at for event in Event.objects.filter(run_id=run.pk, type="step.started").order_by("seq")]
    assert (second - first).total_seconds() >= 0.3
    assert hold.calls == [f"{run.public_id}:a:1"] * 2


@pytest.mark.parametrize("seconds", [1e12, 3e9, float("inf"), float("nan"), -5.0])
def test_a_retry_after_is_obeyed_within_bounds(begin, engine, finished, hold, settings, seconds):
    settings.LONGEST_RETRY_AFTER_SECONDS = 0.2
    hold.go.set()
    hold.errors = [Temporary("busy", retry_after=seconds)]
    run = begin("  a: {agent: hold, retry: {attempts: 2, backoff: 1ms, max: 5ms}}\n")
    engine.look()
    run = finished(run)
    assert (run.status, len(hold.calls)) == ("completed", 2)


def test_a_step_that_waits_for_its_next_try_holds_nothing(begin, engine):
    run = begin("  a: {agent: echo, with: {fail: {times: 1}}, retry: {attempts: 2, backoff: 1h, max: 2h}}\n")
    engine.look()
    run = waiting(run)
    assert (step(run, "a").waits_for, step(run, "a").owner) == ("retry", None)


def test_a_step_past_its_timeout_fails_as_timeout(begin, engine, finished):
    run = begin("  a: {agent: echo, with: {seconds: 60}, timeout: 100ms}\n")
    engine.look()
    run = finished(run)
    assert (run.status, run.error["class"]) == ("failed", "timeout")


def test_a_hung_call_is_given_up_and_what_it_brings_later_is_late(begin, engine, hold, finished, monkeypatch):
    monkeypatch.setattr(engine_process, "HUNG_GRACE_SECONDS", 0.1)
    hold.deaf = True
    run = begin("  a: {agent: hold, timeout: 100ms}\n")
    engine.look()
    run = finished(run)
    assert (run.status, run.error["class"]) == ("failed", "timeout")
    hold.go.set()
    until(lambda: types(run)[-1] == "step.late_result")
    assert assert_sound(run.pk).status == "failed"
    until(lambda: engine.process.free_walkers() == 8)


def test_a_connection_lost_before_the_call_hands_the_step_back(committed, begin, engine_later, hold, finished):
    hold.go.set()
    run = begin("  a: {agent: once}\n")
    waits = "from pg_locks where relation = 'agents_agentversion'::regclass and not granted"
    with transaction.atomic():
        rows("lock table agents_agentversion in access exclusive mode")
        engine_later()
        until(lambda: rows(f"select pg_terminate_backend(pid) {waits}"))
    run = finished(run)
    assert (run.status, hold.calls, step(run, "a").attempt) == ("completed", [f"{run.public_id}:a:1"], 1)
    assert "step.ready" in types(run)


def test_connections_lost_again_and_again_lose_nothing(begin, engine, finished):
    chain = "".join(f"  s{n}: {{agent: echo, needs: [s{n - 1}], with: {{seconds: 0.01}}}}\n" for n in range(1, 8))
    runs = [begin(f"  s0: {{agent: echo}}\n  t: {{agent: echo, needs: [s7]}}\n{chain}") for _ in range(12)]
    engine.look()
    for _ in range(12):
        before = Event.objects.count()
        until(lambda before=before: Event.objects.count() > before or not Run.objects.filter(ended_at=None).exists())
        rows(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'"
        )
    assert {finished(run).status for run in runs} == {"completed"}
    assert Event.objects.filter(type="step.completed").count() == 12 * 9


def test_a_call_holds_no_connection(begin, engine, hold):
    sessions = "select count(*) from pg_stat_activity where datname = current_database() and state is not null"
    until(lambda: engine.process.sweeper.is_alive())
    run = begin("".join(f"  s{n}: {{agent: hold}}\n" for n in range(8)))
    engine.look()
    until(lambda: len(hold.calls) == 8)
    until(lambda: value(sessions) <= 4)  # this test's, the recorder's, the sweeper's, the lease's
    assert_sound(run.pk)


# --- checkpoints


def test_a_checkpoint_waits_and_goes_on_with_the_edited_payload(begin, engine, members, finished):
    run = begin(GATE)
    engine.look()
    run = waiting(run)
    assert statuses(run) == {"figures": "completed", "side": "completed", "check": "waiting", "after": "blocked"}
    assert step(run, "check").waits_for == "approval"
    decide(run, members.approver, edits={"/rows/0/amount": 12})
    engine.look()
    run = finished(run)
    assert run.output == {"amount": 12, "by": members.approver.name, "round": 1}
    assert (
        types(run)[-7:]
        == [
            "checkpoint.resolved",
            "step.completed",
            "step.started",
            "step.completed",
            "run.completed",
        ][-7:]
        or types(run).count("checkpoint.resolved") == 1
    )
    assert Request.objects.get().acknowledged_at is not None


def test_retry_opens_a_round_again_and_again(begin, engine, members, finished):
    run = begin(GATE)
    engine.look()
    for number in (1, 2):
        first = pending(run)
        decide(run, members.approver, "retry", note=f"note {number}")
        engine.look()
        until(lambda first=first: pending(run).pk != first.pk)
        assert pending(run).payload == {"rows": [{"amount": 1}], "round": number + 1, "note": f"note {number}"}
        waiting(run)
    with pytest.raises(StaleDigest) as refused:
        pending(run).decide(by=members.approver, choice="continue", digest=first.digest)
    assert refused.value.difference
    decide(run, members.approver)
    engine.look()
    run = finished(run)
    assert run.output == {"amount": 1, "by": members.approver.name, "round": 3}
    rounds = [
        (row.name, row.round, row.status) for row in Step.objects.filter(run_id=run.pk).order_by("key") if row.name
    ]
    assert rounds == [
        ("figures", 1, "completed"),
        ("side", 1, "completed"),
        ("check", 1, "completed"),
        ("after", 1, "completed"),
        ("figures", 2, "completed"),
        ("check", 2, "completed"),
        ("figures", 3, "completed"),
        ("check", 3, "completed"),
    ]
    assert types(run).count("run.round_opened") == 2


def test_abort_rejects_the_run_and_keeps_nothing_open(begin, engine, members, finished):
    run = begin(GATE)
    engine.look()
    decide(run, members.approver, "abort", note="no")
    engine.look()
    run = finished(run)
    assert (run.status, run.output) == ("rejected", None)
    assert statuses(run)["after"] == "canceled"


def test_a_deadline_answers_with_its_default_in_time(begin, engine_later, finished, settings):
    settings.WORKER_SWEEP_SECONDS = 3600
    run = begin(
        "  a: {approval: {title: t, deadline: {after: 300ms, then: continue}}}\n  b: {agent: echo, needs: [a]}\n"
    )
    engine_later()
    run = finished(run)
    request = Request.objects.get()
    assert (run.status, request.status) == ("completed", "expired")
    started = Event.objects.get(run_id=run.pk, type="step.started", data__step="a").at
    assert (request.deadline_at - started).total_seconds() >= 0.3
    assert request.decided_at >= request.deadline_at


def test_what_is_not_what_was_decided_does_not_run_but_is_asked_again(
    begin, engine, members, hold, save_agent, finished
):
    hold.go.set()
    run = begin("  a: {approval: {title: t}}\n  b: {agent: hold, needs: [a]}\n")
    engine.look()
    waiting(run)
    request = pending(run)
    other = save_agent(name="hold", kind="tool", configuration={"tool": "hold"}, input={"type": "object"})
    Step.objects.filter(run_id=run.pk, name="b").update(agent_version_id=other.pk)
    decide(run, members.approver)
    engine.look()
    until(lambda: pending(run).pk != request.pk)
    run = waiting(run)
    assert (hold.calls, statuses(run)["b"]) == ([], "blocked")
    assert pending(run).digest != request.digest
    decide(run, members.approver)
    engine.look()
    run = finished(run)
    assert (run.status, hold.calls) == ("completed", [f"{run.public_id}:b:1"])


@pytest.mark.parametrize(
    "approval", ['show: {deeper: "${{ input.n }}"}', 'show: "${{ 1 }}", deadline: {after: 9999999d, then: abort}']
)
def test_a_checkpoint_that_cannot_be_asked_fails_its_step(begin, engine, finished, approval):
    run = begin(f"  a: {{approval: {{title: t, {approval}}}}}\n", {"n": nested(99)})
    engine.look()
    run = finished(run)
    assert (run.status, run.error["step"], run.error["class"]) == ("failed", "a", "permanent")


@pytest.mark.parametrize(
    ("number", "edit"), [(1234567890123456789, None), (2**60, 1e16), (9e16, 2**63 - 1), (1, 2.5e17)]
)
def test_numbers_beyond_doubles_are_asked_edited_and_go_on(begin, engine, finished, members, number, edit):
    run = begin(
        """
  a: {agent: echo, with: {value: "${{ input.n }}"}}
  check: {needs: [a], approval: {title: t, show: "${{ steps.a.output }}", editable: /value}}
  after: {agent: echo, needs: [check], with: {value: "${{ steps.check.output.value }}"}}
""",
        {"n": number},
    )
    engine.look()
    decide(run, members.approver, edits={} if edit is None else {"/value": edit})
    engine.look()
    run = finished(run)
    assert run.status == "completed", run.error
    assert step(run, "check").round == 1
    assert step(run, "after").output == {"value": number if edit is None else edit}


def test_a_deadline_decides_on_a_number_beyond_doubles(begin, engine, finished):
    text = "name: big\ninput: {type: object, properties: {n: {type: number}}}\nsteps:\n"
    run = begin(
        text + '  a: {approval: {title: t, show: "${{ input.n }}", deadline: {after: 50ms, then: abort}}}\n',
        {"n": 90_000_000_000_000_000},
    )
    engine.look()
    assert finished(run).status == "rejected"


def test_an_input_nested_too_deep_starts_nothing(begin, committed):
    with pytest.raises(InvalidInput) as refused:
        begin("  a: {agent: echo}\n", {"x": nested(100)})
    assert refused.value.errors == [{"pointer": "", "message": "This is nested deeper than 100."}]
    assert Run.objects.count() == 0


def test_a_claim_that_cannot_be_decoded_fails_its_step_alone(begin, engine_later, finished):
    run = begin("  a: {agent: echo}\n  b: {agent: echo}\n")
    with connection.cursor() as cursor:
        deep = "(repeat('[', 5000) || repeat(']', 5000))::jsonb"
        cursor.execute(f"update orchestration_step set feedback = {deep} where name = 'a'")  # noqa: S608
    engine_later()
    until(lambda: Run.objects.filter(pk=run.pk, status="failed", ended_at__isnull=False).exists())
    ends = dict(Step.objects.filter(run_id=run.pk).values_list("name", "status"))
    assert (ends["a"], ends["b"]) == ("failed", "completed")


def test_a_deliverable_of_each_round_is_a_version(begin, engine, members, finished):
    run = begin(
        """
  a:
    agent: echo
    with: {value: "${{ round }}"}
    deliverable: {name: report, title: "Report ${{ round }}", content: "${{ output.value }}"}
  check: {needs: [a], approval: {title: t, retry: [a]}}
"""
    )
    engine.look()
    decide(run, members.approver, "retry", note="again")
    engine.look()
    until(lambda: pending(run).context["round"] == 2)
    decide(run, members.approver)
    engine.look()
    run = finished(run)
    assert list(Deliverable.objects.order_by("version").values_list("version", "title", "content")) == [
        (1, "Report 1", "1"),
        (2, "Report 2", "2"),
    ]
    assert types(run).count("deliverable.created") == 2


# --- cancel


def test_cancel_ends_what_waits_and_withdraws_the_question(begin, engine, members, finished):
    run = begin(GATE)
    engine.look()
    waiting(run)
    request = pending(run)
    assert answers.cancel(run, by=members.operator, reason="enough") == "canceled"
    run = finished(run)
    assert statuses(run) == {"figures": "completed", "side": "completed", "check": "canceled", "after": "canceled"}
    with pytest.raises(AlreadyEnded):
        request.decide(by=members.approver, choice="continue", digest=request.digest)
    with pytest.raises(RunEnded):
        answers.cancel(run, by=members.operator, reason="again")


def test_cancel_asks_a_call_to_stop_and_starts_nothing(begin, engine, members, finished, hold):
    run = begin("  a: {agent: hold}\n  b: {agent: echo, needs: [a]}\n  c: {agent: hold}\n")
    engine.look()
    until(lambda: len(hold.calls) == 2)
    assert answers.cancel(run, by=members.operator, reason="enough") == "canceling"
    assert answers.cancel(run, by=members.operator, reason="again") == "canceling"
    run = finished(run)
    assert (run.status, statuses(run)) == ("canceled", {"a": "canceled", "b": "canceled", "c": "canceled"})


def test_a_call_that_ends_in_a_canceled_run_is_recorded_as_it_ended(begin, engine, members, finished, hold):
    hold.deaf = True
    run = begin("  a: {agent: hold}\n  b: {agent: echo, needs: [a]}\n")
    engine.look()
    until(lambda: hold.calls)
    answers.cancel(run, by=members.operator, reason="enough")
    hold.go.set()
    run = finished(run)
    assert (run.status, statuses(run)) == ("canceled", {"a": "completed", "b": "canceled"})


# --- lost workers


def lose(run, times=1):
    """Claim the run's ready step for a worker that dies with it, so many times; gives the last claim."""
    sweeper = make_worker()
    for _ in range(times):
        worker = make_worker()
        (claimed,) = claim(worker)
        assert claimed[0] == run.pk
        end_lease(worker)
        assert sweep(sweeper)["swept"] == 1
        assert_sound(run.pk)
    return worker, claimed


def test_a_lost_try_does_not_count_and_runs_again_under_the_same_key(begin, committed, hold, engine_later, finished):
    hold.go.set()
    run = begin("  a: {agent: hold}\n")
    lose(run, 2)
    engine_later()
    run = finished(run)
    assert (run.status, step(run, "a").attempt, hold.calls) == ("completed", 1, [f"{run.public_id}:a:1"])


def test_the_third_loss_in_a_row_fails_the_step_as_worker_lost(begin, committed):
    run = begin("  a: {agent: echo}\n")
    lose(run, 3)
    run = assert_sound(run.pk)
    assert (run.status, run.error["class"]) == ("failed", "worker_lost")


def test_nobody_is_declared_dead_by_one_whose_own_lease_is_over(begin, committed):
    run = begin("  a: {agent: echo}\n")
    worker, late = make_worker(), make_worker(-1)
    claim(worker)
    end_lease(worker)
    assert sweep(late)["swept"] == 0
    assert sweep(make_worker(), lease=None)["swept"] == 0  # the caller's heartbeats were late
    assert sweep(make_worker(), lease=1e9)["swept"] == 0  # the server has just begun
    assert step(run, "a").status == "running"


def test_a_dead_worker_claims_nothing_and_its_result_is_late(begin, committed):
    run = begin("  a: {agent: echo}\noutput: {x: 1}\n")
    worker, claimed = lose(run)
    assert claim(worker) == []
    heir = make_worker()
    (again,) = claim(heir)
    assert again[2] == claimed[2] + 1
    assert end(heir, again, output={"value": 2}) == ["ready:default"]
    (last,) = claim(heir)
    end(heir, last, output={"x": 1})
    assert end(worker, claimed, output={"value": 1}) == ["late"]
    run = assert_sound(run.pk)
    assert (run.status, run.output, step(run, "a").output) == ("completed", {"x": 1}, {"value": 2})
    assert types(run)[-1] == "step.late_result"


@pytest.mark.parametrize(
    ("outcome", "ends_as"), [("completed", "completed"), ("failed", "failed"), ("again", "completed")]
)
def test_an_uncertain_step_waits_for_a_persons_word(
    begin, committed, members, hold, engine_later, finished, outcome, ends_as
):
    hold.go.set()
    run = begin(
        """
  a: {agent: once, with: {value: 5}}
  b: {agent: echo, needs: [a], with: {value: "${{ steps.a.output.value }}"}}
"""
    )
    lose(run)
    run = waiting(run)
    assert (step(run, "a").status, types(run)[-1]) == ("uncertain", "step.uncertain")
    answers.resolve(run, step(run, "a"), by=members.operator, outcome=outcome, output={"value": 5}, reason="I looked")
    assert_sound(run.pk)
    engine_later()
    run = finished(run)
    assert run.status == ends_as
    assert len(hold.calls) == (outcome == "again")
    if ends_as == "completed":
        assert (step(run, "b").output, step(run, "a").attempt) == ({"value": 5}, 1)
    with pytest.raises(NotUncertain):
        answers.resolve(run, step(run, "a"), by=members.operator, outcome="failed", output=None, reason="")


def test_what_nobody_can_store_is_refused_as_an_uncertain_steps_output(begin, committed, members, hold):
    run = begin("  a: {agent: once}\n")
    lose(run)
    with pytest.raises(ValueError, match="zero character"):
        answers.resolve(
            run, step(run, "a"), by=members.operator, outcome="completed", output={"x": ["\0"]}, reason="I looked"
        )
    assert waiting(run).status == "waiting"


def test_a_drained_process_hands_back_what_it_could_not_end(begin, engine, hold, settings):
    settings.WORKER_DRAIN_SECONDS = 0.1
    run = begin("  a: {agent: hold}\n  b: {agent: once}\n  c: {agent: echo, needs: [a]}\n")
    engine.look()
    until(lambda: len(hold.calls) == 2)
    engine.stop()
    run = assert_sound(run.pk)
    assert statuses(run) == {"a": "ready", "b": "uncertain", "c": "blocked"}
    assert step(run, "a").attempt == 0


def test_a_deaf_call_is_handed_back_at_the_end_of_the_grace_time(begin, engine, hold, settings):
    settings.WORKER_DRAIN_SECONDS = 0.1
    hold.deaf = True
    run = begin("  a: {agent: hold}\n  b: {agent: once}\n")
    engine.look()
    until(lambda: len(hold.calls) == 2)
    engine.stop()
    assert statuses(assert_sound(run.pk)) == {"a": "ready", "b": "uncertain"}


# --- runs that start runs

CHILD = """name: child
steps:
  a: {agent: echo, with: {value: "${{ input.n }}", fail: "${{ input.fail }}"}}
output: "${{ steps.a.output.value }}"
"""
GATED = "name: child\nsteps: {a: {approval: {title: t}}, b: {agent: echo, needs: [a]}}\noutput: 5"
PARENT = """
  call: {agent: boss, with: {n: 4, fail: "${{ input.fail }}"}}
  b: {agent: echo, needs: [call], with: {value: "${{ steps.call.output }}"}}
"""


@pytest.fixture
def boss(save_agent):
    return save_agent(name="boss", kind="orchestrator", configuration={"definitions": ["child"]})


def child_of(run):
    return until(lambda: Run.objects.filter(parent_run_id=run.pk).first())


@pytest.mark.parametrize("big", [False, True])
def test_a_childs_output_is_its_parents_steps(begin, engine, boss, save, finished, big):
    number = "x" * 9000 if big else 4
    save(CHILD.replace(', fail: "${{ input.fail }}"', ""))
    run = begin(PARENT.replace('n: 4, fail: "${{ input.fail }}"', 'n: "${{ input.n }}"'), {"n": number})
    engine.look()
    run = finished(run)
    child = finished(child_of(run))
    assert (child.status, child.depth, run.status) == ("completed", 1, "completed")
    assert child.told_at is not None
    last = step(run, "b")
    if big:
        assert Payload.objects.get(digest=last.output_digest).body == {"value": number}
    else:
        assert last.output == {"value": 4}


def test_a_failed_child_fails_its_parents_step(begin, engine, boss, save, finished):
    save(CHILD)
    run = begin(PARENT, {"fail": {"kind": "permanent"}})
    engine.look()
    run = finished(run)
    assert (run.status, run.error["class"], run.error["step"]) == ("failed", "child_failed", "call")


def test_one_parent_that_cannot_be_told_holds_up_no_other(begin, committed, boss, save, finished):
    version = save("name: child\nsteps: {a: {approval: {title: t}}}\n")
    runs = [begin("  call: {agent: boss}\n") for _ in range(2)]
    worker = make_worker()
    for run in runs:
        (place,) = claim(worker)
        child = start_version(version.pk, run.organization_id, {}, by=None, parent=place[:2], depth=1)
        end(worker, place, "waiting", waits_for="child", child=child)
        answers.cancel(Run.objects.get(pk=child), by=None, reason="test")
    Run.objects.filter(parent_run_id=runs[0].pk).update(error=["broken"])
    assert answers.tell_parents() == 1
    assert answers.tell_parents() == 0
    assert [Run.objects.get(pk=run.pk).has_ended for run in runs] == [False, True]


# --- what fails in each sweep


class Refusal:
    """A trigger that does `what` before an update under `condition`, and counts how often."""

    def __init__(self, table, condition, what):
        self.table = table
        rows("create sequence refusals")  # counts what is undone, too
        rows(
            "create function refuse() returns trigger language plpgsql as"
            f" $$ begin perform nextval('refusals'); {what}; return new; end $$"
        )
        rows(
            f"create trigger refuse before update on {table} for each row when ({condition}) execute function refuse()"
        )

    def tries(self):
        return value("select case when is_called then last_value else 0 end from refusals")

    def end(self):
        rows(f"drop trigger if exists refuse on {self.table}")
        rows("drop function if exists refuse")
        rows("drop sequence if exists refusals")


@pytest.fixture
def refuse(committed):
    made = []

    def refuse(*given):
        made.append(Refusal(*given))
        return made[-1]

    yield refuse
    for refusal in made:
        refusal.end()


@pytest.fixture
def assert_it_sweeps(begin, boss, save, hold, members, finished):
    """What a sweep does in its middle, and at its end."""
    save(CHILD)

    def assert_it_sweeps():
        call = begin("  a: {agent: hold}\n")
        until(lambda: hold.calls)
        answers.cancel(call, by=members.operator, reason="enough")
        assert finished(call).status == "canceled"
        assert finished(begin(PARENT, {"fail": {"kind": "permanent"}})).error["class"] == "child_failed"

    return assert_it_sweeps


REFUSE = "raise exception using errcode = 'data_exception'"
DISCONNECT = "perform pg_terminate_backend(pg_backend_pid())"


@pytest.mark.parametrize("what", [REFUSE, DISCONNECT])
def test_a_deadline_that_fails_in_each_sweep_stops_nothing_else(
    begin, engine, finished, refuse, assert_it_sweeps, settings, what
):
    run = begin("  a: {approval: {title: t, deadline: {after: 1h, then: abort}}}\n")
    request = pending(run)
    refusal = refuse("approvals_request", f"old.id = {request.pk} and new.status = 'expired'", what)
    Request.objects.update(deadline_at=ClockTimestamp())
    until(lambda: refusal.tries() > 1)
    assert_it_sweeps()
    assert engine.process.sweeper.sweep() == settings.WORKER_SWEEP_SECONDS  # what fails is not tried again at once
    assert Request.objects.get().status == "pending"
    refusal.end()
    assert finished(run).status == "rejected"


def test_a_run_that_cannot_be_tidied_up_stops_nothing_else(begin, engine, finished, refuse, assert_it_sweeps):
    run = finished(begin("  a: {agent: echo}\n"))
    refusal = refuse("orchestration_run", f"old.id = {run.pk} and old.tidy and not new.tidy", REFUSE)
    Run.objects.filter(pk=run.pk).update(tidy=True)
    until(lambda: refusal.tries() > 1)
    assert_it_sweeps()
    until(lambda: list(Run.objects.filter(tidy=True)) == [run])  # who canceled another was not told of it
    refusal.end()
    until(lambda: not Run.objects.filter(tidy=True).exists())


def test_answers_that_cannot_be_read_stop_nothing_else(begin, engine_later, members, finished, assert_it_sweeps):
    runs = [begin("  a: {approval: {title: t}}\n") for _ in range(2)]
    engine = engine_later()
    requests = [pending(run) for run in runs]
    engine.stop()
    for run in runs:
        decide(run, members.approver)
    beyond_python = "update approvals_request set payload = repeat('9', 5000)::jsonb where id = %s"
    rows(beyond_python, [requests[0].pk])
    engine_later()
    assert_it_sweeps()
    assert Request.objects.unacknowledged().count() == 2  # those that can be read are asked for with those that cannot
    Request.objects.filter(pk=requests[0].pk).update(payload=requests[0].payload)
    assert {finished(run).status for run in runs} == {"completed"}


# --- how a child's end ends its parent's step


def test_a_rejected_child_fails_its_parents_step(begin, engine, boss, save, members, finished):
    save(GATED)
    run = begin(PARENT, {"fail": None})
    engine.look()
    assert waiting(run).status == "waiting"
    assert step(run, "call").waits_for == "child"
    decide(child_of(run), members.approver, "abort", note="no")
    engine.look()
    run = finished(run)
    assert (run.status, run.error["class"]) == ("failed", "child_rejected")


def test_a_canceled_child_fails_its_parents_step(begin, engine, boss, save, members, finished):
    save(GATED)
    run = begin(PARENT, {"fail": None})
    engine.look()
    child = child_of(run)
    pending(child)
    answers.cancel(child, by=members.operator, reason="r")
    engine.look()
    assert finished(run).error["class"] == "child_canceled"


def test_a_canceled_parent_cancels_its_child(begin, engine, boss, save, members, finished):
    save(GATED)
    run = begin(PARENT, {"fail": None})
    engine.look()
    child = child_of(run)
    request = pending(child)
    answers.cancel(run, by=members.operator, reason="r")
    engine.look()
    assert (finished(run).status, finished(child).status) == ("canceled", "canceled")
    until(lambda: Request.objects.get(pk=request.pk).status == "withdrawn")


def test_runs_that_start_themselves_come_to_an_end(begin, engine, boss, save, finished):
    save("name: child\nsteps: {call: {agent: boss, with: {}}}")
    run = begin("  call: {agent: boss}\n")
    engine.look()
    assert finished(run).error["class"] == "child_failed"
    assert Run.objects.count() == 17


# --- values


def test_large_values_lie_by_their_digest_and_are_read_again(begin, engine, finished):
    run = begin(
        """
  a: {agent: echo, with: {value: "${{ input.text }}"}}
  b: {agent: echo, needs: [a], with: {value: "${{ steps.a.output.value }}"}}
  c: {agent: echo, needs: [b], with: {value: "${{ size(steps.b.output.value) }}"}}
output: {text: "${{ steps.b.output.value }}"}
""",
        {"text": "y" * 5000},
    )
    engine.look()
    run = finished(run)
    assert (step(run, "a").output, step(run, "c").output, run.output) == (None, {"value": 5000}, None)
    assert bytes(step(run, "a").output_digest) == bytes(step(run, "b").output_digest)
    assert Payload.objects.get(digest=run.output_digest).body == {"text": "y" * 5000}


@pytest.mark.parametrize(
    "output",
    [
        {"x": ["a\0b"]},
        {"x": float("nan")},
        {"x": "\ud800"},
        {"x": {1, 2}},
        "\0",
        {"x": "\\u0000", "y": "\0"},
        nested(101),
        nested(980),
        nested(5000),
    ],
)
def test_a_result_that_cannot_be_stored_fails_its_step_alone(begin, engine, finished, hold, output):
    hold.go.set()
    hold.output = output
    run = begin("  a: {agent: hold}\n  b: {agent: echo}\n")
    engine.look()
    run = finished(run)
    assert (run.status, run.error["class"]) == ("failed", "permanent")
    assert statuses(run) == {"a": "failed", "b": "completed"}


def test_backslashes_before_a_zero_are_only_text(begin, engine, finished, hold):
    hold.go.set()
    hold.output = {"x": "\\u0000"}
    run = begin("  a: {agent: hold}\n")
    engine.look()
    assert step(finished(run), "a").output == {"x": "\\u0000"}


# --- the functions themselves


def test_a_run_locked_elsewhere_is_busy_and_holds_up_no_other(begin, committed):
    worker = make_worker()
    first, second = begin("  a: {agent: echo}\n"), begin("  a: {agent: echo}\n")
    claims = {claimed[0]: claimed for claimed in claim(worker, 2)}
    assert set(claims) == {first.pk, second.pk}
    locked, done = threading.Event(), threading.Event()

    def hold_lock():
        with transaction.atomic():
            Run.objects.select_for_update().get(pk=first.pk)
            locked.set()
            done.wait(10)
        connection.close()

    thread = threading.Thread(target=hold_lock)
    thread.start()
    locked.wait(10)
    assert end(worker, claims[second.pk]) == []
    assert end(worker, claims[first.pk]) == ["busy"]
    done.set()
    thread.join()
    assert end(worker, claims[first.pk]) == []
    assert {assert_sound(run.pk).status for run in (first, second)} == {"completed"}


def test_a_claim_takes_no_more_than_wanted_and_follows_rank(begin, committed):
    worker = make_worker()
    runs = [begin("  a: {agent: echo}\n  b: {agent: echo}\n").pk for _ in range(3)]
    assert sorted(claimed[:2] for claimed in claim(worker, 3)) == [(runs[0], 1), (runs[0], 2), (runs[1], 1)]
    assert len(claim(worker, 99)) == 3
    assert claim(worker, 99) == []


def test_a_second_end_under_the_same_fence_is_late(begin, committed):
    worker = make_worker()
    run = begin("  a: {agent: echo}\n")
    (claimed,) = claim(worker)
    assert end(worker, claimed, output={"value": 1}) == []
    assert end(worker, claimed, output={"value": 2}) == ["late"]
    run = assert_sound(run.pk)
    assert (step(run, "a").output, types(run)[-1]) == ({"value": 1}, "step.late_result")
