from rest_framework.test import APIRequestFactory

from accounts.models import ApiToken
from approvals.api import DecisionView, RequestsView, RequestView
from tests.factories import MemberFactory, ask

make = APIRequestFactory()


def bearer(member, *scopes):
    _, plaintext = ApiToken.issue(member=member, name="t", scopes=scopes, expires_at=None, by=member)
    return {"HTTP_AUTHORIZATION": f"Bearer {plaintext}"}


def decision(row, member, body, *scopes):
    request = make.post("/", body, format="json", **bearer(member, *scopes))
    return DecisionView.as_view()(request, public_id=row.public_id)


def test_a_decision_over_the_api(question, ada):
    answer = decision(question, ada, {"choice": "continue", "digest": question.digest})
    assert (answer.status_code, answer.data["status"], answer.data["decided_by"]) == (200, "decided", ada.name)


def test_refusals_are_problems_with_their_status(question, ada):
    viewer = MemberFactory(organization=question.organization)
    stranger = MemberFactory(roles=["admin"])
    good = {"choice": "continue", "digest": question.digest}
    assert decision(question, viewer, {}).status_code == 403
    assert decision(question, ada, good, "read").status_code == 403
    assert decision(question, stranger, good).status_code == 404
    stale = decision(question, ada, {"choice": "continue", "digest": "0" * 64})
    assert (stale.status_code, stale.data["expected"], stale.data["difference"]) == (409, question.digest, None)
    assert decision(question, ada, {"digest": question.digest}).data["errors"][0]["pointer"] == "/choice"
    assert RequestView.as_view()(make.get("/"), public_id=question.public_id).status_code == 401


def test_a_list_of_many_costs_as_many_queries_as_of_one(policy, ada, django_assert_num_queries):
    for number in range(20):
        ask(policy, subject=f"run:run_{number % 2}:s{number}", context={"run": f"run_{number % 2}"}, requested_by=ada)
    request = make.get("/", {"run": "run_1", "status": "pending"}, **bearer(ada))
    with django_assert_num_queries(4):  # token, its use, the clock, the rows
        answer = RequestsView.as_view()(request)
        assert len(answer.data["results"]) == 10
    assert answer.data["results"][0]["can_decide"] is True
    wrong = RequestsView.as_view()(make.get("/", {"status": "x"}, **bearer(ada)))
    assert (wrong.status_code, wrong.data["errors"][0]["pointer"]) == (400, "/status")
