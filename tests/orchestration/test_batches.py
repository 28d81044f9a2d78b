"""What goes wrong with one item of a batch, or with each sweep, is not the others'."""

import pytest

from approvals.models import Request
from orchestration.engine import answers
from orchestration.engine.connection import rows
from orchestration.engine.execution import Execution
from orchestration.engine.facts import facts_of
from orchestration.engine.starts import start_version
from orchestration.models import Run
from tests.harness import assert_all_sound, until
from tests.orchestration.properties.worker import Worker

STEP = 'name: one\nsteps: {a: {agent: hold, with: {value: "${{ input.value }}"}}}'
POISON = 'add constraint poison check (output is distinct from \'{"value": "poison"}\')'


@pytest.fixture
def poison(committed):
    """The database refuses this value."""
    rows(f"alter table orchestration_step {POISON}")
    yield {"value": "poison"}
    rows("alter table orchestration_step drop constraint poison")


def test_an_outcome_that_the_database_refuses_fails_its_step_and_none_of_fifty_beside_it(
    begin, engine_later, hold, settings, poison
):
    engine = engine_later()
    settings.WORKER_THREADS = 51
    runs = [begin(STEP, poison if n == 25 else {"value": n}) for n in range(51)]
    engine.look()
    until(lambda: len(hold.calls) == 51)
    hold.go.set()
    until(lambda: not Run.objects.filter(ended_at=None).exists())
    ended = assert_all_sound([run.pk for run in runs])
    assert [run.status for run in ended] == ["completed"] * 25 + ["failed"] + ["completed"] * 25
    assert ended[25].error["message"] == "The outcome could not be recorded: IntegrityError"
    assert len(hold.calls) == len(set(hold.calls)) == 51


@pytest.fixture
def take_events(committed):
    def take():
        rows("alter table orchestration_event drop constraint if exists poison")

    yield take
    take()


@pytest.fixture
def refuse_events(take_events):
    """The database refuses whatever a step does."""
    return lambda: rows(
        "alter table orchestration_event add constraint poison check (type not like 'step.%%') not valid"
    )


def test_an_outcome_that_the_database_refuses_in_any_words_is_kept_until_it_takes_it(
    begin, engine, hold, finished, refuse_events, take_events, caplog
):
    run = begin("  a: {agent: once}\n")
    engine.look()
    until(lambda: hold.calls)
    refuse_events()
    hold.go.set()
    until(lambda: caplog.text.count("not_recorded") > 2)  # as it came, as a failure, and that again
    take_events()
    assert (finished(run).status, len(hold.calls)) == ("failed", 1)


def test_questions_are_made_one_by_one_between_the_batches(begin, db):
    worker = Worker()
    begin("".join(f"  g{n}: {{approval: {{title: t}}}}\n" for n in range(3)))
    recorder = worker.process.recorder
    for hand in worker.record([], look=True):
        recorder.ended(hand, Execution(hand.claim, facts_of(hand.claim), lambda: False).outcome())
    for made in (1, 2, 3):
        recorder._record(recorder._gather())
        assert Request.objects.count() == made


def test_an_answer_that_can_never_be_taken_up_holds_up_no_other(begin, engine, members):
    """It fails in every sweep: its request does not say of which claim it is, until that is mended."""
    steps = "  g: {approval: {title: t}}\n  b: {agent: echo, needs: [g]}\n"
    runs = [begin(steps) for _ in range(3)]
    asked = until(lambda: list(Request.objects.pending().order_by("pk")) if Request.objects.count() == 3 else None)
    broken = asked[0]
    rows("update approvals_request set context = context - 'fence' where id = %s", [broken.pk])
    for request in asked:
        request.decide(by=members.approver, choice="continue", digest=request.digest)
    engine.look()
    until(lambda: Run.objects.filter(ended_at__isnull=False).count() == 2)
    assert [request.pk for request in Request.objects.unacknowledged()] == [broken.pk]
    Request.objects.filter(pk=broken.pk).update(context=broken.context)
    until(lambda: Run.objects.filter(ended_at__isnull=False).count() == 3)
    assert {run.status for run in assert_all_sound([run.pk for run in runs])} == {"completed"}


MOVES_ITS_PARENT = """
create function move_parent() returns trigger language plpgsql as $$ begin
    update orchestration_run set seq = seq + 1 where id = new.parent_run_id;
    return null;
end $$;
create trigger moves after update of status on orchestration_run
for each row when (new.parent_run_id is not null) execute function move_parent()
"""


def test_a_run_that_moves_while_it_is_tidied_up_is_tidied_up_again(db, begin):
    run = begin("  a: {agent: echo}\n")
    start_version(run.definition_version_id, run.organization_id, {}, by=None, parent=(run.pk, 1), depth=1)
    rows("update orchestration_step set status = 'canceled' where run_id = %s", [run.pk])
    rows("update orchestration_run set tidy = true where id = %s", [run.pk])
    rows(MOVES_ITS_PARENT)
    for still in (True, False):
        assert answers.tidy_up() == 1
        assert Run.objects.get(pk=run.pk).tidy is still
