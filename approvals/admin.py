from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from accounts.admin import ReadOnlyAdmin
from approvals.models import Decision, Policy, Request


@admin.register(Policy)
class PolicyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("slug", "organization", "roles", "not_the_requester")
    list_select_related = ("organization",)


class DecisionInline(admin.TabularInline):  # type: ignore[type-arg]
    model = Decision
    extra = 0
    can_delete = False
    fields = readonly_fields = ("at", "member", "choice", "note", "edits", "digest_seen", "door", "late")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Request)
class RequestAdmin(ReadOnlyAdmin):
    list_display = ("title", "status", "choice", "policy", "deadline_at", "created_at", "decided_by")
    list_select_related = ("policy", "decided_by__user", "decided_by__organization")
    list_filter = ("status", "organization")
    search_fields = ("public_id", "title")
    inlines = [DecisionInline]
