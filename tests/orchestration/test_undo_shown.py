"""What is undone, was, and cannot be: said before a cancel, on the run's page, over the API and in words."""

import pytest

from orchestration.engine import answers
from orchestration.engine.settling import Outcome, settle
from orchestration.models import Run, Step
from tests.harness import assert_sound
from tests.orchestration.run_pages.looks import claim, end, fail, panel_of, text_of

UNDO = "compensate: {agent: echo}"
STEPS = f"  book: {{agent: echo, {UNDO}}}\n  pay: {{agent: echo, needs: [book], {UNDO}}}\n"
STEPS += "  mail: {agent: once, needs: [pay]}\n  send: {agent: echo, needs: [mail]}\n"


def kept(**undo):
    return {"more": {"undo": {"agent": "echo", **undo}}, "note": {"reversible": undo["reversible"]}}


@pytest.fixture
def run(begin, save_agent):
    save_agent(name="once", kind="tool", configuration={"tool": "echo"}, repeatable=False)
    run = begin(STEPS)
    end(run, "book", fields=kept(reversible=True, input={"value": "give it back"}))
    end(run, "pay", fields=kept(reversible=False, why="no id"))
    end(run, "mail")
    return run


def test_a_cancel_says_before_what_it_undoes_and_what_not(client, operator, run, members):
    lines = [
        "Undone, the last first: book by echo.",
        "A person is asked how to undo: pay: no id.",
        "Not undone: mail: It may not be repeated, and has no compensate.",
    ]
    assert operator.get(f"/api/v1/runs/{run.public_id}/cancel/").json()["preview"][-3:] == lines
    client.force_login(members.operator.user)
    page = text_of(client, f"/runs/{run.public_id}/cancel/")
    assert all(line in page for line in lines)
    client.force_login(members.viewer.user)
    assert client.get(f"/runs/{run.public_id}/cancel/").status_code == 403


def undo(run, name, becomes="completed", **outcome):
    assert settle(claim(run, f"{name}:undo"), "running", Outcome(becomes, **outcome))


def told(run):
    return [(reason.kind, reason.sentence) for reason in Run.objects.get(pk=run.pk).explain()]


def test_a_person_is_asked_on_the_runs_page_and_the_end_says_what_was_undone(client, operator, run, members):
    fail(run, "send")
    assert told(run)[0] == ("undoing", "Undoing what it did, the last step first: 0 of 2 done.")
    undo(run, "pay", "uncertain", fields={"error": {"class": "permanent", "message": "no id"}})
    kind, words = told(run)[0]
    assert (kind, words.startswith("pay:undo could not be done: “no id”.")) == ("undo", True)
    assert_sound(run.pk, besides=("owner",))

    client.force_login(members.operator.user)
    page = text_of(client, f"/runs/{run.public_id}/")
    assert "could not be done here" in panel_of(page)
    assert "there was nothing to undo" in text_of(client, f"/runs/{run.public_id}/steps/pay:undo/resolve/")
    address = f"/runs/{run.public_id}/steps/pay:undo/resolve/"
    assert client.post(address, {"outcome": "failed", "reason": ""}).status_code == 400
    assert client.post(address, {"outcome": "failed", "reason": "they keep it"}).status_code == 302
    undo(run, "book", output={})

    found = assert_sound(run.pk)
    assert (found.status, found.error["undo_failed"]) == ("failed", ["pay:undo"])
    assert "1 of 2 steps that could be undone were. 1 could not be: look at them." in told(run)[0][1]
    shown = operator.get(f"/api/v1/runs/{run.public_id}/").json()
    steps = {step["name"]: step for step in shown["steps"]}
    assert shown["undoing"] is True
    assert steps["book"]["undo"] == {"agent": "echo", "reversible": True, "input": {"value": "give it back"}}
    assert (steps["book:undo"]["undoes"], steps["book:undo"]["input"]) == ("book", {"value": "give it back"})
    page = text_of(client, f"/runs/{run.public_id}/?step=book")
    assert "if the run fails or is canceled" in panel_of(page)
    assert "can be undone" in panel_of(page)


def test_the_api_says_what_became_of_an_undo(operator, run, members):
    answers.cancel(run, by=members.operator, reason="r")
    undo(run, "pay", "uncertain", fields={"error": {"class": "permanent", "message": "no id"}})
    given = {"outcome": "completed", "reason": "by hand"}
    answer = operator.post(f"/api/v1/runs/{run.public_id}/steps/pay:undo/resolve/", given, format="json")
    assert answer.status_code == 200
    assert Step.objects.get(run_id=run.pk, name="pay:undo").status == "completed"
