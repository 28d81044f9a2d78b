"""Agents for staff, to look at: they change by `save_version` alone, which checks the spec and keeps the trail."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from unfold.decorators import display

from accounts.admin import ReadOnlyAdmin, ReadOnlyInline, StaffReadOnlyAdmin
from agents.models import Agent, AgentVersion


class VersionInline(ReadOnlyInline):
    model = AgentVersion
    fk_name = "agent"
    fields = readonly_fields = ("number", "digest", "repeatable", "created_at", "created_by")

    def get_queryset(self, request: HttpRequest) -> Any:
        rows = super().get_queryset(request).select_related("created_by__user", "created_by__organization")
        return rows.defer("configuration", "input_schema", "output_schema")


@admin.register(Agent)
class AgentAdmin(StaffReadOnlyAdmin):
    list_display = ("slug", "organization", "kind", "title", "version")
    list_filter = ("kind", "organization")
    list_select_related = ("organization", "current_version")
    search_fields = ("slug", "title")
    inlines = (VersionInline,)

    @display(description="version", ordering="current_version__number")
    def version(self, agent: Agent) -> int | None:
        return agent.current_version.number if agent.current_version else None


@admin.register(AgentVersion)
class AgentVersionAdmin(ReadOnlyAdmin):
    list_display = ("agent", "number", "digest", "created_at", "created_by")
    list_select_related = ("agent__organization", "created_by__user", "created_by__organization")
    search_fields = ("agent__slug", "digest")
