"""Who may do what: organizations, their members and roles, API tokens, and the trail of who did what."""

from accounts.models.members import Actor, Member, MemberQuerySet, Role
from accounts.models.organizations import Organization
from accounts.models.saved_views import SavedView, SavedViewQuerySet
from accounts.models.tokens import ApiToken, ApiTokenQuerySet, Scope, expiry_in
from accounts.models.trail import AuditEntry, AuditEntryQuerySet
from accounts.models.users import User

__all__ = [
    "Actor",
    "ApiToken",
    "ApiTokenQuerySet",
    "AuditEntry",
    "AuditEntryQuerySet",
    "Member",
    "MemberQuerySet",
    "Organization",
    "Role",
    "SavedView",
    "SavedViewQuerySet",
    "Scope",
    "User",
    "expiry_in",
]
