"""Definitions that are put away, and which share of runs begins with the newest of their versions."""

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST

from accounts.authentication import member_of
from accounts.models import Role
from accounts.permissions import page
from orchestration.exceptions import InvalidInput, Refused
from orchestration.models import Definition
from orchestration.views.schedules import ReasonForm

DONE = {
    "archive": "Archived: it is in no list and starts nothing.",
    "restore": "Restored: runs can be started of it again.",
}


@require_POST
@page(Role.BUILDER)
def keep_definition(request: HttpRequest, slug: str, verb: str) -> HttpResponse:
    member = member_of(request)
    found = get_object_or_404(Definition.objects.visible_to(member).written(), slug=slug)
    form = ReasonForm(request.POST)
    reason = form.cleaned_data["reason"] if form.is_valid() else ""
    if not reason:
        messages.error(request, "Say why, in at most 2,000 signs.")
        return redirect("pages:definition", slug)
    try:
        getattr(found, verb)(by=member, reason=reason)
        messages.success(request, DONE[verb])
    except Refused as exc:
        messages.error(request, str(exc))
    return redirect("pages:definition", slug)


class RolloutForm(forms.Form):
    percent = forms.IntegerField(min_value=0, max_value=100)
    rest = forms.IntegerField(min_value=1)
    reason = forms.CharField(max_length=2_000)


@require_POST
@page(Role.BUILDER)
def roll_out(request: HttpRequest, slug: str) -> HttpResponse:
    member = member_of(request)
    found = get_object_or_404(Definition.objects.visible_to(member).written(), slug=slug)
    form = RolloutForm(request.POST)
    if not form.is_valid():
        messages.error(request, "Say how many percent, 0 to 100, which older version for the others, and why.")
        return redirect("pages:definition", slug)
    try:
        found.roll_out(by=member, **form.cleaned_data)
        messages.success(request, f"{form.cleaned_data['percent']} % of new runs begin with the newest version.")
    except InvalidInput as exc:
        messages.error(request, exc.errors[0]["message"])
    return redirect("pages:definition", slug)
