"""Definitions: what runs are begun from. Anyone of the organization reads them, builders write them."""

from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.authentication import member_of
from accounts.models import Member, Role
from accounts.permissions import page
from agents.models import Agent
from orchestration import recent, sources
from orchestration.drawing import drawing_of
from orchestration.exceptions import InvalidDefinition, NewerVersion
from orchestration.language import KEYS
from orchestration.models import Definition, Run, Schedule
from orchestration.models.definitions import DefinitionQuerySet
from orchestration.views.comparing import compared
from orchestration.views.drafts import Conflict, Draft, findings_answer, hidden_url, restored, text_of
from ui.arrivals import arrived, keys_of, known_of
from ui.differences import difference
from ui.schema_words import fields_of
from ui.sources import source_lines

PAGE_SIZE = 50
SHOWN_VERSIONS = 50
SHOWN_RUNS = 5
STARTER = """\
name: my-first
description: What this is for, in one sentence
input:
  type: object
  required: [topic]
  properties:
    topic: {type: string, title: Topic, examples: [Spring]}
steps:
  check:
    approval:
      title: Go on with ${{ input.topic }}?
      show: {topic: "${{ input.topic }}"}
      policy: default
"""


@require_safe
@page()
def definition_list(request: HttpRequest) -> HttpResponse:
    """The house's own by name, `after` goes on behind one; behind the last of them the examples."""
    member = member_of(request)
    words, after = request.GET.get("q", "").strip()[:200], request.GET.get("after", "")
    archived = "1" if request.GET.get("archived") == "1" else ""
    rows = listed(member, words, archived=bool(archived))
    known = known_of(rows)
    found = list(rows.of_the_house().filter(slug__gt=after)[: PAGE_SIZE + 1])
    own = found[:PAGE_SIZE]
    shown = own + (list(rows.examples()) if len(found) == len(own) else [])
    asked = {"q": words, "archived": archived}
    part = {**asked, "ids": ",".join(str(each.pk) for each in shown), "known": known}
    older = urlencode({**asked, "after": own[-1].slug}) if len(found) > PAGE_SIZE else ""
    told = rows_of(shown, member)
    return render(
        request,
        "orchestration/definitions.html",
        {
            "rows": told[: len(own)],
            "examples": told[len(own) :],
            "part_url": f"{reverse('pages:definitions-part')}?{urlencode(part)}",
            "words": words,
            "archived": archived,
            "is_filtered": bool(words or archived),
            "older_url": f"?{older}" if older else None,
            "newer_url": f"?{urlencode(asked)}" if after else None,
            "may_build": member.has_role(Role.BUILDER),
        },
    )


@require_safe
@page()
def definition_list_part(request: HttpRequest) -> HttpResponse:
    """The rows of the keys `ids` as they are now, where they are, and how many that were not `known` came."""
    member = member_of(request)
    words = request.GET.get("q", "").strip()[:200]
    archived = request.GET.get("archived") == "1"
    asked = {"q": words, "archived": "1" if archived else ""}
    shown = listed(member, "", archived=archived).filter(pk__in=keys_of(request.GET.get("ids", "")))
    context = {
        "rows": rows_of(list(shown), member),
        "new": arrived(listed(member, words, archived=archived), request.GET.get("known", "-")),
        "fresh_url": f"{reverse('pages:definitions')}?{urlencode(asked)}",
    }
    return render(request, "orchestration/_definitions_part.html", context)


def listed(member: Member, words: str, *, archived: bool) -> DefinitionQuerySet:
    rows = Definition.objects.visible_to(member).written().for_page().filter(archived_at__isnull=not archived)
    rows = rows.defer("current_version__plan", "current_version__layout", "current_version__text")
    return rows.filter(Q(slug__icontains=words) | Q(description__icontains=words)) if words else rows


def rows_of(shown: list[Definition], member: Member) -> list[dict[str, Any]]:
    last, success = recent.last_runs(shown), recent.success_of_seven_days(member)
    return [{"definition": each, "last_run": last.get(each.pk), "success": success.get(each.pk)} for each in shown]


@require_safe
@page()
def definition(request: HttpRequest, slug: str, number: int | None = None) -> HttpResponse:
    """Its current version, or that of the number; with `from` and `to`, what differs between two of them."""
    member = member_of(request)
    found = get_object_or_404(Definition.objects.visible_to(member).for_page(), slug=slug)
    current = found.current_version
    if current is None:
        raise Http404
    version = current if number in (None, current.number) else get_object_or_404(found.versions, number=number)
    saved = found.versions.select_related("created_by__user").defer("plan", "layout", "text").order_by("-number")
    versions = list(saved[:SHOWN_VERSIONS])
    runs = Run.objects.visible_to(member).filter(definition_version__definition=found).for_list()
    return render(
        request,
        "orchestration/definition.html",
        {
            "definition": found,
            "version": version,
            "is_current": version == current,
            "lines": source_lines(version.text),
            "fields": fields_of(version.plan["input"]),
            "steps": version.plan["steps"],
            "drawing": drawing_of(version.plan, version.text),
            "versions": versions,
            "numbers": [each.number for each in versions],
            "compared": compared(request, lambda numbers: texts_of(found, numbers)),
            "runs": runs.defer("input", "output")[:SHOWN_RUNS],
            "schedules": Schedule.objects.visible_to(member).filter(definition=found).for_list(),
            "may_build": member.has_role(Role.BUILDER),
            "may_delete": member.has_role(Role.ADMIN),
            "may_start": member.has_role(Role.OPERATOR),
        },
    )


def texts_of(found: Definition, numbers: set[int]) -> dict[int, str]:
    return dict(found.versions.filter(number__in=numbers).values_list("number", "text"))


# --- writing


@require_http_methods(["GET", "HEAD", "POST"])
@page(Role.BUILDER, reading=True)
def edit(request: HttpRequest, slug: str | None = None) -> HttpResponse:
    """Check a text, or save it as the newest version. A text with errors comes back with all of them.

    `version`: the one whose text to begin with; what it is saved over is the current one all the same.
    """
    member = member_of(request)
    found = None
    if slug is not None:
        found = get_object_or_404(Definition.objects.visible_to(member).written().for_list(), slug=slug)
    current = found.current_version if found else None
    if request.method != "POST":
        older = restored(found.versions, request) if found else None
        shown = older or current
        draft = Draft(shown.text if shown else STARTER, current.number if current else 0)
        draft.restored = older.number if older else 0
        return editor(request, draft, found, plan=shown.plan if shown else None)
    draft = Draft.of(request)
    compiled = sources.check(source(draft.text), organization=member.organization)
    draft.found(compiled.findings)
    if compiled.plan is None:
        return editor(request, draft, found, status=400)
    if request.POST.get("do") == "check":
        return editor(request, draft, found, plan=compiled.plan)
    return save(request, draft, found, compiled.plan["name"])


def save(request: HttpRequest, draft: Draft, found: Definition | None, name: str) -> HttpResponse:
    """Over the version that its writer saw; else they are shown what differs, and asked."""
    member = member_of(request)
    seen = draft.seen(name, found.slug if found else None)
    if seen is None:
        return refused(request, draft, found, name)
    try:
        version = sources.replace(source(draft.text), seen=seen, organization=member.organization, by=member)
    except NewerVersion:
        return refused(request, draft, found, name)
    except InvalidDefinition as exc:  # an agent or a policy changed since the check
        draft.found(exc.findings)
        return editor(request, draft, found, status=400)
    if version.number == seen:
        messages.info(request, f"Version {seen} of {name} says just this already; no new one was made.")
    else:
        messages.success(request, f"Saved as version {version.number} of {name}.")
    return redirect("pages:definition", name)


def refused(request: HttpRequest, draft: Draft, found: Definition | None, name: str) -> HttpResponse:
    """What was typed, what would be saved over, and the question whether to."""
    rows = Definition.objects.visible_to(member_of(request)).for_page()
    other = rows.filter(slug=name).first()
    newest = other.current_version if other else None
    changes = difference(newest.text, draft.text) if newest else None
    conflict = Conflict(name, found.slug if found else None, newest, changes)
    return editor(request, draft, found, status=409, conflict=conflict)


def editor(
    request: HttpRequest,
    draft: Draft,
    found: Definition | None,
    *,
    plan: dict[str, Any] | None = None,
    status: int = 200,
    conflict: Conflict | None = None,
) -> HttpResponse:
    member = member_of(request)
    return render(
        request,
        "orchestration/definition_edit.html",
        {
            "definition": found,
            "draft": draft,
            "lines": draft.lines(),
            "conflict": conflict,
            "hidden_url": ""
            if found
            else hidden_url(Definition.objects.visible_to(member), "pages:definition-version"),
            "drawing": drawing_of(plan, draft.text) if plan else None,
            "check_url": reverse("pages:definition-check"),
            "words": words_of(member),
        },
        status=status,
    )


def words_of(member: Member) -> list[str]:
    """What the editor completes: the keys of the language, and the names of agents."""
    agents = Agent.objects.visible_to(member).values_list("slug", flat=True)[:500]
    return sorted({*KEYS, *agents})


@require_POST
@page(Role.BUILDER)
def check(request: HttpRequest) -> JsonResponse:
    """All findings about a text, and its graph if it can be drawn; nothing is saved."""
    member = member_of(request)
    text = text_of(request)
    compiled = sources.check(source(text), organization=member.organization)
    drawing = drawing_of(compiled.plan, text) if compiled.plan else None
    graph = render_to_string("orchestration/_definition_graph.html", {"drawing": drawing}) if drawing else ""
    return findings_answer(compiled.findings, graph=graph)


def source(text: str) -> sources.Source:
    return sources.Source("definition.yaml", text)
