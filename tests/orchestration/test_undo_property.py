"""Whatever befalls a run and its workers: what it did is undone, or a person was asked, if it came to nothing; nothing
else is, and nothing if it completed."""

import json
from collections import Counter
from types import SimpleNamespace

import pytest
from django.db import connection, connections, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents import tools
from agents.calls import Result
from agents.exceptions import Permanent, Temporary, TimedOut
from orchestration.doctor import examine
from orchestration.engine import answers
from orchestration.engine.connection import rows, use_own_connection
from orchestration.engine.starts import start_version
from orchestration.models import Event, Run, Step
from orchestration.sources import Source, apply
from tests.harness import end_lease, sweep
from tests.orchestration.properties.worker import Worker

ACTS = ["done"] * 5 + ["permanent", "temporary", "silent", "silent but done", "lost", "lost but done"]
BAD = {"permanent": Permanent, "temporary": Temporary, "silent": TimedOut, "silent but done": TimedOut}
DUE = "update orchestration_step set wake_at = clock_timestamp() where run_id = %s and waits_for = 'retry'"
ENDS = ("step.completed", "step.failed", "step.canceled")
TURNS = 120


@st.composite
def definitions(draw):
    steps = {}
    for number in range(draw(st.integers(1, 4))):
        spec = {
            "agent": "doer",
            "needs": sorted(draw(st.sets(st.sampled_from(sorted(steps)), max_size=2)) if steps else []),
        }
        spec["repeatable"] = draw(st.booleans())
        spec["retry"] = {"attempts": draw(st.integers(1, 2)), "backoff": "1h"}
        if draw(st.integers(0, 3)):
            tries = {"attempts": draw(st.integers(1, 2)), "backoff": "1h"}
            spec["compensate"] = {"agent": "undoer", "with": {"of": "${{ output.of }}"}, "retry": tries}
        if draw(st.integers(0, 3)) == 0:
            spec["map"] = {"over": [1, 2], "concurrency": draw(st.integers(1, 2))}
        steps[f"s{number}"] = spec
    return {"name": "random", "steps": steps}


class World:
    """The agents, who remember what they have done under which key, and a driver of one run."""

    def __init__(self, version, organization, by, draw):
        self.draw = draw
        self.done: list[str] = []  # the keys of what was done, once each
        self.undone: Counter[str] = Counter()
        self.asked: set[str] = set()
        self.act = "done"
        self.worker = Worker()
        self.run = start_version(version.pk, organization.pk, {}, by=by.pk)
        self.by = by

    def do(self, call):
        if "done" in self.act and call.idempotency_key not in self.done:
            self.done.append(call.idempotency_key)
        if self.act in BAD:
            raise BAD[self.act](self.act)
        return Result({"of": call.idempotency_key})

    def undo(self, call):
        assert call.input == {"of": call.idempotency_key.removesuffix(":undo")}
        if "done" in self.act:
            self.undone[call.input["of"]] += 1
        if self.act in BAD:
            raise BAD[self.act](self.act)
        return Result({})

    def turn(self):
        hands = self.worker.look()
        while hands:
            hand = hands.pop(0)
            self.act = self.draw(st.sampled_from(ACTS))
            if self.act.startswith("lost"):
                self.lose(hand)
                return
            self.worker.do(hand)
            hands += self.worker.record([], look=False)  # what follows on it
        self.answer()
        rows(DUE, [self.run])
        self.worker.sweep()

    def lose(self, hand):
        """The worker dies in this call, with all else that it has in hand."""
        claim = hand.claim
        if self.act == "lost but done" and claim.kind == "agent":
            self.done += [key for key in [claim.idempotency_key] if key not in self.done]
        if self.act == "lost but done" and claim.kind == "undo":
            known = Step.objects.filter(run_id=claim.run, key=claim.key, input__isnull=False).exists()
            self.undone.update([claim.idempotency_key.removesuffix(":undo")] if known else [])
        end_lease(self.worker.id)
        self.worker = Worker()
        sweep(self.worker.id)

    def answer(self):
        """A person looks, and says what is so."""
        for step in Step.objects.filter(run_id=self.run, status="uncertain").select_related("run"):
            key = key_of(step)
            if step.undoes is None:
                outcome = "completed" if key in self.done else self.draw(st.sampled_from(["failed", "again"]))
            else:
                self.asked.add(key)
                outcome = self.draw(st.sampled_from(["completed", "failed"]))
            output = {"of": key} if outcome == "completed" and step.undoes is None else None
            answers.resolve(step.run, step, by=self.by, outcome=outcome, output=output, reason="r")

    def check(self, compensated):
        run = Run.objects.get(pk=self.run)
        assert run.has_ended, [(step.name, step.status) for step in run.steps.all()]
        assert examine([run.pk]) == []
        mine = [key for key in self.done if key.split(":")[1] in compensated]
        if run.status == Run.Status.COMPLETED:
            assert not self.undone
            return
        assert set(self.undone) <= set(mine)
        assert set(mine) <= set(self.undone) | self.asked
        told = dict(Event.objects.filter(run=run, type__in=ENDS).values_list("key", "seq"))
        order = list(run.steps.exclude(undoes=None).order_by("key").values_list("undoes", flat=True))
        assert order == sorted(order, key=lambda key: -told[key])


def key_of(step):
    name = step.name.removesuffix(":undo")
    places = [step.round, *([] if step.index is None else [step.index])]
    return ":".join([step.run.public_id, name, *map(str, places)])


@pytest.fixture
def world(committed, organization, members, policies, save_agent, settings):
    settings.WORKER_LEASE_SECONDS = 86_400
    settings.WORKER_THREADS = 3
    for name in ("doer", "undoer"):
        tools.register(name, {name: Result})  # each world brings its own
        save_agent(name=name, kind="tool", configuration={"tool": name}, repeatable=name == "doer")
    usual = connections["default"]
    use_own_connection()
    yield SimpleNamespace(organization=organization, by=members.operator)
    connection.close()
    connections["default"] = usual


@settings(deadline=None, suppress_health_check=list(HealthCheck), print_blob=False)
@given(text=definitions(), data=st.data())
def test_what_came_to_nothing_is_undone_or_asked_about_and_nothing_else_is(world, text, data):
    with transaction.atomic():
        (version,) = apply([Source("r.yaml", json.dumps(text))], organization=world.organization, by=None)
        here = World(version, world.organization, world.by, data.draw)
        tools.register("doer", {"doer": here.do})
        tools.register("undoer", {"undoer": here.undo})
        canceled_at = data.draw(st.integers(0, 12))
        for turn in range(TURNS):
            here.turn()
            if Run.objects.get(pk=here.run).has_ended:
                break
            if turn == canceled_at:
                answers.cancel(Run.objects.get(pk=here.run), by=world.by, reason="r")
        here.check({name for name, step in text["steps"].items() if "compensate" in step})
        transaction.set_rollback(True)
