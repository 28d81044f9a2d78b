"""The audit trail, for admins."""

import csv
import io
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from typing import Any

from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import render
from django.utils import timezone

from accounts.authentication import member_of
from accounts.forms import TrailFilter
from accounts.models import AuditEntry, AuditEntryQuerySet, Role
from accounts.permissions import page
from accounts.views.tabs import settings_tabs
from ui.addresses import LARGEST_KEY, whole_number

PAGE_SIZE = 50
MOST_EXPORTED = 10_000


@page(Role.ADMIN, reading=True)
def audit(request: HttpRequest) -> HttpResponseBase:
    """Newest first; `before` is the number of the last line that was seen."""
    member = member_of(request)
    form = TrailFilter(request.GET or None)
    rows = AuditEntry.objects.visible_to(member)
    chosen = _chosen(form)
    if chosen:
        rows = _narrowed(rows, chosen)
    if request.GET.get("format") == "csv":
        return _as_csv(rows)
    before = whole_number(request.GET.get("before", ""), largest=LARGEST_KEY)
    if before is not None:
        rows = rows.filter(pk__lt=before)
    found = list(rows[: PAGE_SIZE + 1])
    shown = found[:PAGE_SIZE]
    here = {
        "form": form,
        "entries": shown,
        "is_filtered": bool(chosen),
        "tabs": settings_tabs(member, "audit"),
        "export_url": _url(request, format="csv", before=None),
        "newer_url": _url(request, before=None) if before else "",
        "older_url": _url(request, before=shown[-1].pk) if len(found) > PAGE_SIZE else "",
    }
    return render(request, "accounts/audit.html", here)


def _chosen(form: TrailFilter) -> dict[str, Any]:
    form.is_valid()
    read = getattr(form, "cleaned_data", {})
    return {name: value for name, value in read.items() if value}


def _narrowed(rows: AuditEntryQuerySet, chosen: dict[str, Any]) -> AuditEntryQuerySet:
    if actor := chosen.get("actor"):
        rows = rows.filter(actor__user__username=actor)
    if action := chosen.get("action"):
        rows = rows.filter(action__startswith=action)
    if target := chosen.get("target"):
        rows = rows.filter(target=target)
    if since := chosen.get("since"):
        rows = rows.filter(at__gte=_start_of(since))
    if (until := chosen.get("until")) and until < date.max:
        rows = rows.filter(at__lt=_start_of(until + timedelta(days=1)))
    return rows


def _start_of(day: Any) -> datetime:
    """In the reader's zone."""
    return timezone.make_aware(datetime.combine(day, time.min))


def _url(request: HttpRequest, **changes: Any) -> str:
    query = request.GET.copy()
    for name, value in changes.items():
        query.pop(name, None)
        if value is not None:
            query[name] = str(value)
    return f"?{query.urlencode()}" if query else request.path


def _as_csv(rows: AuditEntryQuerySet) -> StreamingHttpResponse:
    def lines() -> Iterator[str]:
        yield _line(["at", "who", "did", "to what", "with"])
        for entry in rows[:MOST_EXPORTED].iterator(chunk_size=500):
            who = entry.actor.name if entry.actor else ""
            yield _line([entry.at.isoformat(), who, entry.action, entry.target, entry.data])

    headers = {"Content-Disposition": 'attachment; filename="audit.csv"'}
    return StreamingHttpResponse(lines(), content_type="text/csv; charset=utf-8", headers=headers)


def _line(cells: list[Any]) -> str:
    """What a spreadsheet would take for a formula gets an apostrophe."""
    texts = [str(cell) for cell in cells]
    safe = [f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text for text in texts]
    out = io.StringIO()
    csv.writer(out).writerow(safe)
    return out.getvalue()
