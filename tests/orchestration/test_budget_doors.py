"""Budgets as the language takes them, and at the doors: the API, the pages, the admin."""

import pytest

from approvals.models import Request
from orchestration.engine import answers, budgets
from orchestration.language import compile_definition
from orchestration.models import Budget, Event, Run
from orchestration.reasons import reasons_of
from tests.approvals.looks import browser
from tests.harness import assert_sound, claim, end, make_worker

TEXT = "name: limited\nbudget: {tokens: 100}\nsteps: {a: {agent: echo}, b: {agent: echo, needs: [a]}}"


def compiled(budget):
    text = f"name: d\nbudget: {budget}\nsteps: {{a: {{approval: {{title: t}}}}}}"
    return compile_definition(text, file="f.yaml", agents={}, policies=["default", "finance"])


@pytest.mark.parametrize(
    ("budget", "found"),
    [
        ("{usd: 0.5}", []),
        ("{usd: 5, tokens: 200000, runs: 50, soft: 80%, policy: finance}", []),
        ("{}", [(2, 1, "budget")]),
        ("{soft: 80%}", [(2, 1, "budget")]),
        ("5", [(2, 9, "shape")]),
        ("{usd: 0}", [(2, 15, "shape")]),
        ("{usd: .inf}", [(2, 15, "number-range"), (2, 15, "shape")]),
        ("{usd: five}", [(2, 15, "shape")]),
        ("{tokens: 1.5}", [(2, 18, "shape")]),
        ("{tokens: -1}", [(2, 18, "shape")]),
        ("{tokens: 10000000000000000}", [(2, 18, "shape")]),
        ("{runs: 0}", [(2, 16, "shape")]),
        ("{usd: 1, soft: 0%}", [(2, 24, "budget")]),
        ("{usd: 1, soft: 0.8}", [(2, 24, "budget")]),
        ("{usd: 1, policy: finanse}", [(2, 26, "unknown-policy")]),
        ("{eur: 1}", [(2, 1, "budget"), (2, 10, "unknown-key")]),
    ],
)
def test_each_finding_names_its_place(budget, found):
    findings = compiled(budget).findings
    assert [(each.line, each.column, each.rule) for each in findings] == found
    assert all(each.fix or each.rule == "shape" for each in findings)


def test_what_it_leaves_out_is_said_by_the_plan():
    plan = compiled("{tokens: 7}").plan
    assert (plan["budget"], plan["level"]) == ({"tokens": 7, "soft": 0.8, "policy": "default"}, 2)


@pytest.fixture
def used_up(begin):
    """A run whose budget is: paused, and asked about."""
    run, worker = begin(TEXT), make_worker()
    (place,) = claim(worker)
    usage = {"input_tokens": 90, "output_tokens": 20, "cost_usd": None, "model": "m", "simulated": True}
    end(worker, place, output=1, usage=usage, more={"budgets": {"usd": None, "tokens": 110}})
    budgets.look_after()
    run.refresh_from_db()
    assert run.status == "paused"
    return run


def test_the_api_tells_what_is_spent_and_takes_the_answer(used_up, client_of, members):
    operator, approver = client_of(members.operator), client_of(members.approver, "read", "decide")
    body = operator.get(f"/api/v1/runs/{used_up.public_id}/").json()
    assert body["budgets"] == [
        {"run": used_up.public_id, "limits": {"tokens": 100}, "spent": {"tokens": 110}, "is_used_up": True}
    ]
    assert body["why"][0]["kind"] == "budget"
    (asked,) = approver.get("/api/v1/approvals/", {"run": used_up.public_id, "status": "pending"}).json()["results"]
    assert asked["title"] == "The budget of limited is used up: 110 of 100 tokens"
    answer = {"choice": "continue", "digest": asked["digest"], "edits": {"/tokens": 109}}
    door = f"/api/v1/approvals/{asked['id']}/decision/"
    assert approver.post(door, answer, format="json").status_code == 400
    assert approver.post(door, {**answer, "edits": {"/tokens": 120}}, format="json").status_code == 200
    answers.take_up_decisions()
    assert operator.get(f"/api/v1/runs/{used_up.public_id}/").json()["budgets"][0]["limits"] == {"tokens": 120}
    assert assert_sound(used_up.pk).status == "running"


def test_the_lever_at_the_api_raises_it_and_refuses_nonsense(used_up, client_of, members):
    operator, door = client_of(members.operator), f"/api/v1/runs/{used_up.public_id}/budget/"
    for given in ({"tokens": 0}, {"tokens": "many"}, {"eur": 5}, {}):
        assert operator.post(door, {"reason": "r", **given}, format="json").status_code == 400, given
    assert client_of(members.viewer).post(door, {"reason": "r", "tokens": 500}, format="json").status_code == 403
    assert Budget.objects.get(pk=used_up.pk).tokens == 100
    assert operator.post(door, {"reason": "r", "tokens": 500}, format="json").json()["status"] == "running"
    assert Request.objects.get().status == "withdrawn"


def test_a_page_says_why_it_is_paused_and_the_question_has_its_own_words(used_up, members):
    page = browser(members.approver)
    shown = page.get(f"/runs/{used_up.public_id}/").content.decode()
    assert "budget 110 of 100 tokens: used up" in shown
    asked = Request.objects.get()
    question = page.get(f"/approvals/{asked.public_id}/").content.decode()
    assert "Raise it" in question
    assert "End the run" in question
    assert asked.title in page.get("/approvals/").content.decode()


def test_a_run_below_leads_to_the_one_whose_budget_is_used_up(save, begin):
    child = save("name: child\nsteps: {a: {agent: echo}}")
    run = begin("name: top\nbudget: {runs: 1}\nsteps: {c: {run: child}, d: {run: child}}")
    worker = make_worker()
    for n, place in enumerate(claim(worker, 2)):
        launched = {"version": child.pk, "public": f"run_{n}", "input": {}}
        end(worker, place, "waiting", waits_for="child", more={"launch": launched, "budgets": {"runs": 1}})
    budgets.look_after()
    below = Run.objects.filter(parent_run_id=run.pk).first()
    (reason,) = reasons_of(below)
    assert (reason.kind, reason.url) == ("budget", run.get_absolute_url())
    assert "2 of 1 runs, that of the run above; nothing starts until it is raised" in reason.sentence
    assert Event.objects.filter(run=below, type="run.paused").count() == 1
