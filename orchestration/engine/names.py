"""How people and organizations are called: it never changes."""

from functools import lru_cache

from accounts.models import Member, Organization
from orchestration.engine.connection import returned_connection


@lru_cache(maxsize=4096)
def member_name(member: int | None) -> str | None:
    if member is None:
        return None
    with returned_connection():
        return str(Member.objects.values_list("user__username", flat=True).get(pk=member))


@lru_cache(maxsize=1024)
def organization_slug(organization: int) -> str:
    with returned_connection():
        return str(Organization.objects.values_list("slug", flat=True).get(pk=organization))
