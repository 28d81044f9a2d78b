"""One's own API tokens."""

from datetime import datetime
from typing import Any

from allauth.account.decorators import reauthentication_required
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST

from accounts.authentication import member_of
from accounts.exceptions import AlreadyRevoked
from accounts.forms import TokenForm
from accounts.models import ApiToken, expiry_in
from accounts.permissions import page
from accounts.views.tabs import settings_tabs

MOST_TOKENS = 100


@page()
@reauthentication_required(allow_get=True)
def tokens(request: HttpRequest) -> HttpResponse:
    """The list, and the form of a new one. A new token is shown in the answer to the form, and never again."""
    form = TokenForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        return _issue(request, form)
    return _list(request, form, status=400 if form.errors else 200)


@require_POST
@page()
def revoke_token(request: HttpRequest, public_id: str) -> HttpResponse:
    member = member_of(request)
    token = get_object_or_404(ApiToken.objects.visible_to(member), public_id=public_id)
    try:
        token.revoke(by=member)
    except AlreadyRevoked as exc:
        messages.info(request, str(exc))
    else:
        messages.success(request, f"{token.name} is revoked.")
    return redirect("pages:tokens")


def _issue(request: HttpRequest, form: TokenForm) -> HttpResponse:
    member, lifetime = member_of(request), form.lifetime()
    _, plaintext = ApiToken.issue(
        member=member,
        name=form.cleaned_data["name"],
        scopes=form.cleaned_data["scopes"],
        expires_at=expiry_in(lifetime) if lifetime else None,
        by=member,
    )
    return _list(request, TokenForm(), plaintext=plaintext, name=form.cleaned_data["name"])


def _list(request: HttpRequest, form: TokenForm, *, status: int = 200, **more: Any) -> HttpResponse:
    member = member_of(request)
    rows = list(ApiToken.objects.visible_to(member)[:MOST_TOKENS])
    now = timezone.now()
    here = {
        "form": form,
        "tabs": settings_tabs(member, "tokens"),
        "tokens": [{"row": row, "state": _state_of(row, now)} for row in rows],
        **more,
    }
    return render(request, "accounts/tokens.html", here, status=status)


def _state_of(token: ApiToken, now: datetime) -> str:
    if token.revoked_at is not None:
        return "revoked"
    return "expired" if token.expires_at is not None and token.expires_at <= now else "active"
