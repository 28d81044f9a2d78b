"""A run that stops for a person, through the doors that people and machines use."""

from approvals.models import Request
from orchestration.models import Run
from tests.factories import MemberFactory
from tests.harness import until

GATE = """
  figures: {agent: echo, with: {value: {rows: [1, 2], large: "${{ input.large }}"}}}
  check: {needs: [figures], approval: {title: Figures, show: "${{ steps.figures.output.value }}", editable: /rows}}
  after: {agent: echo, needs: [check], with: {value: "${{ steps.check.output.rows }}"}}
"""


def waiting(client, run, round_):
    def asked():
        body = client.get(f"/api/v1/runs/{run.public_id}/").json()
        step = body["steps"][1]
        return body if (step["status"], step["round"]) == ("waiting", round_) and body["status"] == "waiting" else None

    return until(asked)


def decide(client, request, **words):
    return client.post(f"/api/v1/approvals/{request['id']}/decision/", words, format="json")


def test_a_gate_is_asked_again_then_passed_with_an_edit(engine, begin, client_of, members, operator):
    text = "name: gated\ninput: {type: object, properties: {large: {type: string}}}\nsteps:" + GATE
    run = begin(text, {"large": "x" * 9_000})
    approver = client_of(members.approver, "read", "decide")
    shown = waiting(operator, run, 1)
    gate = shown["steps"][1]
    assert (gate["waits_for"], len(shown["steps"][0]["output"]["value"]["large"])) == ("approval", 9_000)

    (asked,) = approver.get("/api/v1/approvals/", {"run": run.public_id, "status": "pending"}).json()["results"]
    assert (asked["id"], asked["can_decide"]) == (gate["request"], True)
    refused = decide(operator, asked, choice="continue", digest=asked["digest"])
    assert refused.status_code == 403
    assert decide(approver, asked, choice="retry", digest=asked["digest"], note="once more").status_code == 200

    shown = waiting(operator, run, 2)
    assert [(step["name"], step["round"], step["status"]) for step in shown["steps"]] == [
        ("figures", 2, "completed"),
        ("check", 2, "waiting"),
        ("after", 1, "blocked"),
    ]
    again = approver.get(f"/api/v1/approvals/{shown['steps'][1]['request']}/").json()
    passed = decide(approver, again, choice="continue", digest=again["digest"], edits={"/rows": [3]})
    assert passed.status_code == 200, passed.json()

    ended = until(lambda: (body := operator.get(f"/api/v1/runs/{run.public_id}/").json())["ended_at"] and body)
    assert (ended["status"], ended["steps"][2]["output"]) == ("completed", {"value": [3]})
    assert ended["steps"][1]["decision"]["by"] == members.approver.name
    events = operator.get(f"/api/v1/runs/{run.public_id}/events").json()["results"]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    kinds = [event["type"] for event in events]
    assert (kinds.count("checkpoint.requested"), kinds.count("checkpoint.resolved"), kinds[-1]) == (
        2,
        2,
        "run.completed",
    )


def test_canceling_at_a_gate_withdraws_its_request(engine, begin, operator):
    text = "name: gated\ninput: {type: object, properties: {large: {type: string}}}\nsteps:" + GATE
    run = begin(text, {"large": "x"})
    waiting(operator, run, 1)
    ended = operator.post(f"/api/v1/runs/{run.public_id}/cancel/", {"reason": "no more"}, format="json").json()
    assert (ended["status"], ended["steps"][1]["request"]) == ("canceled", None)
    assert Request.objects.get().status == "withdrawn"


def test_the_questions_of_a_tree_are_asked_for_at_its_root(engine, begin, save, client_of, viewer):
    save("name: asks\nsteps: {a: {approval: {title: t}}}\noutput: 5")
    run = begin("  own: {approval: {title: own}}\n  below: {run: asks}\n  other: {run: asks}\n")
    engine.look()
    until(lambda: Request.objects.pending().count() == 3)

    def listed(client, **query):
        return sorted(row["title"] for row in client.get("/api/v1/approvals/", query).json()["results"])

    assert listed(viewer, run=run.public_id) == ["own"]
    assert listed(viewer, run=run.public_id, tree=1, status="pending") == ["own", "t", "t"]
    child = Run.objects.filter(parent_run_id=run.pk).first()
    assert listed(viewer, run=child.public_id, tree=1) == ["t"]
    assert listed(client_of(MemberFactory(roles=["admin"])), run=run.public_id, tree=1) == []
    assert viewer.get("/api/v1/approvals/", {"run": run.public_id, "tree": "perhaps"}).status_code == 400
