"""A page for each lever, which the run's page shows in a dialog: what it would do, its fields, and the refusal."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_http_methods

from accounts.authentication import member_of
from accounts.models import Member
from accounts.permissions import page
from orchestration.exceptions import InvalidInput, OrchestrationError
from orchestration.lever import REASON, Filled, Lever
from orchestration.levers import LEVERS, step_of
from orchestration.models import Run, Step
from ui.addresses import whole_number
from ui.schema_forms import SchemaForm, TextField

PLACE = ("index", "round")
LOOK = "_look"  # the button that shows what it would do, and does nothing


class MomentField(TextField):
    """A time of the reader's zone as browsers ask for it; its value has the offset."""

    def text_of(self, value: Any) -> str:
        at = parse_datetime(value)
        return timezone.localtime(at).strftime("%Y-%m-%dT%H:%M") if at and at.tzinfo else str(value)

    def value_of(self, text: str) -> str:
        try:
            at = parse_datetime(text)
        except ValueError:
            at = None
        return timezone.make_aware(at).isoformat() if at and at.tzinfo is None else text


class LeverForm(SchemaForm):
    """The lever's own fields, then the reason. `filled`: what they hold at first, by their names."""

    def __init__(
        self, lever: Lever, data: Any = None, initial: Any = None, *, filled: Mapping[str, Filled] | None = None
    ) -> None:
        filled = filled or {}
        asked = {name: schema for name, schema in lever.fields.items() if name not in lever.seen} | {"reason": REASON}
        asked |= {name: {**asked[name], "description": each.help} for name, each in filled.items()}
        initial = {name: each.value for name, each in filled.items()} | (initial or {})
        required = [name for name in (*lever.required, "reason") if name in asked]
        super().__init__({"type": "object", "properties": asked, "required": required}, data, initial)
        reason: Any = self.fields["reason"]
        reason.widget = forms.Textarea(attrs={"rows": 2, "maxlength": REASON["maxLength"], "autocomplete": "off"})
        reason.pattern = ""  # "This field is required" says it better
        for name, schema in asked.items():
            if schema.get("format") == "date-time":
                self._ask_for_a_moment(self.names[name])
        for name in filled:
            self.fields[self.names[name]].widget.attrs |= {"class": "mono grows", "rows": 8}

    def _ask_for_a_moment(self, key: str) -> None:
        asked: Any = self.fields[key]
        self.fields[key] = MomentField(
            label=asked.label,
            help_text="In your time zone; nothing for no such time." if asked.nullable else "In your time zone.",
            required=asked.required,
            nullable=asked.nullable,
            initial=asked.initial,
            widget=forms.DateTimeInput(attrs={"type": "datetime-local"}),
        )

    def given_so_far(self) -> dict[str, Any]:
        """Of a form that may lack its reason: what its lever looks at."""
        self.is_valid()
        return dict(self.value())


@dataclass(frozen=True, slots=True)
class Offer:
    lever: Lever
    url: str


@dataclass(frozen=True, slots=True)
class Offers:
    """`first` have buttons of their own, `more` lie in a menu."""

    first: list[Offer]
    more: list[Offer]


def offers(member: Member, run: Run, steps: Collection[Step], step: Step | None = None) -> Offers:
    """What this member could do now to the run, or to its step. `steps`: those of the run."""
    row = step or run
    found = [
        Offer(lever, address(lever, run, step))
        for lever in LEVERS
        if lever.of == ("step" if step else "run")
        and member.has_role(lever.role)
        and row.status not in lever.idle
        and lever.refusal(row, steps) is None
    ]
    first = [offer for offer in found if offer.lever.is_first]
    return Offers(first, [offer for offer in found if offer not in first])


def address(lever: Lever, run: Run, step: Step | None) -> str:
    if step is None:
        return reverse(f"pages:run-{lever.name}", args=[run.public_id])
    query = "" if step.index is None else f"?{urlencode({'index': step.index})}"
    return reverse(f"pages:step-{lever.name}", args=[run.public_id, step.name]) + query


def door(lever: Lever) -> Callable[..., HttpResponseBase]:
    @require_http_methods(["GET", "HEAD", "POST"])
    @page(lever.role, reading=True)
    def view(request: HttpRequest, public_id: str, name: str | None = None) -> HttpResponse:
        run = _run_of(request, public_id)
        step = None if name is None else _step_of(request, run, name)
        filled = {name: of(step or run, member_of(request)) for name, of in lever.filled.items()}
        if request.method != "POST":
            form = LeverForm(lever, initial=_asked(lever, request), filled=filled)
            return _page(request, lever, run, step, form)
        form = LeverForm(lever, request.POST, filled=filled)
        if LOOK in request.POST:
            given = form.given_so_far()
            form.errors.pop("reason", None)
            return _page(request, lever, run, step, form, given=given)
        if not form.is_valid():
            return _page(request, lever, run, step, form, status=400)
        try:
            seen = {name: request.POST.get(name, "") for name in lever.seen}
            found = lever.pull(run, step, form.value() | seen, by=member_of(request))
        except InvalidInput as exc:
            form.add_findings((error["pointer"], error["message"]) for error in exc.errors)
            return _page(request, lever, run, step, form, status=exc.status)
        except OrchestrationError as exc:
            form.add_error(None, str(exc))
            return _page(request, lever, _run_of(request, public_id), step, form, status=exc.status)
        messages.success(request, f"{step.name}: {lever.done}" if step else lever.done)
        return _gone_to(request, found if isinstance(found, Run) else run, step)

    return view


def _run_of(request: HttpRequest, public_id: str) -> Run:
    rows = Run.objects.visible_to(member_of(request)).for_list().without_values()
    return get_object_or_404(rows, public_id=public_id)


def _step_of(request: HttpRequest, run: Run, name: str) -> Step:
    asked = {word: whole_number(request.GET.get(word, "")) for word in PLACE}
    step = step_of(run, name, **{word: number for word, number in asked.items() if number is not None})
    if step is None:
        raise Http404("There is no such step in this run.")
    return step


def _asked(lever: Lever, request: HttpRequest) -> dict[str, Any]:
    """What the address fills in: plain words."""
    return {name: request.GET[name] for name in lever.fields if name in request.GET}


def _gone_to(request: HttpRequest, run: Run, step: Step | None) -> HttpResponse:
    """To a dialog the address is told: it is the page that goes there."""
    is_there = Run.objects.filter(pk=run.pk).exists()  # a lever may have deleted it
    step = step if step and step.run_id == run.pk else None
    target = _page_of(run, step) if is_there else reverse("pages:runs")
    if "HX-Request" in request.headers:
        return HttpResponse(status=204, headers={"X-Goes-To": target})
    return redirect(target)


def _page_of(run: Run, step: Step | None) -> str:
    return run.get_absolute_url() + (f"?{urlencode({'step': step.name})}" if step else "")


def _page(
    request: HttpRequest,
    lever: Lever,
    run: Run,
    step: Step | None,
    form: LeverForm,
    *,
    status: int = 200,
    given: dict[str, Any] | None = None,
) -> HttpResponse:
    in_dialog = "HX-Request" in request.headers
    refusal = lever.refusal(step or run)
    context = {
        "lever": lever,
        "run": run,
        "step": step,
        "form": form,
        "action": request.get_full_path(),
        "back": _page_of(run, step),
        "refusal": refusal if not form.is_bound else None,
        "preview": [] if refusal else lever.look(run, step, given or {}),
        "seen": {} if refusal else {name: seen(step or run) for name, seen in lever.seen.items()},
        "in_dialog": in_dialog,
    }
    template = "orchestration/_lever.html" if in_dialog else "orchestration/lever.html"
    return render(request, template, context, status=status)


def routes() -> Iterable[URLPattern]:
    places = {"run": "runs/<str:public_id>", "step": "runs/<str:public_id>/steps/<str:name>"}
    for lever in LEVERS:
        yield path(f"{places[lever.of]}/{lever.name}/", door(lever), name=f"{lever.of}-{lever.name}")
