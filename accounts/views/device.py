"""Settings of the reader's own: this device, the organization they look at, how they sign in."""

from typing import Any

from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.socialaccount.adapter import get_adapter as get_social_adapter
from allauth.socialaccount.models import SocialAccount
from allauth.usersessions.models import UserSession
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from accounts import browsers, sessions
from accounts.authentication import member_of
from accounts.permissions import page
from accounts.views.tabs import settings_tabs
from ui.forms import PreferencesForm
from ui.shell import DENSITIES, THEMES, Preferences, set_preference


@page()
def preferences(request: HttpRequest) -> HttpResponse:
    """Theme, density, time zone and keys, kept in cookies of this device."""
    form = PreferencesForm(request.POST or None, initial=PreferencesForm.initial_of(Preferences.of(request)))
    if request.method == "POST" and form.is_valid():
        response = redirect("pages:settings")
        form.keep(response)
        messages.success(request, "Saved for this device.")
        return response
    tabs = settings_tabs(member_of(request), "settings")
    return render(request, "accounts/settings.html", {"form": form, "tabs": tabs})


@require_POST
@page()
def preference(request: HttpRequest) -> HttpResponse:
    """One of theme and density, chosen in the palette; back to the page it was chosen on."""
    back = request.headers.get("Referer", "")
    is_ours = url_has_allowed_host_and_scheme(back, {request.get_host()}, require_https=request.is_secure())
    response = redirect(back if is_ours else "pages:settings")
    for name, known in (("theme", THEMES), ("density", DENSITIES)):
        value = request.POST.get(name)
        if value in known:
            set_preference(response, name, value)
    return response


@require_POST
@page()
def switch_organization(request: HttpRequest) -> HttpResponse:
    """Look at another organization that one is a member of; another's is not found."""
    wanted = request.POST.get("organization", "")
    for membership in request.memberships:  # type: ignore[attr-defined]
        if membership.organization.slug == wanted:
            request.session["organization"] = wanted
            messages.success(request, f"You now look at {membership.organization.name}.")
            return redirect("/")
    raise Http404


@page()
def security(request: HttpRequest) -> HttpResponse:
    """How one signs in, with what besides the password, and where one is signed in."""
    member = member_of(request)
    authenticators = list(Authenticator.objects.filter(user_id=member.user_id).order_by("pk"))
    codes = next((row for row in authenticators if row.type == Authenticator.Type.RECOVERY_CODES), None)
    here: dict[str, Any] = {
        "tabs": settings_tabs(member, "security"),
        "totp": next((row for row in authenticators if row.type == Authenticator.Type.TOTP), None),
        "passkeys": [row for row in authenticators if row.type == Authenticator.Type.WEBAUTHN],
        "codes": codes,
        "codes_left": len(RecoveryCodes(codes).get_unused_codes()) if codes else 0,
        "sessions": _sessions(request),
        "services": get_social_adapter(request).list_providers(request),
        "connected": list(SocialAccount.objects.filter(user_id=member.user_id).order_by("pk")),
    }
    return render(request, "accounts/security.html", here)


@require_POST
@page()
def end_session(request: HttpRequest, pk: int) -> HttpResponse:
    """Sign out one other browser."""
    row = get_object_or_404(UserSession, pk=pk, user=request.user)
    if row.session_key == request.session.session_key:
        raise Http404
    row.end()
    messages.success(request, "That browser is signed out.")
    return redirect("pages:security")


@require_POST
@page()
def end_other_sessions(request: HttpRequest) -> HttpResponse:
    sessions.end_all(member_of(request).user_id, but=request.session.session_key)
    messages.success(request, "All other browsers are signed out.")
    return redirect("pages:security")


def _sessions(request: HttpRequest) -> list[UserSession]:
    """Those that still live, this one first."""
    found: list[Any] = list(sessions.alive(member_of(request).user_id))
    for row in found:
        row.is_here = row.session_key == request.session.session_key
        row.browser = browsers.name_of(row.user_agent)
    return sorted(found, key=lambda row: not row.is_here)
