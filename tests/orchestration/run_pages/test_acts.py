"""What people do to a run on its page."""

import re

import pytest

from accounts.models import AuditEntry
from orchestration.models import Step
from tests.factories import MemberFactory
from tests.orchestration.run_pages.looks import CHAIN, end, panel_of, put_question, text_of


def test_who_may_decide_is_led_to_the_question(viewer, client, begin, members):
    run = begin(CHAIN)
    end(run, "figures")
    question = put_question(run, "check")
    link = f'class="button primary" href="/approvals/{question.public_id}/"'
    assert link not in text_of(viewer, f"/runs/{run.public_id}/")
    client.force_login(members.approver.user)
    assert link in text_of(client, f"/runs/{run.public_id}/")


def test_an_operator_cancels_with_a_reason(operator, begin, members):
    run = begin(CHAIN)
    answer = operator.post(f"/runs/{run.public_id}/cancel/", {"reason": "not needed"}, follow=True)
    assert answer.redirect_chain == [(f"/runs/{run.public_id}/", 302)]
    page = answer.content.decode()
    assert "Canceled." in page
    assert f"/runs/{run.public_id}/cancel/" not in page
    run.refresh_from_db()
    assert run.status == "canceled"
    entry = AuditEntry.objects.get(action="run.cancel")
    assert entry.data["reason"] == "not needed"
    again = operator.post(f"/runs/{run.public_id}/cancel/", {"reason": "again"})
    assert again.status_code == 409
    assert "The run has ended: it is canceled." in again.content.decode()
    for reason in ("", "  ", "x" * 2001):
        assert operator.post(f"/runs/{run.public_id}/cancel/", {"reason": reason}).status_code == 400


def test_each_menu_says_on_what_it_acts(operator, begin):
    run = begin(CHAIN)
    end(run, "figures")
    page = text_of(operator, f"/runs/{run.public_id}/?step=figures")
    assert re.findall(r'<summary class="button">([^<]+)', page) == ["More", "Act on this step"]


def test_viewers_neither_cancel_nor_resolve_and_looking_changes_nothing(viewer, begin, client):
    run = begin(CHAIN)
    end(run, "figures", "uncertain")
    page = text_of(viewer, f"/runs/{run.public_id}/?step=figures")
    assert f"/runs/{run.public_id}/cancel/" not in page
    assert "resolve" not in page
    assert "An operator says what became of it." in page
    for path in ("cancel/", "steps/figures/resolve/"):
        assert viewer.post(f"/runs/{run.public_id}/{path}", {"outcome": "again", "reason": "r"}).status_code == 403
        assert viewer.get(f"/runs/{run.public_id}/{path}").status_code == 403
    client.force_login(MemberFactory(roles=["operator"]).user)
    for path in ("cancel/", "steps/figures/resolve/"):
        assert client.post(f"/runs/{run.public_id}/{path}", {"outcome": "again", "reason": "r"}).status_code == 404
    run.refresh_from_db()
    assert run.status == "waiting"


@pytest.mark.parametrize(
    ("outcome", "output", "becomes"),
    [("completed", '{"value": 2}', "completed"), ("failed", "", "failed"), ("again", "", "ready")],
)
def test_an_operator_says_what_became_of_a_step(operator, begin, outcome, output, becomes):
    run = begin("  figures: {agent: echo}\n  after: {agent: echo, needs: [figures]}\n")
    end(run, "figures", "uncertain")
    assert "Say what happened" in panel_of(text_of(operator, f"/runs/{run.public_id}/"))
    form = text_of(operator, f"/runs/{run.public_id}/steps/figures/resolve/")
    assert "What became of it?" in form
    sent = {"outcome": outcome, "output": output, "reason": "I asked them"}
    answer = operator.post(f"/runs/{run.public_id}/steps/figures/resolve/", sent)
    assert answer.headers["Location"] == f"/runs/{run.public_id}/?step=figures"
    step = Step.objects.get(run=run, key=1)
    assert step.status == becomes
    assert AuditEntry.objects.get(action="step.resolve").data["reason"] == "I asked them"
    again = operator.post(f"/runs/{run.public_id}/steps/figures/resolve/", sent)
    assert again.status_code == 409
    assert "only an uncertain step can be resolved" in again.content.decode()


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ({"outcome": "completed", "output": '{"no": 1}', "reason": "r"}, "It needs"),
        ({"outcome": "completed", "output": "{", "reason": "r"}, "is no JSON"),
        ({"outcome": "failed", "output": "1", "reason": "r"}, "There is no output with failed"),
        ({"outcome": "maybe", "reason": "r"}, "Choose one of those offered"),
        ({"outcome": "again"}, "This field is required"),
    ],
)
def test_what_cannot_be_said_of_a_step_is_shown_again_with_its_error(operator, begin, sent, words):
    run = begin("  figures: {agent: echo}\n")
    end(run, "figures", "uncertain")
    answer = operator.post(f"/runs/{run.public_id}/steps/figures/resolve/", sent)
    assert answer.status_code == 400
    assert words in answer.content.decode()
    assert Step.objects.get(run=run, key=1).status == "uncertain"
