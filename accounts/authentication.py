"""Who asks: a member, by a token or by the session of the site."""

from typing import Any

from django.http import HttpRequest
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from accounts import sessions
from accounts.exceptions import NotAMember, TokenRefused
from accounts.models import ApiToken, Member, User


class TokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer cs_…`; `request.auth` is the ApiToken then."""

    keyword = "Bearer"

    def authenticate(self, request: Request) -> tuple[User, ApiToken] | None:
        words = get_authorization_header(request).decode("latin-1").split()
        if not words or words[0].lower() != self.keyword.lower():
            return None
        if len(words) != 2:
            raise AuthenticationFailed("Write the header as: Authorization: Bearer TOKEN.")
        try:
            token = ApiToken.authenticate(words[1])
        except TokenRefused as exc:
            raise AuthenticationFailed(str(exc)) from exc
        return token.member.user, token

    def authenticate_header(self, request: Request) -> str:
        return self.keyword


def member_of(request: Request | HttpRequest) -> Member:
    """The member who asks: the token's, or the user's in session["organization"], or else in their first organization.

    Raises NotAMember. Kept on the request, so asking again costs no query.
    """
    token = token_of(request)
    if token is not None:
        return token.member
    plain: Any = getattr(request, "_request", request)
    if not hasattr(plain, "memberships"):
        plain.memberships = _memberships(request)
    members: list[Member] = plain.memberships
    if not members:
        raise NotAMember
    chosen = request.session.get("organization")
    return next((member for member in members if member.organization.slug == chosen), members[0])


def token_of(request: Request | HttpRequest) -> ApiToken | None:
    """The token of the request, None for a session."""
    token = getattr(request, "auth", None)
    return token if isinstance(token, ApiToken) else None


def _memberships(request: Request | HttpRequest) -> list[Member]:
    """Of whoever is signed in; with `request.memberships` the frame offers to switch."""
    if not getattr(request.user, "is_authenticated", False):
        return []
    rows = Member.objects.active().filter(user__username=request.user.get_username())
    rows = rows.annotate(seen_at=sessions.seen_at(request.session.session_key))
    return list(rows.select_related("user", "organization").order_by("pk"))
