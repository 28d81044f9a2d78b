"""The other tabs of a run: its events, its values, its relatives; the log has a module of its own."""

import json
from typing import Any
from urllib.parse import urlencode

from django.db import connection
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from accounts.authentication import member_of
from accounts.permissions import page
from orchestration.models import Event, without_payload
from orchestration.relatives import relatives_of
from orchestration.run_rows import values_of_run
from orchestration.views.run import SHOWN_EVENTS, chosen_step, frame, rows_of, seen_rows_of
from ui.addresses import whole_number
from ui.templatetags.ui import duration

MOST_MOVING = 100  # relatives whose rows are kept true; an address has an end
KINDS = {
    "": "All",
    "run.": "Of the run",
    "step.": "Of steps",
    "checkpoint.": "Checkpoints",
    "deliverable.": "Deliverables",
}


@require_safe
@page()
def events(request: HttpRequest, public_id: str) -> HttpResponse:
    """The newest first; `older` is the number that they are to be below, `kind` how their types begin."""
    rows = rows_of(request, public_id)
    kind, older = request.GET.get("kind", ""), whole_number(request.GET.get("older", ""))
    kind = kind if kind in KINDS else ""
    found = Event.objects.filter(run=rows.run, type__startswith=kind).order_by("-seq")
    if older is not None:
        found = found.filter(seq__lt=older)
    shown = list(found[: SHOWN_EVENTS + 1])
    sees = rows.run.payload_visible_to(member_of(request))
    here = reverse("pages:run-events", args=[public_id])
    words = {"kind": kind} if kind else {}
    context = frame(request, rows, "events") | {
        "events": [_told(event, sees) for event in shown[:SHOWN_EVENTS]],
        "kind": kind,
        "kinds": KINDS,
        "older_url": f"{here}?{urlencode({**words, 'older': shown[SHOWN_EVENTS - 1].seq})}"
        if len(shown) > SHOWN_EVENTS
        else "",
        "newest_url": f"{here}?{urlencode(words)}" if older else "",
    }
    return render(request, "orchestration/run_events.html", context)


def _told(event: Event, sees_payload: bool) -> dict[str, Any]:
    """With what is most telling of its data in words, and all of it."""
    data = (event.data or {}) if sees_payload else without_payload(event.data or {})
    error = data.get("error") or {}
    words = [
        f"round {data['round']}" if data.get("round", 1) > 1 else "",
        f"attempt {data['attempt']}" if data.get("attempt", 1) > 1 else "",
        str(data.get("title") or ""),
        str(data.get("choice") or ""),
        f"by {data['by']}" if data.get("by") else "",
        str(data.get("reason") or data.get("note") or ""),
        str(error.get("message") or "") if isinstance(error, dict) else "",
        _queued(data) if event.type == "run.queued" else "",
    ]
    raw = json.dumps(data, ensure_ascii=False, indent=1)
    return {
        "seq": event.seq,
        "at": event.at,
        "type": event.type,
        "step": data.get("step") or "",
        "words": ", ".join(filter(None, words))[:300],
        "raw": raw[:20_000],
        "left": max(0, len(raw) - 20_000),
        "has_data": bool(data),
    }


def _queued(data: dict[str, Any]) -> str:
    if "key" not in data:  # the reader is told times alone
        return "waits for its turn to begin"
    during = f"in {duration(data['per'])}" if "per" in data else "at once"
    return f"waits for its turn to begin: no more than {data['max']} of {data['key']} {during}"


@require_safe
@page()
def payload(request: HttpRequest, public_id: str) -> HttpResponse:
    """What went in and came out."""
    rows = seen_rows_of(request, public_id)
    context = frame(request, rows, "payload") | {"values": values_of_run(rows.run)}
    return render(request, "orchestration/run_payload.html", context)


@require_safe
@page()
def related(request: HttpRequest, public_id: str) -> HttpResponse:
    """The run that started it, those that it started, what it made and what it asked."""
    rows = seen_rows_of(request, public_id)
    found = relatives_of(rows)
    moving = [each["run"].public_id for each in (*found["parents"], *found["children"]) if not each["run"].has_ended]
    moving += [asked.public_id for asked in rows.questions if asked.status == "pending"]
    words = {"ids": ",".join(moving[:MOST_MOVING]), "shown": str(found["shown"])}
    return render(request, "orchestration/run_related.html", frame(request, rows, "related", **words) | found)


RAW_OF_RUN = {
    "input": "select r.input::text from orchestration_run r where r.id = %s",
    "output": "select coalesce(p.body, r.output)::text from orchestration_run r"
    " left join orchestration_payload p on p.digest = r.output_digest where r.id = %s",
}
RAW_OF_STEP = {
    what: f"select coalesce(p.body, s.{what})::text from orchestration_step s"  # noqa: S608  one of two words
    f" left join orchestration_payload p on p.digest = s.{what}_digest where s.run_id = %s and s.key = %s"
    for what in ("input", "output")
}


@require_safe
@page()
def raw(request: HttpRequest, public_id: str, what: str) -> HttpResponse:
    """`what`: input or output, of the run, or of `step` (its item `index`) in `round`; the JSON as it is kept."""
    rows = seen_rows_of(request, public_id)
    if what not in RAW_OF_RUN:
        raise Http404("A run has an input and an output.")
    name = request.GET.get("step", "")
    if name:
        step = chosen_step(request, rows)
        if step is None:
            raise Http404("There is no such step in this run.")
        text = _text(RAW_OF_STEP[what], [rows.run.pk, step.key])
    else:
        text = _text(RAW_OF_RUN[what], [rows.run.pk])
    if text is None:
        raise Http404(f"It has no {what}.")
    file = "-".join(filter(None, [rows.run.public_id, name, what]))
    headers = {"Content-Disposition": f'attachment; filename="{file}.json"'}
    return HttpResponse(text, content_type="application/json", headers=headers)


def _text(statement: str, values: list[int]) -> str | None:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        found = cursor.fetchone()
    return found[0] if found else None
