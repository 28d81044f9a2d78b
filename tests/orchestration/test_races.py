"""Races with real threads and connections. In every round: one outcome, no deadlock, nothing lost."""

import pytest
from django.db import connection

from approvals.exceptions import AlreadyEnded
from approvals.models import Request
from orchestration.engine import answers
from orchestration.engine.connection import decoded, rows
from orchestration.engine.lease import Life, boot_clock
from orchestration.engine.process import Process
from orchestration.engine.starts import start_version
from orchestration.models import Event, Run, Step, Worker
from tests.harness import (
    assert_all_sound,
    assert_sound,
    claim,
    end,
    end_lease,
    flush,
    insistently,
    make_worker,
    race,
    sweep,
    until,
)

ROUNDS = 200
GATE = "name: gated\nsteps: {check: {approval: {title: t}}, b: {agent: echo, needs: [check]}}"


@pytest.fixture
def gates(start_many, engine_later):
    """Runs that wait at a checkpoint, each with its request; no engine is at work any more."""
    runs = start_many(GATE)
    engine = engine_later()
    until(lambda: Request.objects.pending().count() == ROUNDS, 30)
    engine.stop()
    requests = {request.context["run_id"]: request for request in Request.objects.for_inbox()}
    return [(Run.objects.get(pk=run), requests[run]) for run in runs]


def finish_by_hand(runs):
    """Take up what was said, and end what runs or is ready, until nothing moves."""
    worker = make_worker()
    for run, key, fence in rows("select run_id, key, fence from orchestration_step where status = 'running'"):
        assert end(worker, (run, key, fence), output={"value": 1}) in ([], ["ready:tool"], ["ready:default"])
    answers.take_up_decisions()
    answers.tidy_up()
    while claimed := claim(worker, 200):
        for step in claimed:
            assert end(worker, step, output={"value": 1}) in ([], ["ready:tool"], ["ready:default"])
    return assert_all_sound(runs)


def test_two_parents_that_end_at_once_start_their_join_once(start_many):
    runs = start_many("name: join\nsteps: {a: {agent: echo}, b: {agent: echo}, z: {agent: echo, needs: [a, b]}}")
    rows("update orchestration_step set reads = '{1,2}' where key = 3")
    worker = make_worker()
    fences = {step[:2]: step for step in claim(worker, 2 * ROUNDS)}
    assert len(fences) == 2 * ROUNDS

    def ends(key):
        return lambda n: insistently(lambda: flush(worker, fences[runs[n], key], output={"value": key}, follow=True))

    for number, gave in enumerate(race(ROUNDS, ends(1), ends(2))):
        (claimed,) = [row for answer in gave for row in answer if row[1] == "claimed"]
        assert claimed[2:4] == (runs[number], 3)
        assert {read["p"]: read["o"]["value"] for read in decoded(claimed[13])} == {1: 1, 2: 2}
    assert {run.status for run in finish_by_hand(runs)} == {"completed"}


def test_finish_against_cancel(start_many, members):
    runs = start_many("name: two\nsteps: {a: {agent: echo}, b: {agent: echo, needs: [a]}}")
    worker = make_worker()
    claims = {step[0]: step for step in claim(worker, ROUNDS)}

    def finish(n):
        return insistently(lambda: flush(worker, claims[runs[n]], output={"value": 1}, follow=n % 2 == 0))

    def cancel(n):
        return answers.cancel(Run.objects.get(pk=runs[n]), by=members.operator, reason="r")

    race(ROUNDS, finish, cancel)
    ended = finish_by_hand(runs)
    assert {run.status for run in ended} == {"canceled"}
    assert not Step.objects.filter(key=1).exclude(status="completed").exists()


def test_decide_against_cancel(gates, members):
    def decide(n):
        request = gates[n][1]
        try:
            request.decide(by=members.approver, choice="continue", digest=request.digest)
        except AlreadyEnded:
            return "late"
        answers.take_up_decisions()
        return "decided"

    def cancel(n):
        return answers.cancel(gates[n][0], by=members.operator, reason="r")

    gave = race(ROUNDS, decide, cancel)
    ended = finish_by_hand([run.pk for run, _ in gates])
    assert {run.status for run in ended} == {"canceled"}
    for (run, request), (decided, _) in zip(gates, gave, strict=True):
        request.refresh_from_db()
        assert request.status == ("decided" if decided == "decided" else "withdrawn")
        assert request.acknowledged_at is not None
        resolved = Event.objects.filter(run=run, type="checkpoint.resolved").count()
        assert resolved == Step.objects.filter(run=run, key=1, status="completed").count()


def test_decide_against_decide(gates, members):
    def decide(by, choice):
        def act(n):
            request = gates[n][1]
            try:
                request.decide(by=by, choice=choice, digest=request.digest, note="n")
            except AlreadyEnded:
                return None
            return choice

        return act

    def take_up(n):
        return answers.take_up_decisions()

    gave = race(ROUNDS, decide(members.approver, "continue"), decide(members.admin, "abort"), take_up, take_up)
    ended = finish_by_hand([run.pk for run, _ in gates])
    for run, answer in zip(ended, gave, strict=True):
        (choice,) = [each for each in answer[:2] if each]
        assert run.status == {"continue": "completed", "abort": "rejected"}[choice]
        assert Event.objects.filter(run=run, type="checkpoint.resolved").count() == 1


def test_decide_against_the_deadline(gates, members):
    def decide(n):
        request = gates[n][1]
        rows(
            "update approvals_request set deadline_choice = 'abort',"
            " deadline_at = clock_timestamp() + make_interval(secs => %s) where id = %s and status = 'pending'",
            [(n % 10) / 1000, request.pk],
        )
        try:
            request.decide(by=members.approver, choice="continue", digest=request.digest)
        except AlreadyEnded:
            return None
        return "continue"

    def expire(n):
        until(lambda: Request.expire_due() or not Request.objects.pending().filter(pk=gates[n][1].pk).exists())

    gave = race(ROUNDS, decide, expire)
    ended = finish_by_hand([run.pk for run, _ in gates])
    for run, (_, request), (choice, _) in zip(ended, gates, gave, strict=True):
        request.refresh_from_db()
        assert request.status == ("decided" if choice else "expired")
        assert run.status == ("completed" if choice else "rejected")
        assert choice is None or request.decided_at < request.deadline_at
        assert choice or request.decided_at >= request.deadline_at


def test_heartbeat_against_finish_and_sweep(start_many):
    runs = start_many("name: one\nsteps: {a: {agent: echo}}")
    process = Process()
    process.lease.life = Life(make_worker(5), boot_clock())
    sweeper = make_worker()
    claims = {step[0]: step for step in claim(process.worker_id, ROUNDS)}
    own = process.worker_id
    race(
        ROUNDS,
        lambda n: process.lease.renew(),
        lambda n: insistently(lambda: flush(own, claims[runs[n]], output={"value": 1})),
        lambda n: sweep(sweeper),
    )
    assert process.worker_id == own
    assert {run.status for run in assert_all_sound(runs)} == {"completed"}


def test_claim_against_cancel(committed, save, organization, members):
    version = save("name: one\nsteps: {a: {agent: echo}, b: {agent: echo, needs: [a]}}")
    worker = make_worker()
    runs = []

    def begin(n):
        if n % 2 == 0:
            runs.append(start_version(version.pk, organization.pk, {}, by=members.operator.pk))
        return None

    def claims(n):
        return claim(worker) if n % 2 else None

    def cancel(n):
        return answers.cancel(Run.objects.get(pk=runs[-1]), by=members.operator, reason="r") if n % 2 else None

    gave = race(2 * ROUNDS, begin, claims, cancel)
    for number, (_, claimed, status) in enumerate(gave):
        if number % 2:
            assert (len(claimed), status) in ((0, "canceled"), (1, "canceling"))
    assert {run.status for run in finish_by_hand(runs)} == {"canceled"}


def test_a_frozen_workers_end_against_the_sweep(start_many):
    runs = start_many("name: one\nsteps: {a: {agent: echo}}")
    sweeper = make_worker()
    frozen = [make_worker() for _ in runs]
    claims = [claim(worker)[0] for worker in frozen]
    assert [step[0] for step in claims] == runs

    def wakes(n):
        end_lease(frozen[n])
        return insistently(lambda: flush(frozen[n], claims[n], output={"value": "frozen"}))

    gave = race(ROUNDS, wakes, lambda n: sweep(sweeper))
    while sweep(sweeper)["swept"]:
        pass
    heir = make_worker()
    again = claim(heir, ROUNDS)
    for step in again:
        assert end(heir, step, output={"value": "heir"}) == []
    lost = {step[0] for step in again}
    for number, run in enumerate(runs):
        verdicts = [row[1] for row in gave[number][0]]
        assert verdicts == (["late"] if run in lost and verdicts else [])
        assert assert_sound(run).status == "completed"
        assert Step.objects.get(run=run, key=1).output == {"value": "heir" if run in lost else "frozen"}
    assert Worker.objects.filter(dead_at=None).count() == 2


def test_a_frozen_workers_claim_against_its_death(start_many):
    runs = start_many("name: one\nsteps: {a: {agent: echo}}")
    sweeper = make_worker()
    frozen = [make_worker(-1) for _ in runs]
    race(ROUNDS, lambda n: claim(frozen[n]), lambda n: sweep(sweeper))
    while sweep(sweeper)["swept"]:
        pass
    assert not Step.objects.filter(status="running").exists()
    assert {run.status for run in finish_by_hand(runs)} == {"completed"}
    connection.close()


def test_a_hint_that_comes_while_steps_are_being_claimed_is_not_forgotten(
    engine_later, save, organization, members, settings
):
    settings.WORKER_SWEEP_SECONDS = 3600
    version = save("name: one\nsteps: {a: {agent: echo}}")
    engine = engine_later()

    def begin(n):
        run = start_version(version.pk, organization.pk, {}, by=members.operator.pk)
        engine.look()
        until(lambda: Run.objects.filter(pk=run, status="completed").exists())

    race(ROUNDS, begin, begin)
