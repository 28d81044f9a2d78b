"""What befalls workers: their acts, at any moment and in any order."""

import json
import random
import sys
import time
from typing import Any

import pytest
from django.conf import settings
from django.db import transaction
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from agents import exceptions
from approvals.models import Request
from orchestration.engine.connection import rows
from orchestration.engine.execution import Execution
from orchestration.engine.facts import facts_of
from orchestration.engine.outcomes import Outcome
from orchestration.engine.recorder import Ended
from orchestration.engine.recovery import hand_back
from orchestration.engine.starts import start_version
from orchestration.exceptions import LimitFull
from orchestration.models import Run
from orchestration.sources import Source, apply
from tests.harness import end_lease, sweep
from tests.orchestration.properties.definitions import (
    CALLED,
    LARGEST,
    OVER,
    debounce_of,
    definitions,
    limits_of_start,
    specs_of,
)
from tests.orchestration.properties.events import Events
from tests.orchestration.properties.limits import Limits
from tests.orchestration.properties.model import ModelRun, Question, Row
from tests.orchestration.properties.starts import Window, admit, is_refused
from tests.orchestration.properties.worker import Hand, Worker, reached

ACTS = ["completed"] * 6 + ["permanent", "temporary", "temporary", "timeout", "canceled", "unbegun"]
CHOICES = ["continue", "continue", "retry", "abort"]
PRIORITIES = [0, 0, 5]
STEP = "run_id = %s and name = %s and round = %s and index is not distinct from %s and pass is not distinct from %s"
index = st.integers(0, 99)


class Workers(RuleBasedStateMachine):
    """`world` has what is there before all examples."""

    world: Any
    most_runs = 2

    def __init__(self):
        super().__init__()
        self.transaction = transaction.atomic()
        self.transaction.__enter__()
        self.runs: dict[int, ModelRun] = {}
        self.workers: list[Worker] = []
        self.hands: list[Hand] = []
        self.over: list[Hand] = []
        self.questions: dict[int, Question] = {}
        self.limits, self.events = Limits(), Events()
        self.windows: dict[str, Window] = {}
        self.begun = 0
        self.ended: dict[tuple[int, str, int], str] = {}
        self.was_due: set[tuple[Row, Any]] = set()
        self.tokens = 0

    def teardown(self):
        try:
            if sys.exc_info()[0] is None:
                self.end_all()
        finally:
            transaction.set_rollback(True)
            self.transaction.__exit__(None, None, None)

    @initialize(
        seed=index,
        child=definitions("child", 3, ["scripted", "scripted", "approval", "wait"]),
        text=definitions("parent", LARGEST, ["scripted", "scripted", "approval", "approval", "boss", "wait"]),
    )
    def save(self, seed, child, text):
        self.begin(seed, child, text)

    def begin(self, seed, child, text):
        self.random = random.Random(seed)
        sources = [Source(f"{each['name']}.yaml", json.dumps(each)) for each in (child, text)]
        self.child, self.version = apply(sources, organization=self.world.organization, by=None)
        self.workers = [Worker()]
        self.start(0, "x")

    # --- workers

    @precondition(lambda self: len(self.runs) < self.most_runs)
    @rule(priority=st.sampled_from(PRIORITIES), key=st.sampled_from("xy"))
    def start(self, priority, key):
        world = self.world
        facts = {"by": world.members.operator.pk, "facts": {"priority": priority}}
        given = self.version.pk, world.organization.pk, self.given(key)
        if "debounce" in self.version.plan:
            window = self.join(given[-1], priority)
            self.add_joined(start_version(*given, **facts), window)
            return
        run, put_back = ModelRun(specs_of(self.version, key), priority=priority), self.limits.kept()
        full = admit(run, self.limits, [*self.runs.values()]) if run.start is not None else None
        if not is_refused(run, full):
            self.add_run(start_version(*given, **facts), run)
            return
        with pytest.raises(LimitFull) as refused:
            start_version(*given, **facts)
        holders = [pk for pk, other in self.runs.items() if other.start in full.holders and not other.has_ended]
        assert refused.value.runs == [Run.objects.get(pk=pk).public_id for pk in sorted(holders)]
        put_back()

    def given(self, key):
        self.begun += 1
        return {"k": key, "items": [self.begun]}

    def join(self, given, priority=0):
        """The window of this start: one that is there and open, or a new one."""
        version, key = self.version, given["k"]
        how = debounce_of(version, key)
        window = self.windows.get(how["key"])
        if window is None or not window.takes(version.pk, how["gather"]):
            run = ModelRun(specs_of(version, key, joins=True), priority=priority)
            window = self.windows[how["key"]] = Window(run, version.pk, self.limits.now)
        else:
            reached("a start joins another")
        window.join(how, given, limits_of_start(version, key), self.limits.now)
        return window

    def add_joined(self, pk, window):
        if window.run not in self.runs.values():
            assert pk not in self.runs
            self.add_run(pk, window.run)
        assert self.runs[pk] is window.run

    def add_run(self, pk, run):
        self.runs[pk] = run
        self.events.born[run] = self.events.next_number()

    @precondition(lambda self: len(self.workers) < 4)
    @rule()
    def begin_worker(self):
        self.workers.append(Worker())

    def worker(self, number):
        return self.workers[number % len(self.workers)]

    @rule(number=index)
    def look(self, number):
        self.record(self.worker(number), [], look=True)

    def record(self, worker, ended, *, look):
        claimable = (
            0 if worker.is_dead else len([r for r in self.rows() if r.status == "ready" and not r.run.is_paused])
        )
        free = worker.process.hands.free()
        got = worker.record(ended, look=look)
        for in_hand in got:
            claim = in_hand.claim
            place = (claim.name, claim.round, claim.index, claim.pass_number)
            row = next(r for r in self.runs[claim.run].rows if r.place_in_run == place)
            self.runs[claim.run].claim(row, worker.id, claim.place)
            self.hands.append(Hand(worker, in_hand, row))
        if not ended:
            assert len(got) == min(free, claimable)
        assert len(worker.process.hands._in_hand) <= settings.WORKER_THREADS

    def rows(self):
        return [row for run in self.runs.values() for row in run.rows]

    @precondition(lambda self: any(not hand.is_called for hand in self.hands))
    @rule(number=index, act=st.sampled_from(ACTS))
    def call(self, number, act):
        waiting = [hand for hand in self.hands if not hand.is_called]
        self.do_call(waiting[number % len(waiting)], act)

    def do_call(self, hand, act):
        """The walker's part, which reads but moves nothing, unless the gate before the step is to be asked again."""
        hand.is_called = True
        row = hand.row
        run = row.run
        self.tokens += 1
        self.world.script.act = {
            "permanent": exceptions.Permanent("no"),
            "temporary": exceptions.Temporary("not now"),
            "timeout": exceptions.TimedOut("too long"),
            "canceled": exceptions.Canceled("asked to stop"),
        }.get(act, {"value": self.tokens})
        self.world.script.given = None
        if act == "unbegun":
            hand.outcome, hand.expected = Outcome("ready", fields={"unlost": True}), {"becomes": "ready"}
            return
        current = hand.is_current
        self.expects_call = False
        hand.outcome = Execution(hand.claim, facts_of(hand.claim), lambda: act == "canceled").outcome()
        shown = {name: row.seen[name][1] for name in row.spec["shown"]} if current else None
        hand.expected = self.expected(run, row, act, shown, current)
        if "hold" in hand.expected:
            if current and not run.ending and not run.has_ended:
                assert hand.outcome is None
                run.hold(row, hand.expected["hold"])
            else:
                assert hand.outcome is not None
                hand.expected = {"becomes": "ready"}
        elif current and row.kind == "agent" and row.spec["agent"] == "scripted":
            assert (self.world.script.given is not None) == self.expects_call
            if self.expects_call:
                item = {"item": OVER[row.index]} if row.spec["map"] else {}
                assert self.world.script.given == {"read": shown, **item}
                self.has_gone(hand)
        else:
            assert self.world.script.given is None or not current

    def expected(self, run, row, act, shown, current):
        if not current:
            return {}
        if row.kind == "wait":
            waits = {"becomes": "waiting", "for": "event" if row.spec["wait"]["hears"] else "time"}
            if row.is_gathering:
                return {"becomes": "completed", "output": row.heard and row.heard.number}
            if row.head is not None:
                return waits
        if row.head is not None and row.spec["agent"] != "boss":
            return self.asked(row, act) or self.called(row, act)
        if row.is_gathering:
            return self.gathered(row)
        if row.head is not None:
            return self.asked(row, act) or {"becomes": "waiting", "for": "child"}
        if row.kind == "output":
            return {"becomes": "skipped"} if row.has_failure else {"becomes": "completed", "output": shown}
        if row.spec["handles"] and all(row.reads[name].follows != row.name for name in row.spec["handles"]):
            return {"becomes": "skipped"}
        for name in row.spec["chosen_by"]:
            if row.seen[name][1] != {"chosen": row.name}:
                return {"becomes": "skipped"}
        if row.spec["if"]:
            (name, sign, status) = row.spec["if"].replace("steps.", "").replace(".status", "").split()
            if (row.seen[name][0] == status.strip("'")) != (sign == "=="):
                return {"becomes": "skipped"}
        for name in row.spec["needs"]:
            gate = row.reads.get(name)
            if (
                gate
                and row.seen[name][0] == "completed"
                and gate.question
                and gate.question.choice
                and (gate.question.choice == "retry" or gate.question.behind != run.behind(gate))
            ):  # of a gate that was sent back nothing was let through: its newer round is read
                return {"hold": gate}
        if row.kind == "choose":
            known = {"round > 1": row.round > 1, "true": True, "false": False}
            chosen = [branch["then"] for branch in row.spec["choose"] if known[branch["if"]]]
            return {"becomes": "completed", "output": {"chosen": chosen[0] if chosen else None}}
        if row.kind == "wait":
            return waits
        if row.kind == "approval":
            payload = {"note": row.name, "read": shown}
            return {"becomes": "waiting", "for": "approval", "behind": run.behind(row), "payload": payload}
        if row.kind == "agent" and row.spec["agent"] == "boss":
            return self.asked(row, act) or {"becomes": "waiting", "for": "child"}
        if row.kind == "map" and not row.spec["map"]["count"]:
            return {"becomes": "completed", "output": []}
        if row.kind in ("map", "repeat"):
            return {"becomes": "waiting", "for": "child", "lays": (row.spec["map"] or {"count": 1})["count"]}
        return self.asked(row, act) or self.called(row, act)

    def gathered(self, head):
        """Of a head whose items have ended, or of which too many ended badly."""
        if head.kind == "map":
            if len(head.bad_items) > head.bearable:
                return {"becomes": "failed", "error": head.bad_items[0].error or "permanent"}
            return {"becomes": "completed", "output": [item.value for item in head.items]}
        last, repeat = head.items[-1], head.spec["repeat"]
        if last.status != "completed":
            return {"becomes": "failed", "error": last.error or "permanent"}
        if last.index == repeat["until"]:
            return {"becomes": "completed", "output": last.value}
        if len(head.items) == repeat["max"]:
            return {"becomes": "failed", "error": "permanent"}
        return {"becomes": "waiting", "for": "child", "lays": 1}

    def asked(self, row, act):
        """What becomes of one that has not all its limits; None: it calls."""
        full = self.limits.ask(row, row.spec["limits"]) if row.spec["limits"] else None
        self.expects_call = full is None
        if isinstance(full, int):
            return {"becomes": "failed", "error": "permanent"}
        return None if full is None else {"becomes": "waiting", "for": "limit"}

    def called(self, row, act):
        """Of an agent's call."""
        if act == "canceled":
            return {"becomes": "back"}
        if act == "timeout" and not row.spec["repeatable"]:
            return {"becomes": "uncertain"}
        return failing(row, act) if act in CALLED else {"becomes": "completed", "output": {"value": self.tokens}}

    @precondition(lambda self: any(hand.is_called for hand in self.hands))
    @rule(number=index, count=st.integers(1, 3), follow=st.booleans(), look=st.booleans())
    def finish(self, number, count, follow, look):
        called = [hand for hand in self.hands if hand.is_called]
        first = called[number % len(called)]
        others = [hand for hand in called if hand is not first and hand.worker is first.worker]
        self.do_finish([first, *others[: count - 1]], follow=follow, look=look)

    def do_finish(self, hands, *, follow, look):
        batch = []
        for hand in hands:
            self.hands.remove(hand)
            self.over.append(hand)
            batch.append(self.as_ended(hand, follow))
        alone = [hand for hand in hands if hand.outcome is not None and hand.outcome.prepare is not None]
        self.apply(*(hand for hand in hands if hand not in alone))
        for hand in alone:  # the questions come last
            self.apply(hand)
        self.record(hands[0].worker, batch, look=look)
        for hand in hands:
            self.follow_up(hand)

    def as_ended(self, hand, follow=False):
        ended = Ended(len(self.over), hand.in_hand, hand.outcome, follow and hand.outcome is not None, None, 1e12)
        ended.make_item()
        return ended

    def apply(self, *hands):
        """Their outcomes, recorded together."""
        moves = []
        for hand in hands:
            row, run = hand.row, hand.row.run
            if hand.outcome is None:
                continue
            if not hand.is_current:
                run.told["step.late_result"] += 1
                continue
            how = {
                "waits_for": hand.expected.get("for"),
                "output": hand.expected.get("output"),
                "error": hand.expected.get("error"),
                "lays": hand.expected.get("lays", 0),
            }
            becomes = hand.expected["becomes"]
            if becomes == "back":
                becomes, how = "ready" if row.is_repeatable else "uncertain", {}
            moves.append((row, becomes, how))
        for run in {row.run for row, _, _ in moves}:
            run.settle([move for move in moves if move[0].run is run])
        for row, _, how in moves:
            if row.waits_for == "event" and how.get("waits_for") == "event":
                self.events.begin(row)

    def follow_up(self, hand):
        """What was made with the outcome: a question, or a child."""
        row = hand.row
        if row.status != "waiting" or row.place != hand.claim.place:
            return
        if row.waits_for == "approval" and row.question is None:
            (request,) = Request.objects.pending().filter(subject=f"run:{hand.claim.run}:{row.name}")
            row.question = Question(
                row, hand.expected["behind"], row.spec["deadline"], payload=hand.expected["payload"]
            )
            self.questions[request.pk] = row.question
        elif row.waits_for == "child" and row.child is None and not row.items:
            sql = "select id from orchestration_run where parent_run_id = %s and parent_key = %s"
            ((child,),) = rows(sql, hand.claim.place[:2])
            row.child = ModelRun(specs_of(self.child), row)
            self.add_run(child, row.child)
            if row.run.is_paused:
                reached("a child is laid below a paused run")

    @rule(number=index, turns=st.integers(1, 3))
    def walk(self, number, turns):
        """As a walker does that nothing befalls: claim, call, record, and on with what became ready."""
        worker = self.worker(number)
        for _ in range(turns):
            self.record(worker, [], look=True)
            for hand in [hand for hand in self.hands if hand.worker is worker]:
                if not hand.is_called:
                    self.do_call(hand, "completed")
                self.do_finish([hand], follow=True, look=False)

    @precondition(lambda self: self.over)
    @rule(number=index)
    def finish_again(self, number):
        """What is handed in twice, or comes from a thread that was given up long ago, is late."""
        hand = self.over[number % len(self.over)]
        if hand.outcome is None or hand.is_current:
            return
        self.apply(hand)
        self.record(hand.worker, [self.as_ended(hand)], look=False)

    def calling(self):
        scripted = [hand for hand in self.hands if hand.row.kind == "agent" and hand.row.spec["agent"] == "scripted"]
        return [hand for hand in scripted if not hand.is_called]

    @precondition(lambda self: self.calling())
    @rule(number=index, has_begun=st.booleans())
    def hang(self, number, has_begun):
        """A call, or what comes before it, takes too long: it is given up. What its thread brings then is late."""
        calling = self.calling()
        hand = calling[number % len(calling)]
        row, long_ago = hand.row, time.monotonic() - 1e6
        if has_begun and row.spec["limits"]:
            self.do_call(hand, "completed")
            if hand.is_current and not self.expects_call:
                return
        hand.in_hand.since, hand.in_hand.called_at = long_ago, long_ago if has_begun else None
        hand.is_called, hand.outcome = True, Outcome("completed", output={"value": None})
        if not has_begun:
            hand.expected = {"becomes": "ready"}
        elif not row.spec["repeatable"]:
            hand.expected = {"becomes": "uncertain"}
        else:
            hand.expected = failing(row, "timeout")
        self.hands.remove(hand)
        self.over.append(hand)
        self.apply(hand)
        self.record(hand.worker, hand.worker.give_up(), look=False)

    @rule(number=index)
    def lease_ends(self, number):
        worker = self.worker(number)
        worker.is_over = True
        end_lease(worker.id)

    @precondition(lambda self: self.hands)
    @rule(number=index)
    def freeze(self, number):
        """The worker of a step in hand is declared dead and another takes its steps; what it brings later is late."""
        frozen = self.hands[number % len(self.hands)].worker
        self.lease_ends(self.workers.index(frozen))
        self.workers.append(Worker())
        self.sweep(len(self.workers) - 1)
        self.look(len(self.workers) - 1)

    @rule(number=index)
    def sweep(self, number):
        worker = self.worker(number)
        if not worker.is_dead and not worker.is_over:
            for other in self.workers:
                other.is_dead |= other.is_over
        self.found = sweep(worker.id)
        dead = {other.id for other in self.workers if other.is_dead}
        for run in self.runs.values():
            lost = [run.lost(row) for row in run.rows if row.status == "running" and row.owner in dead]
            heard = [row for row in run.rows if self.events.of(row)]
            due = [row for row in run.rows if row.status == "waiting" and (row, row.place) in self.was_due]
            due = [row for row in due if row not in heard]
            over = [(row, row.comes, {"error": "timeout"}) for row in due]
            woken = [row for row in self.limits.woken() if row.run is run and row.kind != "start"]
            run.is_tidy &= all(row.comes != "failed" for row in due)
            for row in heard:
                row.heard = min(self.events.of(row), key=lambda event: event.number)  # of several, the first
            told = [(row, row.comes_of_waiting, {"output": row.heard.number}) for row in heard]
            run.settle(lost + told + over + [(row, "ready", {}) for row in woken])
        self.was_due = set()

    def timed(self):
        """The rows that wait until some time; a head does not."""
        return [
            row
            for row in self.rows()
            if (row.waits_for in ("retry", "time") and row.kind != "start")
            or (row.waits_for == "child" and row.child)
            or (row.waits_for == "event" and row.spec["wait"]["ends"])
        ]

    @precondition(lambda self: self.timed())
    @rule(number=index)
    def time_comes(self, number):
        waiting = self.timed()
        row = waiting[number % len(waiting)]
        self.was_due.add((row, row.place))
        sql = f"update orchestration_step set wake_at = clock_timestamp() - interval '1 s' where {STEP}"  # noqa: S608
        rows(sql, [self.key_of(row.run), *row.place_in_run])

    def key_of(self, run):
        return next(pk for pk, other in self.runs.items() if other is run)

    @precondition(lambda self: len(self.workers) > 1)
    @rule(number=index)
    def drain(self, number):
        worker = self.workers.pop(number % len(self.workers))
        process = worker.process
        owed = process.hands.owed()
        for hand in [hand for hand in self.hands if hand.worker is worker and hand.claim.place in owed]:
            if hand.is_current:
                hand.row.run.hand_back(hand.row, begun=True)
            else:
                hand.row.run.told["step.late_result"] += 1
        self.hands = [hand for hand in self.hands if hand.worker is not worker]
        hand_back(process, owed, begun=True, patient=True)
        process.lease.give_up()


def failing(row, error):
    """What becomes of one whose try ended with an error of this class."""
    again = row.attempt < row.spec["attempts"][error]
    return {"becomes": "waiting", "for": "retry"} if again else {"becomes": "failed", "error": error}
