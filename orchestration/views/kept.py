"""Definitions that are put away or deleted, and which share of runs begins with the newest of their versions."""

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from accounts.authentication import member_of
from accounts.models import Role
from accounts.permissions import page
from orchestration.engine.levers import dropping
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


class DeletionForm(forms.Form):
    reason = forms.CharField(max_length=2_000, widget=forms.Textarea(attrs={"rows": 2, "autocomplete": "off"}))


@require_http_methods(["GET", "HEAD", "POST"])
@page(Role.ADMIN, reading=True)
def delete_definition(request: HttpRequest, slug: str) -> HttpResponse:
    """What would go, and what stands against it; a POST does what was shown, or shows it anew."""
    member = member_of(request)
    found = get_object_or_404(Definition.objects.visible_to(member).written(), slug=slug)
    form, status = DeletionForm(request.POST or None), 200
    if request.method == "POST" and not form.is_valid():
        status = 400
    elif request.method == "POST":
        try:
            reason, digest = form.cleaned_data["reason"], request.POST.get("digest", "")
            dropping.drop(found, by=member, reason=reason, digest=digest)
            messages.success(request, f"{slug} is deleted for good.")
            return redirect("pages:definitions")
        except Refused as exc:
            form.add_error(None, str(exc))
            status = exc.status
    context = {"definition": found, "drop": dropping.drop_of(found), "form": form}
    return render(request, "orchestration/definition_delete.html", context, status=status)


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
