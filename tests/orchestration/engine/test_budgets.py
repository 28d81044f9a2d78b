"""Budgets over trees of runs: charged as steps end, warned of, and held at until a person raises them."""

import json
import re

import pytest

from accounts.models import AuditEntry
from agents import tools
from agents.calls import Result, Usage
from approvals.models import Request
from orchestration.engine import answers, budgets
from orchestration.engine.levers import pausing
from orchestration.exceptions import InvalidInput, Refused
from orchestration.models import Budget, Event, Run
from tests.harness import assert_all_sound, assert_sound, claim, end, make_worker, race, until
from tests.orchestration.engine.looks import decide, pending, statuses
from tests.orchestration.engine.test_run_steps import launch

ROUNDS = 200
USAGE = {"input_tokens": 60, "output_tokens": 40, "cost_usd": 0.25, "model": "m", "simulated": True}
CHARGE = {"budgets": {"usd": 0.25, "tokens": 100}}
CHAIN = (
    "steps:\n  a: {agent: spender}\n  b: {agent: spender, needs: [a]}\n  c: {agent: spender, needs: [b]}\noutput: 1\n"
)
PAUSED = {"a": "completed", "b": "ready", "c": "blocked"}


def text(budget, name="spender", steps=CHAIN):
    return f"name: {name}\nbudget: {budget}\n{steps}"


@pytest.fixture(autouse=True)
def spender(committed, save_agent):
    """An agent each of whose calls costs as much as USAGE says."""
    tools.register("spends", {"spend": lambda call: Result({"value": 1}, Usage(**USAGE))})
    save_agent(name="spender", kind="tool", configuration={"tool": "spends"})


def told(run):
    kinds = ["run.budget_warning", "run.budget_exceeded"]
    return [event.type for event in Event.objects.filter(run=run, type__in=kinds).order_by("seq")]


def spent(run):
    budget = Budget.objects.get(pk=run.pk)
    return float(budget.spent_usd), budget.spent_tokens, budget.spent_runs


def work(worker, **more):
    for place in claim(worker, 20):
        end(worker, place, output=1, usage=USAGE, more={**CHARGE, **more})


def paused(run):
    return until(lambda: Run.objects.filter(pk=run.pk, status="paused").first())


# --- with workers


@pytest.mark.parametrize("limit", ["usd: 0.2", "tokens: 99"])
def test_a_run_that_goes_beyond_its_budget_is_paused_and_goes_on_when_a_person_raises_it(
    begin, engine, finished, members, limit
):
    run = begin(text(f"{{{limit}}}"))
    engine.look()
    asked = pending(run)
    run = paused(run)
    until(lambda: statuses(run) == PAUSED)  # the step that found it so is handed back
    assert told(run) == ["run.budget_warning", "run.budget_exceeded"]
    name = limit.partition(":")[0]
    assert asked.payload == {"usd": {"usd": 0.4}, "tokens": {"tokens": 198}}[name]
    assert (asked.context["kind"], asked.policy.slug, asked.editable) == ("budget", "default", [f"/{name}"])
    decide(run, members.approver, edits={f"/{name}": 1000})
    engine.look()
    run = finished(run)
    assert (run.status, spent(run)) == ("completed", (0.75, 300, 0))
    assert Request.objects.count() == 1
    changed = Event.objects.get(run=run, type="run.changed")
    assert (changed.data["to"], changed.data["by"]) == ({"budget": {name: 1000}}, members.approver.name)


def test_a_run_that_stays_within_its_budget_is_warned_of_once_and_never_asks(begin, engine, finished):
    run = begin(text("{usd: 0.75, tokens: 1000, soft: 50%}"))
    engine.look()
    run = finished(run)
    until(lambda: not Budget.objects.filter(due=True).exists())
    assert (run.status, spent(run), told(run)) == ("completed", (0.75, 300, 0), ["run.budget_warning"])
    assert not Request.objects.exists()


def test_a_person_ends_a_run_whose_budget_is_used_up(begin, engine, finished, members):
    run = begin(text("{usd: 0.2}"))
    engine.look()
    decide(run, members.approver, "abort", note="too much")
    engine.look()
    run = finished(run)
    assert (run.status, statuses(run)["c"]) == ("rejected", "canceled")


def test_what_is_over_when_its_budget_is_used_up_asks_nobody(begin, engine, finished):
    run = begin(text("{usd: 0.2}", steps="steps: {a: {agent: spender}}\noutput: 1"))
    engine.look()
    run = finished(run)
    until(lambda: not Budget.objects.filter(due=True).exists())
    assert (run.status, told(run)) == ("completed", ["run.budget_warning", "run.budget_exceeded"])
    assert not Request.objects.exists()


def test_a_child_spends_its_own_budget_and_those_above_it(begin, engine, save, finished, members):
    save(text("{tokens: 10000}", "child"))
    run = begin(
        "name: top\nbudget: {usd: 0.6}\nsteps: {call: {run: child}, more: {run: child, needs: [call]}}\noutput: 1"
    )
    engine.look()
    asked = pending(run)
    run = paused(run)
    below = list(Run.objects.filter(parent_run_id=run.pk).order_by("pk"))
    assert [child.budgets for child in below] == [[child.pk, run.pk] for child in below]
    decide(run, members.approver, edits={"/usd": 10})
    engine.look()
    run = finished(run)
    below = list(Run.objects.filter(parent_run_id=run.pk).order_by("pk"))
    assert (run.status, spent(run)) == ("completed", (1.5, 600, 2))
    assert [spent(child) for child in below] == [(0.75, 300, 0)] * 2
    assert (asked.payload, Request.objects.count()) == ({"usd": 1.2}, 1)
    assert_all_sound([run.pk, *(child.pk for child in below)])


def test_amounts_above_are_told_to_those_who_see_what_is_in_that_run(begin, engine, save, members, client, client_of):
    save(f"name: child\n{CHAIN}")
    top = begin("name: top\nvisible_to: [builder]\nbudget: {usd: 0.43}\nsteps: {call: {run: child}}\noutput: 1")
    engine.look()
    pending(top)
    child = until(lambda: Run.objects.filter(parent_run_id=top.pk, status="paused").first())

    def told(member):
        client.force_login(member.user)
        api = client_of(member)
        pages = [client.get(f"/runs/{child.public_id}/{tab}") for tab in ("", "events/")]
        events = api.get(f"/api/v1/runs/{child.public_id}/events").content
        detail = api.get(f"/api/v1/runs/{child.public_id}/").json()
        text = "".join(answer.content.decode() for answer in pages) + events.decode() + json.dumps(detail["why"])
        amount = re.search(r'\$0\.43|"usd": ?0\.43', text)  # a time may have the same figures
        return detail["budgets"], amount is not None, "budget above it</a>: used up" in text

    seen = {"run": top.public_id, "limits": {"usd": 0.43}, "spent": {"usd": 0.5}, "is_used_up": True}
    assert told(members.viewer) == ([{**seen, "limits": {}, "spent": {}}], False, True)
    assert told(members.builder) == ([seen], True, False)


def test_a_run_beyond_the_number_of_runs_does_nothing_until_a_person_says_so(begin, engine, save, finished, members):
    save(f"name: child\n{CHAIN}")
    steps = "steps:\n  all: {map: {over: [1, 2, 3]}, run: child}\noutput: 1"
    run = begin(text("{runs: 2}", steps=steps))
    engine.look()
    asked = pending(run)
    paused(run)
    assert (asked.payload, spent(run)[2] > 2) == ({"runs": 4}, True)
    decide(run, members.approver)
    engine.look()
    assert (finished(run).status, spent(run)) == ("completed", (2.25, 900, 3))


def test_an_answer_that_breaks_its_schema_is_charged_and_what_failed_is_not_forgotten(
    begin, engine, finished, save_agent
):
    save_agent(name="wrong", kind="tool", configuration={"tool": "spends"}, output={"required": ["x"]})
    steps = "steps: {a: {agent: wrong, retry: {attempts: 3, on: {permanent: {attempts: 3, backoff: 1ms}}}}}"
    run = begin(text("{usd: 9}", steps=steps))
    engine.look()
    run = finished(run)
    assert (run.status, spent(run)) == ("failed", (0.75, 300, 0))
    assert_sound(run.pk)


# --- by hand


def test_what_is_lost_late_or_cached_costs_nothing(begin):
    run, worker = begin(text("{usd: 9}")), make_worker()
    (place,) = claim(worker)
    end(worker, place, "ready", unlost=True)
    assert end(worker, place, output=1, usage=USAGE, more=CHARGE) == ["late"]
    work(worker)
    (place,) = claim(worker)
    end(worker, place, output=1, usage={"cached": True})
    assert spent(run) == (0.25, 100, 0)
    assert_sound(run.pk)


def test_nobody_resumes_a_run_whose_budget_is_used_up_and_the_lever_raises_it(begin, members):
    run, worker = begin(text("{usd: 0.2}")), make_worker()
    work(worker)
    assert budgets.look_after() == 1
    with pytest.raises(Refused, match="used up"):
        pausing.resume(paused(run), by=members.operator, reason="go")
    budgets.set_limits(run, by=members.operator, reason="go on", usd=0.2)  # not enough: another is asked
    assert (Request.objects.count(), Request.objects.pending().count()) == (2, 1)
    budgets.set_limits(run, by=members.operator, reason="go on", usd=5)
    assert (Request.objects.pending().count(), len(claim(worker))) == (0, 1)
    assert [entry.data["budget"] for entry in AuditEntry.objects.filter(action="run.change").order_by("pk")] == [
        {"usd": 0.2},
        {"usd": 5},
    ]
    assert_sound(run.pk)


def test_a_run_without_a_budget_of_its_own_has_none_to_raise(begin, members):
    run = begin(f"name: plain\n{CHAIN}")
    with pytest.raises(Refused, match="no budget of its own"):
        budgets.set_limits(run, by=members.operator, reason="r", usd=1)
    with pytest.raises(InvalidInput):
        budgets.set_limits(run, by=members.operator, reason="r")


def test_what_a_person_paused_is_not_let_go_by_a_raise(begin, members):
    run, worker = begin(text("{usd: 0.2}")), make_worker()
    (place,) = claim(worker)
    pausing.pause(run, by=members.operator, reason="wait")
    end(worker, place, output=1, usage=USAGE, more=CHARGE)
    budgets.look_after()
    decide(run, members.approver)
    answers.take_up_decisions()
    assert Run.objects.get(pk=run.pk).status == "paused"
    pausing.resume(Run.objects.get(pk=run.pk), by=members.operator, reason="go")
    assert len(claim(worker)) == 1


def test_a_question_goes_when_its_run_ends(begin, members):
    run, worker = begin(text("{usd: 0.2}")), make_worker()
    work(worker)
    budgets.look_after()
    assert Request.objects.pending().count() == 1
    answers.cancel(run, by=members.operator, reason="r")
    budgets.look_after()
    assert (Request.objects.pending().count(), Budget.objects.filter(due=True).count()) == (0, 0)
    assert_sound(run.pk)


# --- at once


@pytest.fixture
def runs(start_many):
    return start_many(text("{usd: 0.2}"), ROUNDS)


@pytest.fixture
def places(runs):
    worker = make_worker()
    found = sorted(claim(worker, ROUNDS))
    assert len(found) == ROUNDS
    return worker, found


def test_two_that_find_a_budget_used_up_ask_one_question(runs, places):
    worker, found = places
    for place in found:
        end(worker, place, output=1, usage=USAGE, more=CHARGE)
    race(ROUNDS, lambda n: budgets.look_at(runs[n]), lambda n: budgets.look_at(runs[n]))
    assert Request.objects.pending().count() == ROUNDS
    assert {run.status for run in assert_all_sound(runs)} == {"paused"}


def test_a_raise_against_a_charge_holds_the_run_or_lets_it_go(runs, places, members):
    worker, found = places
    row = Run.objects.in_bulk(runs)

    def charge(n):
        while end(worker, found[n], output=1, usage=USAGE, more=CHARGE) == ["busy"]:
            pass
        budgets.look_at(runs[n])

    race(ROUNDS, charge, lambda n: budgets.set_limits(row[runs[n]], by=members.operator, reason="r", usd=0.22 + n % 2))
    budgets.look_after()
    after = assert_all_sound(runs)
    asked = set(Request.objects.pending().values_list("context__run", flat=True))
    assert [run.status for run in after] == ["running" if n % 2 else "paused" for n in range(ROUNDS)]
    assert asked == {run.public_id for n, run in enumerate(after) if n % 2 == 0}


def test_two_that_spend_at_once_are_both_charged(start_many, save):
    wide = "steps: {a: {agent: spender}, b: {agent: spender}, c: {agent: spender, needs: [a, b]}}"
    runs, worker = start_many(text("{usd: 0.4}", steps=wide), ROUNDS), make_worker()
    found = sorted(claim(worker, 2 * ROUNDS))

    def charge(place):
        while end(worker, place, output=1, usage=USAGE, more=CHARGE) == ["busy"]:
            pass
        budgets.look_after()

    race(ROUNDS, lambda n: charge(found[2 * n]), lambda n: charge(found[2 * n + 1]))
    assert {float(budget.spent_usd) for budget in Budget.objects.all()} == {0.5}
    assert Request.objects.pending().count() == ROUNDS
    assert {run.status for run in assert_all_sound(runs)} == {"paused"}


def test_children_of_two_runs_that_spend_one_budget_at_once(start_many, save):
    child = save(f"name: child\n{CHAIN}")
    runs = start_many(text("{usd: 0.3}", steps="steps: {a: {run: child}, b: {run: child}}"), 100)
    worker = make_worker()
    for place in claim(worker, 200):
        given = launch(child)
        end(worker, place, "waiting", **{**given, "more": {**given["more"], "budgets": {"runs": 1}}})
    found = sorted(claim(worker, 200))
    row = Run.objects.in_bulk([place[0] for place in found])
    found.sort(key=lambda place: row[place[0]].parent_run_id)
    race(
        100,
        lambda n: end(worker, found[2 * n], output=1, usage=USAGE, more=CHARGE),
        lambda n: end(worker, found[2 * n + 1], output=1, usage=USAGE, more=CHARGE),
    )
    budgets.look_after()
    assert {(float(budget.spent_usd), budget.spent_runs) for budget in Budget.objects.all()} == {(0.5, 2)}
    assert set(Run.objects.values_list("status", flat=True)) == {"paused"}
    assert_all_sound([*runs, *row])
