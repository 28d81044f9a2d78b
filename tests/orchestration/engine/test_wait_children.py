"""Waits with a run among what they wait for: what comes first ends them, and the run goes on only if it is needed."""

import re
from contextlib import suppress

import pytest

from accounts.public_ids import new_public_id
from orchestration.engine import answers, children, mail, messages
from orchestration.engine.connection import rows
from orchestration.engine.levers import by_hand, forking
from orchestration.engine.starts import start_version
from orchestration.engine.stopping import stop
from orchestration.exceptions import RunEnded
from orchestration.models import Deliverable, Event, EventWait, Run, Step
from orchestration.undo_preview import undo_lines
from orchestration.views.mail import listeners
from tests.harness import assert_all_sound, assert_sound, claim, flush, insistently, make_worker, race, sweep, until
from tests.orchestration.engine.looks import decide, pending, statuses, step, waiting

ROUNDS = 200
ASKS = "name: asks\nsteps: {a: {approval: {title: t}}}\noutput: 5"
ENDS = ["step.completed", "step.failed", "step.canceled"]


def child_of(run):
    return until(lambda: Run.objects.filter(parent_run_id=run.pk).order_by("-pk").first())


def wait_for(others, run="asks", **more):
    said = "".join(f", {key}: {value}" for key, value in more.items())
    return f"  w: {{wait: {{any: [{{run: {run}}}, {others}]}}{said}}}\n"


def family(run):
    return assert_all_sound([run.pk, *Run.objects.filter(parent_run_id=run.pk).values_list("pk", flat=True)])


# --- what comes first


def test_what_comes_first_ends_a_wait_and_a_child_that_is_not_needed_is_canceled(
    begin, engine, save, finished, deliver
):
    save(ASKS)
    run = begin(
        wait_for("{event: paid}, {for: 1d}") + '  b: {agent: echo, needs: [w], with: {value: "${{ steps.w.event }}"}}'
    )
    engine.look()
    child = child_of(run)
    pending(child)
    waits = step(run, "w")
    assert (waits.waits_for, waits.child_run_id, child.root_run_id) == ("child", child.pk, run.pk)
    assert waits.input == {"any": [{"run": "asks", "with": {}}, {"event": "paid"}, {"for": "1d"}]}
    assert run.events.get(type="step.waiting").data["child"] == child.public_id
    event = deliver(data=[7])
    run = finished(run)
    assert (run.status, step(run, "w").output, step(run, "w").event_id) == ("completed", [7], event.pk)
    assert step(run, "b").output["value"]["id"] == event.public_id
    assert finished(child).status == "canceled"
    until(lambda: not Run.objects.filter(parent_run_id=run.pk, told_at=None).exists())
    assert Event.objects.filter(run_id=run.pk, type__in=ENDS, key=waits.key).count() == 1
    assert not EventWait.objects.exists()
    family(run)


def test_the_childs_output_is_the_steps_and_nothing_is_heard_any_more(begin, engine, save, finished, members, deliver):
    save(ASKS)
    run = begin(
        wait_for("{event: paid}, {for: 1d}") + '  b: {agent: echo, needs: [w], with: {value: "${{ steps.w.event }}"}}'
    )
    engine.look()
    child = child_of(run)
    decide(child, members.approver)
    engine.look()
    run = finished(run)
    assert (run.status, step(run, "w").output, step(run, "w").wake_at) == ("completed", 5, None)
    assert step(run, "b").output["value"] is None
    assert Run.objects.get(pk=child.pk).status == "completed"
    assert not EventWait.objects.exists()
    deliver()
    until(lambda: mail.match() == 0)
    family(run)


def test_a_time_that_comes_first_gives_nothing(begin, engine, save, finished):
    save(ASKS)
    run = begin(wait_for("{event: paid}, {for: 300ms}"))
    engine.look()
    run = finished(run)
    assert (run.status, step(run, "w").output) == ("completed", None)
    assert finished(child_of(run)).status == "canceled"
    family(run)


def test_its_timeout_fails_the_step_and_cancels_the_child(begin, engine, save, finished):
    save(ASKS)
    run = begin("  w: {wait: {any: [{run: asks}, {event: paid}], timeout: 300ms}}\n")
    engine.look()
    assert finished(run).error["class"] == "timeout"
    assert finished(child_of(run)).status == "canceled"
    family(run)


def test_a_message_that_comes_first_cancels_the_child(begin, engine, save, finished, members):
    save(ASKS)
    run = begin(f"name: talks\nmessages: {{said: {{}}}}\nsteps:\n{wait_for('{message: said}')}")
    engine.look()
    child = child_of(run)
    messages.send(run, name="said", data="hello", sender_id=None, by=members.operator)
    run = finished(run)
    assert (run.status, step(run, "w").output, finished(child).status) == ("completed", "hello", "canceled")
    family(run)


@pytest.mark.parametrize(("choice", "follows"), [("abort", "child_rejected"), ("cancel", "child_canceled")])
def test_a_child_that_ends_badly_fails_the_step_by_its_class(begin, engine, save, finished, members, choice, follows):
    save(ASKS)
    handled = f"{{{follows}: tell, else: fail}}"
    text = wait_for("{for: 1d}", on_failure=handled)
    run = begin(f'{text}  tell: {{agent: echo, needs: [w], with: {{value: "${{{{ steps.w.status }}}}"}}}}')
    engine.look()
    child = child_of(run)
    pending(child)
    if choice == "cancel":
        answers.cancel(child, by=members.operator, reason="r")
    else:
        decide(child, members.approver, choice, note="n")
    engine.look()
    run = finished(run)
    assert (run.status, step(run, "w").error["class"]) == ("completed", follows)
    assert (step(run, "w").error["run"], step(run, "tell").output) == (child.public_id, {"value": "failed"})
    family(run)


def test_a_child_that_fails_fails_the_run(begin, engine, save, finished):
    save("name: child\nsteps: {a: {agent: echo, with: {fail: {kind: permanent}}}}")
    run = begin(wait_for("{event: paid}", run="child"))
    engine.look()
    run = finished(run)
    assert (run.status, run.error["class"]) == ("failed", "child_failed")
    assert not EventWait.objects.exists()


def test_a_child_that_is_to_be_left_goes_on(begin, engine, save, finished, members, deliver):
    save(ASKS)
    run = begin(wait_for("{event: paid}", run="{definition: asks, version: 1, if_parent_ends: leave}"))
    engine.look()
    child = child_of(run)
    pending(child)
    deliver(data=1)
    run = finished(run)
    decide(child, members.approver)
    engine.look()
    assert (finished(child).status, run.status, step(run, "w").output) == ("completed", "completed", 1)
    family(run)


@pytest.mark.parametrize("by", ["event", "child", "time"])
def test_a_deliverable_is_made_of_whatever_came(begin, engine, save, finished, members, deliver, by):
    save(ASKS)
    made = '{name: note, title: t, content: "It was ${{ output }}."}'
    run = begin(wait_for(f"{{event: paid}}, {{for: {'300ms' if by == 'time' else '1d'}}}", deliverable=made))
    engine.look()
    child = child_of(run)
    if by == "event":
        deliver(data=6)
    elif by == "child":
        decide(child, members.approver)
    engine.look()
    run = finished(run)
    expected = {"event": "6", "child": "5", "time": "null"}[by]
    assert (run.status, Deliverable.objects.get(run_id=run.pk).content) == ("completed", f"It was {expected}.")
    assert finished(child).status == ("completed" if by == "child" else "canceled")
    family(run)


# --- what the definition does not take


@pytest.mark.parametrize(
    ("spoil", "words"), [("archive", "is archived"), ("input", "does not take this input: /input/n")]
)
def test_a_run_that_cannot_begin_fails_the_step_and_nothing_is_waited_for(begin, engine, save, finished, spoil, words):
    version = save("name: child\ninput: {properties: {n: {type: integer}}}\nsteps: {a: {agent: echo}}")
    if spoil == "archive":
        type(version.definition).objects.filter(pk=version.definition_id).update(archived_at=version.created_at)
    run = begin('  w: {wait: {any: [{run: child, with: {n: "${{ input.n }}"}}, {event: paid}]}}\n', {"n": "x"})
    engine.look()
    run = finished(run)
    assert run.error["class"] == "permanent"
    assert words in run.error["message"]
    assert not EventWait.objects.exists()
    assert not Run.objects.filter(parent_run_id=run.pk).exists()


def test_a_tree_that_is_full_has_no_room_for_it(begin, engine, save, finished, settings):
    settings.RUN_TREE_MOST = 1
    save("name: child\nsteps: {a: {agent: echo}}")
    run = begin("  c: {run: child}\n" + wait_for("{event: paid}", run="child", needs="[c]"))
    engine.look()
    run = finished(run)
    assert (run.error["class"], run.error["step"]) == ("permanent", "w")
    assert not EventWait.objects.exists()


# --- with everything else that a step may be


def test_each_item_of_a_map_has_a_child_of_its_own(begin, engine, save, finished, members, deliver):
    takes = "input: {properties: {n: {type: integer}}}"
    save(ASKS.replace("steps", f"{takes}\nsteps").replace("output: 5", "output: '${{ input.n }}'"))
    any_of = '{run: asks, with: {n: "${{ item }}"}}, {event: paid, key: "${{ item }}"}'
    run = begin(f"  w: {{map: {{over: [1, 2, 3]}}, wait: {{any: [{any_of}]}}}}\noutput: '${{{{ steps.w.output }}}}'")
    engine.look()
    below = until(lambda: len(found := Run.objects.filter(parent_run_id=run.pk)) == 3 and list(found))
    first, *others = sorted(below, key=lambda one: one.input["n"])
    decide(first, members.approver)
    deliver(key="2", data="two")
    deliver(key="3", data="three")
    engine.look()
    run = finished(run)
    assert (run.status, run.output) == ("completed", [1, "two", "three"])
    assert [finished(one).status for one in (first, *others)] == ["completed", "canceled", "canceled"]
    family(run)


def test_a_map_that_is_over_cancels_the_children_of_its_items(begin, engine, save, finished, deliver):
    save(ASKS)
    any_of = '{run: asks}, {event: paid, key: "${{ item }}"}'
    run = begin(f"  w: {{map: {{over: [a, b]}}, wait: {{any: [{any_of}], timeout: 1s}}}}")
    engine.look()
    run = finished(run)
    assert run.status == "failed"
    assert {finished(one).status for one in Run.objects.filter(parent_run_id=run.pk)} == {"canceled"}
    assert not EventWait.objects.exists()
    family(run)


def test_each_pass_of_a_loop_has_a_child_of_its_own(begin, engine, save, finished, deliver):
    save(ASKS)
    run = begin(wait_for("{event: paid}", repeat='{until: "output == 2", max: 3}'))
    engine.look()
    for number in (1, 2):
        child = until(lambda: len(found := Run.objects.filter(parent_run_id=run.pk)) == number and found.last())  # noqa: B023
        pending(child)
        deliver(data=number)
    run = finished(run)
    assert (run.status, step(run, "w").output) == ("completed", 2)
    assert [finished(one).status for one in Run.objects.filter(parent_run_id=run.pk)] == ["canceled"] * 2
    family(run)


def test_a_round_that_is_opened_cancels_the_child_of_the_one_before(begin, engine, save, finished, members, deliver):
    save(ASKS)
    gate = "  side: {agent: echo}\n  check: {needs: {any: [side, w]}, approval: {title: t, retry: [side, w]}}\n"
    run = begin(gate + wait_for("{event: paid}"))
    engine.look()
    first = child_of(run)
    pending(first)
    decide(run, members.approver, "retry", note="n")
    engine.look()
    assert finished(first).status == "canceled"
    second = until(lambda: Run.objects.filter(parent_run_id=run.pk, pk__gt=first.pk).first())
    pending(second)
    deliver(data=1)
    decide(run, members.approver)
    engine.look()
    run = finished(run)
    assert (run.status, step(run, "w").round, step(run, "w").output) == ("completed", 2, 1)
    assert finished(second).status == "canceled"
    family(run)


def test_a_fork_from_behind_it_has_what_came_and_starts_no_child(begin, engine, save, finished, members, deliver):
    save(ASKS)
    read = "${{ {'data': steps.w.output, 'id': steps.w.event.id} }}"
    run = begin(wait_for("{event: paid}") + f'  b: {{agent: echo, needs: [w], with: {{value: "{read}"}}}}')
    engine.look()
    pending(child_of(run))
    event = deliver(data=9)
    source = run = finished(run)
    for _ in range(2):  # a fork of a fork
        source = finished(forking.fork(source, step(source, "b"), by=members.operator, reason="again"))
        assert (source.status, statuses(source)["w"]) == ("completed", "completed")
        assert step(source, "b").output == {"value": {"data": 9, "id": event.public_id}}
        assert not Run.objects.filter(parent_run_id=source.pk).exists()


# --- leaves end first


@pytest.fixture
def opened(begin, save, engine):
    """A run whose step waits, and its child, which waits for an answer; nobody is at work any more."""
    save(ASKS)
    run = begin(wait_for("{event: paid}, {for: 1d}"))
    engine.look()
    child = child_of(run)
    pending(child)
    waiting(run)
    engine.stop()
    return run, child


def test_a_cancel_reaches_the_child_first_and_nothing_else_ends_the_step(opened, deliver):
    run, child = opened
    worker = make_worker()
    stop(run.pk, "canceled", {"reason": "r", "by": None})
    deliver(data=1)
    rows("update orchestration_step set wake_at = clock_timestamp() where run_id = %s", [run.pk])
    mail.match()
    assert sweep(worker)["swept"] == 0
    assert step(run, "w").status == "waiting"
    answers.tidy_up()
    children.tell_parents()
    assert Run.objects.get(pk=child.pk).status == "canceled"
    run.refresh_from_db()
    assert (run.status, step(run, "w").status) == ("canceled", "canceled")
    family(run)


def test_a_child_that_has_ended_came_before_what_is_found_in_the_same_sweep(opened, deliver, members):
    run, child = opened
    worker = make_worker()
    decide(child, members.approver)
    answers.take_up_decisions()
    while place := claim(worker):
        flush(worker, place[0], output=5)
    deliver(data=1)
    rows("update orchestration_step set wake_at = clock_timestamp() where run_id = %s", [run.pk])
    mail.match()
    assert Run.objects.get(pk=child.pk).status == "completed"
    assert sweep(worker)["swept"] == 0
    children.tell_parents()
    assert (step(run, "w").status, step(run, "w").output) == ("completed", 5)
    assert not EventWait.objects.exists()


def test_a_step_that_is_ended_by_hand_cancels_its_child(opened, members, engine_later, finished):
    run, child = opened
    by_hand.set_output(run, step(run, "w"), by=members.operator, reason="known", output=3)
    engine_later()
    assert finished(run).status == "completed"
    assert (step(run, "w").output, finished(child).status) == (3, "canceled")
    family(run)


# --- what people see of it


def test_what_it_waits_for_is_said_with_its_child_and_shown(opened, members, client):
    run, child = opened
    said = [reason for reason in Run.objects.get(pk=run.pk).explain() if reason.kind == "child"]
    words = r"Waiting \d+ s for the run of asks that w started, which is waiting, or for “paid”, at most .+ more\."
    assert re.fullmatch(words, said[0].sentence)
    assert said[0].url == f"/runs/{child.public_id}/"
    assert [(one.run.pk, one.step.name) for one in listeners(members.operator)] == [(run.pk, "w")]
    client.force_login(members.operator.user)
    page = client.get(f"/runs/{run.public_id}/?step=w").content.decode()
    assert f"/runs/{child.public_id}/" in page


def test_a_cancel_says_that_what_its_child_did_stays(begin, engine, save, deliver, finished):
    save("name: child\nsteps: {a: {agent: echo}}")
    more = '  v: {wait: {any: [{run: asks}, {event: "paid"}]}}\n  b: {needs: [w, v], wait: {event: never}}\n'
    save(ASKS)
    run = begin(wait_for("{event: other}", run="child") + more)
    engine.look()
    until(lambda: step(run, "w").status == "completed")
    pending(Run.objects.get(pk=step(run, "v").child_run_id))
    deliver()
    until(lambda: step(run, "b").status == "waiting")
    assert finished(Run.objects.get(pk=step(run, "v").child_run_id)).status == "canceled"
    assert undo_lines(run) == ["Not undone: w: The run that it started has completed, and the step has no compensate."]


# --- all at one moment


class Waits:
    """A run in each round, whose step waits for a child that is at work, an event and a time."""

    def __init__(self, save, organization, by):
        self.organization, self.by = organization, by
        child = save("name: child\nsteps: {a: {agent: echo}}\noutput: child")
        parent = save("name: parent\nsteps: {w: {wait: {any: [{run: child}, {event: paid}]}}}")
        self.runs = [start_version(parent.pk, organization.pk, {}, by=by.pk) for _ in range(ROUNDS)]
        self.worker = make_worker()
        places = {place[0]: place for place in claim(self.worker, ROUNDS)}
        for number, run in enumerate(self.runs):
            launch = {"version": child.pk, "public": new_public_id("run"), "input": {}}
            hears = [{"name": "paid", "key": str(number)}]
            more = {"launch": launch, "hears": hears, "organization": organization.pk, "becomes": "completed"}
            more |= {"look_back": 24, "due_as": "completed"}
            flush(self.worker, places[run], "waiting", waits_for="child", wake=3600.0, more=more)
        below = {one.parent_run_id: one.pk for one in Run.objects.filter(parent_run_id__in=self.runs)}
        self.children = [below[run] for run in self.runs]
        self.at_work = {place[0]: place for place in claim(self.worker, ROUNDS)}
        assert len(self.at_work) == ROUNDS

    def end_child(self, n):
        place = self.at_work[self.children[n]]
        told = insistently(lambda: flush(self.worker, place, output="child", follow=True))
        for row in told:
            if row[1] == "claimed":  # its output
                insistently(lambda: flush(self.worker, row[2:5], output="child"))  # noqa: B023
        children.tell_parents()

    def deliver(self, n):
        mail.deliver(organization=self.organization, name="paid", key=str(n), data="event", sender_id=None, by=None)
        mail.match()
        sweep(self.worker)
        answers.tidy_up()

    def time_out(self, n):
        rows("update orchestration_step set wake_at = clock_timestamp() where run_id = %s", [self.runs[n]])
        sweep(self.worker)
        answers.tidy_up()

    def cancel(self, n):
        with suppress(RunEnded):
            answers.cancel(Run.objects.get(pk=self.runs[n]), by=self.by, reason="r")

    def ended(self):
        """Each step has ended once, by one of them, and each child was needed or is canceled; gives by what."""
        for _ in range(10):
            done = mail.match(), sweep(self.worker)["swept"], answers.tidy_up(), children.tell_parents()
            if not any(done):
                break
        assert not EventWait.objects.exists()
        assert_all_sound([*self.runs, *self.children])
        for run in self.runs:
            assert Event.objects.filter(run_id=run, key=1, type__in=ENDS).count() == 1
        assert not Run.objects.filter(ended_at=None).exists()
        found = {step.run_id: step for step in Step.objects.filter(name="w")}
        below = Run.objects.in_bulk(self.children)
        by = []
        for run, child in zip(self.runs, self.children, strict=True):
            row = found[run]
            by.append(row.output if row.status == "completed" else row.status)
            assert (by[-1] == "event") == (row.event_id is not None)
            assert by[-1] != "child" or below[child].status == "completed"
        return by


@pytest.fixture
def waits(committed, save, organization, members):
    return Waits(save, organization, members.operator)


def test_a_childs_end_an_event_and_a_time_at_once_end_a_wait_once(waits):
    race(ROUNDS, waits.end_child, waits.deliver, waits.time_out)
    by = waits.ended()
    assert set(by) <= {"child", "event", None}
    assert len(set(by)) > 1


def test_a_childs_end_an_event_and_a_cancel_at_once_end_a_wait_once(waits):
    race(ROUNDS, waits.end_child, waits.deliver, waits.cancel)
    assert set(waits.ended()) <= {"child", "event", "canceled"}


def test_what_is_waited_for_while_the_step_begins_to_wait_ends_it(committed, save, organization, members, deliver):
    """The wait and its child are laid in one commit; an event that came before ends the one and the other goes."""
    child = save("name: child\nsteps: {a: {agent: echo}}")
    parent = save("name: parent\nsteps: {w: {wait: {any: [{run: child}, {event: paid}]}}}")
    run = start_version(parent.pk, organization.pk, {}, by=members.operator.pk)
    deliver(data=1)
    worker = make_worker()
    (place,) = claim(worker)
    launch = {"version": child.pk, "public": new_public_id("run"), "input": {}}
    more = {"launch": launch, "hears": [{"name": "paid", "key": ""}], "organization": organization.pk}
    flush(worker, place, "waiting", waits_for="child", more={**more, "becomes": "completed", "look_back": 24})
    below = Run.objects.get(parent_run_id=run)
    assert sweep(worker)["untidy"]
    answers.tidy_up()
    children.tell_parents()
    assert Run.objects.get(pk=below.pk).status == "canceled"
    assert assert_sound(run).status in ("running", "completed")
