"""At the doors of django-allauth: where ours differ."""

from urllib.parse import urlsplit

from allauth.account.views import logout, password_reset
from allauth.socialaccount.providers.openid_connect.views import login as start_of_oidc
from allauth.socialaccount.views import connections
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from requests import RequestException

from accounts import kept_forms
from accounts.permissions import page


def leave_for_oidc(request: HttpRequest, provider_id: str) -> HttpResponse:
    """Off to the sign-in service, by a page: browsers hold our `form-action` against redirects of forms too."""
    try:
        response: HttpResponse = start_of_oidc(request, provider_id)
    except RequestException:
        return render(request, "socialaccount/authentication_error.html", status=503)
    address = response.headers.get("Location", "")
    if not urlsplit(address).netloc:
        return response
    return render(request, "socialaccount/leaving.html", {"address": address, "host": urlsplit(address).netloc})


def forgotten(request: HttpRequest) -> HttpResponse:
    """Without e-mail there is no way to reset a password but an admin."""
    if not settings.EMAIL_URL:
        return render(request, "account/ask_an_admin.html")
    response: HttpResponse = password_reset(request)
    return response


def sign_out(request: HttpRequest) -> HttpResponse:
    """Nothing that was typed stays behind in the browser, for whoever sits down at it next."""
    response: HttpResponse = logout(request)
    if request.method == "POST":
        response.headers["Clear-Site-Data"] = '"storage"'
    return response


def connected_services(request: HttpRequest) -> HttpResponse:
    """They are listed under Signing in; what is sent from there is allauth's to answer."""
    if request.method != "POST":
        return redirect("pages:security")
    response: HttpResponse = connections(request)
    return response


@never_cache
@page()
def again(request: HttpRequest) -> HttpResponse:
    """What was sent after the session had ended, to be sent now. Forgotten by POST."""
    if request.method == "POST":
        kept_forms.forget(request)
        return redirect("/")
    kept = kept_forms.kept(request)
    if kept is not None and kept_forms.is_of_another(kept, request):
        kept_forms.forget(request)
        kept = None
    return render(request, "accounts/again.html", {"kept": kept})
