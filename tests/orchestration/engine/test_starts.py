"""Limits of starts: how many runs go on at once, how many begin within a time, and what becomes of one more."""

import pytest

from orchestration.engine import admission, slots
from orchestration.engine.answers import cancel
from orchestration.engine.connection import rows
from orchestration.engine.levers import limiting
from orchestration.engine.levers.forking import fork
from orchestration.engine.levers.retrying import retry
from orchestration.engine.starts import start_version, start_versions
from orchestration.exceptions import LimitFull, Refused
from orchestration.models import Event, Limit, LimitPlace, LimitSlot, Run, Step
from tests.harness import assert_all_sound, claim, end, make_worker, race, sweep, until

STEPS = "steps: {a: {agent: echo, with: {value: 1}}}"


def limited(when_full="queue", most=1, more=""):
    return (
        f"name: limited\nconcurrency: {{key: '${{{{ input.k }}}}', max: {most}, when_full: {when_full}}}\n{more}{STEPS}"
    )


@pytest.fixture
def begin(save, organization, members):
    """Start a run of the text's version with k."""

    def begin(version, k="x"):
        return start_version(version.pk, organization.pk, {"k": k}, by=members.operator.pk)

    return begin


def statuses(*runs):
    found = dict(Run.objects.values_list("pk", "status"))
    return [found[run] for run in runs]


def go_on():
    """What sweeps do for limits and starts, until there is nothing left to do."""
    while slots.tend() + admission.evict() + admission.give_turns():
        pass


def work(worker):
    """Claim one step and complete it; its run."""
    (step,) = claim(worker)
    assert end(worker, step) == []
    return step[0]


def test_one_more_waits_and_begins_in_its_turn(committed, save, begin):
    version = save(limited())
    worker = make_worker()
    first, second, third, other = begin(version), begin(version), begin(version), begin(version, "y")
    assert statuses(first, second, third, other) == ["running", "waiting", "waiting", "running"]
    assert "waits for its turn to begin" in Run.objects.get(pk=second).explain()[0].sentence
    assert "1 waits before it" in Run.objects.get(pk=third).explain()[0].sentence
    assert_all_sound([first, second, third, other])
    assert {work(worker), work(worker)} == {first, other}
    assert claim(worker) == []
    go_on()
    assert statuses(second, third) == ["running", "waiting"]
    assert work(worker) == second
    go_on()
    assert work(worker) == third
    go_on()
    assert not LimitSlot.objects.exists()
    assert Limit.objects.get(key="limited:x").taken == 0
    assert_all_sound([first, second, third, other])


def test_the_more_urgent_begins_before_those_that_came_first(committed, save, organization, members):
    version = save(limited(more="priority: '${{ input.p }}'\n"))
    worker = make_worker()
    given = [{"k": "x", "p": urgency} for urgency in (0, 0, 50)]
    first, second, urgent = start_versions(version.pk, organization.pk, given, by=members.operator.pk)
    assert work(worker) == first
    go_on()
    assert statuses(second, urgent) == ["waiting", "running"]


def test_one_that_is_refused_says_who_holds_the_limit_and_leaves_nothing(committed, save, begin, operator):
    version = save(limited("refuse"))
    first = Run.objects.get(pk=begin(version))
    with pytest.raises(LimitFull) as full:
        begin(version)
    assert full.value.runs == [first.public_id]
    answer = operator.post("/api/v1/runs/", {"definition": "limited", "input": {"k": "x"}}, format="json")
    assert (answer.status_code, answer.json()["runs"]) == (409, [first.public_id])
    assert first.public_id in answer.json()["detail"]
    assert Run.objects.count() == 1
    assert not LimitPlace.objects.exists()
    assert_all_sound([first.pk])


def test_the_oldest_is_canceled_for_the_newest(committed, save, begin):
    version = save(limited("cancel_oldest", most=2))
    oldest, older, newer, newest = (begin(version) for _ in range(4))
    assert statuses(oldest, older, newer, newest) == ["running", "running", "waiting", "waiting"]
    go_on()
    assert statuses(oldest, older, newer, newest) == ["canceled", "canceled", "running", "running"]
    begin(version)
    begin(version)
    last = begin(version)  # more than there are places: one that waits is the oldest, too
    go_on()
    assert Run.objects.filter(status="running").count() == 2
    assert statuses(last) == ["running"]
    assert_all_sound(list(Run.objects.values_list("pk", flat=True)))


def test_a_run_that_waits_is_canceled_and_the_next_moves_up(committed, save, begin):
    version = save(limited())
    first, second, third = begin(version), begin(version), begin(version)
    cancel(Run.objects.get(pk=second), by=None, reason="")
    assert statuses(second) == ["canceled"]
    cancel(Run.objects.get(pk=first), by=None, reason="")
    go_on()
    assert statuses(third) == ["running"]
    assert_all_sound([first, second, third])


def test_so_many_begin_within_a_time(committed, save, organization, members):
    version = save(f"name: rated\nrate: {{max: 2, per: 1h}}\n{STEPS}")
    runs = start_versions(version.pk, organization.pk, [{}] * 3, by=members.operator.pk)
    assert statuses(*runs) == ["running", "running", "waiting"]
    go_on()
    assert statuses(runs[2]) == ["waiting"]
    assert "so many have begun of late" in Run.objects.get(pk=runs[2]).explain()[0].sentence
    assert sweep(make_worker())["wake"] > 3_500
    rows("update orchestration_ratehit set at = at - interval '1 hour'")
    rows("update orchestration_limitqueue set woken_at = clock_timestamp()")
    assert sweep(make_worker())["starts"]
    go_on()
    assert statuses(runs[2]) == ["running"]
    assert_all_sound(runs)


def test_another_rate_holds_for_those_whose_turn_is_yet_to_come(committed, save, organization, members):
    version = save(f"name: rated\nrate: {{max: 1, per: 1h}}\n{STEPS}")
    runs = start_versions(version.pk, organization.pk, [{}] * 3, by=members.operator.pk)
    assert statuses(*runs) == ["running", "waiting", "waiting"]
    limiting.change(Limit.objects.get(), by=members.operator, reason="r", most=2)
    go_on()
    assert statuses(*runs) == ["running", "running", "waiting"]
    assert_all_sound(runs)


def test_one_that_asks_again_keeps_its_claim_to_the_place_of_the_oldest(committed, save, begin, members):
    version = save(limited("cancel_oldest"))
    oldest, newest = begin(version), begin(version)
    for most in (2, 1):  # its turn comes, and there is no room again before it asks
        limiting.change(Limit.objects.get(), by=members.operator, reason="r", most=most)
    go_on()
    assert statuses(oldest, newest) == ["canceled", "running"]
    assert_all_sound([oldest, newest])


@pytest.mark.parametrize(("when_full", "status"), [("queue", "completed"), ("refuse", "failed")])
def test_children_obey_the_limits_of_their_definition(
    engine, save, begin, hold, organization, members, when_full, status
):
    save(f"name: limited\nconcurrency: {{max: 1, when_full: {when_full}}}\nsteps: {{a: {{agent: hold}}}}")
    parent = save("name: parent\nsteps: {a: {run: limited}, b: {run: limited}}")
    run = begin(parent)
    children = Run.objects.filter(parent_run_id=run)
    until(lambda: hold.calls and children.count() == 2)
    if when_full == "refuse":
        until(lambda: children.filter(status="canceled").exists())
    assert len(hold.calls) == 1
    hold.go.set()
    until(lambda: Run.objects.filter(pk=run, status=status).exists())
    assert_all_sound([run, *children.values_list("pk", flat=True)])


def test_a_failed_run_is_tried_again_only_where_there_is_room(committed, save, begin, members):
    version = save(limited("refuse"))
    worker = make_worker()
    failed = begin(version)
    (step,) = claim(worker)
    end(worker, step, "failed", error={"class": "permanent", "message": "no"})
    second = begin(version)
    with pytest.raises(Refused, match="room"):
        retry(Run.objects.get(pk=failed), by=members.operator, reason="again")
    cancel(Run.objects.get(pk=second), by=None, reason="")
    retry(Run.objects.get(pk=failed), by=members.operator, reason="again")
    assert statuses(failed) == ["running"]
    assert_all_sound([failed, second])


def test_a_fork_of_a_limited_run_takes_its_turn(committed, save, begin, members):
    version = save(limited())
    worker = make_worker()
    first = begin(version)
    assert work(worker) == first
    second = begin(version)
    source = Run.objects.get(pk=first)
    forked = fork(source, source.steps.get(name="a"), by=members.operator, reason="once more").pk
    go_on()
    assert statuses(second, forked) == ["running", "waiting"]
    assert work(worker) == second
    go_on()
    assert work(worker) == forked
    go_on()
    assert_all_sound([first, second, forked])


CHAIN = """steps:
  a: {agent: echo, with: {value: 1}}
  b: {agent: echo, needs: [a], with: {value: "${{ steps.a.output.value + 1 }}"}}
  c: {agent: echo, needs: [b]}
"""


def test_a_fork_from_a_later_step_takes_its_turn(committed, save, begin, members):
    version = save(limited().replace(STEPS, CHAIN))
    worker = make_worker()
    first = begin(version)
    for value in (1, 2, 3):
        (step,) = claim(worker)
        end(worker, step, output={"value": value})
    second = begin(version)
    source = Run.objects.get(pk=first)
    forked = fork(source, source.steps.get(name="b"), by=members.operator, reason="once more").pk
    (held,) = claim(worker, 9)
    assert held[0] == second
    go_on()
    assert statuses(second, forked) == ["running", "waiting"]
    assert "waits for its turn to begin" in Run.objects.get(pk=forked).explain()[0].sentence
    assert_all_sound([first, second, forked])
    cancel(Run.objects.get(pk=second), by=None, reason="")
    end(worker, held)
    go_on()
    assert statuses(forked) == ["running"]
    for value in (2, 3):
        (place,) = claim(worker)
        assert place[0] == forked
        end(worker, place, output={"value": value})
    assert statuses(forked) == ["completed"]
    assert_all_sound([first, second, forked])


def test_a_fork_is_refused_where_a_start_is(committed, save, begin, members, operator):
    version = save(limited("refuse").replace(STEPS, CHAIN))
    worker = make_worker()
    source = Run.objects.get(pk=begin(version))
    for value in (1, 2, 3):
        (step,) = claim(worker)
        end(worker, step, output={"value": value})
    go_on()
    holds = Run.objects.get(pk=begin(version)).public_id
    before = Run.objects.count(), Event.objects.count()
    answer = operator.post(f"/api/v1/runs/{source.public_id}/steps/b/fork/", {"reason": "so"}, format="json")
    assert (answer.status_code, answer.json()["runs"]) == (409, [holds])
    assert (Run.objects.count(), Event.objects.count()) == before
    assert_all_sound([source.pk])


def test_a_fork_for_which_there_is_room_begins_at_once(committed, save, begin, members):
    version = save(limited(most=2).replace(STEPS, CHAIN))
    worker = make_worker()
    source = Run.objects.get(pk=begin(version))
    for value in (1, 2, 3):
        (step,) = claim(worker)
        end(worker, step, output={"value": value})
    forked = fork(source, source.steps.get(name="b"), by=members.operator, reason="once more").pk
    assert statuses(forked) == ["running"]
    assert LimitSlot.objects.filter(run_id=forked).count() == 1
    assert_all_sound([source.pk, forked])


def test_a_fork_waits_before_steps_that_need_any_of_several(committed, save, begin, members):
    """Of what they need, one was done before and another is done again."""
    steps = (
        "steps:\n  a: {agent: echo, with: {value: 1}}\n  b: {agent: echo, with: {value: 2}}\n"
        "  c: {agent: echo, needs: {any: [a, b]}}\n  d: {agent: echo, needs: [b]}\n"
    )
    version = save(limited().replace(STEPS, steps))
    worker = make_worker()
    source = Run.objects.get(pk=begin(version))
    while places := claim(worker, 9):
        for place in places:
            end(worker, place, output={"value": 1})
    go_on()
    second = begin(version)
    forked = fork(source, source.steps.get(name="b"), by=members.operator, reason="once more").pk
    assert {place[0] for place in claim(worker, 9)} == {second}
    found = dict(Step.objects.filter(run_id=forked).values_list("name", "status"))
    assert {found[name] for name in "bcd"} == {"blocked"}
    assert_all_sound([forked])


@pytest.mark.parametrize("how", ["skip", "output"])
def test_no_step_of_a_run_in_line_is_ended_by_hand(committed, save, begin, operator, how):
    """What is behind it would begin."""
    version = save(limited().replace(STEPS, CHAIN))
    begin(version)
    second = Run.objects.get(pk=begin(version))
    url = f"/api/v1/runs/{second.public_id}/steps/a/{how}/"
    answer = operator.post(url, {"reason": "so"} | ({"output": {"value": 1}} if how == "output" else {}), format="json")
    said = "The run waits for its turn to begin: what is behind step a would begin without it."
    assert (answer.status_code, answer.json()["detail"]) == (409, said)
    assert operator.get(url).json()["refusal"] == said
    assert set(second.steps.exclude(kind="start").values_list("status", flat=True)) == {"blocked"}
    assert_all_sound([second.pk])


# --- in line, as it is told


def test_a_run_that_stands_in_line_says_so_once_and_one_that_begins_at_once_says_nothing(
    committed, save, begin, client, members
):
    more = "rate: {key: '${{ input.k }}', max: 2, per: 1h}\n"
    version = save(limited(more=more))
    worker = make_worker()
    first, second, third = begin(version), begin(version), begin(version)
    queued = Event.objects.filter(type="run.queued").order_by("run_id")
    assert [event.run_id for event in queued] == [second, third]
    assert queued[0].data == {"waits_for": "limit", "kind": "starts", "key": "limited:x", "max": 1}
    for _ in "ab":
        work(worker)
        go_on()
    assert statuses(first, second, third) == ["completed", "completed", "waiting"]  # now in the line of the rate
    assert queued.count() == 2
    assert list(Event.objects.filter(run_id=third).values_list("type", flat=True)) == ["run.started", "run.queued"]
    client.force_login(members.operator.user)
    page = client.get(f"/runs/{Run.objects.get(pk=third).public_id}/events/").content.decode()
    assert "waits for its turn to begin: no more than 1 of limited:x at once" in page
    assert_all_sound([first, second, third])


def test_a_run_that_waits_for_room_in_a_time_says_so(committed, save, begin, client, members):
    version = save(f"name: limited\nrate: {{key: '${{{{ input.k }}}}', max: 1, per: 1h}}\n{STEPS}")
    begin(version)
    second = Run.objects.get(pk=begin(version))
    told = second.events.get(type="run.queued").data
    assert (told["kind"], told["max"], told["per"]) == ("start_rate", 1, 3600)
    client.force_login(members.operator.user)
    page = client.get(f"/runs/{second.public_id}/events/").content.decode()
    assert "waits for its turn to begin: no more than 1 of limited:x in 1 h" in page


# --- races


def test_never_more_begin_than_may(committed, save, organization, members):
    version = save(limited("refuse", most=2))

    def start(number):
        try:
            return start_version(version.pk, organization.pk, {"k": str(number)}, by=members.operator.pk)
        except LimitFull:
            return None

    for gave in race(200, *[start] * 3):
        assert sum(run is not None for run in gave) == 2
    assert_all_sound(list(Run.objects.values_list("pk", flat=True)))


def test_a_start_against_an_end_begins_at_once_or_after_it(committed, save, organization, members):
    version = save(limited())
    worker = make_worker()
    runs, steps = [], []
    for number in range(200):
        runs.append(start_version(version.pk, organization.pk, {"k": str(number)}, by=members.operator.pk))
        steps += claim(worker)

    def start(number):
        return start_version(version.pk, organization.pk, {"k": str(number)}, by=members.operator.pk)

    def finish(number):
        assert end(worker, steps[number]) == []

    second = [gave[0] for gave in race(200, start, finish)]
    go_on()
    assert set(statuses(*runs)) == {"completed"}
    assert set(statuses(*second)) == {"running"}
    assert Limit.objects.filter(taken=1, promised=0).count() == 200
    assert_all_sound([*runs, *second])


def test_of_many_newest_as_many_stay_as_may(committed, save, organization, members):
    version = save(limited("cancel_oldest", most=1))

    def start(number):
        return start_version(version.pk, organization.pk, {"k": str(number % 20)}, by=members.operator.pk)

    def sweeps(number):
        slots.tend()
        admission.evict()
        admission.give_turns()

    race(200, start, start, sweeps)
    go_on()
    open_runs = Run.objects.filter(ended_at=None)
    assert set(open_runs.values_list("status", flat=True)) == {"running"}
    assert open_runs.count() == 20
    assert_all_sound(list(Run.objects.values_list("pk", flat=True)))
