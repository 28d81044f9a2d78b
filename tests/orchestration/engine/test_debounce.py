"""Starts that follow each other closely come together in one run."""

from collections import Counter

import pytest

from orchestration.engine import admission
from orchestration.engine.answers import cancel
from orchestration.engine.connection import rows
from orchestration.engine.starts import start_version, start_versions
from orchestration.language import AgentFacts, compile_definition
from orchestration.models import Debounce, Run
from tests.harness import assert_all_sound, make_worker, race, sweep

LAST = """name: last
labels: {n: "${{ input.n }}"}
debounce: {key: "${{ input.k }}", for: 10s, at_most: 1m}
steps: {a: {agent: echo, with: {value: "${{ input.n }}"}}}
"""
ITEMS = "input: {type: object, required: [items], properties: {items: {type: array}}}"
GATHERED = f"name: gathered\n{ITEMS}\ndebounce: {{for: 1h, gather: 5}}\nsteps: {{a: {{agent: echo}}}}"


@pytest.fixture
def starting(save, organization, members):
    """Start a run of this text's version with an input."""

    def starting(text):
        version = save(text)
        return lambda **given: start_version(version.pk, organization.pk, given, by=members.operator.pk)

    return starting


def let_pass(run):
    """What it waits for is over."""
    rows("update orchestration_step set wake_at = clock_timestamp() where run_id = %s and key = 0", [run])


def statuses(*runs):
    found = dict(Run.objects.values_list("pk", "status"))
    return [found[run] for run in runs]


def test_starts_that_follow_each_other_come_together_in_one_run(committed, starting):
    start = starting(LAST)
    first, again, other = start(k="x", n=1), start(k="x", n=2), start(k="y", n=3)
    assert (first == again, first == other) == (True, False)
    run = Run.objects.get(pk=first)
    assert (run.status, run.input, run.labels) == ("waiting", {"k": "x", "n": 2}, {"n": "2"})
    assert "unless another start joins it" in run.explain()[0].sentence
    assert 5 < sweep(make_worker())["wake"] <= 10
    assert dict(Debounce.objects.values_list("key", "starts")) == {"x": 2, "y": 1}
    assert_all_sound([first, other])
    let_pass(first)
    assert sweep(make_worker())["starts"]
    assert admission.give_turns() == 1
    assert statuses(first, other) == ["running", "waiting"]
    assert start(k="x", n=4) not in (first, other)
    assert_all_sound([first, other])


def test_who_joins_a_run_is_told_so(committed, save, operator, client, members):
    """200 with the run that was there; again under the same key."""
    save(LAST)

    def start(key="", **given):
        body = {"definition": "last", "input": given}
        answer = operator.post("/api/v1/runs/", body, format="json", headers={"Idempotency-Key": key})
        return answer.status_code, answer.json()["id"], answer.headers["Location"]

    code, first, where = start(k="x", n=1)
    assert code == 201
    assert start("two", k="x", n=2) == (200, first, where)
    assert start("two", k="x", n=2) == (200, first, where)
    assert Debounce.objects.get().starts == 2
    assert start("other", k="y", n=3)[0] == start("other", k="y", n=3)[0] == 201
    client.force_login(members.operator.user)
    page = client.post("/runs/new/last/", {"as": "raw", "raw": '{"k": "x", "n": 4}'}, follow=True)
    assert (page.redirect_chain[0][0], "Joined a run of last that waits for more." in page.content.decode()) == (
        f"/runs/{first}/",
        True,
    )


def test_many_of_which_all_join_runs_are_told_so(committed, save, operator):
    save(LAST)

    def start(*keys, header=""):
        body = {"definition": "last", "inputs": [{"k": key, "n": 1} for key in keys]}
        answer = operator.post("/api/v1/runs/batch/", body, format="json", headers={"Idempotency-Key": header})
        return answer.status_code, [run["id"] for run in answer.json()["results"]]

    code, (first, second) = start("x", "x")  # the second joins the first
    assert (code, first) == (201, second)
    assert start("x", "x", header="both") == start("x", "x", header="both") == (200, [first, first])
    code, (joined, begun) = start("x", "y")
    assert (code, joined, begun == first) == (201, first, False)
    assert start("x", "y") == (200, [first, begun])


def test_it_waits_no_longer_than_at_most(committed, starting):
    start = starting(LAST)
    run = start(k="x", n=1)
    rows("update orchestration_debounce set first_at = first_at - interval '55 s'")
    start(k="x", n=2)
    assert sweep(make_worker())["wake"] <= 5
    assert statuses(run) == ["waiting"]


def test_lists_are_gathered_until_there_are_so_many(committed, starting, organization, members):
    start = starting(GATHERED)
    run = start(items=[1, 2])
    assert start(items=[3]) == run
    assert not sweep(make_worker())["starts"]
    assert start(items=[4, 5, 6]) == run
    assert Run.objects.get(pk=run).input == {"items": [1, 2, 3, 4, 5, 6]}
    later = start(items=[7])
    assert later != run
    admission.give_turns()
    assert statuses(run, later) == ["running", "waiting"]
    version = Run.objects.get(pk=run).definition_version_id
    both = start_versions(version, organization.pk, [{"items": [8]}, {"items": [9]}], by=members.operator.pk)
    assert both == [later, later]
    assert_all_sound([run, later])


def test_one_that_was_canceled_is_joined_by_none(committed, starting):
    start = starting(LAST)
    canceled = start(k="x", n=1)
    cancel(Run.objects.get(pk=canceled), by=None, reason="")
    assert start(k="x", n=2) != canceled
    assert_all_sound([canceled])


def test_limits_are_asked_for_when_the_wait_is_over(committed, starting):
    start = starting(f"{LAST}concurrency: {{max: 1}}\n")
    first, second = start(k="x", n=1), start(k="y", n=1)
    for run in (first, second):
        let_pass(run)
        admission.give_turns()
    assert statuses(first, second) == ["running", "waiting"]
    assert "waits for its turn" in Run.objects.get(pk=second).explain()[0].sentence
    assert_all_sound([first, second])


def test_starts_against_the_end_of_their_wait_are_each_in_one_run(committed, starting):
    start = starting(GATHERED.replace("gather: 5", "gather: 1000"))
    first = start(items=[-1])

    def join(number):
        return start(items=[number])

    def pass_by(number):
        let_pass(Debounce.objects.get().run_id)
        admission.give_turns()

    gave = race(200, join, join, pass_by)
    runs = {first}.union(*(row[:2] for row in gave))
    admission.give_turns()
    items = [item for run in Run.objects.filter(pk__in=runs) for item in run.input["items"]]
    assert Counter(items) == Counter([-1, *range(200), *range(200)])
    assert set(Run.objects.values_list("pk", flat=True)) == runs
    assert_all_sound(sorted(runs))


@pytest.mark.parametrize(
    ("said", "input_"),
    [
        ("{for: 10s, at_most: 5s}", ITEMS),
        ("{for: 1s, gather: 5}", "input: {type: object}"),
        ("{for: 1s, gather: 5}", "input: {type: object, properties: {items: {type: array}}}"),
        ("{for: 1s, gather: 0}", ITEMS),
    ],
)
def test_what_cannot_come_together_is_a_finding(said, input_):
    text = f"name: d\n{input_}\ndebounce: {said}\nsteps: {{a: {{agent: echo}}}}"
    found = compile_definition(text, file="f", agents={"echo": AgentFacts("tool")}, policies=[])
    assert [(one.line, one.rule) for one in found.findings] == [(3, "debounce")]
