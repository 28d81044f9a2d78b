"""Pages for people."""

from typing import Any

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from accounts.authentication import member_of
from accounts.exceptions import NotAMember
from accounts.models import Member
from approvals.models import Request
from orchestration.models import Event, Run

SHOWN = 50
SHOWN_EVENTS = 200


@require_safe
@login_required
@never_cache
def home(request: HttpRequest) -> HttpResponse:
    """Open questions and the newest runs."""
    return render(request, "orchestration/index.html", lists(request))


@require_safe
@login_required
@never_cache
def home_lists(request: HttpRequest) -> HttpResponse:
    """The part of the page that is fetched again and again."""
    return render(request, "orchestration/_lists.html", lists(request))


@require_safe
@login_required
@never_cache
def run_page(request: HttpRequest, public_id: str) -> HttpResponse:
    """One run: its steps, what it asks, what it made, its events."""
    return render(request, "orchestration/run.html", one_run(request, public_id))


@require_safe
@login_required
@never_cache
def run_page_part(request: HttpRequest, public_id: str) -> HttpResponse:
    """The part of a run's page that is fetched again and again."""
    return render(request, "orchestration/_run.html", one_run(request, public_id))


def one_run(request: HttpRequest, public_id: str) -> dict[str, Any]:
    run = get_object_or_404(Run.objects.visible_to(viewer(request)).for_list(), public_id=public_id)
    return {
        "run": run,
        "steps": run.steps.exclude(kind="output").order_by("position", "round", "index"),
        "events": Event.objects.filter(run=run).order_by("-seq")[:SHOWN_EVENTS],
        "total": run.seq,
        "questions": Request.objects.of_run(run.public_id).pending(),
        "deliverables": run.deliverables.order_by("name", "-version"),
    }


def lists(request: HttpRequest) -> dict[str, Any]:
    member = viewer(request)
    return {
        "member": member,
        "questions": Request.objects.visible_to(member).pending().for_inbox().order_by("-pk")[:SHOWN],
        "runs": Run.objects.visible_to(member).for_list()[:SHOWN],
    }


def viewer(request: HttpRequest) -> Member:
    try:
        return member_of(request)
    except NotAMember as exc:
        raise PermissionDenied(str(exc)) from exc
