"""What a definition says of each start: labels to find runs by, priority, and whose turn it is."""

import pytest

from orchestration.engine.starts import start_version
from orchestration.exceptions import InvalidInput
from orchestration.idempotency import start_once
from orchestration.language import AgentFacts, compile_definition
from orchestration.models import Run, Step
from tests.harness import until

LABELED = """name: labeled
input:
  type: object
  properties: {customer: {type: [string, "null"]}, amount: {type: integer}, rows: {type: array}}
labels: {customer: "${{ input.customer }}", kind: report, by: "${{ run.started_by }}"}
priority: "${{ has(input.amount) ? input.amount : 0 }}"
fair_by: "${{ input.customer }}"
steps:
  a: {agent: echo, with: {value: 1}}
"""


@pytest.fixture
def begin(save, members):
    save(LABELED)

    def begin(**given):
        return start_once(definition="labeled", given=given, by=members.operator, key="")

    return begin


def test_what_a_definition_says_of_a_start_is_evaluated_of_its_input(begin, members, organization):
    run = begin(customer="acme", amount=20)
    name = members.operator.user.username
    assert run.labels == {"customer": "acme", "kind": "report", "by": name}
    assert (run.priority, run.fair_key) == (20, f"{organization.pk}:acme")
    step = Step.objects.get(run=run)
    assert step.priority == 20
    plain = begin(customer=None)
    assert plain.labels == {"kind": "report", "by": name}
    assert (plain.priority, plain.fair_key) == (0, str(organization.pk))


@pytest.mark.parametrize(
    ("given", "pointer"),
    [
        ({}, "/definition/labels/customer"),
        ({"customer": "x" * 201}, "/definition/labels/customer"),
        ({"customer": "a", "amount": 101}, "/definition/priority"),
    ],
)
def test_a_start_of_which_nothing_can_be_said_is_refused_at_its_key(begin, given, pointer):
    with pytest.raises(InvalidInput) as refused:
        begin(**given)
    assert [error["pointer"] for error in refused.value.errors] == [pointer]
    assert not Run.objects.exists()


def test_of_many_inputs_each_is_told_by_its_place(operator, begin):
    answer = operator.post(
        "/api/v1/runs/batch/", {"definition": "labeled", "inputs": [{"customer": "a"}, {}]}, format="json"
    )
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/inputs/1/definition/labels/customer"]
    assert not Run.objects.exists()


def test_runs_are_found_and_counted_by_label_over_the_api(operator, begin):
    runs = {begin(customer=customer).public_id: customer for customer in ("acme", "acme", "globex")}
    found = operator.get("/api/v1/runs/?label.customer=acme&label.kind=report").json()["results"]
    assert {run["id"] for run in found} == {run for run, customer in runs.items() if customer == "acme"}
    assert {run["labels"]["customer"] for run in found} == {"acme"}
    assert operator.get("/api/v1/runs/?label.customer=nobody").json()["results"] == []
    assert operator.get("/api/v1/runs/?label.customer=a%00").status_code == 400
    counted = operator.get("/api/v1/runs/labels/customer/").json()["results"]
    assert counted == [{"value": "acme", "runs": 2}, {"value": "globex", "runs": 1}]
    assert operator.get("/api/v1/runs/labels/customer/?label.customer=globex").json()["results"] == counted[1:]


def test_the_list_of_runs_filters_and_counts_by_label_and_a_view_keeps_it(client, begin, members):
    acme, globex = begin(customer="acme & sons"), begin(customer="globex")
    client.force_login(members.operator.user)
    page = client.get("/runs/", {"label": "customer=acme & sons", "by": "customer"}).content.decode()
    assert acme.public_id in page
    assert globex.public_id not in page
    assert "customer: acme &amp; sons" in page
    assert 'value="label.customer=acme+%26+sons"' in page  # of the form that saves a view
    both = client.get("/runs/", {"by": "customer"}).content.decode()
    assert 'globex <span class="count">1</span>' in both
    shown = client.get(f"/runs/{acme.public_id}/").content.decode()
    assert "?label.customer=acme%20%26%20sons" in shown


def test_a_child_has_its_parents_labels_and_its_own(engine, save, members, organization):
    save(LABELED)
    said = "labels: {customer: outer, project: x}\nfair_by: outer"
    parent = save(f"name: parent\n{said}\nsteps: {{a: {{run: labeled, with: {{customer: inner}}}}}}")
    run = start_version(parent.pk, organization.pk, {}, by=members.operator.pk)
    child = until(lambda: Run.objects.filter(parent_run_id=run, ended_at__isnull=False).first())
    assert child.labels == {"customer": "inner", "project": "x", "kind": "report", "by": members.operator.user.username}
    assert child.fair_key == f"{organization.pk}:inner"


def test_a_child_of_which_nothing_can_be_said_fails_its_step(engine, save, members, organization):
    save(LABELED)
    parent = save("name: parent\nsteps: {a: {run: labeled, with: {amount: 5}}}")
    run = start_version(parent.pk, organization.pk, {}, by=members.operator.pk)
    error = until(lambda: Run.objects.get(pk=run).error)
    assert error["class"] == "expression"
    assert "/definition/labels/customer" in error["message"]


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("labels: {a b: x}", "labels"),
        ("labels: {a: [x]}", "shape"),
        ('labels: {a: "${{ input.rows }}"}', "labels"),
        ('labels: {a: "${{ steps.a.output }}"}', "unknown-name"),
        ('labels: {a: "${{ run.id }}"}', "unknown-field"),
        ('labels: {a: "${{ input.nothing }}"}', "unknown-field"),
        ("labels: {" + ", ".join(f"l{n}: x" for n in range(21)) + "}", "shape"),
        ("priority: 101", "shape"),
        ("priority: high", "priority"),
        ('priority: "${{ input.text }}"', "priority"),
        ('fair_by: "${{ input.rows }}"', "fair-by"),
        ("fair_by: [a]", "shape"),
        ("fair_by: {weight: 3}", "missing-key"),
        ("fair_by: {key: a, weigth: 3}", "unknown-key"),
        ("fair_by: {key: [a]}", "shape"),
        ('fair_by: {key: "${{ input.rows }}"}', "fair-by"),
        ("fair_by: {key: a, weight: 0}", "shape"),
        ("fair_by: {key: a, weight: 101}", "shape"),
        ("fair_by: {key: a, weight: heavy}", "fair-by"),
        ('fair_by: {key: a, weight: "${{ input.text }}"}', "fair-by"),
        ('fair_by: {key: a, weight: "${{ steps.a.output }}"}', "unknown-name"),
    ],
)
def test_what_cannot_be_said_of_a_start_is_a_finding(line, rule):
    schema = "{type: object, additionalProperties: false, properties: {rows: {type: array}, text: {type: string}}}"
    text = f"name: d\ninput: {schema}\n{line}\nsteps: {{a: {{agent: echo}}}}"
    found = compile_definition(text, file="f", agents={"echo": AgentFacts("tool")}, policies=[])
    assert [(finding.line, finding.rule) for finding in found.findings] == [(3, rule)]
