"""Pages for people: what waits for them, and one question with its answer."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.db.models import Q
from django.db.models.expressions import Combinable
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.text import get_text_list
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.authentication import member_of
from accounts.clock import ClockTimestamp
from accounts.models import Member, Role
from accounts.permissions import page
from accounts.views.saved import saved_views
from approvals.changes import Change, changes_between, changes_decided, changes_of, given_of
from approvals.exceptions import AlreadyEnded, ApprovalError, InvalidAnswer, NotAllowed, StaleDigest
from approvals.forms import LOOK, OTHERS, Answer
from approvals.headings import place_in_words
from approvals.lines import ids_of, lines_named, lines_of
from approvals.models import (
    ABORT,
    CONTINUE,
    ENDED_AT,
    RETRY,
    Policy,
    Request,
    RequestQuerySet,
    Status,
    words_of_choice,
)
from approvals.sheets import Sheet
from approvals.surroundings import Surroundings, surroundings_of
from ui.arrivals import arrived, known_of

PAGE_SIZE = 50
LONGEST_SEARCH = 200
LARGEST_CHECKED = 200_000  # signs of JSON: what is larger is checked when it is sent, not while one types
NAMED_DECIDERS = 5
NAMED_STEPS = 3
CHOICE_ICONS = {CONTINUE: "check", RETRY: "rotate-cw", ABORT: "ban"}
FILTERS = ("q", "policy", "run", "status")
TABS = {"mine": "Mine", "all": "All", "done": "Done"}
NEWEST_BY: dict[str, str | Combinable] = {"mine": "pk", "all": "pk", "done": ENDED_AT}


# --- the inbox


@require_safe
@page()
def inbox(request: HttpRequest) -> HttpResponse:
    """Open questions, those due first in front; or those that have ended, the last to end first."""
    member = member_of(request)
    tab = _tab(request)
    rows = _filtered(_of_tab(tab, member), request.GET)
    known = known_of(rows, NEWEST_BY[tab])
    after = _after(request, member, tab)
    rows = rows.by_end(after) if tab == "done" else rows.by_due(after)
    found = lines_of(rows[: PAGE_SIZE + 1])
    kept = {name: request.GET[name] for name in FILTERS if request.GET.get(name)}
    older = {**kept, "tab": tab, "after": found[PAGE_SIZE - 1].row.public_id} if len(found) > PAGE_SIZE else None
    seen = {"ids": "" if tab == "done" else ids_of(found[:PAGE_SIZE]), "known": known}
    return render(
        request,
        "approvals/inbox.html",
        {
            "lines": found[:PAGE_SIZE],
            "tab": tab,
            "tabs": [
                {"label": label, "url": f"?{urlencode({**kept, 'tab': name})}", "is_here": name == tab}
                for name, label in TABS.items()
            ],
            "policies": Policy.objects.visible_to(member),
            "endings": [status for status in Status if status != Status.PENDING] if tab == "done" else [],
            "kept": kept,
            "saved": saved_views(member, "approvals", urlencode({**kept, "tab": tab})),
            "part_url": f"{reverse('pages:approvals-part')}?{urlencode({**kept, 'tab': tab, **seen})}",
            "older_url": f"?{urlencode(older)}" if older else "",
            "newer_url": f"?{urlencode({**kept, 'tab': tab})}" if after else "",
        },
    )


@require_safe
@page()
def inbox_part(request: HttpRequest) -> HttpResponse:
    """The rows that the page shows as they are now, where they are; and how many came that it did not know."""
    member = member_of(request)
    tab = _tab(request)
    kept = {name: request.GET[name] for name in FILTERS if request.GET.get(name)}
    known = request.GET.get("known")
    context = {
        "tab": tab,
        "lines": lines_named(request.GET.get("ids", ""), member, most=PAGE_SIZE),
        "new": 0 if known is None else arrived(_filtered(_of_tab(tab, member), request.GET), known, NEWEST_BY[tab]),
        "fresh_url": f"{reverse('pages:approvals')}?{urlencode({**kept, 'tab': tab})}",
    }
    return render(request, "approvals/_inbox_part.html", context)


def _tab(request: HttpRequest) -> str:
    wanted = request.GET.get("tab", "mine")
    return wanted if wanted in TABS else "mine"


def _of_tab(tab: str, member: Member) -> RequestQuerySet:
    if tab == "mine":
        return Request.objects.decidable_by(member)
    rows = Request.objects.visible_to(member)
    return rows.pending() if tab == "all" else rows.ended()


def _filtered(rows: RequestQuerySet, wanted: Mapping[str, str]) -> RequestQuerySet:
    if words := wanted.get("q", "").strip()[:LONGEST_SEARCH]:
        rows = rows.filter(Q(title__icontains=words) | Q(context__definition=words) | Q(public_id=words))
    if policy := wanted.get("policy"):
        rows = rows.filter(policy__slug=policy)
    if run := wanted.get("run"):
        rows = rows.of_run(run)
    if (status := wanted.get("status")) in Status.values:
        rows = rows.filter(status=status)
    return rows


def _after(request: HttpRequest, member: Member, tab: str) -> Request | None:
    """The last row of the page before."""
    wanted = request.GET.get("after")
    rows = Request.objects.visible_to(member).only("deadline_at")
    return (rows.ended() if tab == "done" else rows).filter(public_id=wanted).first() if wanted else None


# --- one question


@require_http_methods(["GET", "HEAD", "POST"])
@page()
def question(request: HttpRequest, public_id: str) -> HttpResponse:
    """What is asked, and the form that answers it; afterwards what became of it. Only POST decides."""
    member = member_of(request)
    row = visible_row(request, public_id)
    if request.method != "POST":
        return render(request, "approvals/question.html", shown(row, member))
    answer = Answer.of(request.POST, row)
    if LOOK in request.POST:
        return render(request, "approvals/question.html", shown(row, member, answer, mistakes_in(row, answer)))
    problem = decided(row, member, answer, door="page")
    if problem is None:
        messages.success(request, f"Your answer is kept: {row.word_of(answer.choice)}.")
        return redirect(request.path)
    row = visible_row(request, public_id)
    if isinstance(problem, AlreadyEnded) and is_answer_of(row, member, answer):
        return redirect(request.path)
    return render(request, "approvals/question.html", shown(row, member, answer, problem), status=problem.status)


def decided(row: Request, member: Member, answer: Answer, *, door: str) -> ApprovalError | None:
    """Answer by the one verb; the refusal, or None when it went through.

    What could not be read is no edit that the verb could judge. It is asked all the same, with a choice that nobody
    offers: who may not decide, or comes too late, is told that first, at every door.
    """
    if is_answer_of(row, member, answer):
        return AlreadyEnded(ended_as=row.status)  # the same form once more is no new answer, not even a late one
    try:
        row.decide(
            by=member,
            choice="" if answer.errors else answer.choice,
            digest=answer.digest,
            note=answer.note,
            edits=answer.edits,
            door=door,
        )
    except InvalidAnswer as exc:
        return InvalidAnswer(answer.errors) if answer.errors else exc
    except ApprovalError as exc:
        return exc
    return None


def is_answer_of(row: Request, member: Member, answer: Answer) -> bool:
    """Whether this very answer is the one that was taken: a form that was sent twice."""
    if row.status != Status.DECIDED or row.decided_by_id != member.pk:
        return False
    said = (answer.choice, answer.note, answer.edits)
    return any((kept.choice, kept.note, kept.edits) == said for kept in row.decisions.filter(late=False))


def visible_row(request: HttpRequest, public_id: str) -> Request:
    """With `now`, the database's time."""
    rows = Request.objects.visible_to(member_of(request)).for_inbox()
    return get_object_or_404(rows.annotate(now=ClockTimestamp()), public_id=public_id)


def shown(
    row: Request, member: Member, answer: Answer | None = None, problem: ApprovalError | None = None
) -> dict[str, Any]:
    """What the page of a question says. `answer`: what was typed and refused for `problem`."""
    ended = row.ended_as(row.now)  # type: ignore[attr-defined]
    refusal = str(problem) if isinstance(problem, NotAllowed) else row.refusal_of(member)
    may_decide = not ended and not refusal
    around = surroundings_of(row, member)
    choices = [choice_of(choice, around.again, may_edit=bool(row.editable), row=row) for choice in row.choices]
    context = {
        "row": row,
        "ended_as": ended,
        "may_decide": may_decide,
        "refusal": refusal,
        "deciders": _deciders(row) if refusal and not ended else [],
        "around": around,
        "answer": answer,
        "problem": problem,
        "typed": [
            (place_in_words(row.payload, row.payload_schema, pointer), text)
            for pointer, text in (answer.typed if answer else {}).items()
        ],
        "given": given_of(row),
        "choices": choices,
        "brief": _brief(row, choices[0], around) if may_decide and choices else "",
        "part_url": f"{reverse('pages:approval-part', args=[row.public_id])}?open={0 if ended else 1}",
        **_of_payload(row, answer, problem, ended, may_decide),
    }
    return context | _of_rounds(row, ended)


def _of_payload(
    row: Request, answer: Answer | None, problem: ApprovalError | None, ended: str, may_decide: bool
) -> dict[str, Any]:
    errors = problem.errors if isinstance(problem, InvalidAnswer) else []
    typed = answer.typed if answer else None
    sheet = Sheet(row, may_edit=may_decide, typed=typed, errors=errors, after=_going_on(row, answer))
    own = {error["pointer"]: error["message"] for error in errors if error["pointer"] in ("/note", "/edits")}
    found: dict[str, Any] = {
        "sheet": sheet,
        "note_error": own.get("/note"),
        "edits_error": own.get("/edits"),
        "errors_elsewhere": [error for error in sheet.errors_elsewhere if error["pointer"] not in own],
        "others": OTHERS,
        "may_drop_edits": "/edits" in own and answer is not None and answer.choice in (RETRY, ABORT),
        "stale": _since_seen(row, answer, problem) if isinstance(problem, StaleDigest) and answer else None,
    }
    if may_decide and sheet.fields:
        found["is_checked_live"] = len(json.dumps(row.payload)) <= LARGEST_CHECKED
        found["look"] = LOOK
    if ended and row.answer_digest and row.answer != row.payload:
        found["edited"], found["edited_left"] = changes_decided(row)
    return found


def _going_on(row: Request, answer: Answer | None) -> Any:
    """What would go on, if that was typed; None if nothing was, or if it cannot be taken."""
    if answer is None or not answer.edits or answer.errors:
        return None
    try:
        return row.answer_with(answer.edits)
    except InvalidAnswer:
        return None


def _since_seen(row: Request, answer: Answer, problem: StaleDigest) -> list[Change]:
    seen = row.shown_as(answer.digest).payload
    return changes_of(problem.difference or [], row.payload_schema, seen, row.payload)


def _of_rounds(row: Request, ended: str) -> dict[str, Any]:
    earlier = None if ended else row.earlier()
    changes, left = changes_between(earlier.payload, row.payload, row.payload_schema) if earlier else ([], 0)
    return {"earlier": earlier, "changes": changes, "changes_left": left, "newer": row.newer() if ended else None}


def _deciders(row: Request) -> list[str]:
    """Some who may; the last entry counts the others."""
    rows = Member.objects.active().filter(organization_id=row.organization_id)
    rows = rows.filter(Q(roles__overlap=row.policy.roles) | Q(roles__contains=[Role.ADMIN]))
    if row.policy.not_the_requester and row.requested_by_id is not None:
        rows = rows.exclude(pk=row.requested_by_id)
    names = list(rows.order_by("user__username").values_list("user__username", flat=True)[: NAMED_DECIDERS + 1])
    return [*names[:NAMED_DECIDERS], "others"] if len(names) > NAMED_DECIDERS else names


def choice_of(choice: str, again: list[str], *, may_edit: bool = False, row: Request | None = None) -> dict[str, str]:
    """How a choice looks, and what it brings about: in the asker's own words, if it has some."""
    effects = {
        CONTINUE: f"What waits behind it goes on, with what you see here{' and your changes' if may_edit else ''}.",
        RETRY: f"{_run_again(again)} with your note; then people are asked anew.",
        ABORT: "The run ends as rejected. What waits behind it never starts.",
    }
    own = row.context.get("words", {}) if row else {}
    words, effect = own.get(choice) or (words_of_choice(choice), effects.get(choice, ""))
    return {"value": choice, "words": words, "icon": CHOICE_ICONS.get(choice, "check"), "effect": effect}


def _brief(row: Request, first: dict[str, str], around: Surroundings) -> str:
    """What the first choice does, in one sentence beside the buttons."""
    if first["value"] != CONTINUE or CONTINUE in row.context.get("words", {}):
        return f"{first['words']}: {first['effect']}" if first["effect"] else ""
    behind = [f"{step.name} (by {step.doer})" if step.doer else step.name for step in around.behind]
    if not behind:
        return "Approving lets the run go on; nothing else waits behind this checkpoint."
    named = get_text_list(
        behind[:NAMED_STEPS] + ([f"{len(behind) - NAMED_STEPS} more"] if behind[NAMED_STEPS:] else []), "and"
    )
    return f"Approving starts {named}, with what you see here{' and your changes' if row.editable else ''}."


def _run_again(steps: list[str]) -> str:
    if len(steps) == 1:
        return f"{steps[0]} runs again"
    return f"{', '.join(steps) or 'The steps before it'} run again"


@require_safe
@page()
def question_part(request: HttpRequest, public_id: str) -> HttpResponse:
    """Those parts of the page that may change while one looks: never what is being typed."""
    row = visible_row(request, public_id)
    member = member_of(request)
    around = surroundings_of(row, member)
    context = {
        "row": row,
        "around": around,
        "ended_as": row.ended_as(row.now),  # type: ignore[attr-defined]
        "was_open": request.GET.get("open") == "1",
    }
    if not context["was_open"]:
        context["newer"] = row.newer()
    response = render(request, "approvals/_question_part.html", context)
    response.headers["X-Seq"] = str(around.seq)
    return response


@require_POST
@page()
def check(request: HttpRequest, public_id: str) -> JsonResponse:
    """What is wrong with what someone has typed so far: {errors: [{pointer, message}]}. Keeps nothing.

    Without errors, and where places follow from others, `derived` has each of them as it is then: {pointer, before,
    now}, `before` being "" where it stays.
    """
    row = visible_row(request, public_id)
    answer = Answer.of(request.POST, row)
    mistakes = mistakes_in(row, answer)
    if mistakes is not None:
        return JsonResponse({"errors": mistakes.errors})
    sheet = Sheet(row, after=_going_on(row, answer))
    derived = [{"pointer": place.pointer, "before": place.before, "now": place.in_short} for place in sheet.follow]
    return JsonResponse({"errors": [], **({"derived": derived} if derived else {})})


def mistakes_in(row: Request, answer: Answer) -> InvalidAnswer | None:
    """What is wrong with what was typed, whatever the choice."""
    if answer.errors:
        return InvalidAnswer(answer.errors)
    try:
        row.answer_with(answer.edits)
    except InvalidAnswer as exc:
        return exc
    return None


@require_safe
@page()
def payload(request: HttpRequest, public_id: str) -> HttpResponse:
    """All of it, as a file."""
    row = get_object_or_404(Request.objects.visible_to(member_of(request)), public_id=public_id)
    return HttpResponse(
        json.dumps(row.payload, ensure_ascii=False),
        content_type="application/json",
        headers={"Content-Disposition": f'attachment; filename="{row.public_id}.json"'},
    )
