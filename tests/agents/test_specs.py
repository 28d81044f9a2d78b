import json

import pytest

from accounts.models import AuditEntry
from agents import seeding, specs
from agents.exceptions import InvalidSpec
from agents.models import Agent, AgentVersion


def echo_spec(**changes):
    return {"name": "my-echo", "kind": "tool", "title": "Mine", "configuration": {"tool": "echo"}, **changes}


def query_spec(**operation):
    declared = {
        "sql": "select %(n)s::int as n",
        "parameters": {"type": "object", "additionalProperties": False, "properties": {"n": {"type": "integer"}}},
        **operation,
    }
    return echo_spec(configuration={"connection": "supabase", "operations": {"one": declared}})


@pytest.mark.parametrize(
    ("spec", "pointer", "word"),
    [
        ([], "", "object"),
        ({"kind": "tool"}, "", "name"),
        (echo_spec(name="No Slug"), "/name", "lower-case letters"),
        (echo_spec(name="new"), "/name", "/agents/new/"),
        (echo_spec(kind="tools"), "/kind", "known: context, "),
        (echo_spec(inputs={}), "/inputs", "Did you mean input?"),
        (echo_spec(input={"type": "strin"}), "/input/type", "not valid"),
        (echo_spec(output={"properties": {"a": {"minimum": "x"}}}), "/output/properties/a/minimum", "number"),
        (echo_spec(input={"$ref": "https://example.com/s"}), "/input/$ref", "within the schema"),
        (echo_spec(configuration={"tool": "ecko"}), "/configuration/tool", "known: echo"),
        (echo_spec(configuration={"tool": 2**80}), "/configuration/tool", "no place in JSON"),
        (echo_spec(kind="context", configuration={}), "/configuration", "instructions"),
        (query_spec(sql="select %(m)s"), "/configuration/operations/one/sql", "not declared"),
        (query_spec(sql="select 5 % 2"), "/configuration/operations/one/sql", "%%"),
        (query_spec(sql="select 1; drop table x"), "/configuration/operations/one/sql", "semicolon"),
        (query_spec(parameters={"type": "object"}), "/configuration/operations/one/parameters", "additionalProperties"),
        (query_spec(output={"type": 5}), "/configuration/operations/one/output/type", "not valid"),
    ],
)
def test_a_bad_spec_is_told_with_its_place(spec, pointer, word):
    found = specs.findings(spec)

    assert [each.pointer for each in found] == [pointer]
    assert word in found[0].message


def test_broken_yaml_is_told_with_line_and_column():
    with pytest.raises(InvalidSpec, match="line 2, column"):
        specs.read("name: a\n  kind: [")


def test_dates_of_yaml_are_refused_with_advice():
    assert "quotes" in specs.findings(specs.read("name: a\nkind: tool\ntitle: 2026-10-01"))[0].message


def test_the_same_spec_makes_no_new_version(organization):
    first = Agent.save_version(organization=organization, spec=echo_spec(), by=None)
    again = Agent.save_version(organization=organization, spec=echo_spec(title="Other"), by=None)
    changed = Agent.save_version(organization=organization, spec=echo_spec(repeatable=False), by=None)

    assert (first.pk, first.number, changed.number) == (again.pk, 1, 2)
    agent = Agent.objects.get()
    assert (agent.current_version_id, agent.title) == (changed.pk, "Mine")
    assert AuditEntry.objects.filter(organization=organization, action="agent.save_version").count() == 2


def test_a_kind_is_for_life(organization):
    Agent.save_version(organization=organization, spec=echo_spec(), by=None)
    other = echo_spec(kind="context", configuration={"instructions": "Say hello."})

    with pytest.raises(InvalidSpec, match="cannot change"):
        Agent.save_version(organization=organization, spec=other, by=None)
    assert AgentVersion.objects.count() == 1


def test_the_shipped_agents_are_seeded_again_and_again(organization):
    first = seeding.seed_agents(organization)
    again = seeding.seed_agents(organization)

    assert [version.pk for version in first] == [version.pk for version in again]
    assert {version.agent.slug for version in first} == {"echo", "finance-manager", "summarizer", "supabase-agent"}


def test_a_folder_with_one_bad_spec_saves_none(organization, tmp_path):
    (tmp_path / "good.json").write_text(json.dumps(echo_spec()))
    (tmp_path / "bad.yaml").write_text("name: bad\nkind: nothing\n")

    with pytest.raises(InvalidSpec, match=r"bad.yaml#/kind"):
        seeding.apply(tmp_path, organization=organization)
    assert not Agent.objects.exists()
