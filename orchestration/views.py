"""Pages for people."""

from typing import Any

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from accounts.authentication import member_of
from accounts.exceptions import NotAMember
from approvals.models import Request
from orchestration.models import Run

SHOWN = 50


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


def lists(request: HttpRequest) -> dict[str, Any]:
    try:
        member = member_of(request)
    except NotAMember as exc:
        raise PermissionDenied(str(exc)) from exc
    return {
        "member": member,
        "questions": Request.objects.visible_to(member).pending().for_inbox().order_by("-pk")[:SHOWN],
        "runs": Run.objects.visible_to(member).for_list()[:SHOWN],
    }
