"""Start a run: choose a definition, fill in the form that its input schema draws, and be taken to the run."""

import json
import secrets
from collections.abc import Mapping
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from accounts.authentication import member_of
from accounts.json_values import unstorable
from accounts.models import Role
from accounts.permissions import page
from orchestration.exceptions import InvalidInput, KeyReused, OrchestrationError
from orchestration.idempotency import begin_once
from orchestration.models import Definition, DefinitionVersion, Run
from ui.addresses import whole_number
from ui.schema_forms import JsonField, SchemaForm

PREFIX = "input"  # of the form's fields, so that a property may be called as one of ours
RAW = "raw"
SHOWN = 200
LONGEST_PREFILLED = 200_000  # signs of an earlier run's input; a longer one is not filled in


@require_safe
@page()
def choose(request: HttpRequest) -> HttpResponse:
    member = member_of(request)
    rows = Definition.objects.visible_to(member).written().startable()
    words = request.GET.get("q", "").strip()[:100]
    if words:
        rows = rows.filter(slug__icontains=words)
    shown = rows.for_list().defer("current_version__text", "current_version__plan", "current_version__layout")
    return render(
        request,
        "orchestration/run_new.html",
        {
            "definitions": shown.of_the_house()[:SHOWN],
            "examples": shown.examples(),
            "q": words,
            "shown": SHOWN,
            "may_start": member.has_role(Role.OPERATOR),
        },
    )


class RawForm(forms.Form):
    """The whole input as JSON, for who knows it."""

    raw = JsonField(
        label="Input as JSON",
        widget=forms.Textarea(attrs={"rows": 10, "class": "mono", "spellcheck": "false", "autocomplete": "off"}),
    )


@require_http_methods(["GET", "HEAD", "POST"])
@page(Role.OPERATOR)
def start(request: HttpRequest, slug: str) -> HttpResponse:
    """`from`: the run whose input is filled in. `version`: an older one to begin with. `key`: the same form sent twice
    starts one run."""
    member = member_of(request)
    rows = Definition.objects.visible_to(member).filter(current_version__isnull=False).for_list()
    definition = get_object_or_404(rows, slug=slug)
    version = _version(request, definition)
    if request.method != "POST":
        given, source = _earlier(request)
        form, raw = _form(version, initial=given), RawForm(initial={RAW: {} if given is None else given})
        return _page(request, definition, form, raw, source=source)
    as_raw = request.POST.get("as") == RAW
    raw = RawForm(request.POST) if as_raw else RawForm(initial={RAW: {}})
    form = _form(version) if as_raw else _form(version, data=request.POST)
    asked: forms.Form = raw if as_raw else form
    if not asked.is_valid():
        return _page(request, definition, form, raw, status=400)
    value = raw.cleaned_data[RAW] if as_raw else form.value()
    try:
        if problem := unstorable(value):
            raise InvalidInput([{"pointer": "", "message": problem}])
        number = version.number if version and version != definition.current_version else None
        key = request.POST.get("key", "")
        run, joined = begin_once(definition=slug, given=value, by=member, key=key, version=number)
    except InvalidInput as exc:
        _add_findings(asked, exc)
        return _page(request, definition, form, raw, status=400)
    except KeyReused:
        asked.add_error(None, "This form has started a run before. Send it again to start another one with this input.")
        return _page(request, definition, form, raw, status=409, key="")
    except OrchestrationError as exc:
        asked.add_error(None, str(exc))
        return _page(request, definition, form, raw, status=exc.status)
    said = f"Joined a run of {definition.slug} that waits for more." if joined else f"Started {definition.slug}."
    messages.success(request, said)
    return redirect("pages:run", run.public_id)


def _version(request: HttpRequest, definition: Definition) -> DefinitionVersion | None:
    """The one that the address names, else the current one."""
    number = whole_number(request.GET.get("version", ""))
    return definition.current_version if number is None else get_object_or_404(definition.versions, number=number)


def _form(version: DefinitionVersion | None, data: Any = None, initial: Any = None) -> SchemaForm:
    schema = version.plan["input"] if version else None
    if schema is None and initial is None:
        initial = {}
    return SchemaForm(schema if schema is not None else {}, data, initial, prefix=PREFIX, label="Input")


def _earlier(request: HttpRequest) -> tuple[Any, Run | None]:
    wanted = request.GET.get("from", "")
    if not wanted:
        return None, None
    member = member_of(request)
    rows = Run.objects.visible_to(member).select_related("definition_version")
    rows = rows.only("public_id", "input", "definition_version__number", "definition_version__visible_to")
    run = get_object_or_404(rows, public_id=wanted)
    run.require_payload(member)
    if len(json.dumps(run.input)) > LONGEST_PREFILLED:
        messages.warning(request, "The input of that run is too large to be filled in here; start it through the API.")
        return None, None
    return run.input, run


def _add_findings(form: forms.Form, exc: InvalidInput) -> None:
    """`/input/month` belongs to the field of `month`."""
    findings = [(error["pointer"].removeprefix("/input"), error["message"]) for error in exc.errors]
    if isinstance(form, SchemaForm):
        form.add_findings(findings)
        return
    for pointer, message in findings:
        form.add_error(RAW, f"{pointer}: {message}" if pointer else message)


def _page(
    request: HttpRequest,
    definition: Definition,
    form: SchemaForm,
    raw: RawForm,
    *,
    status: int = 200,
    source: Run | None = None,
    key: str | None = None,
) -> HttpResponse:
    """With the key that was sent, unless another is given; "" for a new one."""
    member = member_of(request)
    key = request.POST.get("key", "") if key is None else key
    context: Mapping[str, Any] = {
        "definition": definition,
        "version": _version(request, definition),
        "form": form,
        "raw": raw,
        "key": key or secrets.token_urlsafe(18),
        "source": source,
        "may_start": member.has_role(Role.OPERATOR),
        "as_raw": raw.is_bound,
    }
    return render(request, "orchestration/run_new_form.html", context, status=status)
