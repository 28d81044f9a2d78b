"""To keep a run however old it gets, or not any more."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from accounts.authentication import member_of
from accounts.models import Role
from accounts.permissions import page
from orchestration.engine import pins
from orchestration.exceptions import NotPinned, Pinned
from orchestration.views.run import LONGEST_REASON, ReasonForm, overview, rows_of

DONE = {
    "pin": "Pinned: it is kept, with the runs it started and that started it.",
    "unpin": "No longer pinned: it goes when its time comes.",
}


@require_POST
@page(Role.OPERATOR)
def act(request: HttpRequest, public_id: str, verb: str) -> HttpResponse:
    rows = rows_of(request, public_id)
    form = ReasonForm(request.POST)
    reason = form.cleaned_data["reason"] if form.is_valid() else ""
    if not reason:
        messages.error(request, f"Say why, in at most {LONGEST_REASON} signs.")
        return overview(request, rows, status=400)
    try:
        pins.VERBS[verb](rows.run, by=member_of(request), reason=reason)
    except (Pinned, NotPinned) as exc:
        messages.error(request, str(exc))
        return overview(request, rows_of(request, public_id), status=exc.status)
    messages.success(request, DONE[verb])
    return redirect("pages:run", public_id)
