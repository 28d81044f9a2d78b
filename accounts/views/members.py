"""Who is in the organization, and what they may."""

from typing import Any

from allauth.account.decorators import reauthentication_required
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST

from accounts.authentication import member_of
from accounts.exceptions import AccountsError
from accounts.forms import WHAT_ROLES_DO, EmailForm, NewMemberForm, RolesForm
from accounts.models import Member, Role
from accounts.permissions import page
from accounts.views.tabs import settings_tabs

PAGE_SIZE = 100
EVERYBODY = set(Role.values)
# What the roles may do, in the order of their doors; an admin may all.
MATRIX: tuple[tuple[str, set[str]], ...] = (
    ("Look at runs, approvals, deliverables, agents, definitions and members", EVERYBODY),
    ("Make API tokens, for oneself", EVERYBODY),
    ("Start, cancel and repeat runs; say what became of a step whose result is unknown", {Role.OPERATOR}),
    ("Answer approvals, if the approval's policy names the role", {Role.APPROVER}),
    ("Save definitions and agents, and try agents out", {Role.BUILDER}),
    ("Add members, change roles, read the audit trail", set()),
)


@page(Role.ADMIN)
@reauthentication_required(allow_get=True)
def members(request: HttpRequest) -> HttpResponse:
    """Everyone in the organization, and for an admin the form to add somebody."""
    form = NewMemberForm(request.POST or None, initial={"roles": [Role.VIEWER]})
    if request.method != "POST":
        return _list(request, form)
    if not form.is_valid():
        return _list(request, form, status=400)
    asking = member_of(request)
    try:
        added, password = Member.add(organization=asking.organization, by=asking, **form.cleaned_data)
    except AccountsError as exc:
        form.add_error("username", str(exc))
        return _list(request, form, status=exc.status)
    if password is not None:
        return _list(request, NewMemberForm(), password=password, name=added.name)
    messages.success(request, f"{added.name} is a member now; they sign in as before.")
    return redirect("pages:members")


@page(Role.ADMIN, reading=True)
def one_member(request: HttpRequest, pk: int) -> HttpResponse:
    return _one(request, _found(request, pk))


@require_POST
@page(Role.ADMIN)
@reauthentication_required
def change_roles(request: HttpRequest, pk: int) -> HttpResponse:
    member = _found(request, pk)
    form = RolesForm(request.POST)
    if not form.is_valid():
        return _one(request, member, roles_form=form, status=400)
    try:
        member.change_roles(form.cleaned_data["roles"], by=member_of(request))
    except AccountsError as exc:
        form.add_error("roles", str(exc))
        return _one(request, member, roles_form=form, status=exc.status)
    messages.success(request, f"{member.name} now is {', '.join(member.roles)}.")
    return redirect("pages:members")


@require_POST
@page(Role.ADMIN)
@reauthentication_required
def change_email(request: HttpRequest, pk: int) -> HttpResponse:
    member = _found(request, pk)
    form = EmailForm(request.POST)
    if not form.is_valid():
        return _one(request, member, email_form=form, status=400)
    try:
        member.change_email(form.cleaned_data["email"], by=member_of(request))
    except AccountsError as exc:
        form.add_error("email", str(exc))
        return _one(request, member, email_form=form, status=exc.status)
    messages.success(request, f"The address of {member.name} is changed.")
    return redirect("pages:member", pk)


@require_POST
@page(Role.ADMIN)
@reauthentication_required
def new_password(request: HttpRequest, pk: int) -> HttpResponse:
    """Shown in the answer, and never again."""
    member = _found(request, pk)
    if member.user_id == request.user.pk:
        raise PermissionDenied("Change your own password under Signing in.")
    try:
        password = member.give_new_password(by=member_of(request))
    except AccountsError as exc:
        messages.error(request, str(exc))
        return redirect("pages:member", pk)
    return _one(request, member, password=password)


@require_POST
@page(Role.ADMIN)
@reauthentication_required
def activation(request: HttpRequest, pk: int) -> HttpResponse:
    """`is_active`: 1 or empty."""
    member = _found(request, pk)
    try:
        if request.POST.get("is_active"):
            member.activate(by=member_of(request))
            messages.success(request, f"{member.name} may come in again.")
        else:
            member.deactivate(by=member_of(request))
            messages.success(request, f"{member.name} is out: neither they nor their tokens are let in.")
    except AccountsError as exc:
        messages.error(request, str(exc))
        return redirect("pages:member", pk)
    return redirect("pages:members")


def _found(request: HttpRequest, pk: int) -> Member:
    return get_object_or_404(Member.objects.visible_to(member_of(request)), pk=pk)


def _one(request: HttpRequest, member: Member, *, status: int = 200, **more: Any) -> HttpResponse:
    here = {
        "person": member,
        "is_oneself": member.user_id == request.user.pk,
        "is_only_ours": member.is_only_ours,
        "roles_form": RolesForm(initial={"roles": member.roles}),
        "email_form": EmailForm(initial={"email": member.user.email}),
        "tabs": settings_tabs(member_of(request), "members"),
        **more,
    }
    return render(request, "accounts/member.html", here, status=status)


def _list(request: HttpRequest, form: NewMemberForm, *, status: int = 200, **more: Any) -> HttpResponse:
    asking = member_of(request)
    rows = Member.objects.visible_to(asking).order_by("user__username", "pk")
    words = request.GET.get("q", "").strip()
    if words:
        rows = rows.filter(user__username__icontains=words)
    after = request.GET.get("after", "")
    if after:
        rows = rows.filter(user__username__gt=after)
    found = list(rows[: PAGE_SIZE + 1])
    shown = found[:PAGE_SIZE]
    here = {
        "form": form,
        "tabs": settings_tabs(asking, "members"),
        "members": shown,
        "may_change": asking.has_role(Role.ADMIN),
        "words": words,
        "after": after,
        "next": shown[-1].name if len(found) > PAGE_SIZE else "",
        "here": reverse("pages:members"),
        "roles": WHAT_ROLES_DO.keys(),
        "matrix": [(what, [role == Role.ADMIN or role in held for role in WHAT_ROLES_DO]) for what, held in MATRIX],
        **more,
    }
    return render(request, "accounts/members.html", here, status=status)
