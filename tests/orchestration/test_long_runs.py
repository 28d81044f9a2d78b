"""A run with a million events: whoever looks at it, or moves it, reads as few rows as of any other."""

import pytest

from orchestration.doctor import examine
from orchestration.engine import answers
from orchestration.engine.connection import rows, value
from orchestration.feeds import readers
from orchestration.models import Event, Run
from tests.harness import assert_sound, claim, end, make_worker

MILLION = 1_000_000
FEW = 50_000  # the timeline is drawn of the newest 5,000; each counts in the index and in the table
READ = """
select sum(pg_stat_get_xact_tuples_returned(oid) + pg_stat_get_xact_tuples_fetched(oid)) from pg_class
where relname ~ '^orchestration_event' and relkind in ('r', 'i')
"""


def events_read(act):
    """How many rows of events, and entries of their indexes, this transaction read for it."""
    before = value(READ)
    act()
    return int(value(READ) - before)


@pytest.fixture
def long_run(db, begin):
    """A step of it runs, and is told a million times that a result came late."""
    run = begin("  a: {agent: echo}\n  b: {agent: echo, needs: [a]}\n  c: {agent: echo, needs: [b]}\n")
    worker = make_worker()
    (step,) = claim(worker)
    rows(
        "insert into orchestration_event (run_id, seq, type, key, data)"
        " select %s, 2 + n, 'step.late_result', 1, '{\"outcome\": \"completed\"}' from generate_series(1, %s) n",
        [run.pk, MILLION],
    )
    rows("update orchestration_run set seq = seq + %s where id = %s", [MILLION, run.pk])
    rows("analyze orchestration_event")
    return Run.objects.get(pk=run.pk), worker, step


def test_a_run_with_a_million_events_is_read_and_moved_as_any_other(long_run, client, members, operator):
    run, worker, step = long_run
    client.force_login(members.operator.user)
    page, api = f"/runs/{run.public_id}/", f"/api/v1/runs/{run.public_id}"

    def get(who, address):
        def act():
            answer = who.get(address)
            assert answer.status_code == 200, answer.content

        return act

    def resume():
        found = rows(readers.NEWER, [[run.pk], [run.seq - 3], readers.ROOM])
        assert len(found) == 3

    looks = {
        "its page": get(client, page),
        "its page's news": get(client, f"{page}part/?after={run.seq - 2}"),
        "its events' page": get(client, f"{page}events/"),
        "the API": get(operator, f"{api}/"),
        "the first events": get(operator, f"{api}/events"),
        "events in the middle": get(operator, f"{api}/events?after={MILLION // 2}"),
        "the last events": get(operator, f"{api}/events?after={run.seq - 3}"),
        "a stream that resumes": resume,
        "the end of a step": lambda: end(worker, step),
        "the claim of the next": lambda: end(worker, *claim(worker)),
        "a cancel": lambda: answers.cancel(run, by=members.operator, reason="enough"),
        "the page of a canceled run": get(client, page),
    }
    read = {look: events_read(act) for look, act in looks.items()}
    assert {look: count for look, count in read.items() if count > FEW} == {}
    assert Run.objects.get(pk=run.pk).seq == MILLION + 8
    assert Event.objects.filter(run=run).count() == MILLION + 8
    assert assert_sound(run.pk).status == "canceled"
    rows("delete from orchestration_event where run_id = %s and seq = %s", [run.pk, MILLION // 2])
    assert [finding.kind for finding in examine([run.pk])] == ["events"]
