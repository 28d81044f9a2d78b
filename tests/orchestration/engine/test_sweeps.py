"""What fails in each sweep stops nothing else."""

import pytest

from accounts.clock import ClockTimestamp
from approvals.models import Request
from orchestration.engine import answers, children, settling
from orchestration.engine.connection import rows, value
from orchestration.engine.starts import start_version
from orchestration.models import Run
from tests.harness import assert_sound, claim, end, end_lease, make_worker, sweep, until
from tests.orchestration.engine.looks import CHILD, PARENT, decide, pending

REFUSE = "raise exception using errcode = 'data_exception'"
DISCONNECT = "perform pg_terminate_backend(pg_backend_pid())"


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


@pytest.mark.parametrize("what", [REFUSE, DISCONNECT])
def test_a_run_that_cannot_be_tidied_up_stops_nothing_else(begin, engine, finished, refuse, assert_it_sweeps, what):
    run = finished(begin("  a: {agent: echo}\n"))
    refusal = refuse("orchestration_run", f"old.id = {run.pk} and old.tidy and not new.tidy", what)
    Run.objects.filter(pk=run.pk).update(tidy=True)
    until(lambda: refusal.tries() > 1)
    assert_it_sweeps()
    until(lambda: list(Run.objects.filter(tidy=True)) == [run])  # who canceled another was not told of it
    refusal.end()
    until(lambda: not Run.objects.filter(tidy=True).exists())


@pytest.mark.parametrize("what", ["is lost with its worker", "has its time come"])
def test_a_run_that_cannot_be_repaired_holds_up_no_other(begin, committed, refuse, what):
    runs, worker, dying = [begin("  a: {agent: echo}\n") for _ in range(3)], make_worker(), make_worker()
    for place in claim(dying, 3):
        if what == "has its time come":
            end(dying, place, "waiting", waits_for="retry", wake=-1)
    end_lease(dying)
    refusal = refuse("orchestration_step", f"old.run_id = {runs[0].pk}", REFUSE)
    found = sweep(worker)
    assert (found["swept"], found["failed"]) == (2, [[runs[0].pk, "data_exception"]])
    found = sweep(worker, skip=[runs[0].pk])
    assert (found["swept"], found["failed"], found["wake"]) == (0, [], None)
    refusal.end()
    assert sweep(worker)["swept"] == 1
    assert {assert_sound(run.pk).steps.get().status for run in runs} == {"ready"}


def test_so_many_that_fail_hide_none_behind_them(begin, committed, boss, save):
    version = save(CHILD)
    run, worker = begin("  call: {agent: boss}\n"), make_worker()
    (place,) = claim(worker)
    begun = [
        start_version(version.pk, run.organization_id, {}, by=None, parent=place[:2], depth=1)
        for _ in range(settling.LARGEST_SWEEP + 1)
    ]
    end(worker, place, "waiting", waits_for="child", child=begun[-1])
    Run.objects.filter(pk__in=begun).update(status="failed", ended_at=ClockTimestamp(), error=["broken"])
    Run.objects.filter(pk=begun[-1]).update(error=None)
    assert children.tell_parents() == 1
    assert Run.objects.get(pk=run.pk).error["class"] == "child_failed"


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
    assert finished(runs[1]).status == "completed"
    assert Request.objects.unacknowledged().values_list("pk", flat=True).get() == requests[0].pk
    Request.objects.filter(pk=requests[0].pk).update(payload=requests[0].payload)
    assert {finished(run).status for run in runs} == {"completed"}
