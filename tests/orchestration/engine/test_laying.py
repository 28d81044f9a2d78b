"""What a new run is made of, beside the steps of its definition."""

import json

import pytest

from accounts.public_ids import new_public_id
from agents.models import Agent
from orchestration.engine.connection import rows
from orchestration.engine.starts import start_version
from orchestration.exceptions import AgentGone
from orchestration.models import DefinitionVersion, Run, Step

TEXT = "name: laid\nsteps:\n  a: {agent: echo, with: {value: 1}}\n  b: {agent: echo, needs: [a]}\n"


@pytest.fixture
def version(save):
    return save(TEXT)


def lay(version, *facts):
    given = [json.dumps(each) for each in facts]
    publics = [new_public_id("run") for _ in given]
    organization = version.definition.organization_id
    return rows(
        "select * from engine_start_v3(%s, %s, %s::text[], %s::jsonb[], null, null, null, 0, %s::jsonb[])",
        [version.pk, organization, publics, ["{}"] * len(given), given],
    )[0]


def test_a_run_keeps_what_is_said_of_it_and_takes_its_turn_by_it(version):
    (runs, queues, ready) = lay(
        version,
        {"priority": 7, "fair_by": "acme", "labels": {"customer": "acme"}, "timeout": 60, "level": 1},
        {"fair_by": "acme"},
        {},
    )
    first, second, third = (Run.objects.get(pk=run) for run in runs)
    assert (queues, ready) == (["tool"], [3])
    assert (first.priority, first.level, first.labels) == (7, 1, {"customer": "acme"})
    assert first.deadline_at > first.created_at
    assert (second.level, second.deadline_at, second.priority) == (0, None, 0)
    organization = version.definition.organization_id
    assert [run.fair_key for run in (first, second, third)] == [f"{organization}:acme"] * 2 + [str(organization)]
    ranks = dict(Step.objects.filter(run__in=runs, key=1).values_list("run_id", "rank"))
    assert ranks[second.pk] == ranks[first.pk] + 1  # of the same key, one after the other
    assert ranks[third.pk] == ranks[first.pk]  # of another, beside them
    assert set(Step.objects.filter(run=first.pk).values_list("priority", flat=True)) == {7}


def test_a_run_that_waits_begins_when_its_time_has_come(version):
    ((run,), queues, _) = lay(version, {"waits": {"for": "time", "at": "2000-01-01T00:00Z", "due_as": "completed"}})
    assert queues is None
    row = Run.objects.get(pk=run)
    assert (row.status, row.open_steps, row.moving_steps) == ("waiting", 3, 0)
    gate, first, second = Step.objects.filter(run=run).order_by("key")
    assert (gate.kind, gate.status, gate.waits_for, gate.due_as) == ("start", "waiting", "time", "completed")
    assert (gate.dependants, first.status, first.open_needs, second.open_needs) == ([1], "blocked", 1, 1)


def test_the_level_is_the_versions_whoever_starts_it(version, organization):
    DefinitionVersion.objects.filter(pk=version.pk).update(plan={**version.plan, "level": 1})
    for call in (
        "select run from engine_start_v1(%s, %s, %s, '{}', null)",
        "select runs[1] from engine_start_v2(%s, %s, array[%s], array['{}'::jsonb], null)",
    ):
        ((run,),) = rows(call, [version.pk, organization.pk, new_public_id("run")])
        assert Run.objects.get(pk=run).level == 1


def test_what_a_layout_says_of_a_step_stands_in_its_row(version):
    first, second = version.layout
    first |= {"total": 60, "patience": 10, "expects": 30, "carries": True, "limited": True}
    second |= {"slack": 1, "forgiven": True, "total": 5}
    DefinitionVersion.objects.filter(pk=version.pk).update(layout=[first, second])
    ((run,), _, _) = lay(version, {})
    a, b = Step.objects.filter(run=run).order_by("key")
    assert (a.total_seconds, a.queue_seconds, a.expect_seconds, a.carries, a.limited) == (60, 10, 30, True, True)
    assert (a.total_at - a.deadline_at).total_seconds() == 50
    assert (a.total_at - a.expect_at).total_seconds() == 30
    assert (b.slack, b.forgiven, b.total_at, b.deadline_at) == (1, True, None, None)  # not ready yet


def test_a_run_whose_agent_is_gone_is_refused_in_words(version, organization, members):
    Agent.objects.filter(organization=organization, slug="echo").update(slug="other")
    with pytest.raises(AgentGone, match="agent echo is not here any more"):
        start_version(version.pk, organization.pk, {}, by=members.operator.pk)
