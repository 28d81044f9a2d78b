"""What tests of the pages of runs do to a run, and read."""

import re

from orchestration.engine import settling
from orchestration.engine.connection import rows
from orchestration.models import subject_of
from tests.factories import PolicyFactory, ask

CHAIN = "  figures: {agent: echo, retry: {attempts: 4, backoff: 1h}}\n"
CHAIN += "  check: {needs: [figures], approval: {title: 'KPI <figures>', policy: finance-sign-off}}\n"
CHAIN += "  summary: {agent: echo, needs: [check]}\n"
TOLD = """
insert into orchestration_event (run_id, seq, type, key, data)
select run_id, max(seq) + 1, 'step.started', %s, jsonb_build_object('step', %s::text) from orchestration_event
where run_id = %s group by run_id
"""


def text_of(client, path, status=200):
    answer = client.get(path)
    assert answer.status_code == status, answer.content.decode()[:500]
    return answer.content.decode()


def claim(run, name, seconds_ago=0.0):
    """The step is running, for a worker that is no more. Gives (run, key, fence)."""
    step = run.steps.get(name=name)
    rows(
        "update orchestration_step set status = 'running', owner = 1, fence = fence + 1, attempt = attempt + 1,"
        " started_at = clock_timestamp() - make_interval(secs => %s) where run_id = %s and key = %s",
        [seconds_ago, run.pk, step.key],
    )
    rows(TOLD, [step.key, name, run.pk])
    rows("update orchestration_run set seq = seq + 1 where id = %s", [run.pk])
    return run.pk, step.key, step.fence + 1


def end(run, name, becomes="completed", **outcome):
    outcome = {"output": {"value": 1}} | outcome if becomes == "completed" else outcome
    assert settling.settle(claim(run, name), "running", settling.Outcome(becomes, **outcome))


def fail(run, name, **error):
    end(run, name, "failed", fields={"error": {"class": "permanent", "message": "no such account", **error}})


def put_question(run, name, **changes):
    """The step asks people, as a walker would let it."""
    place = claim(run, name)
    policy = PolicyFactory(organization=run.organization, slug="finance", roles=["approver"])
    context = {
        "run": run.public_id,
        "step": name,
        "key": place[1],
        "definition": "d",
        "run_id": run.pk,
        "fence": place[2],
    }
    question = ask(policy, subject=subject_of(run.pk, name, None), context=context, **changes)
    waits = settling.Outcome("waiting", input={"show": 1}, fields={"waits_for": "approval"})
    assert settling.settle(place, "running", waits)
    return question


def panel_of(page):
    return re.search(r'<section class="card step-panel".*?\n</section>', page, re.DOTALL)[0]
