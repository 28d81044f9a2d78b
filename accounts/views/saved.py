"""Views of lists that members save: the filters of an address, by a name of their own."""

from typing import Any

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from accounts.authentication import member_of
from accounts.exceptions import TooManyViews
from accounts.models import Member, Role, SavedView
from accounts.permissions import page


class SavedViewForm(forms.Form):
    name = forms.CharField(max_length=80)
    query = forms.CharField(max_length=4000)
    shared = forms.BooleanField(required=False)


@require_POST
@page()
def save_view(request: HttpRequest, list_name: str) -> HttpResponse:
    """Under a name that the member has used before, it takes that one's place."""
    member, form = member_of(request), SavedViewForm(request.POST)
    if list_name not in SavedView.List.values:
        raise Http404
    here = reverse(f"pages:{list_name}")
    back = f"{here}?{request.POST.get('query', '')}"
    if not form.is_valid():
        messages.error(request, "Not saved: a view needs filters, and a name of at most 80 signs.")
        return redirect(back)
    words = form.cleaned_data
    is_shared = words["shared"] and member.has_role(Role.BUILDER)
    try:
        SavedView.keep(member, list_name, words["name"], words["query"], is_shared=is_shared)
    except TooManyViews as exc:
        messages.error(request, str(exc))
    else:
        messages.success(request, f"Saved as {words['name']}.")
    return redirect(back)


@require_POST
@page()
def drop_view(request: HttpRequest, pk: int) -> HttpResponse:
    view = get_object_or_404(SavedView.objects.droppable_by(member_of(request)), pk=pk)
    view.delete()
    messages.success(request, f"{view.name} is no saved view any more.")
    return redirect(reverse(f"pages:{view.list}"))


def saved_views(member: Member, list_name: str, query: str) -> dict[str, Any]:
    """For `ui/saved_views.html`: {tabs, here (the one whose filters these are), may_drop, …}. One query."""
    address = reverse(f"pages:{list_name}")
    rows = list(SavedView.objects.shown_to(member).filter(list=list_name).select_related("member"))
    here = next((row for row in rows if row.query == query), None)
    return {
        "tabs": [{"label": row.name, "url": f"{address}?{row.query}", "is_here": row == here} for row in rows],
        "here": here,
        "may_drop": here is not None and here.can_be_dropped_by(member),
        "may_share": member.has_role(Role.BUILDER),
        "query": query,
        "save_url": reverse("pages:save-view", args=[list_name]),
        "drop_url": reverse("pages:drop-view", args=[here.pk]) if here else "",
    }
