"""Organizations take turns in a queue, whoever has more to do; nobody waits for the row that remembers the turns."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection, transaction

from orchestration.engine.connection import rows, use_own_connection
from orchestration.engine.starts import start_versions
from tests.factories import OrganizationFactory
from tests.harness import assert_all_sound, claim, end, flush, make_worker

FIRST = "name: first\nsteps: {a: {approval: {title: t}}, b: {approval: {title: t}}}"


@pytest.fixture
def busy(organization):
    return organization.pk


@pytest.fixture
def other(database):
    return OrganizationFactory().pk


@pytest.fixture
def begin_for(save):
    version = save(FIRST)

    def begin_for(organization, count):
        return start_versions(version.pk, organization, [{}] * count, by=None)

    return begin_for


def turns(worker, count):
    """Organizations of the steps claimed next, one at a time."""
    organization = "select organization_id from orchestration_run where id = %s"
    return [rows(organization, [claim(worker)[0][0]])[0][0] for _ in range(count)]


def test_who_comes_second_with_little_waits_for_little(committed, begin_for, busy, other):
    begin_for(busy, 50)
    worker = make_worker()
    claim(worker, 10)
    begin_for(other, 2)
    assert turns(worker, 6).count(other) >= 2


def test_what_an_organization_did_long_ago_is_not_held_against_it(committed, begin_for, busy, other):
    begin_for(busy, 50)
    worker = make_worker()
    assert len(claim(worker, 100)) == 100
    begin_for(other, 50)
    begin_for(busy, 1)
    assert turns(worker, 6).count(busy) == 2


def test_a_step_that_is_handed_back_moves_no_ones_turn(committed, begin_for, busy, other):
    begin_for(busy, 50)
    worker = make_worker()
    early, *_ = claim(worker, 100)
    assert end(worker, early, "ready", unlost=True) == ["ready:default"]
    begin_for(other, 3)
    begin_for(busy, 3)
    assert turns(worker, 1) == [busy]
    assert sorted(turns(worker, 4)) == sorted([busy, other] * 2)


def test_many_runs_take_the_ranks_that_single_starts_would(committed, begin_for, busy):
    together = begin_for(busy, 3)
    one_by_one = [run for _ in range(3) for run in begin_for(busy, 1)]
    ranks = "select rank from orchestration_step where run_id = any(%s) order by run_id, key"
    assert rows(ranks, [together + one_by_one]) == [(rank,) for rank in range(1, 13)]
    assert sorted(together) == together
    assert rows("select queue, rank from orchestration_fairshare") == [("default", 12)]


def test_nobody_waits_for_a_transaction_that_stands_still_with_the_shares(committed, begin_for, save, busy):
    joined = save("name: joined\nsteps: {a: {approval: {title: t}}, b: {needs: [a], approval: {title: t}}}")
    runs = start_versions(joined.pk, busy, [{}], by=None)
    worker = make_worker()
    (first,) = claim(worker)

    def in_own_connection(act):
        use_own_connection()
        try:
            return act()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool, transaction.atomic():
        rows("select from orchestration_fairshare for update")
        runs += pool.submit(in_own_connection, lambda: begin_for(busy, 1)).result(30)
        ended = pool.submit(in_own_connection, lambda: flush(worker, first)).result(30)
    assert [row[1] for row in ended] == ["ready:default"]
    assert_all_sound(runs)


def test_a_cascade_claims_no_more_than_there_are_threads_to_follow(committed, save, busy):
    """A failure that one step reads, and skips another that a third reads: two became ready, in two turns."""
    version = save(
        """name: cascade
steps:
  a: {agent: echo}
  t: {agent: echo, needs: [a], if: "${{ steps.a.status == 'failed' }}"}
  u: {agent: echo, needs: [a]}
  v: {agent: echo, needs: [u], if: "${{ steps.u.status == 'skipped' }}"}
"""
    )
    start_versions(version.pk, busy, [{}], by=None)
    worker = make_worker()
    (first,) = claim(worker)
    found = flush(worker, first, "failed", follow=True, error={"class": "permanent", "message": "m"})
    assert [row[1] for row in found].count("claimed") == 1
    assert rows("select name, status from orchestration_step where status in ('ready', 'running') order by 1") == [
        ("t", "running"),
        ("v", "ready"),
    ]
