"""Messages to a run, through its doors."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from orchestration.models import OutsideEvent
from tests.factories import MemberFactory

TALKS = """
  w: {wait: {message: bid}}
  x: {wait: {for: 1d}, needs: [w]}
messages:
  bid:
    schema: {type: object, required: [amount], properties: {amount: {type: integer, minimum: 1}}}
    if: message.amount <= input.most
    reply: {of: "${{ input.most }}"}
"""
BID = {"name": "bid", "data": {"amount": 5}, "id": "bank-1"}


@pytest.fixture
def run(begin):
    return begin(TALKS, {"most": 7})


@pytest.fixture
def api(run):
    return f"/api/v1/runs/{run.public_id}/messages/"


def test_a_message_is_kept_once_answered_and_listed(operator, viewer, api):
    made = operator.post(api, BID, format="json")
    assert (made.status_code, made.json()["reply"], made.json()["taken_by"]) == (201, {"of": 7}, None)
    again = operator.post(api, {**BID, "data": None}, format="json")
    assert (again.status_code, again.json()) == (200, made.json())
    operator.post(api, {**BID, "id": None}, format="json", HTTP_IDEMPOTENCY_KEY="k")
    listed = viewer.get(api).json()["results"]
    assert [(row["name"], row["data"], row["sender_id"]) for row in listed] == [
        ("bid", {"amount": 5}, "k"),
        ("bid", {"amount": 5}, "bank-1"),
    ]


@pytest.mark.parametrize(
    ("body", "status", "pointer"),
    [
        ({}, 400, "/name"),
        ({"name": "other"}, 400, "/name"),
        ({"name": "bid", "more": 1}, 400, "/more"),
        ({"name": "bid"}, 400, "/data"),
        ({"name": "bid", "data": {"amount": 0}}, 400, "/data/amount"),
        ({"name": "bid", "data": {"amount": 8}}, 409, None),
    ],
)
def test_what_the_run_does_not_take_is_refused_in_words(operator, api, body, status, pointer):
    refused = operator.post(api, body, format="json")
    assert (refused.status_code, OutsideEvent.objects.count()) == (status, 0)
    assert refused.json().get("errors", [{"pointer": None}])[0]["pointer"] == pointer
    assert refused.json()["detail"]


def test_who_may_send_and_who_sees_them(client_of, members, api):
    assert client_of(members.viewer).post(api, BID, format="json").status_code == 403
    assert client_of(members.operator, "read").post(api, BID, format="json").status_code == 403
    stranger = client_of(MemberFactory(roles=["admin"]))
    assert stranger.post(api, BID, format="json").status_code == 404
    assert stranger.get(api).status_code == 404
    assert not OutsideEvent.objects.exists()


def test_the_command_sends_too(run, members):
    def send(*given):
        out = StringIO()
        by = members.operator.user.username
        call_command("runs", "message", run.public_id, "bid", "--as", by, *given, stdout=out)
        return out.getvalue().strip()

    first = send("--data", '{"amount": 5}', "--id", "s")
    message = OutsideEvent.objects.get()
    assert first == f'{message.public_id} {{"of": 7}}'
    assert send("--id", "s") == f'{message.public_id} (was here already) {{"of": 7}}'
    for wrong in ("{", '{"amount": 0}', '{"amount": 8}'):
        with pytest.raises(CommandError):
            send("--data", wrong)
    assert message.by == members.operator


def test_the_page_has_a_form_for_each_and_says_what_became_of_them(client, members, run, begin):
    page = f"/runs/{run.public_id}/messages/"
    client.force_login(members.operator.user)
    assert "Send <bdi>bid</bdi>" in client.get(page).content.decode()
    wrong = client.post(page, {"message": "bid", "key": "k", "bid-amount": "0"})
    assert (wrong.status_code, OutsideEvent.objects.count()) == (400, 0)
    refused = client.post(page, {"message": "bid", "key": "k", "bid-amount": "8"})
    assert (refused.status_code, OutsideEvent.objects.count()) == (409, 0)
    assert "does not take this message now" in refused.content.decode()
    assert client.post(page, {"message": "other"}).status_code == 404
    for _ in range(2):
        assert client.post(page, {"message": "bid", "key": "k", "bid-amount": "5"}).status_code == 302
    assert OutsideEvent.objects.get().data == {"amount": 5}
    assert "Kept for the next step" in client.get(page).content.decode()
    assert f'href="{page}"' in client.get(f"/runs/{run.public_id}/").content.decode()
    assert "Kept for the next step" in client.get(f"/runs/{run.public_id}/part/?tab=messages").content.decode()
    client.force_login(members.viewer.user)
    assert "Send <bdi>" not in client.get(page).content.decode()
    assert client.post(page, {"message": "bid", "bid-amount": "5"}).status_code == 403
    client.force_login(MemberFactory(roles=["admin"]).user)
    assert client.get(page).status_code == 404


def test_a_run_that_takes_no_messages_has_no_such_tab(client, members, begin):
    run = begin("  a: {agent: echo}\n")
    client.force_login(members.operator.user)
    assert "/messages/" not in client.get(f"/runs/{run.public_id}/").content.decode()
