"""People in the admin, and what all apps' admins share."""

from typing import Any, cast

from allauth.account import admin as account_admin
from allauth.account.models import EmailAddress
from allauth.mfa import admin as mfa_admin
from allauth.mfa.models import Authenticator
from allauth.socialaccount import admin as social_admin
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialToken
from allauth.usersessions import admin as sessions_admin
from allauth.usersessions.models import UserSession
from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.utils.functional import cached_property
from unfold.admin import ModelAdmin, TabularInline
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from accounts import sessions
from accounts.authentication import member_of
from accounts.exceptions import AccountsError, NotAMember
from accounts.models import ApiToken, AuditEntry, Member, Organization, User
from ui.statuses import LOOKS

MOST_COUNTED = 10_000
# By status, as Unfold's labels are called: the tones of the pages.
OF_TONE = {"good": "success", "busy": "info", "wait": "warning", "bad": "danger"}
LABELS = {status: OF_TONE[look.tone] for status, look in LOOKS.items() if look.tone in OF_TONE}
# Read first, so that what these register in plain dress can be dressed anew below, or taken away: sessions and sign-in
# providers have their own pages and settings, and tokens of providers are nobody's to read.
DRESSED_ANEW = (account_admin, mfa_admin, social_admin, sessions_admin)
for model in (Group, EmailAddress, Authenticator, SocialAccount, SocialApp, SocialToken, UserSession):
    admin.site.unregister(model)


class CappedPaginator(Paginator):
    """Counts no further than people page: what is older is found by a filter or a search."""

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        return int(rows.order_by()[:MOST_COUNTED].count())


class Admin(ModelAdmin):
    """A table that may be large: no count of all of it."""

    paginator = CappedPaginator
    show_full_result_count = False
    list_per_page = 20
    warn_unsaved_form = True


class OnlyRead:
    """Rows that only verbs change."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class ReadOnlyAdmin(OnlyRead, Admin):
    pass


class StaffReadOnlyAdmin(ReadOnlyAdmin):
    """Staff read the rows of their own organization, as everywhere; a superuser those of all.

    `large`: fields that a list does not read.
    """

    large: tuple[str, ...] = ()

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return reads_as_staff(request)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return reads_as_staff(request)

    def get_queryset(self, request: HttpRequest) -> Any:
        rows: Any = super().get_queryset(request)
        if is_list(request):
            rows = rows.defer(*self.large)
        return rows if request.user.is_superuser else rows.visible_to(member_of(request))

    def get_list_filter(self, request: HttpRequest) -> Any:
        """Without other organizations' names."""
        return [
            name for name in super().get_list_filter(request) if request.user.is_superuser or name != "organization"
        ]

    def get_list_display(self, request: HttpRequest) -> Any:
        """Without a column that says the same in each row."""
        return [
            name for name in super().get_list_display(request) if request.user.is_superuser or name != "organization"
        ]


class ReadOnlyInline(OnlyRead, TabularInline):
    """What belongs to a row that may be read, may be read."""

    extra = 0
    can_delete = False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return reads_as_staff(request)


def is_list(request: HttpRequest) -> bool:
    found = request.resolver_match
    return found is not None and str(found.url_name).endswith("_changelist")


def reads_as_staff(request: HttpRequest) -> bool:
    """Asked many times a page, so kept on the request."""
    user: Any = request.user
    if not (user.is_active and user.is_staff):
        return False
    if not hasattr(request, "reads_as_staff"):
        active = user.is_superuser or Member.objects.active().filter(user__username=user.get_username()).exists()
        request.reads_as_staff = active  # type: ignore[attr-defined]
    return bool(request.reads_as_staff)  # type: ignore[attr-defined]


def actor_of(request: HttpRequest) -> Member | None:
    """None for a superuser who is a member nowhere; the trail names the user besides."""
    try:
        return member_of(request)
    except NotAMember:
        return None


@admin.register(User)
class PersonAdmin(UserAdmin, ModelAdmin):
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if not obj.is_active:
            sessions.end_all(obj.pk)


@admin.register(Group)
class StaffGroupAdmin(GroupAdmin, ModelAdmin):
    """Rights in the admin; what people may do in the product hangs on their memberships."""


@admin.register(EmailAddress)
class EmailAddressAdmin(Admin):
    list_display = ("email", "user", "primary", "verified")
    list_filter = ("primary", "verified")
    list_select_related = ("user",)
    search_fields = ("email", "user__username")
    autocomplete_fields = ("user",)


class LostAndFoundAdmin(Admin):
    """Taken from someone who lost it, never made or changed here; its secrets are not shown."""

    list_select_related = ("user",)
    search_fields = ("user__username",)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Authenticator)
class AuthenticatorAdmin(LostAndFoundAdmin):
    list_display = ("user", "type", "created_at", "last_used_at")
    list_filter = ("type",)
    fields = ("user", "type", "created_at", "last_used_at")


@admin.register(SocialAccount)
class SocialAccountAdmin(LostAndFoundAdmin):
    list_display = ("user", "provider", "uid", "date_joined")
    list_filter = ("provider",)
    fields = ("user", "provider", "uid", "date_joined", "last_login")


@admin.register(Organization)
class OrganizationAdmin(Admin):
    list_display = ("slug", "name", "created_at")
    search_fields = ("slug", "name")


@admin.register(Member)
class MemberAdmin(Admin):
    list_display = ("user", "organization", "held", "is_active")
    list_filter = ("organization", "is_active")
    list_select_related = ("user", "organization")
    autocomplete_fields = ("user",)
    search_fields = ("user__username",)

    @admin.display(description="roles")
    def held(self, member: Member) -> str:
        return ", ".join(member.roles)

    def get_readonly_fields(self, request: HttpRequest, obj: Member | None = None) -> tuple[str, ...]:
        return ("user", "organization") if obj else ()

    def has_delete_permission(self, request: HttpRequest, obj: Member | None = None) -> bool:
        """They are deactivated: what they did keeps their name."""
        return False

    def changeform_view(self, request: HttpRequest, *args: Any, **named: Any) -> HttpResponseBase:
        try:
            answer: HttpResponseBase = super().changeform_view(request, *args, **named)
        except AccountsError as exc:  # nothing was saved: the view is one transaction
            self.message_user(request, str(exc), messages.ERROR)
            return redirect(request.path)
        return answer

    def save_model(self, request: HttpRequest, obj: Member, form: Any, change: bool) -> None:
        by = actor_of(request) or cast(User, request.user)
        if not change:
            obj.join(by=by)
            return
        stored = Member.objects.get(pk=obj.pk)
        if "roles" in form.changed_data:
            stored.change_roles(obj.roles, by=by)
        if "is_active" in form.changed_data:
            (stored.activate if obj.is_active else stored.deactivate)(by=by)


@admin.register(ApiToken)
class ApiTokenAdmin(ReadOnlyAdmin):
    list_display = ("name", "prefix", "member", "scopes", "expires_at", "revoked_at", "last_used_at")
    list_select_related = ("member__user", "member__organization")
    search_fields = ("name", "prefix", "member__user__username")
    exclude = ("digest",)


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    list_display = ("at", "organization", "actor", "action", "target")
    list_select_related = ("organization", "actor__user", "actor__organization")
    list_filter = ("organization",)
    search_fields = ("target", "action")
