from django.contrib import admin

from agents.models import Agent, AgentVersion


class ReadOnly:
    """Agents change by `save_version` alone, which checks the spec and keeps the trail."""

    def has_add_permission(self, request, obj=None):
        return False

    def has_change_permission(self, request, obj=None):
        return False

    def has_delete_permission(self, request, obj=None):
        return False


class VersionInline(ReadOnly, admin.TabularInline):
    model = AgentVersion
    fk_name = "agent"
    fields = ("number", "digest", "repeatable", "created_at", "created_by")
    extra = 0

    def get_queryset(self, request):
        return super().get_queryset(request).select_related("created_by__user", "created_by__organization")


@admin.register(Agent)
class AgentAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ("slug", "organization", "kind", "title", "version")
    list_filter = ("organization", "kind")
    list_select_related = ("organization", "current_version")
    search_fields = ("slug", "title")
    inlines = (VersionInline,)

    @admin.display(description="version", ordering="current_version__number")
    def version(self, agent):
        return agent.current_version.number if agent.current_version else None


@admin.register(AgentVersion)
class AgentVersionAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ("agent", "number", "digest", "created_at", "created_by")
    list_select_related = ("agent__organization", "created_by__user", "created_by__organization")
    search_fields = ("agent__slug", "digest")
