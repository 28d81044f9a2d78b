"""Pages for people: their own settings."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from accounts.permissions import page
from ui.forms import PreferencesForm
from ui.shell import Preferences


@page()
def preferences(request: HttpRequest) -> HttpResponse:
    """Theme, density, time zone and keys, kept in cookies of this device."""
    form = PreferencesForm(request.POST or None, initial=PreferencesForm.initial_of(Preferences.of(request)))
    if request.method == "POST" and form.is_valid():
        response = redirect("pages:settings")
        form.keep(response)
        messages.success(request, "Saved for this device.")
        return response
    return render(request, "accounts/settings.html", {"form": form})
