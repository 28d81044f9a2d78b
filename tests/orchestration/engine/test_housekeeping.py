"""What nobody needs any more goes, and nobody waits for that."""

import hashlib
from datetime import timedelta

import pytest
from django.db import transaction
from django.db.models.functions import Now

from orchestration.engine.connection import rows, value
from orchestration.models import CacheEntry, OutsideEvent, Payload, Run, Step, Worker
from tests.harness import make_worker, race, until
from tests.orchestration.engine.looks import decide


def digest(number):
    return hashlib.sha256(bytes([number])).digest()


def test_payloads_are_looked_at_a_few_at_a_time_and_those_in_use_or_new_are_kept(begin, committed):
    for number in range(5):
        Payload.objects.create(digest=digest(number), body=number, size=1, used_at=Now() - timedelta(days=2))
    Payload.objects.filter(digest=digest(1)).update(used_at=Now())
    run = begin("  a: {agent: echo}\n")
    Run.objects.filter(pk=run.pk).update(output_digest=digest(2))
    after, seen = b"", 0
    while seen == 0 or after:
        after = bytes(value("select engine_housekeeping_v4(%s, 2)", [after]))
        seen += 1
    assert seen == 3
    assert {bytes(kept) for kept in Payload.objects.values_list("digest", flat=True)} == {digest(1), digest(2)}


@pytest.mark.parametrize("keep", ["v1()", "v2()", "v3('')", "v4('')"])
def test_a_payload_that_only_a_new_column_names_survives_the_housekeeping_of_both_releases(keep, begin, committed):
    run = begin("  a: {agent: echo}\n")
    for number in range(5):
        Payload.objects.create(digest=digest(number), body=number, size=1, used_at=Now() - timedelta(days=2))
    Step.objects.filter(run=run).update(item_digest=digest(0), undo_digest=digest(1))
    OutsideEvent.objects.create(organization_id=run.organization_id, public_id="evt_1", data_digest=digest(2))
    CacheEntry.objects.create(
        organization_id=run.organization_id,
        digest=b"",
        output_digest=digest(3),
        run_id=1,
        key=1,
        expires_at="9999-01-01T00:00Z",
    )
    for _ in range(64):  # the older ones begin anywhere
        rows(f"select engine_housekeeping_{keep}")
    kept = {bytes(kept) for kept in Payload.objects.values_list("digest", flat=True)}
    assert kept - {digest(4)} == {digest(number) for number in range(4)}


def test_two_processes_that_keep_house_do_not_wait_for_each_other(committed):
    with transaction.atomic():
        assert value("select engine_housekeeping_v4('')") is not None
        ((other,),) = race(1, lambda _: value("select engine_housekeeping_v4('')"))
    assert other is None


@pytest.fixture
def held(committed):
    """A worker's row that is to go, and a deletion that stands still meanwhile; tells whether it does."""
    Worker.objects.filter(pk=make_worker()).update(dead_at=Now() - timedelta(days=8))
    rows(
        "create function hold() returns trigger language plpgsql set lock_timeout = 0 as"
        " $$ begin perform pg_advisory_xact_lock(7); return old; end $$"
    )
    rows("create trigger hold before delete on orchestration_worker for each row execute function hold()")
    rows("select pg_advisory_lock(7)")
    yield lambda: rows("select 1 from pg_locks where locktype = 'advisory' and objid = 7 and not granted")
    rows("select pg_advisory_unlock(7)")
    rows("drop function hold cascade")


def test_answers_do_not_wait_until_the_house_is_kept(begin, engine_later, held, members, finished):
    run = begin("  a: {approval: {title: t}}\n")
    engine_later()
    until(held)
    decide(run, members.approver)
    assert finished(run).status == "completed"
