"""Rows that the engine writes, to look at."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import display

from accounts.admin import LABELS, ReadOnlyAdmin, ReadOnlyInline, StaffReadOnlyAdmin, is_list
from orchestration.engine import bulk
from orchestration.lever import Lever
from orchestration.models import Definition, DefinitionVersion, Deliverable, Event, Run, Step, Worker

SHOWN_EVENTS = 200
MOST_SELECTED = 200  # they are named in an address
SHOWN_STEPS = 500
LONGEST_DATA = 2000
LONGEST_CONTENT = 100_000
VERSION = "definition_version__"


class VersionInline(ReadOnlyInline):
    model = DefinitionVersion
    fields = readonly_fields = ("number", "digest", "words", "created_at", "created_by")
    ordering = ("-number",)
    per_page = 10

    def get_queryset(self, request: HttpRequest) -> Any:
        rows = super().get_queryset(request).select_related("created_by__user", "created_by__organization")
        return rows.defer("plan", "layout")

    @display(description="text")
    def words(self, version: DefinitionVersion) -> SafeString:
        return format_html('<pre class="cs">{}</pre>', version.text[:LONGEST_CONTENT])


@admin.register(Definition)
class DefinitionAdmin(StaffReadOnlyAdmin):
    list_display = ("slug", "organization", "version", "created_at")
    list_select_related = ("organization", "current_version")
    list_filter = ("organization",)
    search_fields = ("slug",)
    fields = ("slug", "organization", "description", "version", "created_at")
    readonly_fields = ("version",)
    large = ("current_version__text", "current_version__plan", "current_version__layout")
    inlines = (VersionInline,)

    @display(description="current version")
    def version(self, definition: Definition) -> str:
        return f"v{definition.current_version.number}" if definition.current_version else ""


def act_on_selected(lever: Lever) -> Callable[..., HttpResponse | None]:
    """An action that leads to the page where it is looked at, asked for and done."""

    @admin.action(description=f"{lever.words}…", permissions=["view"])
    def act(self: "RunAdmin", request: HttpRequest, rows: QuerySet[Run]) -> HttpResponse | None:
        ids = list(rows.values_list("public_id", flat=True)[: MOST_SELECTED + 1])
        if len(ids) > MOST_SELECTED:
            words = f"Choose at most {MOST_SELECTED} here; on the page of runs a filter chooses more."
            self.message_user(request, words, messages.WARNING)
            return None
        return redirect(f"{reverse('pages:runs-act', args=[lever.name])}?{urlencode({'ids': ','.join(ids)})}")

    act.__name__ = f"act_{lever.name}"
    return act


@admin.register(Run)
class RunAdmin(StaffReadOnlyAdmin):
    actions = tuple(act_on_selected(lever) for lever in bulk.LEVERS.values())
    list_display = ("public_id", "state", "definition", "organization", "started_by", "created_at", "ended_at")
    list_select_related = (
        "organization",
        "definition_version__definition",
        "started_by__user",
        "started_by__organization",
    )
    list_filter = ("status", "organization")
    search_fields = ("public_id",)
    ordering = ("-pk",)
    large = ("input", "output", "error")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    *("public_id", "page", "status", "definition", "organization"),
                    *("started_by", "created_at", "ended_at"),
                )
            },
        ),
        ("Values", {"fields": ("given", "made", "went_wrong")}),
        ("Steps", {"fields": ("steps_table",)}),
        ("Events", {"fields": ("events_table",)}),
    )
    readonly_fields = ("page", "definition", "given", "made", "went_wrong", "steps_table", "events_table")

    def get_queryset(self, request: HttpRequest) -> Any:
        rows = super().get_queryset(request).defer(*(f"{VERSION}{name}" for name in ("text", "plan", "layout")))
        if is_list(request):
            rows = rows.defer(*self.large, *(f"{VERSION}{name}" for name in ("text", "plan", "layout")))
        return rows.select_related(*self.list_select_related)

    @display(description="Status", ordering="status", label=LABELS)
    def state(self, run: Run) -> tuple[str, str]:
        return run.status, run.get_status_display()

    @display(description="Definition")
    def definition(self, run: Run) -> str:
        return f"{run.definition_version.definition.slug} v{run.definition_version.number}"

    @display(description="Page")
    def page(self, run: Run) -> SafeString:
        address = reverse("pages:run", args=[run.public_id])
        return format_html('<a class="text-link" href="{}">Graph, timeline and log</a>', address)

    @display(description="Input")
    def given(self, run: Run) -> SafeString:
        return tree(run.input, "input")

    @display(description="Output")
    def made(self, run: Run) -> SafeString:
        return tree(run.output, "output")

    @display(description="Error")
    def went_wrong(self, run: Run) -> SafeString:
        return tree(run.error, "error")

    @display(description="Steps")
    def steps_table(self, run: Run) -> SafeString:
        steps = list(
            Step.objects.shown()
            .filter(run=run)
            .defer("input", "output", "decision", "feedback", "usage")
            .order_by("position", "round", "index")[: SHOWN_STEPS + 1]
        )
        left = len(steps) > SHOWN_STEPS
        return render_to_string("admin/orchestration/_steps.html", {"steps": steps[:SHOWN_STEPS], "left": left})

    @display(description="Events")
    def events_table(self, run: Run) -> SafeString:
        events = [
            {"event": event, "data": in_short(event.data)}
            for event in Event.objects.filter(run=run).order_by("-seq")[:SHOWN_EVENTS]
        ]
        return render_to_string("admin/orchestration/_events.html", {"events": events, "total": run.seq})


@admin.register(Deliverable)
class DeliverableAdmin(StaffReadOnlyAdmin):
    list_display = ("title", "name", "version", "run", "created_at")
    list_select_related = ("run",)
    search_fields = ("public_id", "run__public_id")
    ordering = ("-pk",)
    large = ("content", "run__input", "run__output", "run__error")
    fields = ("public_id", "title", "name", "version", "run", "created_at", "words")
    readonly_fields = ("words",)

    @display(description="Content")
    def words(self, deliverable: Deliverable) -> SafeString:
        return format_html('<pre class="cs">{}</pre>', deliverable.content[:LONGEST_CONTENT])


@admin.register(Worker)
class WorkerAdmin(ReadOnlyAdmin):
    list_display = ("id", "host", "pid", "started_at", "lease_until", "dead_at")
    search_fields = ("host",)
    ordering = ("-pk",)


def tree(value: Any, label: str) -> SafeString:
    return render_to_string("admin/orchestration/_tree.html", {"value": value, "label": label})


def in_short(data: Any) -> str:
    if not data:
        return ""
    text = json.dumps(data, ensure_ascii=False)
    return text if len(text) <= LONGEST_DATA else f"{text[:LONGEST_DATA]}…"
