"""The policies every organization begins with."""

from accounts.models import Organization, Role
from approvals.models import Policy

POLICIES = {"default": False, "finance-sign-off": True}  # slug: not the requester


def seed_policies(organization: Organization) -> None:
    """Again and again without harm: a policy that was edited since stays as it is."""
    for slug, not_the_requester in POLICIES.items():
        Policy.objects.get_or_create(
            organization=organization,
            slug=slug,
            defaults={"roles": [Role.APPROVER.value], "not_the_requester": not_the_requester},
        )
