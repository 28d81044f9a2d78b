"""A run with a bit of everything, and processes that die at a point of the protocol while they work on it."""

from types import SimpleNamespace

import pytest

from agents.gateways import database
from approvals.models import Request
from orchestration.doctor import examine
from orchestration.engine.connection import rows
from orchestration.engine.starts import start
from orchestration.models import Run, Step
from orchestration.seeding import seed_definitions
from simulators.kpi import seed_kpi
from tests.forked import Nursery
from tests.harness import assert_sound, told, until
from tests.orchestration.crashes.looks import WRITER

PART = "name: part\nsteps: {w: {agent: writer, with: {text: part}}}\noutput: '${{ steps.w.output }}'"
ORDER = """name: order
steps:
  a: {agent: writer, with: {text: first}, retry: {attempts: 5, backoff: 10ms}}
  f1: {agent: writer, needs: [a], with: {text: one}}
  f2: {agent: writer, needs: [a], with: {text: two}}
  big: {agent: echo, needs: [a], with: {value: "${{ input.big }}"}}
  each: {agent: writer, needs: [a], map: {over: [x, y, z], concurrency: 2}, with: {text: "${{ item }}"}}
  again: {agent: writer, needs: [each], repeat: {until: index == 1, max: 3, every: 10ms}, with: {text: again}}
  either: {needs: [again], choose: [{if: size(steps.each.output) == 3, then: check}]}
  check: {needs: [f1, f2, big, either], approval: {title: t, show: "${{ steps.f1.output }}", retry: [f1, each]}}
  call: {agent: boss, needs: [check]}
  part: {run: part, needs: [check]}
  report:
    agent: writer
    needs: [call, part]
    with: {text: "${{ steps.call.output.text + steps.part.output.text }}"}
    deliverable: {name: report, title: Report, content: "${{ output.text }}"}
output: "${{ steps.report.output.text }}"
"""
WRITTEN = {"a", "f1", "f2", "each", "again", "w", "report"}  # by the writer


@pytest.fixture(scope="session")
def own_nursery(django_db_setup, django_db_blocker, simulators_process):
    with django_db_blocker.unblock():
        nursery = Nursery(OPENAI_BASE_URL=f"{simulators_process}/v1", OPENAI_API_KEY="any")
    yield nursery
    nursery.close()


@pytest.fixture
def nursery(own_nursery, committed):
    yield own_nursery
    own_nursery.empty()


@pytest.fixture
def crew(servers, committed, simulators_process):
    """A nursery on servers of its own."""
    postgres, valkey = servers
    nursery = Nursery(
        DATABASE_URL=postgres.url,
        REDIS_URL=valkey.url,
        OPENAI_BASE_URL=f"{simulators_process}/v1",
        OPENAI_API_KEY="any",
    )
    yield nursery
    nursery.close()


@pytest.fixture
def order(organization, agents, policies, members, save, save_agent, simulator):
    """Starts the run, answers its question (first with a retry), and looks at what is left of it."""
    save_agent(name="writer", **WRITER)
    save_agent(name="boss", kind="orchestrator", configuration={"definitions": ["part"]})
    save(PART)
    save(ORDER)

    def begin(fault="429", seconds=0.01):
        simulator.forget()
        simulator.fail_once(fault, seconds)
        return start(organization=organization, definition="order", given={"big": "x" * 5000}, by=members.operator)

    def drive(run):
        """Answer what is asked; whether the run has ended."""
        for request in Request.objects.pending().filter(context__run=run.public_id):
            choice = "retry" if request.context["round"] == 1 else "continue"
            request.decide(by=members.approver, choice=choice, digest=request.digest, note="n")
        return Run.objects.filter(pk=run.pk, ended_at__isnull=False).exists()

    def done(run):
        """How often each finished step of the run, and of its children, was called."""
        keys = simulator.keys()
        steps = Step.objects.filter(run_id__gte=run.pk, status__in=Step.ENDED).select_related("run")
        return {key: keys[key] for step in steps if (key := key_of(step)) in keys}

    def check(run, before=None):
        """Completed, with each effect as often as it was started, and none again after its end was recorded."""
        until(lambda: drive(run), 60)
        run = assert_sound(run.pk)
        assert (run.status, run.error) == ("completed", None), told([run.pk])
        calls = simulator.keys()
        assert {key: calls[key] for key in before or {}} == (before or {}), told([run.pk])
        steps = Step.objects.filter(run_id__gte=run.pk).select_related("run")
        assert set(calls) == {key_of(step) for step in steps if step.name in WRITTEN and step.kind == "agent"}
        starts = {key_of(step): step.run.events.filter(type="step.started", key=step.key).count() for step in steps}
        assert {key: (calls[key], starts[key]) for key in calls if calls[key] > starts[key]} == {}
        return run

    return SimpleNamespace(begin=begin, drive=drive, done=done, check=check)


def key_of(step):
    places = (step.round, step.index, step.pass_number)
    return ":".join([step.run.public_id, step.name, *(str(place) for place in places if place is not None)])


@pytest.fixture
def at_rest():
    """Nothing is left over when all workers have gone."""

    def at_rest(*workers):
        until(lambda: not examine(settled=True))  # a sweep may have something to do for a run that ended
        for worker in workers:
            worker.terminate()
        assert examine(settled=True) == []

    return at_rest


@pytest.fixture
def kpi(committed, organization, agents, policies):
    """The demo's figures, and the shipped definition."""
    seed_kpi()
    seed_definitions(organization)
    yield
    database.close_pools()


@pytest.fixture
def month():
    ((month,),) = rows("select to_char(max(month), 'YYYY-MM') from kpi.figures")
    return month
