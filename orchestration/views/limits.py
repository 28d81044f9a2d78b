"""Limits: who holds them, who stands in line; a person may let in more, or fewer."""

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from accounts.authentication import member_of
from accounts.models import Role
from accounts.permissions import page
from orchestration import limited
from orchestration.engine.levers import limiting
from orchestration.exceptions import InvalidInput
from orchestration.models import Limit

SHOWN = 100


class ChangeForm(forms.Form):
    max = forms.IntegerField(required=False, min_value=1, max_value=limiting.MOST)
    per = forms.FloatField(required=False)
    reason = forms.CharField(max_length=2_000)


@require_safe
@page()
def limits(request: HttpRequest) -> HttpResponse:
    """Those with the longest lines first, then those that were asked for last."""
    found = list(limited.limits_of(member_of(request)).order_by("-waiting", "-used_at", "-pk")[: SHOWN + 1])
    return render(request, "orchestration/limits.html", {"limits": found[:SHOWN], "more": len(found) > SHOWN})


@require_safe
@page()
def limit(request: HttpRequest, public_id: str) -> HttpResponse:
    found = named(request, public_id)
    context = {
        "limit": found,
        "holders": limited.holders(found),
        "line": limited.line(found),
        "may_change": member_of(request).has_role(Role.OPERATOR),
    }
    return render(request, "orchestration/limit.html", context)


@require_POST
@page(Role.OPERATOR)
def change(request: HttpRequest, public_id: str) -> HttpResponse:
    found = named(request, public_id)
    form = ChangeForm(request.POST)
    if not form.is_valid():
        messages.error(request, "Nothing was changed: give a whole number from 1, or nothing, and say why.")
        return redirect("pages:limit", public_id)
    given = form.cleaned_data
    try:
        limiting.change(found, by=member_of(request), reason=given["reason"], most=given["max"], span=given["per"])
    except InvalidInput as exc:
        messages.error(request, f"Nothing was changed: {exc.errors[0]['message']}")
        return redirect("pages:limit", public_id)
    messages.success(request, "Changed: it counts from now on.")
    return redirect("pages:limit", public_id)


def named(request: HttpRequest, public_id: str) -> Limit:
    return get_object_or_404(limited.limits_of(member_of(request)), public_id=public_id)
