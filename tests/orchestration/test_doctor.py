"""Each finding of the doctor is shown by a row that is broken by hand."""

import json
import re

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import transaction

from approvals.models import Request
from orchestration import doctor
from orchestration.doctor import examine
from orchestration.engine.connection import rows
from orchestration.models import Run, Step
from tests.harness import claim, database_url, make_worker, until

GATED = "name: gated\nsteps: {ask: {approval: {title: t}}}"
WHOLE = """
  a:
    agent: echo
    with: {value: "${{ input.big }}"}
    deliverable: {name: report, title: Report, content: text}
  check: {needs: [a], approval: {title: t}}
  late: {agent: echo, with: {fail: {times: 9}}, retry: {attempts: 2, backoff: 1h, max: 1h, jitter: 0}}
  call: {agent: boss}
  last: {agent: echo, needs: [check, late]}
"""

# {kind: what breaks it}; {waits} waits for a person, a timer and its child {child}; {done} is completed.
BROKEN = {
    "events": [
        "delete from orchestration_event where run_id = {done} and seq = 3",
        "update orchestration_run set seq = seq + 1 where id = {done}",
    ],
    "beginning": ["update orchestration_event set type = 'run.began' where run_id = {done} and seq = 1"],
    "end": [
        "update orchestration_event set type = 'run.failed' where run_id = {done} and type = 'run.completed'",
        "update orchestration_event set type = 'run.completed' where run_id = {done} and seq = 2",
        "insert into orchestration_event (run_id, seq, type) values ({waits}, 99, 'run.completed')",
    ],
    "after_end": ["insert into orchestration_event (run_id, seq, type) values ({done}, 99, 'step.started')"],
    "after_canceling": [
        "update orchestration_event set type = 'run.canceling' where run_id = {waits} and type = 'run.started'"
    ],
    "canceling": ["update orchestration_run set status = 'canceling' where id = {waits}"],
    "counters": [
        "update orchestration_run set open_steps = open_steps + 1 where id = {waits}",
        "update orchestration_run set moving_steps = moving_steps + 1 where id = {waits}",
    ],
    "status": [
        "update orchestration_run set status = 'running' where id = {waits}",
        "update orchestration_run set open_steps = 1 where id = {done}",
        "update orchestration_run set status = 'waiting', ended_at = null where id = {done}",
    ],
    "promise": [
        "update orchestration_run set overdue_at = now() where id = {waits}",
        "insert into orchestration_event (run_id, seq, type) select id, seq + 1, 'run.overdue' from orchestration_run"
        " where id = {waits}; update orchestration_run set seq = seq + 1 where id = {waits}",
    ],
    "error": ["""update orchestration_run set error = '{{"message": "no"}}' where id = {done}"""],
    "failure": [
        "update orchestration_step set status = 'failed' where run_id = {done} and key = 1",
        """update orchestration_step set status = 'failed', on_failure = '{{"else": "continue"}}', error = '{{}}'"""
        " where run_id = {waits} and name = 'last'",
    ],
    "layout": ["delete from orchestration_step where run_id = {waits} and name = 'last'"],
    "order": ["update orchestration_event set type = 'step.started' where run_id = {done} and type = 'step.completed'"],
    "told": [
        "update orchestration_step set status = 'ready' where run_id = {waits} and name = 'check'",
        "delete from orchestration_step where run_id = {done} and key = 1",
    ],
    "ended_at": ["update orchestration_step set ended_at = null where run_id = {done}"],
    "twice": ["update orchestration_step set position = 1 where run_id = {waits}"],
    "owner": ["update orchestration_step set status = 'running', owner = 0 where run_id = {waits} and name = 'check'"],
    "needs": [
        "update orchestration_step set open_needs = 3 where run_id = {waits} and name = 'last'",
        "update orchestration_step set dependants = '{{}}' where run_id = {waits} and name = 'check'",
        "update orchestration_step set open_needs = 0 where run_id = {waits} and name = 'last'",
        "update orchestration_step set windowed = true, head = 99 where run_id = {waits} and name = 'last'",
    ],
    "undone": [
        "update orchestration_step set undoes = 1, kind = 'undo' where run_id = {waits} and name = 'late'",
        "update orchestration_run set reversible = true, status = 'failed' where id = {done};"
        """update orchestration_step set undo = '{{"agent": "a"}}' where run_id = {done}""",
    ],
    "slot": [
        "insert into orchestration_limitslot (limit_id, run_id, key, fence) values (1, {waits}, 2, 0)",
        "insert into orchestration_limitslot (limit_id, run_id, key, fence) values (1, {done}, 0, 0)",
    ],
    "budget": [
        "insert into orchestration_budget (run_id, policy, spent_tokens) values ({waits}, 'default', 5)",
        "update orchestration_run set budgets = array[1] where id = {child}",
    ],
    "place": [
        "insert into orchestration_limitqueue (limit_id, run_id, key, fence) values (1, {done}, 1, 0)",
        "insert into orchestration_limitqueue (limit_id, run_id, key, fence) values (1, 999999, 1, 0)",
    ],
    "limit": [
        "insert into orchestration_limit (organization_id, kind, key, max, taken) values (1, 'steps', 'k', 1, 1)"
    ],
    "start": [
        "insert into orchestration_step (run_id, key, position, name, kind, queue, status, open_needs, dependants,"
        " reads, tolerant, repeatable, input, ended_at) values ({waits}, 0, 0, '', 'start', 'default', 'completed', 0,"
        """ '{{}}', '{{}}', true, true, '{{"limits": [{{"kind": "starts"}}]}}', clock_timestamp())"""
    ],
    "nothing_wakes": [
        "update orchestration_step set waits_for = 'time', wake_at = null where run_id = {waits} and name = 'late'",
        "update orchestration_step set waits_for = 'limit', wake_at = null where run_id = {waits} and name = 'late'",
        "with p as (insert into orchestration_cacheplace (organization_id, digest, run_id, key, fence)"
        " select 1, 'd', run_id, key, fence from orchestration_step where run_id = {waits} and name = 'late')"
        " update orchestration_step set waits_for = 'limit', wake_at = null where run_id = {waits} and name = 'late'",
        "update orchestration_step set item_count = 2, child_run_id = null where run_id = {waits} and name = 'call'",
        "update orchestration_step set wake_at = null where run_id = {waits} and name = 'late'",
        "update orchestration_step set waits_for = 'event' where run_id = {waits} and name = 'late'",
        "update orchestration_step set fence = 9 where run_id = {waits} and name = 'check'",
        "update approvals_request set status = 'withdrawn' where context ->> 'run_id' = '{waits}'",
        "update orchestration_run set told_at = now() where id = {child}",
        "update orchestration_step set child_run_id = null where run_id = {waits}",
    ],
    "answer_lost": [
        "insert into orchestration_cacheentry (organization_id, digest, output_digest, run_id, key, expires_at)"
        " values (1, 'd', 'gone', {done}, 1, now())"
    ],
    "listens": [
        "insert into orchestration_eventwait"
        " (run_id, key, number, organization_id, name, event_key, fence, since, becomes)"
        " values ({done}, 1, 1, 1, 'e', '', 0, now(), 'completed')"
    ],
    "message": [
        "insert into orchestration_outsideevent (public_id, organization_id, run_id, name, taken_key)"
        " select 'msg_1', organization_id, id, 'n', 1 from orchestration_run where id = {done}",
        "with w as (insert into orchestration_eventwait"
        " (run_id, key, number, organization_id, name, event_key, fence, since, becomes)"
        " select run_id, key, 1, 0, 'n', '', fence, now(), 'completed' from orchestration_step"
        " where run_id = {waits} and name = 'check') insert into orchestration_outsideevent"
        " (public_id, organization_id, run_id, name)"
        " select 'msg_1', organization_id, id, 'n' from orchestration_run where id = {waits}",
    ],
    "question": ["update orchestration_step set waits_for = 'event' where run_id = {waits} and name = 'check'"],
    "answer": [
        "delete from orchestration_event where run_id = {done} and type = 'checkpoint.resolved'",
        "update orchestration_step set status = 'canceled' where run_id = {done} and name = 'ask'",
        "update approvals_request set status = 'withdrawn', choice = null, decided_at = null, answer_digest = null,"
        " decided_by_id = null where context ->> 'run_id' = '{done}'",
    ],
    "asked": [
        "delete from approvals_request where context ->> 'run_id' = '{waits}'",
        "delete from orchestration_event where run_id = {waits} and type = 'checkpoint.requested'",
    ],
    "decisions": [
        "delete from approvals_decision",
        "update approvals_decision set choice = 'abort'",
        "update approvals_decision set late = true",
    ],
    "child": [
        "update orchestration_run set parent_key = 9 where id = {child}",
        "update orchestration_step set child_run_id = {done} where run_id = {waits} and name = 'call'",
        "update orchestration_step set status = 'completed' where run_id = {waits} and name = 'call'",
    ],
    "forsaken": ["update orchestration_step set status = 'canceled' where run_id = {waits} and name = 'call'"],
    "deliverable": [
        "update orchestration_deliverable set version = 2",
        "delete from orchestration_deliverable",
        "delete from orchestration_event where type = 'deliverable.created'",
    ],
    "log": [
        "update orchestration_loghead set number = number + 1",
        "update orchestration_loghead set errors = errors + 1",
        "delete from orchestration_logline",
    ],
    "stream": [
        "insert into orchestration_streamhead (run_id, name, number) values ({done}, 'a', 1)",
        "insert into orchestration_streamvalue (run_id, name, number, key, at, value)"
        " values ({done}, 'a', 1, 1, now(), '1')",
    ],
    "payload": [
        "delete from orchestration_payload",
        "update orchestration_step set item_digest = 'gone' where run_id = {done}",
        "update orchestration_step set undo_digest = 'gone' where run_id = {done}",
        "insert into orchestration_outsideevent (public_id, organization_id, run_id, name, data_digest)"
        " select 'evt_1', organization_id, id, 'n', 'gone' from orchestration_run where id = {done}",
    ],
    "orphan": [
        "insert into orchestration_event (run_id, seq, type) values (999999, 1, 'run.started')",
        "insert into orchestration_loghead (run_id, number, errors) values (999999, 0, 0)",
        "insert into orchestration_streamhead (run_id, name, number) values (999999, 'a', 0)",
    ],
}

LEFT = {
    "left_running": ["update orchestration_step set status = 'running', owner = {worker} where name = 'last'"],
    "left_ready": ["update orchestration_step set status = 'ready' where name = 'last'"],
    "left_canceling": ["update orchestration_run set status = 'canceling' where id = {waits}"],
    "left_timer": ["update orchestration_step set wake_at = clock_timestamp() - interval '1 s' where name = 'late'"],
    "left_promise": ["update orchestration_run set expect_at = clock_timestamp() - interval '1 s' where id = {waits}"],
    "left_deadline": [
        "update approvals_request set deadline_at = clock_timestamp() - interval '1 s', deadline_choice = 'abort'"
        " where status = 'pending'"
    ],
    "left_answer": ["update approvals_request set acknowledged_at = null where status = 'decided'"],
    "left_untold": [
        "update orchestration_run set status = 'completed', ended_at = clock_timestamp() - interval '1 s'"
        " where id = {child}"
    ],
    "left_budget": ["insert into orchestration_budget (run_id, policy, due) values ({waits}, 'default', true)"],
    "left_flight": [
        "insert into orchestration_cacheentry (organization_id, digest, run_id, key, fence, expires_at)"
        " values (1, 'd', {done}, 1, 9, 'infinity')"
    ],
    "left_untidy": ["update orchestration_run set tidy = true where id = {done}"],
    "left_lease": [
        "update orchestration_worker set lease_until = clock_timestamp() - interval '1 s' where id = {worker}",
        "update orchestration_worker set host = (select host from orchestration_worker where id <> {worker} limit 1),"
        " pid = 999999999 where id = {worker}",
    ],
}
BY_A_SESSION = {"left_session", "left_lock"}


@pytest.fixture
def sound(committed, begin, engine_later, save, save_agent, members):
    """Rows of runs with which nothing is wrong, and no engine at work any more."""
    save_agent(name="boss", kind="orchestrator", configuration={"definitions": ["gated"]})
    save(GATED)
    done = begin(GATED)
    engine = engine_later()
    request = until(lambda: Request.objects.pending().filter(context__run_id=done.pk).first())
    request.decide(by=members.approver, choice="continue", digest=request.digest)
    engine.look()
    until(lambda: Run.objects.filter(pk=done.pk, ended_at__isnull=False).exists())
    waits = begin(WHOLE, {"big": "x" * 5000})
    kinds = {"approval", "retry", "child"}
    until(lambda: set(Step.objects.filter(run=waits, status="waiting").values_list("waits_for", flat=True)) == kinds)
    child = Run.objects.get(parent_run_id=waits.pk)
    until(lambda: Request.objects.pending().filter(context__run_id=child.pk).exists())
    until(lambda: rows("select 1 from orchestration_loghead where run_id = %s", [waits.pk]))
    engine.stop()
    return {"done": done.pk, "waits": waits.pk, "child": child.pk, "worker": make_worker()}


def broken(sql, names, **how):
    """The kinds found when a row is broken, which is taken back."""
    with transaction.atomic():
        rows(sql.format(**names))
        found = {finding.kind for finding in examine(**how)}
        transaction.set_rollback(True)
    return found


def test_the_doctor_finds_each_thing_that_is_wrong(sound):
    assert examine(settled=True) == []
    missed = [(kind, sql) for kind, all_ in BROKEN.items() for sql in all_ if kind not in broken(sql, sound)]
    missed += [
        (kind, sql) for kind, all_ in LEFT.items() for sql in all_ if kind not in broken(sql, sound, settled=True)
    ]
    assert missed == []
    kinds = set(re.findall(r"select '(\w+)'(?: as finding)?, ", "".join(doctor._checks(True))))
    assert kinds == {*BROKEN, *LEFT, *BY_A_SESSION}


def test_a_session_that_holds_something_is_a_leftover(sound):
    with psycopg.connect(database_url()) as other:
        other.execute("select pg_advisory_lock(1)")
        until(lambda: {finding.kind for finding in examine(settled=True)} == BY_A_SESSION)
        assert examine() == []
    assert examine(settled=True) == []


def test_a_step_that_runs_is_a_leftover_only_if_nothing_is_supposed_to_move(sound, begin):
    begin("  a: {agent: echo}")
    assert claim(make_worker())
    assert examine() == []
    (finding,) = examine(settled=True)
    assert (finding.kind, finding.step) == ("left_running", "a")


def doctor_says(capsys, *arguments):
    try:
        call_command("doctor", *arguments)
    except SystemExit as exc:
        return exc.code, capsys.readouterr().out
    return 0, capsys.readouterr().out


def test_the_command_says_what_is_wrong_and_what_to_do_and_exits_with_1(sound, organization, capsys):
    rows("update orchestration_run set seq = 99 where id = %s", [sound["done"]])
    done, waits = (Run.objects.get(pk=sound[name]) for name in ("done", "waits"))
    status, words = doctor_says(capsys, "--organization", organization.slug)
    assert status == 1
    assert f"events: run {done}: its events are " in words
    assert "What to do: No path of the product writes this." in words
    assert doctor_says(capsys, "--run", waits.public_id) == (0, "Nothing is wrong.\n")
    status, told = doctor_says(capsys, "--run", done.public_id, "--json")
    (finding,) = json.loads(told)
    assert (status, finding["kind"], finding["run"]) == (1, "events", done.public_id)
    for wrong in ({"run": "run_none"}, {"organization": "none"}):
        with pytest.raises(CommandError):
            call_command("doctor", **wrong)


def test_only_so_many_findings_of_a_kind_are_shown(sound, capsys):
    rows(
        "insert into orchestration_event (run_id, seq, type) select 900000 + n, 1, 'run.started'"
        " from generate_series(1, 50) n"
    )
    _, words = doctor_says(capsys)
    assert words.count("orphan: ") == doctor.SHOWN
    assert "… and 30 more" in words
