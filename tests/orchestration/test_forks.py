"""A run begins from a step of another: what was done before is not done again, and what is not to be repeated asks."""

import html
import json
import re

import pytest
from django.urls import reverse

from accounts.models import AuditEntry
from approvals.models import Request
from orchestration.doctor import examine
from orchestration.engine import answers
from orchestration.engine.levers import forking
from orchestration.engine.levers.forking import fork
from orchestration.exceptions import InvalidInput, Refused
from orchestration.models import Event, Payload, Run, Step
from tests.harness import assert_sound, claim, end, make_worker, until

CHAIN = """name: chain
input: {properties: {n: {type: integer}}}
steps:
  a: {agent: echo, with: {value: "${{ input.n }}"}}
  big: {agent: echo, with: {value: "${{ 'x'.repeat(6000) }}"}}
  g: {needs: [a, big], approval: {title: t, show: "${{ steps.a.output }}"}}
  b: {agent: echo, needs: [g], with: {value: "${{ steps.a.output.value + input.n }}"}}
  c: {agent: echo, needs: [b], with: {value: "${{ steps.b.output.value * 10 }}"}}
output: "${{ steps.c.output.value }}"
""".replace("${{ 'x'.repeat(6000) }}", "x" * 6000)
ERROR = {"class": "permanent", "message": "no"}


@pytest.fixture
def decided(begin, members, finished):
    """A finished run of the chain, its question answered."""

    def decided(**given):
        run = begin(CHAIN, given={"n": 1})
        answer(run, members)
        return finished(run)

    return decided


def answer(run, members, choice="continue"):
    request = until(lambda: Request.objects.pending().filter(context__run=run.public_id).first())
    request.decide(by=members.approver, choice=choice, digest=request.digest, note="so")
    return request


def by_name(run):
    return {step.name: step for step in run.newest_steps()}


def statuses(run):
    return {name: step.status for name, step in by_name(run).items()}


def work(worker, *, failing=()):
    while found := claim(worker, 20):
        for run, key, fence in found:
            name = Step.objects.get(run_id=run, key=key).name
            given = {"outcome": "failed", "error": ERROR} if name in failing else {"output": {"value": name}}
            end(worker, (run, key, fence), **given)


def test_a_fork_takes_over_what_was_done_and_decided(engine, decided, members, finished):
    source = decided()
    kept = Payload.objects.count()
    new = fork(source, by_name(source)["b"], by=members.operator, reason="try 5", input={"n": 5})
    new = finished(new)
    assert (source.output, new.status, new.output) == (20, "completed", 60)
    inherited = {name: step.inherited_key for name, step in by_name(new).items() if step.inherited_run == source.pk}
    assert inherited == {name: by_name(source)[name].key for name in ("a", "big", "g")}
    assert by_name(new)["g"].decision == by_name(source)["g"].decision
    assert by_name(new)["big"].output_digest == by_name(source)["big"].output_digest
    assert Payload.objects.count() == kept
    assert Request.objects.count() == 1
    told = Event.objects.filter(run=new, type="run.forked").get().data
    assert told == {"by": members.operator.name, "reason": "try 5", "step": "b", "from": source.public_id}
    assert Event.objects.filter(run=source, type="run.forked").get().data["to"] == new.public_id
    assert Event.objects.filter(run=new, type="step.inherited").count() == 3
    assert AuditEntry.objects.get(action="run.fork").target == source.public_id
    assert_sound(source.pk)
    again = finished(fork(new, by_name(new)["c"], by=members.operator, reason="once more"))
    assert again.output == 60


@pytest.mark.parametrize("name", ["a", "big", "g", "b", "c"])
def test_a_fork_at_each_step_does_that_and_what_needs_it(engine, decided, members, finished, name):
    source = decided()
    found = forking.preview(source, by_name(source)[name])
    new = fork(source, by_name(source)[name], by=members.operator, reason="x")
    if name in ("a", "big", "g"):
        answer(new, members)
    new = finished(new)
    assert new.output == source.output
    mine = {step.name for step in new.newest_steps() if step.inherited_run is None}
    assert (mine, set(found.inherits)) == (set(found.does), set(statuses(new)) - mine)
    order = {"a": "agbc", "big": ("big", *"gbc"), "g": "gbc", "b": "bc", "c": "c"}
    assert mine == set(order[name])


def test_a_decision_does_not_hold_for_an_agent_that_changed(engine, decided, members, finished, save_agent, agents):
    source = decided()
    save_agent(name="echo", kind="tool", configuration={"tool": "echo"}, description="Another version")
    new = fork(source, by_name(source)["b"], by=members.operator, reason="x")
    assert answer(new, members).context["step"] == "g"
    new = finished(new)
    rounds = [(step.round, step.inherited_run) for step in Step.objects.filter(run=new, name="g").order_by("round")]
    assert rounds == [(1, source.pk), (2, None)]


@pytest.mark.parametrize("choice", ["continue", "abort"])
def test_an_effect_that_had_begun_asks_first(engine, begin, hold, members, finished, choice):
    hold.go.set()
    source = finished(begin("  a: {agent: once}\n  b: {agent: hold, needs: [a]}\n  c: {agent: once, needs: [b]}\n"))
    before = len(hold.calls)
    new = fork(source, by_name(source)["b"], by=members.operator, reason="x")
    request = answer(new, members, choice)
    assert (request.context["step"], request.payload["begun by"]) == ("c", source.public_id)
    new = finished(new)
    wanted = {"continue": ("completed", "completed"), "abort": ("rejected", "skipped")}[choice]
    assert (new.status, statuses(new)["c"]) == wanted
    assert len(hold.calls) - before == {"continue": 2, "abort": 1}[choice]


def test_an_effect_that_had_not_begun_is_not_asked_about(begin, members, save_agent):
    save_agent(name="once", kind="tool", configuration={"tool": "echo"}, repeatable=False)
    source = begin("  a: {agent: echo}\n  b: {agent: once, needs: [a]}\n")
    work(make_worker(), failing={"a"})
    found = forking.preview(source, by_name(source)["a"])
    assert (found.does, found.asks, found.refusal) == (["a", "b"], [], None)


def test_what_a_child_did_is_asked_about(engine, begin, save, hold, finished):
    hold.go.set()
    save("name: child\nsteps: {x: {agent: once}}\n")
    source = finished(begin("  a: {agent: hold}\n  s: {run: child, needs: [a]}\n"))
    assert forking.preview(source, by_name(source)["a"]).asks == ["s"]


def test_what_failed_beside_it_is_done_again_and_what_failed_before_it_is_named(begin, members):
    source = begin("  a: {agent: echo}\n  b: {agent: echo}\n  c: {agent: echo, needs: [a]}\noutput: 1\n")
    worker = make_worker()
    work(worker, failing={"b"})
    new = fork(source, by_name(source)["c"], by=members.operator, reason="x")
    work(worker)
    new = assert_sound(new.pk)
    assert (new.status, [step.name for step in new.newest_steps() if step.inherited_run]) == ("completed", ["a"])
    failed = begin("  a: {agent: echo}\n  c: {agent: echo, needs: [a]}\n")
    work(worker, failing={"a"})
    count = Run.objects.count()
    with pytest.raises(Refused, match="Step a, which c builds on, is failed; fork from that"):
        fork(failed, by_name(failed)["c"], by=members.operator, reason="x")
    assert (Run.objects.count(), Event.objects.filter(run=failed, type="run.forked").count()) == (count, 0)


def test_a_run_that_goes_on_is_forked_and_goes_on(begin, members):
    source = begin("  a: {agent: echo}\n  b: {agent: echo, needs: [a]}\n  c: {agent: echo, needs: [b]}\n")
    worker = make_worker()
    end(worker, claim(worker)[0], output={"value": "a"})
    new = fork(source, by_name(source)["b"], by=None, reason="x")
    with pytest.raises(Refused, match="Step b, which c builds on, is ready"):
        fork(source, by_name(source)["c"], by=None, reason="x")
    work(worker)
    assert [assert_sound(run.pk).status for run in (source, new)] == ["completed", "completed"]


def test_input_is_held_to_its_schema_and_an_archived_definition_is_not_forked(begin, members):
    source = begin(CHAIN, given={"n": 1})
    with pytest.raises(InvalidInput):
        fork(source, by_name(source)["a"], by=None, reason="x", input={"n": "one"})
    source.definition_version.definition.archive(by=None, reason="x")
    source = Run.objects.for_list().get(pk=source.pk)
    with pytest.raises(Refused, match="archived"):
        fork(source, by_name(source)["a"], by=None, reason="x")
    assert Run.objects.count() == 1


def test_the_door_gives_the_new_run_and_says_before_what_it_will_be(begin, operator, viewer):
    source = begin(CHAIN, given={"n": 1})
    shown = viewer.get(reverse("run-fork-preview", args=[source.public_id, "a"])).json()
    assert shown == {"inherits": [], "does": ["a", "big", "g", "b", "c"], "asks": [], "refusal": None}
    url = reverse("step-fork", args=[source.public_id, "a"])
    assert viewer.post(url, {"reason": "x"}, format="json").status_code == 403
    made = operator.post(url, {"reason": "x", "input": {"n": 7}}, format="json")
    assert (made.status_code, made.json()["input"], made.json()["id"] != source.public_id) == (201, {"n": 7}, True)
    refused = operator.post(reverse("step-fork", args=[source.public_id, "c"]), {"reason": "x"}, format="json")
    assert (refused.status_code, "fork from that" in refused.json()["detail"]) == (409, True)


def test_an_answer_that_comes_twice_lets_it_go_once(engine, begin, hold, members, finished):
    hold.go.set()
    source = finished(begin("  a: {agent: once}\n"))
    new = fork(source, by_name(source)["a"], by=members.operator, reason="x")
    request = answer(new, members)
    finished(new)
    Request.objects.filter(pk=request.pk).update(acknowledged_at=None)
    answers.take_up_decisions()
    assert by_name(assert_sound(new.pk))["a"].attempt == 1
    assert examine(settled=True) == []


def input_field(page):
    """What stands in it, and what is said of it."""
    text = html.unescape(page.content.decode())
    box = re.search(r'<textarea name="input"[^>]*>\n?(.*?)</textarea>(.*?)</div>', text, re.DOTALL)
    return box[1], box[2]


def test_the_page_fills_in_what_the_run_was_given_and_says_at_the_field_what_is_wrong_with_it(begin, client, members):
    source = begin(CHAIN, given={"n": 1})
    client.force_login(members.operator.user)
    address = f"/runs/{source.public_id}/steps/a/fork/"
    for headers in ({}, {"HX-Request": "true"}):
        held, said = input_field(client.get(address, headers=headers))
        assert (json.loads(held), "what this run was given, for you to change" in said) == ({"n": 1}, True)
    for typed, words in (('{"n": "one"}', "n: This must be a whole number."), ('{"n": ', "is no JSON")):
        refused = client.post(address, {"input": typed, "reason": "x"})
        held, said = input_field(refused)
        assert (refused.status_code, held, words in said) == (400, typed, True), said
    assert Run.objects.count() == 1
    made = client.post(address, {"input": '{"n": 2}', "reason": "x"})
    same = client.post(address, {"input": "", "reason": "x"})
    given = [Run.objects.get(public_id=answer["Location"].split("/")[2]).input for answer in (made, same)]
    assert given == [{"n": 2}, {"n": 1}]


def test_the_page_fills_in_nothing_that_is_hidden_or_too_large(begin, client, members):
    hidden = begin(CHAIN.replace("steps:", "visible_to: [builder]\nsteps:", 1), given={"n": 8_888})
    large = begin(CHAIN.replace("chain", "chain2"), given={"n": 1, "text": "x" * 200_000})
    client.force_login(members.operator.user)
    for run, words in ((hidden, "is hidden from you"), (large, "is too large")):
        page = client.get(f"/runs/{run.public_id}/steps/a/fork/")
        held, said = input_field(page)
        assert (held, words in said, "8888" in page.content.decode()) == ("", True, False)
        made = client.post(f"/runs/{run.public_id}/steps/a/fork/", {"input": "", "reason": "x"})
        assert Run.objects.get(public_id=made["Location"].split("/")[2]).input == run.input
