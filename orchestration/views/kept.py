"""What is put away, and what goes for good."""

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from accounts.authentication import member_of
from accounts.models import Role
from accounts.permissions import page
from orchestration.engine.levers import keeping
from orchestration.exceptions import Refused
from orchestration.models import Definition, Run
from orchestration.views.run import LONGEST_REASON, ReasonForm

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
        messages.error(request, f"Say why, in at most {LONGEST_REASON} signs.")
        return redirect("pages:definition", slug)
    try:
        getattr(found, verb)(by=member, reason=reason)
        messages.success(request, DONE[verb])
    except Refused as exc:
        messages.error(request, str(exc))
    return redirect("pages:definition", slug)


class DeleteForm(forms.Form):
    reason = forms.CharField(max_length=LONGEST_REASON, widget=forms.Textarea(attrs={"rows": 2}))
    digest = forms.CharField(widget=forms.HiddenInput)


@require_http_methods(["GET", "HEAD", "POST"])
@page(Role.ADMIN, reading=True)
def delete_run(request: HttpRequest, public_id: str) -> HttpResponse:
    """Says what goes with it, and asks; what was shown is what goes, or nothing."""
    member = member_of(request)
    run = get_object_or_404(Run.objects.visible_to(member).for_list().without_values(), public_id=public_id)
    form = DeleteForm(request.POST or None)
    refused = 200
    if request.method == "POST":
        refused = 400
        if form.is_valid():
            try:
                keeping.delete(run, by=member, **form.cleaned_data)
                messages.success(request, f"Deleted {public_id}.")
                return redirect("pages:runs")
            except Refused as exc:
                refused = exc.status
                form.add_error(None, str(exc))
    context = {"run": run, "deletion": keeping.deletion_of(run), "form": form}
    return render(request, "orchestration/run_delete.html", context, status=refused)
