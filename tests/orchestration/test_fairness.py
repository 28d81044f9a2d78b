"""Organizations and keys take turns, whoever has more to do; nobody waits for the row that remembers the turns."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection, transaction

from orchestration.engine.connection import rows, use_own_connection
from orchestration.engine.levers.forking import fork
from orchestration.engine.starts import facts_of, start_versions
from orchestration.exceptions import InvalidInput
from orchestration.models import DefinitionVersion, Run, Step
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


# --- weights

WEIGHTED = """name: weighted
fair_by: {key: "${{ input.k }}", weight: "${{ input.w }}"}
steps:
  a: {approval: {title: t}}
  b: {approval: {title: t}, needs: [a]}
"""
MAPPED = """name: mapped
fair_by: {key: "${{ input.k }}", weight: "${{ input.w }}"}
steps: {a: {approval: {title: t}, map: {over: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]}}}
"""
KEYS = "select r.fair_key from orchestration_run r where r.id = %s"


@pytest.fixture
def begin_with(save, busy):
    def begin_with(k, w, count, text=WEIGHTED):
        return start_versions(save(text).pk, busy, [{"k": k, "w": w}] * count, by=None)

    return begin_with


def keys(worker, count):
    """Of the steps claimed next, one at a time: whose each is."""
    return "".join(rows(KEYS, [claim(worker)[0][0]])[0][0].rpartition(":")[2] for _ in range(count))


def furthest(served, share):
    """How many steps the key `a` was ever before, or behind, its share of those that were served."""
    return max(abs(served[:count].count("a") - share * count) for count in range(1, len(served) + 1))


def alternately(count, *begin):
    for _ in range(count):
        for each in begin:
            each()


@pytest.mark.parametrize("at_once", [True, False])
def test_a_key_with_a_weight_is_served_so_many_times_as_often(committed, begin_with, at_once):
    many = (lambda k, w: begin_with(k, w, 60)) if at_once else (lambda k, w: [begin_with(k, w, 1) for _ in range(60)])
    many("a", 3)
    many("b", 1)
    served = keys(make_worker(), 60)
    assert furthest(served, 3 / 4) <= 1.5
    ranks = "select max(s.rank) from orchestration_step s join orchestration_run r on r.id = s.run_id group by fair_key"
    assert sorted(rows(ranks)) == [(20,), (61,)]


def test_a_weight_holds_for_all_steps_of_a_run(committed, begin_with):
    begin_with("a", 3, 36)
    begin_with("b", 1, 36)
    worker = make_worker()
    firsts = claim(worker, 100)
    assert len(firsts) == 72
    for place in firsts:
        end(worker, place)
    assert furthest(keys(worker, 48), 3 / 4) <= 1.5


def test_items_have_their_runs_weight(committed, begin_with):
    begin_with("a", 3, 2, MAPPED)
    begin_with("b", 1, 2, MAPPED)
    worker = make_worker()
    for place in claim(worker, 10):
        spread = {"items": [{"item": n} for n in range(12)], "kind": "approval", "bearable": 0, "reads": []} | {
            "repeatable": True
        }
        end(worker, place, "waiting", waits_for="child", more={"spread": spread})
    assert furthest(keys(worker, 32), 3 / 4) <= 1.5


def test_runs_of_a_key_with_other_weights_share_its_turns(committed, begin_with):
    alternately(20, lambda: begin_with("a", 2, 1), lambda: begin_with("a", 4, 1))
    begin_with("b", 1, 20)
    assert rows("select fair_key like '%%*%%', count(*) from orchestration_fairshare group by 1") == [(False, 2)]
    # A half and a quarter of a turn are three quarters for two steps.
    assert furthest(keys(make_worker(), 40), 8 / 11) <= 1.5


def test_a_key_that_looks_like_a_weight_is_none(committed, begin_with, save, busy):
    plain = save('name: plain\nfair_by: "${{ input.k }}"\nsteps: {a: {approval: {title: t}}}')
    start_versions(plain.pk, busy, [{"k": "*9:a"}] * 20, by=None)
    begin_with("*9:b", 1, 20)
    begin_with("c*9:", 2, 40)
    worker = make_worker()
    claimed = [rows(KEYS, [claim(worker)[0][0]])[0][0] for _ in range(40)]
    expected = {f"{busy}:*9:a": 10, f"{busy}:*9:b": 10, f"{busy}*2:c*9:": 20}
    assert {key: pytest.approx(claimed.count(key), abs=1) for key in claimed} == expected


def test_a_child_has_its_parents_weight_or_its_own(committed, begin_with, save, busy, members):
    save("name: child\nsteps: {a: {approval: {title: t}}}")
    save("name: own\nfair_by: mine\nsteps: {a: {approval: {title: t}}}")
    text = "name: p\nfair_by: {key: 'k:*1', weight: 5}\nsteps: {a: {run: child}, b: {run: own}}"
    worker = make_worker()
    for place in claim_of(worker, start_versions(save(text).pk, busy, [{}], by=None)):
        definition = Step.objects.get(run_id=place[0], key=place[1]).name
        version = DefinitionVersion.objects.get(definition__slug={"a": "child", "b": "own"}[definition])
        facts = facts_of(version.pk, busy, {}, by=None)
        child = {
            "version": version.pk,
            "public": f"run_{definition}",
            "input": {},
            "facts": facts,
            "most": 9,
            "full": {},
        }
        end(worker, place, "waiting", waits_for="child", more={"launch": child})
    found = dict(Run.objects.filter(parent_run_id__gt=0).values_list("public_id", "fair_key"))
    assert found == {"run_a": f"{busy}*5:k:*1", "run_b": f"{busy}:mine"}
    assert {run.weight for run in Run.objects.all()} == {1, 5}


def test_a_fork_and_a_page_know_the_weight(begin, engine, client, operator, members, finished):
    run = begin("name: f\nfair_by: {key: k, weight: 4}\nsteps: {a: {agent: echo}, b: {agent: echo, needs: a}}")
    engine.look()
    new = fork(finished(run), Step.objects.get(run=run, name="b"), by=members.operator, reason="r")
    assert new.fair_key == run.fair_key
    engine.look()
    assert finished(new).status == "completed"
    client.force_login(members.viewer.user)
    assert "<span>weight 4</span>" in client.get(f"/runs/{new.public_id}/").content.decode()
    assert operator.get(f"/api/v1/runs/{new.public_id}/").json()["weight"] == 4


def claim_of(worker, runs):
    places = claim(worker, 10)
    assert {place[0] for place in places} == set(runs)
    return places


@pytest.mark.parametrize("weight", [0, 101, 1.5, "x", None])
def test_a_weight_that_is_none_refuses_the_start(begin_with, weight):
    with pytest.raises(InvalidInput) as refused:
        begin_with("a", weight, 1)
    assert [error["pointer"] for error in refused.value.errors] == ["/inputs/0/definition/fair_by/weight"]
    assert not Run.objects.exists()
