"""Who may use a door: roles of the member, narrowed by the scopes of the token."""

from collections.abc import Callable
from functools import wraps
from typing import Any, cast

from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.urls import reverse
from django.views.decorators.cache import never_cache
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from accounts import kept_forms, sessions
from accounts.authentication import member_of, token_of
from accounts.exceptions import NotAMember
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


def page(
    *needed: str, reading: bool = False
) -> Callable[[Callable[..., HttpResponseBase]], Callable[..., HttpResponseBase]]:
    """A page for members, with `request.member`: any member reads, other methods need one of the roles.

    `reading=True`: looking needs the role too. Strangers go to the sign-in, and what they sent is kept for them; to a
    part of a page that refreshes itself they are a 401. Others get 403 in words.
    """

    def decorate(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
        @wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if not request.user.is_authenticated:
                return to_the_sign_in(request)
            try:
                member = member_of(request)
            except NotAMember as exc:
                raise PermissionDenied(str(exc)) from exc
            request.member = member  # type: ignore[attr-defined]
            is_read = request.method in SAFE_METHODS
            made_for = request.headers.get("X-Member") if is_read else request.POST.get("_member")
            if made_for and made_for != str(member.pk):
                raise PermissionDenied(
                    "This page was opened in another organization, or by somebody else. Nothing was changed: go back,"
                    " copy what you wrote, and open the page anew."
                )
            sessions.saw(request, cast(Any, member).seen_at)
            if needed and (reading or not is_read) and not member.has_role(*needed):
                raise PermissionDenied(f"This needs the role {' or '.join(sorted(needed))}.")
            if not is_read and request.POST.get("_kept"):
                kept_forms.forget(request)
            return view(request, *args, **kwargs)

        return never_cache(guarded)

    return decorate


def to_the_sign_in(request: HttpRequest) -> HttpResponse:
    if "HX-Request" in request.headers:
        return HttpResponse("You are signed out.", status=401, content_type="text/plain")
    if request.method in SAFE_METHODS:
        return redirect_to_login(request.get_full_path())
    kept_forms.keep(request)
    return redirect_to_login(reverse("pages:again"))


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
