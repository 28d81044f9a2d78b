"""Events from outside: which steps wait for one, and which came."""

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from accounts.authentication import member_of
from accounts.models import Member
from accounts.permissions import page
from orchestration.models import EventWait, OutsideEvent, Run, Step
from ui.addresses import whole_number

PAGE_SIZE = 50
SHOWN_WAITS = 100


@dataclass(frozen=True, slots=True)
class Listener:
    """`key` is empty for who does not see what is in the run."""

    wait: EventWait
    key: str
    run: Run
    step: Step


@require_safe
@page()
def events(request: HttpRequest) -> HttpResponse:
    """The newest first; `before` goes on from an event's key."""
    member = member_of(request)
    before = whole_number(request.GET.get("before", ""))
    rows = OutsideEvent.objects.filter(organization=member.organization, run=None).defer("data").order_by("-pk")
    found = list((rows.filter(pk__lt=before) if before else rows)[: PAGE_SIZE + 1])
    shown = found[:PAGE_SIZE]
    context: dict[str, Any] = {
        "events": shown,
        "listeners": listeners(member),
        "waits": EventWait.objects.filter(organization_id=member.organization_id).count(),
        "older_url": f"?before={shown[-1].pk}" if len(found) > PAGE_SIZE else None,
        "newer_url": "?" if before else None,
    }
    return render(request, "orchestration/outside_events.html", context)


def listeners(member: Member) -> list[Listener]:
    """Those that wait longest at the front."""
    waits = list(
        EventWait.objects.filter(organization_id=member.organization_id).order_by("run_id", "key", "number")[
            :SHOWN_WAITS
        ]
    )
    runs = Run.objects.for_list().without_values().in_bulk({wait.run_id for wait in waits})
    names = Step.objects.filter(run_id__in=runs, key__in={wait.key for wait in waits}, status="waiting")
    steps = {(step.run_id, step.key): step for step in names.only("name", "index", "started_at", "wake_at")}
    return [
        Listener(
            wait,
            wait.event_key if runs[wait.run_id].payload_visible_to(member) else "",
            runs[wait.run_id],
            steps[wait.run_id, wait.key],
        )
        for wait in waits
        if (wait.run_id, wait.key) in steps
    ]
