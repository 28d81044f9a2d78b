from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.http import HttpRequest

from accounts import audit
from accounts.authentication import member_of
from accounts.models import ApiToken, AuditEntry, Member, Organization, User

admin.site.register(User, UserAdmin)


class ReadOnlyAdmin(admin.ModelAdmin):
    """Rows that only verbs change."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class StaffReadOnlyAdmin(ReadOnlyAdmin):
    """Staff read the rows of their own organization, as everywhere; a superuser those of all."""

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return reads_as_staff(request)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return reads_as_staff(request)

    def get_queryset(self, request: HttpRequest) -> Any:
        rows: Any = super().get_queryset(request)
        return rows if request.user.is_superuser else rows.visible_to(member_of(request))

    def get_list_filter(self, request: HttpRequest) -> Any:
        """Without other organizations' names."""
        return [
            name for name in super().get_list_filter(request) if request.user.is_superuser or name != "organization"
        ]


class ReadOnlyInline(admin.TabularInline):
    """What belongs to a row that may be read, may be read."""

    extra = 0
    can_delete = False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return reads_as_staff(request)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def reads_as_staff(request: HttpRequest) -> bool:
    user = request.user
    if not (user.is_active and user.is_staff):
        return False
    return user.is_superuser or Member.objects.active().filter(user__username=user.get_username()).exists()


@admin.register(Organization)
class OrganizationAdmin(admin.ModelAdmin):
    list_display = ("slug", "name", "created_at")


@admin.register(Member)
class MemberAdmin(admin.ModelAdmin):
    list_display = ("user", "organization", "roles", "is_active")
    list_filter = ("organization", "is_active")
    list_select_related = ("user", "organization")
    autocomplete_fields = ("user",)
    search_fields = ("user__username",)

    def save_model(self, request: HttpRequest, obj: Member, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        audit.record(
            organization=obj.organization,
            actor=member_of(request),
            action="member.change" if change else "member.add",
            target=obj.name,
            data={"roles": obj.roles, "is_active": obj.is_active},
        )


@admin.register(ApiToken)
class ApiTokenAdmin(ReadOnlyAdmin):
    list_display = ("name", "prefix", "member", "scopes", "expires_at", "revoked_at", "last_used_at")
    list_select_related = ("member__user", "member__organization")
    exclude = ("digest",)


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    list_display = ("at", "organization", "actor", "action", "target")
    list_select_related = ("organization", "actor__user", "actor__organization")
    list_filter = ("organization",)
    search_fields = ("target", "action")
