from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from accounts.admin import ReadOnlyInline, StaffReadOnlyAdmin
from approvals.models import Decision, Policy, Request


@admin.register(Policy)
class PolicyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("slug", "organization", "roles", "not_the_requester")
    list_select_related = ("organization",)


class DecisionInline(ReadOnlyInline):
    model = Decision
    fields = readonly_fields = ("at", "member", "choice", "note", "edits", "digest_seen", "door", "late")

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).select_related("member__user", "member__organization")


@admin.register(Request)
class RequestAdmin(StaffReadOnlyAdmin):
    list_display = ("title", "status", "choice", "policy", "deadline_at", "created_at", "decided_by")
    list_select_related = ("policy", "decided_by__user", "decided_by__organization")
    list_filter = ("status", "organization")
    search_fields = ("public_id", "title")
    inlines = [DecisionInline]
