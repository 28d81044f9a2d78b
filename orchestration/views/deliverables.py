"""Deliverables: what runs made for people to read."""

import re
from dataclasses import dataclass
from urllib.parse import urlencode

from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_safe

from accounts.authentication import member_of
from accounts.permissions import page
from approvals.changes import Change, edits_of
from approvals.models import Decision, Request
from orchestration.made import approvals_of, listed
from orchestration.models import Definition, Deliverable, DeliverableQuerySet
from orchestration.views.comparing import compared
from ui.arrivals import arrived, told
from ui.markdown import LARGEST

PAGE_SIZE = 50
MOST_CHANGES = 20  # told of one answer
MOST_CHOICES = 200
FILTERS = ("q", "name", "definition", "run")
NOT_IN_FILE_NAMES = re.compile(r"[^\w.-]+")
LONGEST_FILE_NAME = 80


@require_safe
@page()
def deliverable_list(request: HttpRequest) -> HttpResponse:
    """Newest first. `q`, `name`, `definition` and `run` narrow it, `before` goes on from a deliverable."""
    member = member_of(request)
    asked = {key: value for key in FILTERS if (value := request.GET.get(key, "").strip()[:200])}
    rows = filtered(Deliverable.objects.visible_to(member), asked)
    last = request.GET.get("before", "")
    begun = Deliverable.objects.visible_to(member).filter(public_id=last).values_list("pk", flat=True).first()
    if begun is not None:
        rows = rows.filter(pk__lt=begun)
    keys = list(rows.order_by("-pk").values_list("pk", "public_id")[: PAGE_SIZE + 1])
    known, has_more = keys[:PAGE_SIZE], len(keys) > PAGE_SIZE
    part = {**asked, "ids": ",".join(public_id for _, public_id in known)}
    if begun is None:
        part["known"] = told([pk for pk, _ in known], has_more=has_more)
    older = None
    if has_more:
        older = "?" + urlencode({**asked, "before": known[-1][1]})
    return render(
        request,
        "orchestration/deliverables.html",
        {
            "rows": listed(rows.filter(pk__in=[pk for pk, _ in known]), member),
            "part_url": f"{reverse('pages:deliverables-part')}?{urlencode(part)}",
            "asked": asked,
            "definitions": Definition.objects.visible_to(member).written().choices(MOST_CHOICES),
            "older_url": older,
            "newer_url": f"?{urlencode(asked)}" if begun is not None else None,
        },
    )


@require_safe
@page()
def deliverable_list_part(request: HttpRequest) -> HttpResponse:
    """The rows named by `ids` as they are now, where they are, and how many that were not `known` came."""
    member = member_of(request)
    asked = {key: value for key in FILTERS if (value := request.GET.get(key, "").strip()[:200])}
    rows, known = Deliverable.objects.visible_to(member), request.GET.get("known")
    shown = rows.filter(public_id__in=request.GET.get("ids", "").split(",")[:PAGE_SIZE])
    context = {
        "rows": listed(shown, member),
        "new": 0 if known is None else arrived(filtered(rows, asked), known),
        "fresh_url": f"{reverse('pages:deliverables')}?{urlencode(asked)}",
    }
    return render(request, "orchestration/_deliverables_part.html", context)


def filtered(rows: DeliverableQuerySet, asked: dict[str, str]) -> DeliverableQuerySet:
    if "q" in asked:
        rows = rows.filter(Q(title__icontains=asked["q"]) | Q(name__icontains=asked["q"]))
    if "name" in asked:
        rows = rows.filter(name=asked["name"])
    if "definition" in asked:
        rows = rows.filter(run__definition_version__definition__slug=asked["definition"])
    if "run" in asked:
        rows = rows.filter(run__public_id=asked["run"])
    return rows


@require_safe
@page()
def deliverable(request: HttpRequest, public_id: str) -> HttpResponse:
    """The report; with `from` and `to`, what differs between two of its versions."""
    member = member_of(request)
    found = get_object_or_404(Deliverable.objects.visible_to(member).for_page(), public_id=public_id)
    if request.method == "GET":
        member.note_reading()
    approvals = approvals_of([found], member)[found.pk]
    versions = list(Deliverable.objects.filter(run=found.run, name=found.name).for_page().order_by("-version"))
    return render(
        request,
        "orchestration/deliverable.html",
        {
            "deliverable": found,
            "is_too_long": len(found.content) > LARGEST,
            "versions": versions,
            "newest": versions[0],
            "numbers": [version.version for version in versions],
            "compared": compared(request, lambda numbers: texts_of(found, numbers)),
            "approvals": approvals,
            "changed": changed_at(approvals),
        },
    )


def texts_of(found: Deliverable, numbers: set[int]) -> dict[int, str]:
    rows = Deliverable.objects.filter(run=found.run, name=found.name, version__in=numbers)
    return dict(rows.values_list("version", "content"))


@dataclass(frozen=True)
class Changed:
    """What a reviewer changed with an answer: the first of it, and how much more there is."""

    by: str
    step: str
    changes: list[Change]
    left: int


def changed_at(approvals: list[Request]) -> list[Changed]:
    decisions = (
        Decision.objects.filter(request__in=approvals, late=False).exclude(edits={}).select_related("member__user")
    )
    found = {decision.request_id: decision for decision in decisions}
    told = []
    for row in approvals:
        if (decision := found.get(row.pk)) is not None:
            changes, left = edits_of(row, decision)
            by = decision.member.name if decision.member else "someone"
            told.append(Changed(by, str(row.step), changes[:MOST_CHANGES], left + len(changes[MOST_CHANGES:])))
    return told


@require_safe
@page()
def download(request: HttpRequest, public_id: str) -> HttpResponse:
    """The Markdown as a file."""
    found = one(request, public_id)
    answer = HttpResponse(found.content, content_type="text/markdown; charset=utf-8")
    answer.headers["Content-Disposition"] = content_disposition_header(True, file_name(found)) or "attachment"
    return answer


@require_safe
@page()
def raw(request: HttpRequest, public_id: str) -> HttpResponse:
    """The text as the step made it, for a browser to show as text."""
    return HttpResponse(one(request, public_id).content, content_type="text/plain; charset=utf-8")


def one(request: HttpRequest, public_id: str) -> Deliverable:
    rows = Deliverable.objects.visible_to(member_of(request))
    return get_object_or_404(rows, public_id=public_id)


def file_name(found: Deliverable) -> str:
    """Of its name and version: letters, digits, `_`, `-` and single dots, never hidden, never a path."""
    name = re.sub(r"\.{2,}", ".", NOT_IN_FILE_NAMES.sub("-", found.name)).strip(".-")[:LONGEST_FILE_NAME]
    return f"{name or 'deliverable'}-v{found.version}.md"
