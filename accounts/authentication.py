"""Who asks: a member, by a token or by the session of the site."""

from typing import Any

from django.http import HttpRequest
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

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
    if not hasattr(plain, "countersign_member"):
        plain.countersign_member = _member_of_session(request)
    return plain.countersign_member


def token_of(request: Request | HttpRequest) -> ApiToken | None:
    """The token of the request, None for a session."""
    token = getattr(request, "auth", None)
    return token if isinstance(token, ApiToken) else None


def _member_of_session(request: Request | HttpRequest) -> Member:
    if not getattr(request.user, "is_authenticated", False):
        raise NotAMember
    rows = (
        Member.objects.active()
        .filter(user__username=request.user.get_username())
        .select_related("user", "organization")
    )
    chosen = request.session.get("organization")
    members = list(rows.order_by("pk"))
    for member in members:
        if member.organization.slug == chosen:
            return member
    if not members:
        raise NotAMember
    return members[0]
