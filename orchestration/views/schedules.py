"""What may be done to a schedule on its definition's page."""

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST

from accounts.authentication import member_of
from accounts.models import Role
from accounts.permissions import page
from orchestration.engine.schedules import run_now
from orchestration.exceptions import NoSuchTimes
from orchestration.models import Schedule


class ReasonForm(forms.Form):
    reason = forms.CharField(max_length=2_000)


@require_POST
@page(Role.OPERATOR)
def act(request: HttpRequest, public_id: str, action: str) -> HttpResponse:
    """`action`: pause, resume or run."""
    member = member_of(request)
    schedule = get_object_or_404(Schedule.objects.visible_to(member).for_list(), public_id=public_id)
    form = ReasonForm(request.POST)
    if not form.is_valid():
        messages.error(request, "Nothing was changed: say why, in at most 2,000 signs.")
        return redirect("pages:definition", schedule.definition.slug)
    reason = form.cleaned_data["reason"]
    if action == "run":
        return start(request, schedule, reason)
    if action == "pause":
        schedule.pause(by=member, reason=reason)
    else:
        schedule.resume(by=member, reason=reason)
    messages.success(request, "Paused: nothing starts by it." if action == "pause" else "It goes on.")
    return redirect("pages:definition", schedule.definition.slug)


def start(request: HttpRequest, schedule: Schedule, reason: str) -> HttpResponse:
    try:
        run = run_now(schedule, by=member_of(request), reason=reason)
    except NoSuchTimes as exc:
        messages.error(request, f"Nothing was started: {exc}")
        return redirect("pages:definition", schedule.definition.slug)
    messages.success(request, "Started.")
    return redirect("pages:run", run.public_id)
