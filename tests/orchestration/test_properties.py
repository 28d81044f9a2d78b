"""Random definitions and random interleavings of everything that can befall their runs, against a small model.

The engine's recorder, walker, answers and SQL functions are the real ones; only its threads do not run: each takes its
turn when the plan says so. No clock has a say: time passes by moving what is written in the rows.
"""

import contextlib
import json
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection, connections
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule, run_state_machine_as_test
from hypothesis.statistics import collector, describe_statistics

from agents import tools
from approvals.exceptions import AlreadyEnded, StaleDigest
from approvals.models import Request
from orchestration.doctor import examine
from orchestration.engine import admission, answers, children
from orchestration.engine.connection import decoded, rows, use_own_connection
from orchestration.engine.levers import by_hand, pausing, retrying
from orchestration.exceptions import NotUncertain, Refused, RunEnded
from orchestration.models import Run, Step
from orchestration.sources import Source, apply
from tests.orchestration.properties.definitions import KEY, MAILBOXES, OVER, definitions
from tests.orchestration.properties.sharing import Sharing
from tests.orchestration.properties.starts import readmit
from tests.orchestration.properties.worker import Script, Worker, reached
from tests.orchestration.properties.workers import ACTS, CHOICES, PRIORITIES, index

RETRY = {"attempts": 2, "backoff": "1h"}
OVER_ALL = {"map": {"over": OVER}, "with": {"read": {}, "item": "${{ item }}"}, "timeout": "1h"}
SCRIPTED = {"agent": "scripted", "with": {"read": {}}}
LOOK = """
with step as (
    select s.run_id, s.key, case when s.kind = 'start' then 'start' else s.name end as name, s.round, s.index, s.pass
    from orchestration_step s
)
select 'step', s.run_id, n.name, s.round, s.index, s.pass, s.status, s.waits_for, s.owner, s.attempt,
       case when s.status = 'failed' then s.error ->> 'class' end,
       case when s.status = 'completed' then s.output end, (to_jsonb(s) - 'dependants')::text
from orchestration_step s join step n on n.run_id = s.run_id and n.key = s.key
union all select 'run', id, status, null, null, null, null, null, null, null, null, null, null from orchestration_run
union all select 'request', id, status, null, null, null, choice, null, null, null, null, null, null
    from approvals_request
union all select 'slot', l.run_id, s.name, s.round, s.index, s.pass, k.kind, k.key, null, null, null, null, null
    from orchestration_limitslot l join orchestration_limit k on k.id = l.limit_id
    left join step s on s.run_id = l.run_id and s.key = l.key
union all select 'place', q.run_id, s.name, s.round, s.index, s.pass, k.kind, k.key, q.evicts, q.units, null,
    to_jsonb(q.woken_at is not null), null
    from orchestration_limitqueue q join orchestration_limit k on k.id = q.limit_id
    left join step s on s.run_id = q.run_id and s.key = q.key
union all select 'limit', null, null, k.taken, k.promised, null, k.kind, k.key, null, null, null, null, null
    from orchestration_limit k
union all select 'window', d.run_id, d.key, d.starts,
    case when s.input ? 'debounce' and s.status = 'waiting'
         then greatest(0, ceil(extract(epoch from s.wake_at - clock_timestamp()) / 1200))::int end,
    null, null, null, null, null, null,
    to_jsonb(concat_ws(' ', r.labels ->> 'k', r.input ->> 'k', r.input ->> 'items')),
    null
    from orchestration_debounce d join orchestration_run r on r.id = d.run_id
    join orchestration_step s on s.run_id = d.run_id and s.key = 0
union all select 'ear', w.run_id, s.name, s.round, s.index, s.pass, w.name, w.event_key, null, w.number, null, e.data,
    null
    from orchestration_eventwait w left join orchestration_step s on s.run_id = w.run_id and s.key = w.key
    left join orchestration_outsideevent e on e.id = w.event_id
"""


class Runs(Sharing):
    # --- people

    @precondition(lambda self: self.questions)
    @rule(
        number=index,
        choice=st.sampled_from(CHOICES),
        edit=st.booleans(),
        wrong=st.integers(0, 5),
        at_once=st.booleans(),
    )
    def decide(self, number, choice, edit, wrong, at_once):
        pk = sorted(self.questions)[number % len(self.questions)]
        question = self.questions[pk]
        request = Request.objects.get(pk=pk)
        edits = {"/note": "edited"} if edit and choice == "continue" else {}
        digest = "0" * 64 if wrong == 0 else request.digest
        words = {"by": self.world.members.approver, "choice": choice, "note": "n", "edits": edits, "digest": digest}
        if question.status != "pending" or question.is_overdue:
            with pytest.raises(AlreadyEnded):
                request.decide(**words)
        elif wrong == 0:
            with pytest.raises(StaleDigest):
                request.decide(**words)
        else:
            request.decide(**words)
            question.status, question.choice = "decided", choice
            question.payload |= {"note": "edited"} if edits else {}
            if at_once:
                self.take_up()

    @precondition(lambda self: any(each.deadline for each in self.questions.values()))
    @rule(number=index)
    def deadline_passes(self, number):
        timed = [pk for pk, question in sorted(self.questions.items()) if question.deadline]
        pk = timed[number % len(timed)]
        self.questions[pk].is_overdue = True
        rows("update approvals_request set deadline_at = clock_timestamp() - interval '1 s' where id = %s", [pk])

    @precondition(lambda self: self.questions)
    @rule()
    def expire(self):
        for question in self.questions.values():
            if question.status == "pending" and question.is_overdue:
                question.status, question.choice = "expired", question.deadline
        Request.expire_due()

    @precondition(lambda self: self.questions)
    @rule()
    def take_up(self):
        for _, question in sorted(self.questions.items()):
            if question.status in ("decided", "expired") and not question.is_taken_up:
                question.row.run.take_up(question)
        answers.take_up_decisions()

    @precondition(lambda self: any(run.parent for run in self.runs.values()))
    @rule()
    def tell_parents(self):
        self.expect_told()
        children.tell_parents()

    def expect_told(self):
        """Whether there was something to tell."""
        untold = [run for run in self.runs.values() if run.has_ended and not run.is_told]
        for run in untold:
            run.tell_parent()
        return bool(untold)

    @precondition(lambda self: not all(run.is_tidy for run in self.runs.values()))
    @rule()
    def tidy_up(self):
        self.expect_tidied()
        answers.tidy_up()

    def expect_tidied(self):
        keys = [0]
        while keys:  # a child that is canceled by it is tidied up in the same turn, if it is behind all others
            keys = [pk for pk in sorted(self.runs) if pk > keys[-1] and not self.runs[pk].is_tidy]
            for pk in keys:
                self.runs[pk].tidy_up(list(self.runs.values()))

    @rule(number=index, sure=st.integers(0, 3))
    def cancel(self, number, sure):
        if sure:
            return
        pk = sorted(self.runs)[number % len(self.runs)]
        run, found = self.runs[pk], Run.objects.get(pk=pk)
        if run.has_ended:
            with pytest.raises(RunEnded):
                answers.cancel(found, by=None, reason="r")
            return
        self.expect_canceled(run)
        answers.cancel(found, by=None, reason="r")

    def expect_canceled(self, run):
        run.cancel("canceled")
        self.expect_tidied()
        while self.expect_told() and not run.has_ended:
            pass

    @rule(number=index, goes_on=st.booleans())
    def pause(self, number, goes_on):
        """Or resume."""
        pk = sorted(self.runs)[number % len(self.runs)]
        run, found = self.runs[pk], Run.objects.get(pk=pk)
        act = pausing.resume if goes_on else pausing.pause
        if run.status not in (("paused",) if goes_on else ("running", "waiting")):
            with pytest.raises(Refused):
                act(found, by=None, reason="r")
            return
        (run.resume if goes_on else run.pause)(list(self.runs.values()))
        act(found, by=None, reason="r")

    def launching(self):
        """Steps in hand that are about to start a child."""
        bosses = [hand for hand in self.hands if hand.row.kind == "agent" and hand.row.spec["agent"] == "boss"]
        return [hand for hand in bosses if not hand.is_called and hand.is_current]

    @precondition(lambda self: self.launching())
    @rule(number=index)
    def launch_below_a_paused_run(self, number):
        """It is paused while its step is about to start a child, which then is, too."""
        launching = self.launching()
        hand = launching[number % len(launching)]
        if hand.row.run.status in ("running", "waiting"):
            self.pause(sorted(self.runs).index(self.key_of(hand.row.run)), goes_on=False)
        self.do_call(hand, "completed")
        self.do_finish([hand], follow=True, look=False)

    @precondition(lambda self: any(row.status == "uncertain" for row in self.rows()))
    @rule(number=index, outcome=st.sampled_from(["completed", "failed", "again"]))
    def resolve(self, number, outcome):
        uncertain = [row for row in self.rows() if row.status == "uncertain"]
        row = uncertain[number % len(uncertain)]
        step = Step.objects.get(run_id=row.place[0], key=row.place[1])
        output = "seen" if outcome == "completed" else None
        words = {"by": self.world.members.operator, "outcome": outcome, "output": output, "reason": "r"}
        run = Run.objects.get(pk=row.place[0])
        answers.resolve(run, step, **words)
        row.run.end(row, "ready" if outcome == "again" else outcome, output=output, error="permanent")
        with pytest.raises(NotUncertain):
            answers.resolve(run, step, **words)

    def failed(self):
        """Runs with steps that failed."""
        return [(pk, run) for pk, run in sorted(self.runs.items()) if run.failed_steps]

    @precondition(failed)
    @rule(number=index, some=st.booleans())
    def try_again(self, number, some):
        """Steps that failed, in a new round; a run that had ended goes on, if there is a place for it again."""
        failed = self.failed()
        pk, run = failed[number % len(failed)]
        names = [run.failed_steps[number % len(run.failed_steps)]] if some else run.failed_steps
        words = {"by": self.world.members.operator, "reason": "r", "steps": names if some else None}
        put_back = self.limits.kept()
        if run.may_try_again and (run.status != "failed" or readmit(run, self.limits)):
            reached("a run goes on that had failed" if run.has_ended else "steps of a run that goes on are tried again")
            run.try_again(names)
            retrying.retry(Run.objects.get(pk=pk), **words)
            return
        reached(f"one that may not be tried again: {run.status if not run.may_try_again else 'full'}")
        with pytest.raises(Refused):
            retrying.retry(Run.objects.get(pk=pk), **words)
        put_back()

    @precondition(lambda self: any(row.is_open and row.kind not in ("start", "output") for row in self.rows()))
    @rule(number=index, sure=st.integers(0, 3))
    def skip(self, number, sure):
        """By hand; or it is refused, and changes nothing."""
        if sure:
            return
        there = [row for row in self.rows() if row.is_open and row.kind not in ("start", "output")]
        row = there[number % len(there)]
        pk = self.key_of(row.run)
        places = {"name": row.name, "round": row.round, "index": row.index, "pass_number": row.pass_number}
        step = Step.objects.get(run_id=pk, **places)
        asks = row.waits_for in ("approval", "child")
        if row.status == "running" or (row.run.start is not None and row.run.start.is_open):
            with pytest.raises(Refused):
                by_hand.skip(Run.objects.get(pk=pk), step, by=None, reason="r")
            return
        reached(f"one is skipped that is {row.status}")
        row.run.is_tidy &= not asks
        row.run.end(row, "skipped")
        if asks:
            self.expect_tidied()
        by_hand.skip(Run.objects.get(pk=pk), step, by=None, reason="r")

    @rule(number=index)
    def pin_another_version(self, number):
        """An agent behind a gate is not the one that was shown to the person who decided."""
        behind = [
            row
            for row in self.rows()
            if row.head is None and row.spec["agent"] == "scripted" and row.place is None and row.is_open
        ]
        if not behind:
            return
        row = behind[number % len(behind)]
        row.version = 3 - row.version
        ((run, _),) = [(pk, run) for pk, run in self.runs.items() if run is row.run]
        version = self.world.versions[row.version]
        rows(
            "update orchestration_step set agent_version_id = %s where run_id = %s and name = %s and round = %s",
            [version, run, row.name, row.round],
        )

    # --- what must be

    @invariant()
    def the_rows_are_as_the_model(self):
        found, runs, asked = {}, {}, {}
        shared: Counter[tuple[Any, ...]] = Counter()
        for kind, pk, name, round_, index_, pass_, status, *rest, output, everything in rows(LOOK):
            if kind == "run":
                runs[pk] = name
            elif kind == "request":
                asked[pk] = (name, status)
            elif kind != "step":
                shared[kind, pk, name, round_, index_, pass_, status, *rest, decoded(output)] += 1
            else:
                place = (pk, name, round_, index_, pass_)
                found[place] = (status, *rest, decoded(output))
                if status in Step.ENDED:  # never changes again
                    assert self.ended.setdefault(place, everything) == everything
        assert found == {
            (pk, *row.place_in_run): (row.status, row.waits_for, row.owner, row.attempt, row.error, row.value)
            for pk, run in self.runs.items()
            for row in run.rows
        }
        assert runs == {pk: run.status for pk, run in self.runs.items()}
        assert asked == {pk: (each.status, each.choice) for pk, each in self.questions.items()}
        assert shared == Counter(self.expect_shared())

    def end_all(self):
        """Whatever was left undone is done: everything ends, and nothing waits for ever."""
        if not self.runs:
            return
        self.workers.append(Worker())
        for turn in range(200):
            soon = turn < 12  # then nothing but the best befalls what is left
            for hand in list(self.hands):
                if not hand.is_called:
                    self.do_call(hand, self.random.choice(ACTS) if soon else "completed")
                self.do_finish([hand], follow=True, look=False)
            for pk, question in sorted(self.questions.items()):
                if question.status == "pending" and not question.is_overdue:
                    choice = self.random.choice(CHOICES[:3]) if soon else "continue"
                    self.decide(sorted(self.questions).index(pk), choice, edit=False, wrong=1, at_once=False)
            for number, row in enumerate(self.timed()):
                if row.waits_for != "child" and not (soon and self.random.random() < 0.5):
                    self.time_comes(number)
            for number, pk in enumerate(sorted(self.runs)):
                if self.runs[pk].status == "paused" and not (soon and self.random.random() < 0.5):
                    self.pause(number, goes_on=True)
            if soon and self.failed() and self.random.random() < 0.3:
                self.try_again(self.random.randrange(99), some=self.random.random() < 0.5)
            if soon and self.random.random() < 0.2:
                self.pin_another_version(self.random.randrange(99))
            while any(row.status == "uncertain" for row in self.rows()):
                self.resolve(0, "completed")
            self.sweep(len(self.workers) - 1)
            due = {"answers": self.take_up, "untold": self.tell_parents, "untidy": self.tidy_up}
            due |= {"events": self.match, "limits": self.tend, "evictions": self.evict, "starts": self.give_turns}
            if self.limits.places or any(window.is_open for window in self.windows.values()):
                self.ticks(1)
            for name, key in sorted(self.listened_to()):
                if not (soon and self.random.random() < 0.5):
                    self.deliver(MAILBOXES.index((name, key)), again=False)
            if soon and self.listened_to() and self.random.random() < 0.2:
                self.a_day_passes()
            if any(each.status == "pending" and each.is_overdue for each in self.questions.values()):
                self.expire()
                self.take_up()
            for name, act in due.items():
                if self.found[name] and not (soon and self.random.random() < 0.3):
                    act()
            self.look(len(self.workers) - 1)
            self.the_rows_are_as_the_model()
            decided = [each for each in self.questions.values() if each.status in ("decided", "expired")]
            is_done = all(run.has_ended and run.is_told and run.is_tidy for run in self.runs.values())
            if is_done and all(each.is_taken_up for each in decided):
                break
        found = examine(settled=True)
        assert not found, "\n".join(map(str, found))
        for pk, run in self.runs.items():
            sound = Run.objects.get(pk=pk)
            assert sound.has_ended
            assert not sound.tidy
            late = run.told.pop("step.late_result", 0)
            told = dict(rows("select type, count(*) from orchestration_event where run_id = %s group by 1", [pk]))
            assert {kind: told.get(kind, 0) for kind in run.told} == dict(run.told)
            assert told.get("step.late_result", 0) >= late
            assert (run.output if sound.status == "completed" else None) == sound.output
            assert (sound.error is not None) == run.has_failed
        assert not Request.objects.pending().exists()


@pytest.fixture
def world(committed, organization, members, policies, save_agent, settings):
    settings.WORKER_LEASE_SECONDS = 86_400
    settings.WORKER_THREADS = 3

    world = SimpleNamespace()
    world.script = Script()
    tools.register("scripted", {"scripted": world.script})
    other = save_agent(name="scripted", kind="tool", configuration={"tool": "scripted"}, input={"type": "object"})
    current = save_agent(name="scripted", kind="tool", configuration={"tool": "scripted"})
    save_agent(name="boss", kind="orchestrator", configuration={"definitions": ["child"]})
    world.versions = {1: current.pk, 2: other.pk}
    world.organization, world.members = organization, members
    usual = connections["default"]
    use_own_connection()
    yield world
    connection.close()
    connections["default"] = usual


class Limited(Runs):
    """Most of the calls share limits, with those of other runs too."""

    most_runs = 3

    @initialize(
        seed=index,
        child=definitions("child", 2, ["scripted"], most_needs=1, limited=True),
        text=definitions("parent", 5, [*["scripted"] * 4, "boss", "approval"], most_needs=1, limited=True),
    )
    def save(self, seed, child, text):
        self.begin(seed, child, text)


class Hearing(Runs):
    """Most of the steps wait for events."""

    @initialize(
        seed=index,
        child=definitions("child", 2, ["wait", "scripted"], most_needs=1, hears=True),
        text=definitions("parent", 5, [*["wait"] * 4, "scripted", "approval", "boss"], most_needs=1, hears=True),
    )
    def save(self, seed, child, text):
        self.begin(seed, child, text)


class Starting(Runs):
    """Definitions limit how many of their runs go on at once, and how many begin in a time; many are begun."""

    most_runs = 6

    @initialize(
        seed=index,
        child=definitions("child", 2, ["scripted"], most_needs=1, queues=True),
        text=definitions("parent", 3, ["scripted", "scripted", "boss", "wait"], most_needs=1, queues=True),
        more=st.lists(st.tuples(st.sampled_from(PRIORITIES), st.sampled_from("xy")), min_size=1, max_size=4),
    )
    def save(self, seed, child, text, more):
        self.begin(seed, child, text)
        for priority, key in more:
            self.start(priority, key)


class Joining(Runs):
    """Starts that follow each other come together, and have limits besides."""

    most_runs = 6

    @initialize(
        seed=index,
        child=definitions("child", 2, ["scripted"], most_needs=1, queues=True, joins=True),
        text=definitions("parent", 2, ["scripted", "scripted", "boss"], queues=True, joins=True, gathers=True),
    )
    def save(self, seed, child, text):
        self.begin(seed, child, text)


KINDS = [(Runs, 2), (Limited, 0.5), (Hearing, 0.5), (Starting, 0.5), (Joining, 0.3)]


@pytest.mark.parametrize(("kind", "share"), KINDS)
def test_runs_are_as_the_model_says_whatever_befalls_them(world, caplog, kind, share):
    machine = type("Machine", (kind,), {"world": world})
    with collector.with_value(lambda found: print(describe_statistics(found))):  # noqa: T201  with `-s`
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=round(share * settings().max_examples),
                stateful_step_count=30,
                suppress_health_check=list(HealthCheck),
                print_blob=False,
            ),
        )
    # What comes late is no error; a call that hangs is.
    errors = [record for record in caplog.records if record.levelname == "ERROR"]
    assert {record.msg["event"] for record in errors} <= {"call_hung"}


# --- what random acts reach too seldom


@contextlib.contextmanager
def played(world, steps, **top):
    """A machine with one run of these steps, and of what stands beside them, whose acts are the test's; then all goes
    to its end, as in an example."""
    machine = type("Machine", (Runs,), {"world": world})()
    try:
        machine.begin(0, {"name": "child", "steps": {"s0": SCRIPTED}}, {"name": "parent", **top, "steps": steps})
        yield machine
    finally:
        machine.teardown()


def do(machine, *hands, act="completed"):
    for hand in hands:
        machine.do_call(hand, act)
        machine.do_finish([hand], follow=False, look=False)


def look(machine):
    machine.look(0)
    return list(machine.hands)


def tend(machine):
    """What is left of limits is as the model says, once somebody has looked after them."""
    machine.tend()
    machine.the_rows_are_as_the_model()


def test_a_step_that_waits_for_its_next_try_holds_no_slot(world):
    with played(world, {"s0": SCRIPTED | {"retry": RETRY, "concurrency": {"max": 1}}}) as machine:
        do(machine, *look(machine), act="temporary")
        tend(machine)
        assert not any(limit.holders for limit in machine.limits.all.values())


def test_items_of_a_map_that_is_over_stand_in_no_line(world):
    with played(world, {"s0": SCRIPTED | OVER_ALL | {"concurrency": {"key": "x", "max": 1}}}) as machine:
        do(machine, *look(machine))
        first, *others = look(machine)
        machine.do_call(first, "permanent")
        do(machine, *others)
        assert len(machine.limits.places) == 2
        machine.do_finish([first], follow=False, look=False)
        do(machine, *look(machine))
        tend(machine)
        assert not machine.limits.places


def test_items_of_a_map_that_is_over_hold_no_slot_for_their_children(world):
    with played(world, {"s0": OVER_ALL | {"agent": "boss", "concurrency": {"key": "x", "max": 3}}}) as machine:
        do(machine, *look(machine))
        do(machine, *look(machine))
        for number in (1, 2, 3):
            machine.pause(number, goes_on=False)
        machine.time_comes(0)
        machine.sweep(0)
        do(machine, *look(machine))
        tend(machine)
        assert not any(limit.holders for limit in machine.limits.all.values())


def test_a_place_moves_to_the_line_of_the_limit_that_is_full_now(world):
    wanted = [[{"key": key, "max": 1} for key in keys] for keys in ("x", "xy", "y")]
    steps = {f"s{number}": SCRIPTED | {"concurrency": each} for number, each in enumerate(wanted)}
    with played(world, steps) as machine:
        one, both, other = look(machine)
        machine.do_call(one, "completed")
        do(machine, both)
        machine.do_call(other, "completed")
        machine.do_finish([one], follow=False, look=False)
        tend(machine)
        machine.sweep(0)
        do(machine, look(machine)[-1])
        machine.the_rows_are_as_the_model()
        (place,) = machine.limits.places.values()
        assert place.limit.key == "y"


@pytest.mark.parametrize("more", [4, 5])
def test_a_line_moves_on_where_each_wants_two_limits(world, more):
    """One is called up by the one, another by the other; all end."""
    limits = {"concurrency": {"max": 1}, "rate": {"max": 1, "per": "40m"}}
    with played(world, {"s0": SCRIPTED}, **limits) as machine:
        for _ in range(more):
            machine.start(0, "x")
        for turn in range(5 * more):
            if turn > 1:  # until then the first is at work, and some of them come into the other line
                do(machine, *look(machine))
            machine.ticks(2)
            tend(machine)
            machine.give_turns()
        assert {run.status for run in machine.runs.values()} == {"completed"}


BY_CLASS = {"on_failure": {"temporary": "continue", "permanent": "s2", "worker_lost": "continue"}}
FOLLOWED = {
    "s0": SCRIPTED | BY_CLASS | {"retry": RETRY, "repeatable": True},
    "s1": SCRIPTED | {"needs": ["s0"]},
    "s2": SCRIPTED | {"needs": ["s0"]},
}


def statuses(machine, number=0):
    run = machine.runs[sorted(machine.runs)[number]]
    return {row.name: row.status for row in run.newest.values() if row.name not in ("", "start")}


def fail(machine, act):
    """The one step that is at work fails, at its last try."""
    (hand,) = look(machine)
    while hand.row.attempt < hand.row.spec["attempts"][act]:
        do(machine, hand, act=act)
        machine.time_comes(0)
        machine.sweep(0)
        (hand,) = look(machine)
    machine.do_call(hand, act)
    return hand


@pytest.mark.parametrize(
    ("act", "then"),
    [
        ("temporary", {"s1": "ready", "s2": "ready"}),
        ("permanent", {"s1": "skipped", "s2": "ready"}),
        ("timeout", {"s1": "skipped", "s2": "ready"}),
    ],
)
@pytest.mark.parametrize("meanwhile", ["nothing", "pause", "skip", "cancel"])
def test_what_follows_hangs_on_the_class_of_the_error_whatever_comes_meanwhile(world, act, then, meanwhile):
    with played(world, FOLLOWED) as machine:
        hand = fail(machine, act)
        if meanwhile == "pause":
            machine.pause(0, goes_on=False)
        elif meanwhile == "skip":
            machine.skip([row.name for row in machine.rows() if row.is_open].index("s1"), sure=0)
            then = {**then, "s1": "skipped"}
        elif meanwhile == "cancel":
            machine.cancel(0, sure=0)
            then = {"s1": "canceled", "s2": "canceled"}
        machine.do_finish([hand], follow=False, look=False)
        machine.the_rows_are_as_the_model()
        assert statuses(machine) == {"s0": "failed", **then}
        assert bool(look(machine)) == (meanwhile in ("nothing", "skip"))
        if meanwhile != "cancel":
            if meanwhile == "pause":
                machine.pause(0, goes_on=True)
            machine.walk(0, 2)
            (run,) = machine.runs.values()
            assert run.status == ("failed" if act == "timeout" else "completed")
            assert statuses(machine)["s2"] == ("completed" if act == "permanent" else "skipped")


def test_a_step_whose_worker_is_lost_for_good_has_a_class_of_its_own(world):
    with played(world, FOLLOWED) as machine:
        look(machine)
        for _ in range(3):
            machine.freeze(-1)
        machine.the_rows_are_as_the_model()
        assert statuses(machine) == {"s0": "failed", "s1": "running", "s2": "running"}


def test_a_run_that_goes_on_again_passes_nobody_in_the_line_of_its_starts(world):
    with played(world, {"s0": SCRIPTED}, concurrency={"max": 1}) as machine:
        machine.start(5, "x")
        do(machine, *look(machine), act="permanent")
        first, second = machine.runs.values()
        machine.try_again(0, some=False)  # refused: it is the other's turn
        assert (first.status, second.status) == ("failed", "waiting")
        tend(machine)
        machine.give_turns()
        machine.try_again(0, some=False)  # refused: the other has the place
        assert (first.status, second.status) == ("failed", "running")
        do(machine, *look(machine))
        machine.try_again(0, some=False)
        assert (first.status, second.status) == ("running", "completed")
        machine.start(5, "x")
        tend(machine)
        machine.give_turns()
        machine.the_rows_are_as_the_model()
        assert [run.status for run in machine.runs.values()] == ["running", "completed", "waiting"]


def test_a_run_that_goes_on_again_asks_for_no_rate_of_starts(world):
    limits = {"concurrency": {"max": 1}, "rate": {"max": 1, "per": "40m"}}
    with played(world, {"s0": SCRIPTED}, **limits) as machine:
        do(machine, *look(machine), act="permanent")
        machine.try_again(0, some=False)
        machine.the_rows_are_as_the_model()
        assert statuses(machine) == {"s0": "ready"}


TOGETHER = {"debounce": {"for": "40m"}, "labels": {"k": KEY}}


def begins(machine):
    machine.ticks(2)
    machine.give_turns()
    machine.the_rows_are_as_the_model()


def test_starts_that_came_together_ask_for_the_limits_of_the_last(world):
    concurrency = {"max": 1, "key": KEY}
    with played(world, {"s0": SCRIPTED}, **TOGETHER, concurrency=concurrency) as machine:
        machine.start(0, "y")
        begins(machine)
        assert {limit.key for limit in machine.limits.all.values() if limit.holders} == {"parent:y"}


def test_a_start_that_joins_at_the_last_moment_moves_the_beginning_on(world):
    """Whose turn it is was looked for before."""
    with played(world, {"s0": SCRIPTED}, **TOGETHER) as machine:
        machine.ticks(2)
        ((run,),) = rows("select engine_turns_v1(9)")
        machine.start(0, "y")
        assert not rows(admission.ADMIT, [run, False])
        machine.the_rows_are_as_the_model()
        assert statuses(machine) == {"s0": "blocked"}
        begins(machine)
        assert statuses(machine) == {"s0": "ready"}


def test_a_start_of_a_newer_version_or_after_a_cancel_joins_none(world):
    with played(world, {"s0": SCRIPTED}, **TOGETHER) as machine:
        machine.cancel(0, sure=0)
        machine.start(0, "x")
        newer = {"name": "parent", **TOGETHER, "steps": {"s0": SCRIPTED, "s1": SCRIPTED}}
        source = Source("parent.yaml", json.dumps(newer))
        (machine.version,) = apply([source], organization=world.organization, by=None)
        machine.start(0, "x")
        machine.start(0, "x")
        begins(machine)
        assert [statuses(machine, number) for number in range(3)] == [
            {"s0": "canceled"},
            {"s0": "ready"},
            {"s0": "ready", "s1": "ready"},
        ]
