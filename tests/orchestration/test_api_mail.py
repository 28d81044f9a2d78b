from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from orchestration.models import EventWait, OutsideEvent
from tests.factories import MemberFactory
from tests.harness import until

API = "/api/v1/events/"
PAID = {"name": "invoice.paid", "key": "7", "data": {"amount": 5}, "id": "bank-1"}


def test_an_event_is_delivered_once_and_listed(operator, viewer):
    made = operator.post(API, PAID, format="json")
    assert made.status_code == 201
    again = operator.post(API, {**PAID, "data": 6}, format="json")
    assert (again.status_code, again.json()["id"]) == (200, made.json()["id"])
    operator.post(API, {"name": "other"}, format="json", HTTP_IDEMPOTENCY_KEY="k")
    operator.post(API, {"name": "other"}, format="json", HTTP_IDEMPOTENCY_KEY="k")
    listed = viewer.get(API).json()["results"]
    assert [(row["name"], row["key"], row["sender_id"]) for row in listed] == [
        ("other", "", "k"),
        ("invoice.paid", "7", "bank-1"),
    ]
    assert [row["key"] for row in viewer.get(API, {"name": "invoice.paid"}).json()["results"]] == ["7"]
    assert OutsideEvent.objects.get(name="invoice.paid").content == {"amount": 5}


def test_who_may_and_whose_they_are(client_of, members, operator):
    assert client_of(members.viewer).post(API, PAID, format="json").status_code == 403
    assert client_of(members.operator, "read").post(API, PAID, format="json").status_code == 403
    operator.post(API, PAID, format="json")
    assert client_of(MemberFactory(roles=["admin"])).get(API).json()["results"] == []


@pytest.mark.parametrize(
    "body",
    [{}, {"name": ""}, {"name": "x" * 201}, {"name": "a\0"}, {"name": "a", "key": "x" * 201}, {"name": "a", "more": 1}],
)
def test_what_is_no_event_is_refused(operator, body):
    refused = operator.post(API, body, format="json")
    assert (refused.status_code, OutsideEvent.objects.count()) == (400, 0)
    assert refused.json()["errors"]


def test_data_that_cannot_be_kept_is_refused(operator):
    deep = '{"name": "a", "data": ' + "[" * 101 + "]" * 101 + "}"
    assert operator.post(API, deep, content_type="application/json").status_code == 400
    assert operator.post(API, '{"name": "a", "data": "\\u0000"}', content_type="application/json").status_code == 400


def test_the_command_delivers_too(organization):
    def send(*given):
        out = StringIO()
        call_command("events", "send", *given, "--organization", organization.slug, stdout=out)
        return out.getvalue()

    first = send("invoice.paid", "--key", "7", "--data", '{"amount": 5}', "--id", "s").strip()
    assert send("invoice.paid", "--key", "7", "--id", "s").strip() == f"{first} (was here already)"
    assert OutsideEvent.objects.get().content == {"amount": 5}
    for wrong in (["a", "--data", "{"], ["", "--key", "x"], ["a", "--key", "x" * 201]):
        with pytest.raises(CommandError):
            send(*wrong)


def test_the_page_says_who_waits_and_what_came(client, members, operator, begin, engine_later):
    run = begin("  w: {wait: {event: invoice.paid, key: <b>7</b>, timeout: 1d}}\n")
    engine_later()
    until(lambda: EventWait.objects.exists())
    operator.post(API, {**PAID, "name": "other<i>"}, format="json")
    client.force_login(members.viewer.user)
    page = client.get("/events/").content.decode()
    assert f'href="/runs/{run.public_id}/?step=w"' in page
    assert "&lt;b&gt;7&lt;/b&gt;" in page
    assert "other&lt;i&gt;" in page
    client.force_login(MemberFactory(roles=["admin"]).user)
    page = client.get("/events/").content.decode()
    assert "No step waits for an event" in page
    assert "Nothing came yet" in page
