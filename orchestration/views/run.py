"""One run: what it does and why, its steps, events, values and relatives; and what people may do to it."""

from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.html import escape
from django.views.decorators.http import require_safe

from accounts.authentication import member_of
from accounts.models import Role
from accounts.permissions import page
from approvals.changes import given_of
from approvals.models import Request
from orchestration.curl import commands_of
from orchestration.engine.budgets import budgets_of
from orchestration.exceptions import PayloadHidden
from orchestration.explain import sentences
from orchestration.mailbox import came
from orchestration.models import Event, Run, Step
from orchestration.reasons.sources import why
from orchestration.relatives import moved_relatives
from orchestration.run_lists import small_input
from orchestration.run_rows import RunRows, values_of_run, values_of_step
from orchestration.step_lines import KINDS_OF_ERROR, Lines, answer_so_far, conversation_of, most_telling, tries_of
from orchestration.views.levers import offers
from ui.addresses import whole_number

SHOWN_EVENTS = 200
VIEWS = {"": "Graph and time", "graph": "Graph", "table": "Table"}
TABS = {
    "overview": ("Overview", "pages:run"),
    "log": ("Log", "pages:run-log"),
    "events": ("Events", "pages:run-events"),
    "payload": ("Payload", "pages:run-payload"),
    "messages": ("Messages", "pages:run-messages"),
    "related": ("Related", "pages:run-related"),
}
WITHOUT_PAYLOAD = ("overview", "events")  # what is left for who does not see what is in the run


def rows_of(request: HttpRequest, public_id: str) -> RunRows:
    """Of a run that the member may see, else not found."""
    runs = Run.objects.visible_to(member_of(request)).for_list().without_values().annotate(given=small_input())
    run = get_object_or_404(runs, public_id=public_id)
    return RunRows(run, given=vars(run)["given"] if run.payload_visible_to(member_of(request)) else "")


def seen_rows_of(request: HttpRequest, public_id: str) -> RunRows:
    """Of one whose values the member sees. Raises PayloadHidden."""
    rows = rows_of(request, public_id)
    rows.run.require_payload(member_of(request))
    return rows


def frame(request: HttpRequest, rows: RunRows, tab: str, **part: str) -> dict[str, Any]:
    """What every page of a run has: header, sentence, tabs, and where its live part is. `part`: what that is told."""
    member = member_of(request)
    run = rows.run
    sees = run.payload_visible_to(member)
    words = {"tab": tab} | {name: value for name, value in part.items() if value}
    return {
        "rows": rows,
        "run": run,
        "tab": tab,
        "definition": run.definition_version.definition,
        "sees_payload": sees,
        "asking": rows.asking,
        "budgets": budgets_of(run, member) if sees else [],
        "sentences": sentences(why(rows.facts))
        if sees
        else [escape(PayloadHidden(run.definition_version.visible_to or []))],
        "status": rows.told_status,
        "waits_for": next((step.waits_for for step in rows.steps if step.status == Step.Status.WAITING), None),
        "tabs": _tabs(rows, tab, sees),
        "to_decide": None if run.has_ended else _to_decide(rows, member),
        "offers": offers(member, run, rows.all_steps),
        "may_operate": member.has_role(Role.OPERATOR),
        "topic": "organization" if tab == "related" else f"run:{run.public_id}",  # its relatives move without it
        "part_url": f"{reverse('pages:run-part', args=[run.public_id])}?{urlencode(words)}",
    }


def _tabs(rows: RunRows, here: str, sees: bool) -> list[dict[str, Any]]:
    return [
        {"label": label, "url": reverse(url_name, args=[rows.run.public_id]), "is_here": name == here}
        for name, (label, url_name) in TABS.items()
        if (sees or name in WITHOUT_PAYLOAD) and (name != "messages" or rows.outline.messages)
    ]


def _to_decide(rows: RunRows, member: Any) -> Request | None:
    """The question, of this run or of one below it, that this member may answer now."""
    return next((asked for asked in rows.facts.questions if asked.can_be_decided_by(member, at=rows.now)), None)


# --- overview


@require_safe
@page()
def run(request: HttpRequest, public_id: str) -> HttpResponse:
    """`step`, `index` and `round` choose what the panel shows, `view` how the steps are drawn."""
    rows = rows_of(request, public_id)
    return overview(request, rows, chosen=chosen_step(request, rows))


def overview(
    request: HttpRequest,
    rows: RunRows,
    *,
    chosen: Step | None = None,
    status: int = 200,
) -> HttpResponse:
    view = request.GET.get("view", "")
    view = view if view in VIEWS else ""
    selected = chosen or most_telling(rows)
    sees = rows.run.payload_visible_to(member_of(request))
    lines = Lines(rows, selected=selected, view=view, sees_payload=sees)
    timeline = lines.timeline() if view != "graph" else None
    words = {
        "view": view,
        "step": selected.name if selected else "",
        "index": "" if selected is None or selected.index is None else str(selected.index),
        "round": str(chosen.round) if chosen and chosen not in rows.steps else "",
        "follow": "" if chosen else "1",
    }
    context = frame(request, rows, "overview", **words)
    context |= {
        "view": view,
        "views": VIEWS,
        "lines": lines.lines(timeline),
        "graph": lines.graph() if lines.shows_graph else None,
        "timeline": timeline,
        "has_chosen": chosen is not None,
    }
    if selected is not None and sees:
        context |= panel(request, rows, selected)
    return render(request, "orchestration/run.html", context, status=status)


def chosen_step(request: HttpRequest, rows: RunRows) -> Step | None:
    """The step that the address names; unknown ones are none."""
    name = request.GET.get("step", "")
    round_, index = (whole_number(request.GET.get(word, "")) for word in ("round", "index"))
    return rows.named(name, round_, index) if name else None


def panel(request: HttpRequest, rows: RunRows, step: Step) -> dict[str, Any]:
    """All of one step."""
    member = member_of(request)
    events = rows.events_of([step.key])
    asked = rows.question_of(step) if "approval" in (step.kind, step.waits_for) else None
    values = values_of_step(step)
    version = rows.agent_versions.get(step.agent_version_id or 0)
    return {
        "step": step,
        "step_address": urlencode({"step": step.name} | ({} if step.index is None else {"index": step.index})),
        "step_name": step.name if step.index is None else f"{step.name} {step.index}",
        "tries": tries_of(events),
        "most_tries": rows.attempts_of(step),
        "at_once": rows.outline.steps[step.position].at_once,
        "is_undo": step.undoes is not None,
        "values": values,
        "agent_version": version,
        "conversation": conversation_of(rows, step, version, values),
        "answer": answer_so_far(step, version),
        "asked": asked,
        "given": given_of(asked) if asked else [],
        "child": rows.relatives.get(step.child_run_id or 0),
        "asked_below": rows.facts.questions_below(step),
        "rounds": rows.rounds_of(step),
        "deliverables": [event.data for event in events if event.type == "deliverable.created" and event.data],
        "reason": next((said["reason"] for event in reversed(events) if (said := event.data or {}).get("reason")), ""),
        "commands": commands_of(request, rows.run, step, rows.given if member.has_role(Role.OPERATOR) else ""),
        "kind_of_error": KINDS_OF_ERROR.get((step.error or {}).get("class", "")),
        "step_offers": offers(member, rows.run, rows.all_steps, step) if step in rows.steps else None,
    }


# --- what changes


@require_safe
@page()
def part(request: HttpRequest, public_id: str) -> HttpResponse:
    """The elements of a page of this run that may differ since event `after`.

    `chosen`: a step was just chosen, draw its panel alone. `follow`: none was, the panel goes where the run goes.
    """
    tab = request.GET.get("tab", "overview")
    rows = (rows_of if tab in WITHOUT_PAYLOAD else seen_rows_of)(request, public_id)
    after = whole_number(request.GET.get("after", "")) or 0
    context = frame(request, rows, tab)
    context |= {"new_events": max(0, rows.run.seq - after) if tab == "events" else 0}
    if tab == "payload" and rows.run.has_ended:
        context |= {"values": values_of_run(rows.run)}
    if tab == "overview":
        context |= _overview_part(request, rows, after)
    if tab == "messages":
        context |= {"came": came(rows.run)}
    if tab == "related":
        context |= moved_relatives(rows, request.GET)
    response = render(request, "orchestration/_run_part.html", context)
    if tab != "related":
        response.headers["X-Seq"] = str(rows.run.seq)
    return response


def _overview_part(request: HttpRequest, rows: RunRows, after: int) -> dict[str, Any]:
    view = request.GET.get("view", "")
    shown = chosen_step(request, rows)
    selected = most_telling(rows) if "follow" in request.GET else shown
    sees = rows.run.payload_visible_to(member_of(request))
    lines = Lines(rows, selected=selected, view=view if view in VIEWS else "", sees_payload=sees)
    timeline = lines.timeline() if view != "graph" else None
    keys, is_all = _moved(rows, after)
    found = lines.lines(timeline)
    is_chosen = "chosen" in request.GET
    rounds = {other.key for other in rows.rounds_of(selected)} if selected else set()
    context: dict[str, Any] = {
        "view": view,
        "timeline": timeline,
        "lines": found,
        "moved": [line for line in found if is_all or line.step.key in keys or line.step in (shown, selected)],
        "draws_graph": lines.shows_graph,
        "is_chosen": is_chosen,
    }
    if sees and selected is not None and (is_all or is_chosen or selected is not shown or keys & rounds):
        context |= {**panel(request, rows, selected), "draws_panel": True}
    return context


def _moved(rows: RunRows, after: int) -> tuple[set[int], bool]:
    """Keys of the steps that may look different since, and of those that wait for them; or that all may."""
    if after >= rows.run.seq:
        return set(), False
    if not after or rows.run.seq - after > SHOWN_EVENTS:
        return set(), True
    news = Event.objects.after(rows.run, after).values_list("key", "type")
    if any(kind in ("run.round_opened", "run.moved") for _, kind in news):
        return set(), True
    keys = {key for key, _ in news if key is not None}
    names = {step.name for step in rows.all_steps if step.key in keys}
    waiting = {name for name, needs in rows.needs.items() if names.intersection(needs)}
    return keys | {step.key for step in rows.steps if step.name in waiting}, False
