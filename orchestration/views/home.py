"""The first page, and where the palette leads."""

from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from accounts.models import Role
from accounts.permissions import page
from approvals.models import Request
from orchestration import dashboard
from orchestration.models import Run
from ui.shell import set_preference

SHOWN = 8
DISMISSED = "first_steps"


@require_safe
@page()
def home(request: HttpRequest) -> HttpResponse:
    """What needs the reader, what fails, what runs, what is stuck."""
    return render(request, "orchestration/home.html", parts_of(request))


@require_safe
@page()
def home_part(request: HttpRequest) -> HttpResponse:
    """The parts of the page that change."""
    return render(request, "orchestration/_home_part.html", parts_of(request))


@require_POST
@page()
def hide_first_steps(request: HttpRequest) -> HttpResponse:
    """The guided first run, on this device."""
    response = redirect("pages:home")
    set_preference(response, DISMISSED, "hidden")
    return response


@require_safe
@page()
def go(request: HttpRequest) -> HttpResponse:
    """To the run, request or deliverable of this id; else to the runs that these words find."""
    words = request.GET.get("q", "").strip()
    for prefix, name in (("run_", "run"), ("req_", "approval"), ("dlv_", "deliverable")):
        if words.startswith(prefix) and words.isascii() and words.replace("_", "").isalnum():
            return redirect(f"pages:{name}", words)
    return redirect(f"{reverse('pages:runs')}?{urlencode({'q': words})}")


def parts_of(request: HttpRequest) -> dict[str, Any]:
    member = request.member  # type: ignore[attr-defined]
    now = timezone.now()
    asked = Request.objects.decidable_by(member).for_inbox().without_payloads()
    steps = [] if request.COOKIES.get(DISMISSED) == "hidden" else dashboard.first_steps(member)
    return {
        "figures": dashboard.figures(member, now),
        "bars": dashboard.bars(member, now),
        "questions": asked.order_by("deadline_at", "pk")[:SHOWN],
        "runs": Run.objects.visible_to(member).for_list().without_values()[:SHOWN],
        "may_start": member.has_role(Role.OPERATOR),
        "first_steps": steps if not all(step["is_done"] for step in steps) else [],
    }
