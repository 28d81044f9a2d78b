"""Runs: the list, and one of them."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from accounts.permissions import page
from approvals.models import Request
from orchestration.models import Event, Run

SHOWN_EVENTS = 200


@require_safe
@page()
def run_list(request: HttpRequest) -> HttpResponse:
    runs = Run.objects.visible_to(request.member).for_list()[:50]  # type: ignore[attr-defined]
    return render(request, "orchestration/runs.html", {"runs": runs})


@require_safe
@page()
def run(request: HttpRequest, public_id: str) -> HttpResponse:
    """One run: its steps, what it asks, what it made, its events."""
    return render(request, "orchestration/run.html", one_run(request, public_id))


@require_safe
@page()
def run_part(request: HttpRequest, public_id: str) -> HttpResponse:
    """The part of a run's page that is fetched again and again."""
    return render(request, "orchestration/_run.html", one_run(request, public_id))


def one_run(request: HttpRequest, public_id: str) -> dict[str, Any]:
    rows = Run.objects.visible_to(request.member).for_list()  # type: ignore[attr-defined]
    run = get_object_or_404(rows, public_id=public_id)
    return {
        "run": run,
        "steps": run.steps.exclude(kind="output").order_by("position", "round", "index"),
        "events": Event.objects.filter(run=run).order_by("-seq")[:SHOWN_EVENTS],
        "total": run.seq,
        "questions": Request.objects.of_run(run.public_id).pending(),
        "deliverables": run.deliverables.order_by("name", "-version"),
    }
