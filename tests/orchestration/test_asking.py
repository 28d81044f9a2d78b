"""The due date and the reviewers of an open question, changed by a person."""

import pytest

from accounts.models import AuditEntry
from approvals.exceptions import NotAllowed
from approvals.models import Policy, Request
from orchestration.engine.levers import asking
from orchestration.exceptions import InvalidInput, Refused
from orchestration.levers import moment
from orchestration.models import Event
from tests.orchestration.run_pages.looks import CHAIN, end, put_question

LATER = "2040-01-01T00:00:00+00:00"


@pytest.fixture
def asked(begin):
    """(run, step, question)"""
    run = begin(CHAIN)
    end(run, "figures")
    question = put_question(run, "check")
    return run, run.steps.get(name="check"), question


def told(run):
    return [event.data for event in Event.objects.filter(run=run, type="checkpoint.changed").order_by("seq")]


def test_a_due_date_is_moved_given_and_taken_away(asked, members):
    run, step, question = asked
    with pytest.raises(InvalidInput):  # nothing is said of what follows then
        asking.set_due(run, step, by=members.operator, reason="so", deadline_at=moment(LATER))
    asking.set_due(run, step, by=members.operator, reason="so", deadline_at=moment(LATER), then="abort")
    question.refresh_from_db()
    assert (question.deadline_at, question.deadline_choice) == (moment(LATER), "abort")
    with pytest.raises(InvalidInput):
        asking.set_due(run, step, by=members.operator, reason="so", deadline_at=moment("2020-01-01T00:00:00Z"))
    asking.set_due(run, step, by=members.operator, reason="take your time", deadline_at=None)
    question.refresh_from_db()
    assert (question.deadline_at, question.deadline_choice) == (None, None)
    first, second = told(run)
    assert (first["to"], second["reason"]) == ({"deadline_at": LATER, "then": "abort"}, "take your time")
    assert (second["from"], second["request"], second["by"]) == (first["to"], question.public_id, members.operator.name)
    assert AuditEntry.objects.filter(action="approval.change", target=question.public_id).count() == 2


def test_a_date_that_was_moved_away_lets_nothing_expire(asked, members):
    run, step, question = asked
    asking.set_due(run, step, by=members.operator, reason="so", deadline_at=moment(LATER), then="abort")
    now = moment("2041-01-01T00:00:00Z")  # of somebody who saw that it is over
    asking.set_due(run, step, by=members.operator, reason="so", deadline_at=moment("2045-01-01T00:00:00Z"))
    assert Request._expire_one(question.pk, now) is False
    question.refresh_from_db()
    assert question.status == "pending"


def test_others_are_asked(asked, members):
    run, step, question = asked
    Policy.objects.create(organization=run.organization, slug="builders", roles=["builder"])
    with pytest.raises(InvalidInput, match="not valid"):
        asking.set_reviewers(run, step, by=members.admin, reason="so", policy="nobody")
    asking.set_reviewers(run, step, by=members.admin, reason="so", policy="builders")
    with pytest.raises(NotAllowed):
        question.decide(by=members.approver, choice="continue", digest=question.digest)
    assert question.decide(by=members.builder, choice="continue", digest=question.digest).status == "decided"
    assert told(run)[0]["from"] == {"policy": "finance"}


def test_what_was_answered_is_not_changed(asked, members):
    run, step, question = asked
    question.decide(by=members.approver, choice="continue", digest=question.digest)
    with pytest.raises(Refused, match="no open question"):
        asking.set_due(run, step, by=members.operator, reason="so", deadline_at=None)
    with pytest.raises(Refused, match="is decided by now"):
        asking._change(run, step, question, {}, {}, members.operator, "so", deadline_at=None, deadline_choice=None)
    assert told(run) == []
