"""What tests of doors for people send, and read."""

import re

from django.test import Client

from approvals.models import Request
from tests.factories import MemberFactory

SCHEMA = {
    "type": "object",
    "properties": {
        "rows": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "kpi": {"type": "string"},
                    "amount": {"type": "integer", "minimum": 0},
                    "final": {"type": "boolean"},
                },
            },
        }
    },
}
PAYLOAD = {
    "month": "2026-10",
    "rows": [{"kpi": "revenue", "amount": 12, "final": False}, {"kpi": "costs", "amount": 7, "final": True}],
}
UNTOUCHED = ("pending", None, None, 0)


def browser(member):
    client = Client()
    client.force_login(member.user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def url(row):
    return f"/approvals/{row.public_id}/"


def words(answer):
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.content.decode()))
    return re.sub(r" ([,.:])", r"\1", text)


def form_of(row, **changes):
    """What the page sends when nobody has touched a field."""
    sent = {"digest": row.digest, "note": ""}
    for index, item in enumerate(row.payload["rows"]):
        for name in ("kpi", "amount"):
            sent[f"edit:/rows/{index}/{name}"] = str(item[name])
        sent[f"edit:/rows/{index}/final"] = ["", "on"] if item["final"] else [""]
    return sent | changes


def as_it_is(row):
    fresh = Request.objects.get(pk=row.pk)
    return fresh.status, fresh.choice, fresh.answer, fresh.decisions.count()


def colleague(member):
    return MemberFactory(organization=member.organization, roles=["approver"])
