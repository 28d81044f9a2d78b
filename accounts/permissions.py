"""Who may use a door: roles of the member, narrowed by the scopes of the token."""

from typing import Any

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from accounts.authentication import member_of, token_of
from accounts.models import Role, Scope

SCOPE_OF_ROLE = {
    Role.VIEWER: Scope.READ,
    Role.OPERATOR: Scope.RUN,
    Role.APPROVER: Scope.DECIDE,
    Role.BUILDER: Scope.BUILD,
    Role.ADMIN: Scope.ADMIN,
}


def roles(*needed: str) -> type[BasePermission]:
    """Any active member reads; other methods need one of the roles (an admin has all) and its scope."""
    scopes = {SCOPE_OF_ROLE[Role(role)] for role in needed}
    return _permission(frozenset(needed), scopes, reading_needs_role=False)


def only(*needed: str) -> type[BasePermission]:
    """As `roles`, for reading too."""
    scopes = {SCOPE_OF_ROLE[Role(role)] for role in needed}
    return _permission(frozenset(needed), scopes, reading_needs_role=True)


def scoped(scope: str) -> type[BasePermission]:
    """Any active member; other methods need `scope`. For verbs that know themselves who may."""
    return _permission(frozenset(), {Scope(scope)}, reading_needs_role=False)


def allows(request: Request, scope: str) -> bool:
    token = token_of(request)
    return token is None or token.allows(scope)


def _permission(needed: frozenset[str], scopes: set[Scope], *, reading_needs_role: bool) -> type[BasePermission]:
    class HasRole(BasePermission):
        def has_permission(self, request: Request, view: Any) -> bool:
            if not getattr(request.user, "is_authenticated", False):
                return False  # answered as 401
            member = member_of(request)
            reading = request.method in SAFE_METHODS
            if needed and (reading_needs_role or not reading) and not member.has_role(*needed):
                self.message = f"This needs the role {' or '.join(sorted(needed))}."
                return False
            wanted = {Scope.READ} if reading and not reading_needs_role else scopes
            if wanted and not any(allows(request, scope) for scope in wanted):
                self.message = f"The token needs the scope {' or '.join(sorted(wanted))}."
                return False
            return member.has_role()

    return HasRole
