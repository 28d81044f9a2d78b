"""The list of runs, and the part of it that may change."""

from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from accounts.authentication import member_of
from accounts.models import Member, Role
from accounts.permissions import page
from accounts.views.saved import saved_views
from orchestration.labels import PREFIX, counts_of
from orchestration.models import Definition, Run
from orchestration.run_lists import (
    SEARCHED,
    SHOWN,
    STATUSES,
    TIMES,
    Filters,
    older_than,
    rows_of,
)
from orchestration.views.bulk import levers_for
from ui.arrivals import arrived, told

MOST_CHOICES = 500


@require_safe
@page()
def run_list(request: HttpRequest) -> HttpResponse:
    """Newest first; `older` is the id of the run that they are to be older than."""
    member = member_of(request)
    filters = Filters.of(request.GET)
    runs = filters.runs(member)
    older = request.GET.get("older", "")
    if older:
        runs = older_than(runs, _run_of(member, older))
    found = list(runs[: SHOWN + 1])
    shown = found[:SHOWN]
    here = reverse("pages:runs")
    return render(
        request,
        "orchestration/runs.html",
        {
            "rows": rows_of(shown),
            "filters": filters,
            "definitions": Definition.objects.visible_to(member).written().choices(MOST_CHOICES),
            "statuses": STATUSES,
            "times": TIMES,
            "quick": _quick(filters),
            **_by_label(request, filters, shown, runs),
            "saved": saved_views(member, "runs", filters.query()),
            "older_url": f"{here}?{filters.query(older=shown[-1].public_id)}" if len(found) > SHOWN else "",
            "newest_url": f"{here}?{filters.query()}" if older else "",
            "part_url": _part_url(filters, found, is_newest=not older),
            "bulk_levers": levers_for(member),
            "bulk_query": filters.query(),
            "matching": _matching(filters, member, len(shown)) if older or len(found) > SHOWN else "",
            "may_start": member.has_role(Role.OPERATOR),
            "searched": SEARCHED,
        },
    )


@require_safe
@page()
def run_list_part(request: HttpRequest) -> HttpResponse:
    """The rows named by `ids` as they are now, where they are, and how many that were not `known` the filters let
    through."""
    member = member_of(request)
    filters = Filters.of(request.GET)
    ids = request.GET.get("ids", "").split(",")[:SHOWN]
    shown = Run.objects.visible_to(member).for_list().without_values().filter(public_id__in=ids)
    known = request.GET.get("known")
    new = 0 if known is None else arrived(filters.runs(member), known, by="created_at")
    context = {
        "rows": rows_of(shown),
        "new": new,
        "fresh_url": f"{reverse('pages:runs')}?{filters.query()}",
        "bulk_levers": levers_for(member),
    }
    return render(request, "orchestration/_runs_part.html", context)


def _run_of(member: Any, public_id: str) -> Run:
    run = Run.objects.visible_to(member).only("pk", "created_at").filter(public_id=public_id).first()
    if run is None:
        raise Http404("There is no such run to begin from.")
    return run


def _matching(filters: Filters, member: Member, shown: int) -> str:
    """How many runs there are of which a page shows some, in words; "" for who may not act on them."""
    if not shown or not levers_for(member):
        return ""
    most = settings.BULK_MOST_RUNS
    count = filters.runs(member).order_by()[: most + 1].count()
    return f"(more than {most:,})" if count > most else f"{count:,}"


def _part_url(filters: Filters, found: list[Run], *, is_newest: bool) -> str:
    shown = found[:SHOWN]
    words = {"ids": ",".join(run.public_id for run in shown)}
    if is_newest:
        words["known"] = told([run.pk for run in shown], has_more=len(found) > SHOWN)
    return f"{reverse('pages:runs-part')}?{'&'.join(filter(None, [filters.query(), urlencode(words)]))}"


def _by_label(request: HttpRequest, filters: Filters, shown: list[Run], runs: Any) -> dict[str, Any]:
    """What is filtered by, each with the address without it; the labels of the runs shown, to be counted `by`; and how
    many runs there are of each value of that."""
    here, by = reverse("pages:runs"), request.GET.get("by", "")[:50]
    names = sorted({name for run in shown for name in run.labels or ()})

    def url(**changes: str) -> str:
        return f"{here}?{filters.query(**changes)}"

    return {
        "labels": [(name, value, url(**{PREFIX + name: ""})) for name, value in filters.labels.items()],
        "label_names": [{"label": name, "url": url(by=name), "is_here": name == by} for name in names],
        "by": by,
        "label_values": [
            {
                "label": value,
                "url": url(**{PREFIX + by: value, "by": by}),
                "is_here": filters.labels.get(by) == value,
                "count": count,
            }
            for value, count in (counts_of(runs, by) if by else ())
        ],
    }


def _quick(filters: Filters) -> list[dict[str, Any]]:
    """The links above the filters: what people look for most."""
    links: list[tuple[str, dict[str, Any]]] = [
        ("All", {}),
        ("Not ended", {"status": ["open"]}),
        ("Waiting", {"status": ["waiting"]}),
        ("Result unknown", {"status": ["uncertain"]}),
        ("Failed", {"status": ["failed", "rejected"]}),
        ("Mine", {"mine": "1"}),
        ("Archived", {"archived": "1"}),
    ]
    here = filters.query()
    found = []
    for label, words in links:
        query = urlencode(words, doseq=True)
        found.append(
            {"label": label, "url": f"{reverse('pages:runs')}{'?' if query else ''}{query}", "is_here": query == here}
        )
    return found
