"""Real rows for tests."""

import factory

from accounts.models import Member, Organization, User
from approvals.models import Policy, Request


class OrganizationFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = Organization

    slug = factory.Sequence(lambda n: f"organization-{n}")
    name = "An organization"


class UserFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = User

    username = factory.Sequence(lambda n: f"person{n}")


class MemberFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = Member

    user = factory.SubFactory(UserFactory)
    organization = factory.SubFactory(OrganizationFactory)
    roles = ["viewer"]


class PolicyFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = Policy

    organization = factory.SubFactory(OrganizationFactory)
    slug = factory.Sequence(lambda n: f"policy-{n}")
    roles = ["approver"]


def ask(policy, **changes):
    """A pending request as the engine asks it."""
    words = {
        "organization": policy.organization,
        "subject": "run:run_1:check",
        "title": "KPI figures",
        "payload": {"rows": [{"amount": 10}], "note": "n"},
        "choices": ["continue", "retry", "abort"],
        "editable": ["/rows"],
        "payload_schema": {"properties": {"rows": {"items": {"properties": {"amount": {"type": "integer"}}}}}},
        "policy": policy,
        "requested_by": None,
        "definition_digest": "d" * 64,
        "steps": [("summary", "e" * 64)],
        "deadline_at": None,
        "deadline_choice": None,
        "context": {"run": "run_1", "step": "check", "definition": "kpi", "url": "/runs/run_1/"},
    }
    return Request.ask(**words | changes)
