"""The first page: what needs the reader, what runs."""

from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_safe

from accounts.permissions import page
from approvals.models import Request
from orchestration.models import Run

SHOWN = 50


@require_safe
@page()
def home(request: HttpRequest) -> HttpResponse:
    """Open questions and the newest runs."""
    return render(request, "orchestration/index.html", lists(request))


@require_safe
@page()
def home_lists(request: HttpRequest) -> HttpResponse:
    """The part of the page that is fetched again and again."""
    return render(request, "orchestration/_lists.html", lists(request))


@require_safe
@page()
def go(request: HttpRequest) -> HttpResponse:
    """To the run or the request of this id; else to the runs that these words find."""
    words = request.GET.get("q", "").strip()
    if words.startswith("run_"):
        return redirect("pages:run", words)
    if words.startswith("req_"):
        return redirect("pages:approval", words)
    return redirect(f"{reverse('pages:runs')}?{urlencode({'q': words})}")


def lists(request: HttpRequest) -> dict[str, Any]:
    member = request.member  # type: ignore[attr-defined]
    return {
        "questions": Request.objects.visible_to(member).pending().for_inbox().order_by("-pk")[:SHOWN],
        "runs": Run.objects.visible_to(member).for_list()[:SHOWN],
    }
