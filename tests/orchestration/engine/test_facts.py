"""What the steps of a run have in common is read once."""

from dataclasses import replace

from django.db import connection
from django.test.utils import CaptureQueriesContext

from approvals.models import Request
from orchestration.engine import answers, settling
from orchestration.engine.connection import rows
from orchestration.engine.execution import Execution
from orchestration.engine.facts import facts_of, forget_facts
from orchestration.models import Step
from tests.harness import until
from tests.orchestration.properties.worker import Worker

LARGE = "x" * 1_000_000


def reads_of(claims, table):
    """How often the table was read while these claims made what their expressions read."""
    forget_facts()
    with CaptureQueriesContext(connection) as asked:
        for claim in claims:
            assert Execution(claim, facts_of(claim), bool).context
    return sum(f"from {table}" in query["sql"] for query in asked)


def test_a_large_input_is_read_once_for_a_thousand_steps(begin, db):
    run = begin('  a: {agent: echo, with: {value: "${{ size(input.text) }}"}}\n', {"text": LARGE})
    (hand,) = Worker().record([], look=True)
    assert reads_of([replace(hand.claim, key=n, input=None) for n in range(1, 1001)], "orchestration_run") == 1
    assert facts_of(hand.claim).input == {"text": LARGE}
    assert facts_of(replace(hand.claim, run=run.pk + 1, input='{"text":"small"}')).input == {"text": "small"}


def test_a_large_output_is_read_once_for_all_steps_that_read_it(begin, db, hold):
    hold.go.set()
    begin('  a: {agent: hold}\n  b: {agent: echo, needs: [a], with: {value: "${{ steps.a.output }}"}}\n')
    worker = Worker()
    (hand,) = worker.record([], look=True)
    hold.output = {"value": LARGE}
    worker.process.recorder.ended(
        hand, Execution(hand.claim, facts_of(hand.claim), bool, may_begin=hand.begins).outcome()
    )
    (hand,) = worker.record(worker.process.recorder._gather(), look=True)
    assert reads_of([replace(hand.claim, key=n) for n in range(2, 1002)], "orchestration_payload") == 1


TWICE = """
insert into orchestration_step (run_id, key, position, name, index, kind, queue, status, open_needs, dependants, reads,
    tolerant, repeatable)
select run_id, 2, position, name, 1, kind, queue, status, open_needs, dependants, reads, tolerant, repeatable
from orchestration_step where run_id = %s and key = 1
"""


def test_questions_of_one_step_are_asked_and_withdrawn_apart(begin, committed, engine_later):
    run = begin("  a: {approval: {title: t}}\n")
    rows(TWICE, [run.pk])
    rows("update orchestration_step set index = 0 where run_id = %s and key = 1", [run.pk])
    rows("update orchestration_run set open_steps = 2, moving_steps = 2, tidy = true where id = %s", [run.pk])
    engine_later()
    until(lambda: Request.objects.pending().count() == 2)
    assert {request.subject for request in Request.objects.all()} == {f"run:{run.pk}:a:{index}" for index in (0, 1)}
    first = Step.objects.get(run=run, key=1)
    settling.settle((run.pk, 1, first.fence), "waiting", settling.Outcome("canceled"))
    rows("update orchestration_run set tidy = true where id = %s", [run.pk])
    answers.tidy_up()
    assert [request.context["key"] for request in Request.objects.pending()] == [2]
