"""The list of bulk actions, and the part of it that may change."""

from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from accounts.authentication import member_of
from accounts.models import Role
from accounts.permissions import page
from orchestration.bulk_lists import STATES, Asked, address, people_of, rows_of
from orchestration.engine.bulk import LEVERS
from orchestration.models import Bulk
from ui.arrivals import arrived, told

PAGE_SIZE = 50


@require_safe
@page()
def action_list(request: HttpRequest) -> HttpResponse:
    """Newest first. `state`, `lever` and `by` narrow it, `before` goes on from an action."""
    member = member_of(request)
    asked = Asked.of(request.GET)
    rows = asked.rows(member)
    last = request.GET.get("before", "")
    begun = Bulk.objects.visible_to(member).filter(public_id=last).values_list("pk", flat=True).first()
    if begun is not None:
        rows = rows.filter(pk__lt=begun)
    found = list(rows.for_list()[: PAGE_SIZE + 1])
    shown, has_more = found[:PAGE_SIZE], len(found) > PAGE_SIZE
    part = {**asked.words, "ids": ",".join(bulk.public_id for bulk in shown)}
    if begun is None:
        part["known"] = told([bulk.pk for bulk in shown], has_more=has_more)
    return render(
        request,
        "orchestration/bulks.html",
        {
            "rows": rows_of(shown),
            "asked": asked,
            "states": STATES,
            "levers": {name: lever.words for name, lever in LEVERS.items()},
            "people": people_of(member),
            "may_act": member.has_role(Role.OPERATOR),
            "part_url": f"{reverse('pages:runs-actions-part')}?{urlencode(part)}",
            "older_url": address(asked, before=shown[-1].public_id) if has_more else None,
            "newer_url": address(asked) if begun is not None else None,
        },
    )


@require_safe
@page()
def action_list_part(request: HttpRequest) -> HttpResponse:
    """The rows named by `ids` as they are now, where they are, and how many that were not `known` began."""
    member = member_of(request)
    asked, known = Asked.of(request.GET), request.GET.get("known")
    ids = request.GET.get("ids", "").split(",")[:PAGE_SIZE]
    context = {
        "rows": rows_of(Bulk.objects.visible_to(member).for_list().filter(public_id__in=ids)),
        "new": 0 if known is None else arrived(asked.rows(member), known),
        "fresh_url": address(asked),
    }
    return render(request, "orchestration/_bulks_part.html", context)
