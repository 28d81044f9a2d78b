"""The first page, and where the palette leads."""

from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from accounts.authentication import member_of
from accounts.models import Role
from accounts.permissions import page
from approvals.lines import ids_of, lines_named, lines_of
from approvals.models import Request
from orchestration import dashboard
from orchestration.models import Definition, Run
from orchestration.run_lists import simulated_among
from ui.arrivals import MOST_KNOWN, arrived, told
from ui.shell import set_preference

SHOWN = 8
MOST_DEFINITIONS = 500  # in the palette
KNOWN = 50  # runs; they are told by, not shown
DISMISSED = "first_steps"


@require_safe
@page()
def home(request: HttpRequest) -> HttpResponse:
    """What needs the reader, what fails, what runs, what is stuck."""
    member = member_of(request)
    asked, begun = Request.objects.decidable_by(member), Run.objects.visible_to(member)
    context = figures_of(request)  # before the rows: what comes between is shown and told, rather than neither
    keys = context["figures"].asked
    known = {"asked": told(keys[:MOST_KNOWN], has_more=len(keys) > MOST_KNOWN)}
    lines = lines_of(asked.by_due()[:SHOWN])
    newest = list(begun.for_list().without_values()[: KNOWN + 1])
    runs = newest[:SHOWN]
    known["begun"] = told([run.pk for run in newest[:KNOWN]], has_more=len(newest) > KNOWN)
    steps = [] if request.COOKIES.get(DISMISSED) == "hidden" else dashboard.first_steps(member)
    known |= {"questions": ids_of(lines), "runs": ",".join(run.public_id for run in runs)}
    context |= {
        "lines": lines,
        "runs": marked(runs),
        "may_start": member.has_role(Role.OPERATOR),
        "first_steps": steps if not all(step["is_done"] for step in steps) else [],
        "part_url": f"{reverse('pages:home-part')}?{urlencode(known)}",
    }
    return render(request, "orchestration/home.html", context)


@require_safe
@page()
def home_part(request: HttpRequest) -> HttpResponse:
    """The figures, and the rows that the page shows where they are; and how many came that it did not know."""
    member = member_of(request)
    asked, begun = Request.objects.decidable_by(member), Run.objects.visible_to(member)
    runs = begun.for_list().without_values().filter(public_id__in=request.GET.get("runs", "").split(",")[:SHOWN])
    context = figures_of(request) | {
        "lines": lines_named(request.GET.get("questions", ""), member, most=SHOWN),
        "runs": marked(list(runs)),
        "new_questions": arrived(asked, request.GET.get("asked", "-")),
        "new_runs": arrived(begun, request.GET.get("begun", "-"), by="created_at"),
    }
    return render(request, "orchestration/_home_part.html", context)


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


@require_safe
@page()
def go_actions(request: HttpRequest) -> HttpResponse:
    """What the member may begin, for the palette."""
    member = member_of(request)
    rows = Definition.objects.visible_to(member).written().startable()
    slugs = rows.own_first().values_list("slug", flat=True)[:MOST_DEFINITIONS]
    context = {
        "definitions": slugs if member.has_role(Role.OPERATOR) else [],
        "may_build": member.has_role(Role.BUILDER),
    }
    return render(request, "orchestration/_go_actions.html", context)


def figures_of(request: HttpRequest) -> dict[str, Any]:
    member, now = member_of(request), timezone.now()
    figures = dashboard.figures(member, now)
    request.waiting = figures.needs_you  # type: ignore[attr-defined]
    return {"figures": figures, "bars": dashboard.bars(member, now)}


def marked(runs: list[Run]) -> list[dict[str, Any]]:
    """[{run, is_simulated}]."""
    simulated = simulated_among(run.pk for run in runs)
    return [{"run": run, "is_simulated": run.pk in simulated} for run in runs]
