"""Rows that the engine writes, to look at."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from accounts.admin import ReadOnlyAdmin, ReadOnlyInline, StaffReadOnlyAdmin
from orchestration.models import Definition, DefinitionVersion, Deliverable, Event, Run, Worker

SHOWN_EVENTS = 500


class VersionInline(ReadOnlyInline):
    model = DefinitionVersion
    fields = readonly_fields = ("number", "digest", "text", "created_at", "created_by")
    ordering = ("-number",)

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).select_related("created_by__user", "created_by__organization")


@admin.register(Definition)
class DefinitionAdmin(StaffReadOnlyAdmin):
    list_display = ("slug", "organization", "current_version", "created_at")
    list_select_related = ("organization", "current_version")
    list_filter = ("organization",)
    search_fields = ("slug",)
    inlines = [VersionInline]


@admin.register(Run)
class RunAdmin(StaffReadOnlyAdmin):
    list_display = ("public_id", "definition", "status", "started_by", "created_at", "ended_at")
    list_select_related = (
        "definition_version__definition",
        "started_by__user",
        "started_by__organization",
    )
    list_filter = ("status", "organization")
    search_fields = ("public_id",)
    show_full_result_count = False
    ordering = ("-pk",)
    fields = readonly_fields = (
        *("public_id", "organization", "definition", "status", "started_by", "created_at", "ended_at"),
        *("input", "output", "error", "steps_table", "events_table"),
    )

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).select_related("organization", *self.list_select_related)

    @admin.display(ordering="definition_version__definition__slug")
    def definition(self, run: Run) -> str:
        return f"{run.definition_version.definition.slug} v{run.definition_version.number}"

    @admin.display(description="steps")
    def steps_table(self, run: Run) -> SafeString:
        steps = run.steps.exclude(kind="output").order_by("position", "round", "index")
        return render_to_string("orchestration/_steps.html", {"steps": steps})

    @admin.display(description="events")
    def events_table(self, run: Run) -> SafeString:
        newest = Event.objects.filter(run=run).order_by("-seq")[:SHOWN_EVENTS]
        return render_to_string("orchestration/_events.html", {"events": newest, "total": run.seq})


@admin.register(Deliverable)
class DeliverableAdmin(StaffReadOnlyAdmin):
    list_display = ("title", "name", "version", "run", "created_at")
    list_select_related = ("run",)
    search_fields = ("public_id", "run__public_id")
    show_full_result_count = False
    ordering = ("-pk",)


@admin.register(Worker)
class WorkerAdmin(ReadOnlyAdmin):
    list_display = ("id", "host", "pid", "started_at", "lease_until", "dead_at")
    ordering = ("-pk",)
