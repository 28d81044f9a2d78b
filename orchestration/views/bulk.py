"""One lever at many runs: what it would do, and how far it is."""

from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl, urlencode

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from accounts.authentication import member_of
from accounts.models import Member, Role
from accounts.permissions import page
from orchestration.bulk_lists import rows_of
from orchestration.engine import bulk
from orchestration.exceptions import InvalidInput, OrchestrationError, Refused
from orchestration.lever import Lever
from orchestration.models import Bulk, BulkItem, Run
from orchestration.views.levers import LOOK, LeverForm

SHOWN = 200


def levers_for(member: Member) -> list[Lever]:
    return [lever for lever in bulk.LEVERS.values() if member.has_role(lever.role)]


@require_safe
@page(Role.OPERATOR, reading=True)
def choose(request: HttpRequest) -> HttpResponse:
    """From the list of runs to the page that shows what would be done: `do` is the lever, `run` each one that is
    ticked; or with `all` those that `filter` leaves, as the list's address says it."""
    wanted, words = request.GET.get("do", ""), parse_qsl(request.GET.get("filter", ""))
    ids = list(dict.fromkeys(request.GET.getlist("run")))
    if not wanted or (request.GET.get("all") != "1" and not ids):
        messages.error(request, "Tick runs, and say what is to be done to them.")
        return redirect(_list_of(words))
    lever = bulk.LEVERS.get(wanted)
    if lever is None:
        raise Http404("There is no such lever.")
    if request.GET.get("all") != "1":
        words = [*((name, value) for name, value in words if name != "ids"), ("ids", ",".join(ids))]
    return redirect(f"{reverse('pages:runs-act', args=[lever.name])}?{urlencode(words, safe=',')}")


def _list_of(words: Iterable[tuple[str, str]]) -> str:
    query = urlencode([pair for pair in words if pair[0] != "ids"])
    return f"{reverse('pages:runs')}{'?' if query else ''}{query}"


@require_http_methods(["GET", "HEAD", "POST"])
@page(Role.OPERATOR, reading=True)
def new(request: HttpRequest, name: str) -> HttpResponse:
    """`ids`, or the words of the address of the list of runs: which. A POST does what was shown, or shows it anew."""
    member = member_of(request)
    lever = bulk.LEVERS.get(name)
    if lever is None:
        raise Http404("There is no such lever.")
    if not member.has_role(lever.role):
        raise PermissionDenied(f"This needs the role {lever.role}.")
    ids = request.GET.get("ids")
    chosen = bulk.Chosen(request.GET.urlencode(), None if ids is None else ids.split(","))
    form = LeverForm(lever, request.POST or None)
    status = 200
    if LOOK in request.POST:
        form.given_so_far()
        form.errors.pop("reason", None)
        status = 400 if form.errors else 200
    elif request.method == "POST" and not form.is_valid():
        status = 400
    elif request.method == "POST":
        given = form.value()
        try:
            begun = bulk.begin(
                lever, chosen, given, reason=given.pop("reason"), digest=request.POST.get("digest", ""), by=member
            )
            return redirect("pages:runs-action", begun.public_id)
        except InvalidInput as exc:
            form.add_findings((error["pointer"], error["message"]) for error in exc.errors)
            status = exc.status
        except OrchestrationError as exc:
            form.add_error(None, str(exc))
            status = exc.status
    return _asking(request, lever, chosen, form, status)


def _asking(request: HttpRequest, lever: Lever, chosen: bulk.Chosen, form: LeverForm, status: int) -> HttpResponse:
    given = _given(form)
    context: dict[str, Any] = {
        "lever": lever,
        "form": form,
        "asks_first": "step" in lever.fields and "step" not in given,
        "action": request.get_full_path(),
        "back": _list_of((name, value) for name, values in request.GET.lists() for value in values),
        "shown": SHOWN,
    }
    try:
        found = bulk.look(lever, chosen, given, by=member_of(request))
        context |= {"look": found, "refused": found.refused[:SHOWN], "able": _able(found)}
    except InvalidInput as exc:
        context["problems"] = [error["message"] for error in exc.errors]
        status = max(status, exc.status)
    except Refused as exc:
        context["problems"] = [str(exc)]
        status = max(status, exc.status)
    return render(request, "orchestration/bulk_new.html", context, status=status)


def _given(form: LeverForm) -> dict[str, Any]:
    return {name: value for name, value in form.given_so_far().items() if name != "reason"} if form.is_bound else {}


def _able(found: bulk.Look) -> list[Run]:
    return [run for run in found.runs if run.pk not in found.refusals][:SHOWN]


@require_safe
@page()
def action(request: HttpRequest, public_id: str) -> HttpResponse:
    return render(request, "orchestration/bulk.html", _far(request, public_id))


@require_safe
@page()
def action_part(request: HttpRequest, public_id: str) -> HttpResponse:
    """How far it is by now."""
    return render(request, "orchestration/_bulk_part.html", _far(request, public_id))


def _far(request: HttpRequest, public_id: str) -> dict[str, Any]:
    member = member_of(request)
    rows = Bulk.objects.visible_to(member).select_related("by__user")
    found = get_object_or_404(rows, public_id=public_id)
    counts = {status: found.items.filter(status=status).count() for status in BulkItem.Status.values}
    items = found.items.exclude(status=BulkItem.Status.OPEN).order_by("-status", "run_id")[:SHOWN]
    return {
        "bulk": found,
        "lever": bulk.LEVERS.get(found.action),
        "counts": counts,
        "items": bulk.told(found, items, member),
        "row": rows_of([found])[0],
        "shown": SHOWN,
    }
