"""The levers of people at live runs: what each does, and its refusal in words where the state does not allow it."""

import contextlib

import pytest
from django.urls import reverse

from accounts.models import AuditEntry
from approvals.models import Request
from orchestration.engine import answers
from orchestration.engine.connection import rows
from orchestration.engine.levers import by_hand, keeping, pausing, retrying
from orchestration.exceptions import InvalidInput, NotPinned, NotUncertain, Pinned, Refused, RunEnded
from orchestration.levers import LEVERS
from orchestration.models import Event, Run, Step
from tests.harness import assert_sound, claim, end, make_worker, race, until

CHAIN = "  a: {agent: echo}\n  b: {agent: echo, needs: [a]}\n"
BRANCHES = (
    "  a: {agent: echo}\n  b: {agent: echo, needs: [a]}\n  c: {agent: echo, needs: [b]}\n"
    "  d: {agent: echo}\noutput: 1\n"
)
ERROR = {"class": "permanent", "message": "no"}
GIVEN = {
    "priority": {"priority": 7},
    "deadline": {"deadline_at": "2040-01-01T00:00:00+00:00"},
    "budget": {"runs": 9},
    "output": {"output": {"value": 1}},
    "resolve": {"outcome": "failed"},
    "due": {"deadline_at": "2040-01-01T00:00:00+00:00", "then": "abort"},
    "concurrency": {"concurrency": 9},
    "reviewers": {"policy": "finance"},
}
REFUSALS = (Refused, RunEnded, NotUncertain, NotPinned, Pinned, InvalidInput)


def by_name(run):
    return {step.name: step for step in run.newest_steps()}


def statuses(run):
    return {name: step.status for name, step in by_name(run).items()}


def work(worker, *, failing=()):
    """All that can be claimed is done, until nothing is left."""
    while found := claim(worker, 20):
        for run, key, fence in found:
            name = Step.objects.get(run_id=run, key=key).name
            given = {"outcome": "failed", "error": ERROR} if name in failing else {"output": {"value": name}}
            end(worker, (run, key, fence), **given)


def pull(name, run, member, step=None):
    lever = next(each for each in LEVERS if each.name == name and (each.of == "step") == (step is not None))
    given = {"digest": keeping.deletion_of(run).digest} if name == "delete" else GIVEN.get(name, {})
    lever.pull(run, step, {"reason": "so", **given}, by=member)


def frozen(run):
    """All that a refusal must leave as it is."""
    return [
        Run.objects.filter(pk=run.pk).values().get(),
        list(Step.objects.filter(run_id=run.pk).order_by("key").values()),
        Event.objects.filter(run=run).count(),
        AuditEntry.objects.count(),
    ]


# --- pause


def test_a_paused_run_starts_nothing_until_it_is_resumed(begin, members):
    run = begin(CHAIN)
    worker = make_worker()
    (place,) = claim(worker)
    pausing.pause(run, by=members.operator, reason="stop")
    end(worker, place)
    assert (claim(worker), statuses(run)) == ([], {"a": "completed", "b": "ready"})
    pausing.resume(run, by=members.operator, reason="go")
    work(worker)
    assert assert_sound(run.pk).status == "completed"
    told = Event.objects.filter(run=run, type__in=["run.paused", "run.resumed"]).order_by("seq")
    assert [(event.type, event.data["reason"]) for event in told] == [("run.paused", "stop"), ("run.resumed", "go")]
    assert list(AuditEntry.objects.filter(target=run.public_id).values_list("action", flat=True).order_by("pk")) == [
        "run.pause",
        "run.resume",
    ]


def test_a_pause_and_a_workers_batch_leave_nothing_between(begin, committed, members):
    runs = [begin(CHAIN) for _ in range(60)]
    worker = make_worker()

    def finish(_):
        for place in claim(worker):
            while "busy" in end(worker, place):  # the pause holds its run
                pass

    def pause(number):
        with contextlib.suppress(Refused):  # it may have ended before
            pausing.pause(runs[number], by=None, reason="race")
            pausing.resume(runs[number], by=None, reason="race")

    race(60, finish, pause, finish)
    work(worker)
    for run in runs:
        assert assert_sound(run.pk).status == "completed"


def test_thousands_of_paused_steps_hide_no_other(begin):
    paused = begin(CHAIN)
    pausing.pause(paused, by=None, reason="many")
    rows(
        "insert into orchestration_step (run_id, key, position, name, kind, queue, status, priority, open_needs,"
        " dependants, reads, tolerant, repeatable) select run_id, key + n, 100 + n, 'x' || n, kind, queue, status,"
        " priority, 0, '{}', '{}', false, true from orchestration_step, generate_series(2, 5000) n"
        " where run_id = %s and key = 1",
        [paused.pk],
    )
    other = begin(CHAIN)
    assert [place[0] for place in claim(make_worker())] == [other.pk]


# --- retry


def test_a_failed_step_is_tried_again_and_the_rest_is_kept(begin, members):
    run = begin(BRANCHES)
    worker = make_worker()
    work(worker, failing={"a"})
    run.refresh_from_db()
    assert (run.status, statuses(run)) == ("failed", {"a": "failed", "b": "skipped", "c": "skipped", "d": "completed"})
    kept = by_name(run)["d"].key
    retrying.retry(run, by=members.operator, reason="again")
    work(worker)
    run = assert_sound(run.pk)
    assert (run.status, run.output, run.error) == ("completed", {"value": ""}, None)
    assert (by_name(run)["d"].key, by_name(run)["a"].round) == (kept, 2)
    assert Event.objects.filter(run=run, type="run.reopened").count() == 1


def test_a_failed_step_of_a_run_that_goes_on_is_tried_again(begin, members):
    run = begin(BRANCHES)
    worker = make_worker()
    found = {Step.objects.get(run_id=place[0], key=place[1]).name: place for place in claim(worker, 5)}
    end(worker, found["a"], "failed", error=ERROR)
    with pytest.raises(InvalidInput):
        retrying.retry(run, by=members.operator, reason="again", steps=["b"])
    retrying.retry(run, by=members.operator, reason="again", steps=["a"])
    end(worker, found["d"], output={"value": "d"})
    work(worker)
    assert assert_sound(run.pk).status == "completed"


OF_A = "  a: {agent: echo, on_failure: continue}\noutput: {x: '${{ steps.a.output.value }}'}\n"


def test_an_output_that_could_not_be_worked_out_counts_no_more_when_a_newer_one_could(begin, members):
    run = begin(OF_A)
    worker = make_worker()
    end(worker, claim(worker)[0], "failed", error=ERROR)
    end(worker, claim(worker)[0], "failed", error={"class": "expression", "message": "a is null"})
    assert Run.objects.get(pk=run.pk).status == "failed"
    by_hand.set_output(run, by_name(run)["a"], by=members.operator, reason="known", output={"value": 3})
    end(worker, claim(worker)[0], output={"x": 3})
    run = assert_sound(run.pk)
    assert (run.status, run.error, run.output) == ("completed", None, {"x": 3})


@pytest.mark.parametrize("how", ["at work", "handed back"])
def test_an_output_that_is_being_worked_out_is_worked_out_anew(begin, members, how):
    run = begin("  a: {agent: echo}\noutput: 1\n")
    worker = make_worker()
    end(worker, claim(worker)[0], "failed", error=ERROR)
    (output,) = claim(worker)
    if how == "handed back":
        end(worker, output, "ready")
    retrying.retry(run, by=members.operator, reason="again")
    found = {key: (pk, key, fence) for pk, key, fence in [*claim(worker, 2), output][::-1]}
    end(worker, found.pop(output[1]), "skipped")
    for place in found.values():
        end(worker, place)
    work(worker)
    run = assert_sound(run.pk)
    assert (run.status, run.error, run.output) == ("completed", None, {"value": ""})


def test_a_child_whose_end_counts_elsewhere_is_not_tried_again(begin, members):
    run = begin(CHAIN)
    work(make_worker(), failing={"a"})
    Run.objects.filter(pk=run.pk).update(parent_run_id=1, parent_key=1)
    before = frozen(run)
    with pytest.raises(Refused, match="retry the step there"):
        retrying.retry(run, by=members.operator, reason="again")
    assert frozen(run) == before


# --- by hand


@pytest.mark.parametrize("outcome", ["skipped", "completed"])
@pytest.mark.parametrize("status", ["blocked", "ready", "waiting", "uncertain"])
def test_a_step_that_nobody_runs_is_ended_by_hand(begin, members, status, outcome):
    run = begin("  a: {agent: echo, repeatable: false}\n  b: {agent: echo, needs: [a]}\n")
    worker = make_worker()
    if status in ("waiting", "uncertain"):
        end(worker, claim(worker)[0], status, **({"waits_for": "retry", "wake": 900} if status == "waiting" else {}))
    name = "b" if status == "blocked" else "a"
    step = by_name(run)[name]
    assert step.status == status
    if outcome == "skipped":
        by_hand.skip(run, step, by=members.operator, reason="so")
    else:
        by_hand.set_output(run, step, by=members.operator, reason="so", output={"value": 5})
    assert statuses(run)[name] == outcome
    work(worker)
    assert Run.objects.get(pk=run.pk).status == "completed"
    note = Event.objects.get(run=run, type=f"step.{outcome}", data__step=name).data
    assert (note["reason"], note["by"]) == ("so", members.operator.name)


def test_an_output_by_hand_takes_the_place_of_a_failure(begin, members):
    run = begin(BRANCHES)
    worker = make_worker()
    work(worker, failing={"b"})
    by_hand.set_output(run, by_name(run)["b"], by=members.operator, reason="so", output={"value": "mine"})
    work(worker)
    run = assert_sound(run.pk)
    assert (run.status, by_name(run)["b"].output) == ("completed", {"value": "mine"})


def test_a_question_that_is_passed_over_is_withdrawn(begin, engine, members, finished):
    run = begin("  g: {approval: {title: t}}\n  b: {agent: echo}\n")
    engine.look()
    request = until(lambda: Request.objects.pending().first())
    by_hand.skip(run, by_name(run)["g"], by=members.operator, reason="nobody is there")
    assert finished(run).status == "completed"
    request.refresh_from_db()
    assert request.status == "withdrawn"


# --- all of them


@pytest.mark.parametrize("lever", [lever for lever in LEVERS if lever.of == "run"], ids=lambda lever: lever.name)
@pytest.mark.parametrize("status", ["running", "paused", "canceling", "completed", "failed", "canceled"])
def test_a_lever_of_a_run_acts_or_refuses_in_words(begin, members, lever, status):
    run = begin(f"name: limited\nbudget: {{runs: 5}}\nsteps:\n{CHAIN}")
    worker = make_worker()
    if status in ("completed", "failed"):
        work(worker, failing={"b"} if status == "failed" else ())
    elif status == "canceling":
        claim(worker)
    if status in ("canceling", "canceled"):
        answers.cancel(run, by=None, reason="x")
    if status == "paused":
        pausing.pause(run, by=None, reason="x")
    run.refresh_from_db()
    assert run.status == status
    before = frozen(run)
    if lever.refusal(run) or (lever.name == "retry" and status != "failed"):  # nothing has failed yet
        with pytest.raises(REFUSALS, match="run"):
            pull(lever.name, run, members.operator)
        assert frozen(run) == before
    else:
        pull(lever.name, run, members.operator)


@pytest.mark.parametrize("lever", [lever for lever in LEVERS if lever.of == "step"], ids=lambda lever: lever.name)
@pytest.mark.parametrize("status", ["blocked", "ready", "running", "uncertain", "completed", "failed", "skipped"])
def test_a_lever_of_a_step_acts_or_refuses_in_words(begin, members, lever, status):
    run = begin(
        "  a: {agent: echo, repeatable: false}\n  b: {agent: echo, needs: [a]}\n  c: {agent: echo, needs: [b]}\n"
    )
    worker = make_worker()
    place = None if status in ("blocked", "ready") else claim(worker)[0]
    if status in ("uncertain", "completed", "failed", "skipped"):
        end(worker, place, "failed" if status in ("failed", "skipped") else status, error=ERROR)
    step = by_name(run)["b" if status in ("blocked", "skipped") else "a"]
    assert step.status == status
    before = frozen(run)
    if lever.refusal(step):
        with pytest.raises(REFUSALS):
            pull(lever.name, run, members.operator, step)
        assert frozen(run) == before
    else:
        pull(lever.name, run, members.operator, step)


def test_the_doors_of_the_levers(begin, operator, viewer):
    run = begin(CHAIN)

    def post(name, body, client=operator, step=None):
        return client.post(reverse(name, args=[run.public_id, *([step] if step else [])]), body, format="json")

    assert post("run-pause", {"reason": "so"}, viewer).status_code == 403
    assert post("run-pause", {"reason": "  "}).json()["errors"][0]["pointer"] == "/reason"
    assert post("run-pause", {"reason": "so"}).json()["status"] == "paused"
    refused = post("run-pause", {"reason": "so"})
    assert (refused.status_code, refused.json()["detail"]) == (
        409,
        "The run is paused; only one that is running or waiting can be paused.",
    )
    assert post("step-skip", {"reason": "so"}, step="a").json()["steps"][0]["status"] == "skipped"
    assert post("step-skip", {"reason": "so"}, step="nobody").status_code == 404
    assert post("run-priority", {"reason": "so", "priority": 101}).status_code == 400
    assert post("run-priority", {"reason": "so", "priority": 9}).status_code == 409  # it has ended by now
