"""What undoes a step, as the language checks it."""

import pytest

from orchestration.language import AgentFacts, compile_definition

ID = {"type": "object", "properties": {"id": {"type": "string"}}, "additionalProperties": False}
AGENTS = {
    "echo": AgentFacts("tool"),
    "boss": AgentFacts("orchestrator"),
    "billing": AgentFacts(
        "tool",
        output_schema=ID,
        operations={
            "charge": {"parameters": {"type": "object"}, "output": ID},
            "refund": {"parameters": {**ID, "required": ["id"]}},
        },
    ),
}
CHARGE = "  a: {agent: billing, with: {operation: charge}, "
REFUND = CHARGE + "compensate: {agent: billing, with: {operation: refund, "


def compiled(*steps):
    return compile_definition("\n".join(["name: d", "steps:", *steps]), file="f", agents=AGENTS, policies=["default"])


@pytest.mark.parametrize(
    ("step", "rules"),
    [
        (REFUND + "id: '${{ output.id }}'}}}", []),
        (REFUND + "id: '${{ output.id }}'}, retry: {attempts: 3}, timeout: 30s}}", []),
        (REFUND + "id: '${{ output.no }}'}}}", ["unknown-field"]),
        (REFUND + "id: 5}}}", ["with"]),
        (REFUND + "id: '${{ output.id }}', more: 1}}}", ["with"]),
        (REFUND.replace("refund", "refnd") + "}}}", ["unknown-operation"]),
        (CHARGE + "compensate: {agent: billing}}", ["unknown-operation"]),
        (CHARGE + "compensate: {agent: biling}}", ["unknown-agent"]),
        (CHARGE + "compensate: {agent: boss}}", ["compensate"]),
        (CHARGE + "compensate: {}}", ["missing-key"]),
        (CHARGE + "compensate: {agent: echo, with: {x: '${{ steps.b.output }}'}}}", ["unknown-step"]),
        (CHARGE + "compensate: {agent: echo, with: {x: '${{ nothing }}'}}}", ["unknown-name"]),
        (CHARGE + "compensate: {agent: echo, retry: {attempts: 2, backoff: 1m, max: 1s}}}", ["retry"]),
        (CHARGE + "compensate: {agent: echo, retry: {attempts: 2, on: {child_failed: {attempts: 2}}}}}", ["retry"]),
        (CHARGE + "compensate: {agent: echo, timeout: soon}}", ["duration"]),
        ("  a: {approval: {title: t}, compensate: {agent: echo}}", ["not-with-approval"]),
        ("  a: {wait: {for: 1h}, compensate: {agent: echo}}", ["step-kind"]),
        (
            "  a: {map: {over: [1]}, agent: billing, with: {operation: charge},"
            " compensate: {agent: echo, with: {x: '${{ output.id + string(item) }}'}}}",
            [],
        ),
    ],
)
def test_a_compensate_is_checked_where_it_stands(step, rules):
    assert [finding.rule for finding in compiled(step).findings] == rules


def test_what_undoes_a_step_stands_in_its_plan_and_lets_old_workers_leave_it_alone():
    plan = compiled(CHARGE + "compensate: {agent: echo, with: {x: '${{ output.id }}'}, timeout: 5s}}").plan
    assert plan["level"] == 2
    undo = plan["steps"][0]["compensate"]
    assert (undo["agent"], undo["timeout"], undo["retry"]["attempts"]) == ("echo", 5.0, 1)
