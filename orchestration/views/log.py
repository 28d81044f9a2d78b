"""A run's log as people read it live: the newest lines, or those around one; searched, filtered, older ones by key."""

from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlencode

from django.db.models import Count, Max, Min, Q
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts.authentication import member_of
from accounts.permissions import page
from agents.calls import LEVELS
from orchestration.models import LogHead, LogLine, Run
from orchestration.run_rows import RunRows
from orchestration.views.run import frame, seen_rows_of
from ui.addresses import whole_number
from ui.ansi import as_html

SHOWN_LINES = 500  # static/js/log.js knows it too
NEW_LINES = 500  # that one answer brings to an open page: what a browser draws without a pause
BLOCK_LINES = 100  # what the browser need not lay out while it is out of sight
LEVEL_WORDS = {"": "All", "info": "Without debug", "warning": "Warnings and errors", "error": "Errors"}
NEWEST = 2**31 - 1


@dataclass(frozen=True)
class Asked:
    """What the address asks for; what makes no sense counts as not asked."""

    step: str
    level: str
    words: str
    at: int | None
    before: int | None
    after: int | None

    @classmethod
    def of(cls, query: QueryDict, steps: list[str]) -> Self:
        step, level = query.get("step", ""), query.get("level", "")
        return cls(
            step=step if step in steps else "",
            level=level if level in LEVELS else "",
            words=query.get("q", "").replace("\0", "").strip()[:200],
            at=whole_number(query.get("at", "")),
            before=whole_number(query.get("before", "")),
            after=whole_number(query.get("after", "")),
        )

    def query(self, **more: Any) -> str:
        """The address's query with the same filters."""
        words = {"step": self.step, "level": self.level, **more}
        return "?" + urlencode({name: value for name, value in words.items() if value})


@require_safe
@page()
def log(request: HttpRequest, public_id: str) -> HttpResponse:
    rows = seen_rows_of(request, public_id)
    run, head = rows.run, LogHead.of(rows.run)
    names = list(dict.fromkeys(step.name for step in rows.steps))
    asked = Asked.of(request.GET, names)
    of_run = LogLine.objects.of(run, step=asked.step, level=asked.level).filter(number__lte=head.number)
    search = _search(of_run, asked) if asked.words else None
    at = asked.at or (search["at"] if search else None)
    lines, older, newer = _window(of_run, asked, at)
    context = frame(request, rows, "log")
    context |= {
        "head": head,
        "seq": run.seq + head.number,
        "topic": f"log:{run.public_id}",
        "part_url": reverse("pages:run-log-part", args=[run.public_id]) + asked.query(q=asked.words),
        "blocks": blocks(lines, rows),
        "asked": asked,
        "at": at,
        "steps": names,
        "levels": LEVEL_WORDS,
        "search": search,
        "older_url": asked.query(q=asked.words, before=lines[0].number) if older and lines else "",
        "newer_url": asked.query(q=asked.words, after=lines[-1].number) if newer and lines else "",
        "newest_url": asked.query() if newer else "",
        "error_url": _error_url(head),
        "zone": timezone.get_current_timezone_name(),
        "download_url": reverse("run-logs", args=[run.public_id]) + asked.query(format="txt"),
    }
    return render(request, "orchestration/log.html", context)


@require_safe
@page()
def part(request: HttpRequest, public_id: str) -> HttpResponse:
    """Lines after one (with what else changed in the page), before one, or of a text that was too long to show."""
    rows = seen_rows_of(request, public_id)
    run, head = rows.run, LogHead.of(rows.run)
    asked = Asked.of(request.GET, [step.name for step in rows.steps])
    of_run = LogLine.objects.of(run, step=asked.step, level=asked.level).filter(number__lte=head.number)
    if asked.before:
        lines, _, _ = _window(of_run, asked, None)
        upto = head.number
    else:
        lines = list(of_run.filter(number__gt=asked.after or 0).shortened().order_by("number")[:NEW_LINES])
        upto = lines[-1].number if len(lines) == NEW_LINES else head.number
    context = frame(request, rows, "log")
    context |= {"head": head, "blocks": blocks(lines, rows), "asked": asked}
    context |= {"is_news": not asked.before, "error_url": _error_url(head)}
    response = render(request, "orchestration/_log_part.html", context)
    response.headers["X-Seq"] = str(run.seq + upto)
    response.headers["X-Line"] = str(upto)
    return response


@require_safe
@page()
def line(request: HttpRequest, public_id: str, number: int) -> HttpResponse:
    """All of one line: as text, or for the page that asked for the rest of it."""
    run = get_object_or_404(Run.objects.visible_to(member_of(request)), public_id=public_id)
    run.require_payload(member_of(request))
    found = get_object_or_404(LogLine, run_id=run.pk, number=min(number, NEWEST))
    if "HX-Request" in request.headers:
        return HttpResponse(as_html(found.text, request.GET.get("q", "")))
    return HttpResponse(found.text, content_type="text/plain; charset=utf-8")


def _error_url(head: LogHead) -> str:
    """Of the first line that is an error."""
    if not head.errors:
        return ""
    first = LogLine.objects.filter(run_id=head.run_id, level="error").aggregate(first=Min("number"))["first"]
    return f"?at={first}#L{first}"


def _window(of_run: Any, asked: Asked, at: int | None) -> tuple[list[LogLine], bool, bool]:
    """The lines to show, and whether there are older and newer ones."""
    rows = of_run.shortened()
    if at is not None:
        half = SHOWN_LINES // 2
        above = list(rows.filter(number__lt=at).order_by("-number")[: half + 1])
        below = list(rows.filter(number__gte=at).order_by("number")[: half + 1])
        return [*reversed(above[:half]), *below[:half]], len(above) > half, len(below) > half
    if asked.after is not None:
        below = list(rows.filter(number__gt=asked.after).order_by("number")[: SHOWN_LINES + 1])
        older = of_run.filter(number__lte=asked.after).exists()
        return below[:SHOWN_LINES], older, len(below) > SHOWN_LINES
    newer = asked.before is not None and of_run.filter(number__gte=asked.before).exists()
    if asked.before is not None:
        rows = rows.filter(number__lt=asked.before)
    above = list(rows.order_by("-number")[: SHOWN_LINES + 1])
    return above[:SHOWN_LINES][::-1], len(above) > SHOWN_LINES, newer


def _search(of_run: Any, asked: Asked) -> dict[str, Any]:
    """How many lines say it, and which is the one shown, the next and the one before."""
    matches = of_run.saying(asked.words)
    at = asked.at
    if at is None:
        near = Q(number__gt=asked.after or 0)
        at = matches.aggregate(first=Min("number", filter=near))["first"]
    found = matches.aggregate(
        total=Count("number"),
        place=Count("number", filter=Q(number__lte=at or 0)),
        next=Min("number", filter=Q(number__gt=at or 0)),
        previous=Max("number", filter=Q(number__lt=at or 0)),
    )
    urls = {
        f"{name}_url": f"{asked.query(q=asked.words, at=found[name])}#L{found[name]}" if found[name] else ""
        for name in ("next", "previous")
    }
    return {**found, **urls, "at": at}


def blocks(lines: list[LogLine], rows: RunRows) -> list[list[dict[str, Any]]]:
    """The lines as the page draws them."""
    names = {step.key: step.name if step.index is None else f"{step.name} {step.index}" for step in rows.all_steps}
    drawn = [drawn_line(line, names.get(line.key, "")) for line in lines]
    return [drawn[start : start + BLOCK_LINES] for start in range(0, len(drawn), BLOCK_LINES)]


def drawn_line(line: Any, step: str) -> dict[str, Any]:
    here = timezone.localtime(line.at)
    return {
        "number": line.number,
        "at": line.at.isoformat(timespec="milliseconds"),
        "clock": f"{here:%H:%M:%S}.{here.microsecond // 1000:03d}",
        "step": step,
        "attempt": line.attempt,
        "level": line.level,
        "text": line.shown,
        "left": line.length - len(line.shown),
    }
