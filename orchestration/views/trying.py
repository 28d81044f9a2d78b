"""Trying an agent: a form of its input, and what became of the trial, a run of one step."""

import secrets
from typing import Any
from urllib.parse import urlencode

from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from accounts.authentication import member_of
from accounts.models import Member, Role
from accounts.permissions import page
from agents.models import Agent, AgentVersion
from orchestration import trials
from orchestration.exceptions import InvalidInput, KeyReused
from orchestration.models import LogLine, Payload, Run
from orchestration.step_lines import KINDS_OF_ERROR
from orchestration.views.agent_list import reaches
from orchestration.views.agents import visible_agent
from ui.schema_forms import SchemaForm

SHOWN_TRIALS = 5
SHOWN_LINES = 50


@require_http_methods(["GET", "HEAD", "POST"])
@page(Role.BUILDER, reading=True)
def try_it(request: HttpRequest, slug: str) -> HttpResponse:
    """A form of its input; sent, a run of one step. `run` names a trial to look at, `operation` what to ask for."""
    member = member_of(request)
    found = visible_agent(member, slug)
    version = found.current_version
    if version is None:
        raise Http404
    asked = request.POST if request.method == "POST" else request.GET
    operation = asked.get("operation", "") if version.operations else ""
    if operation not in version.operations:
        operation = next(iter(sorted(version.operations)), "")
    if request.method != "POST":
        trial = shown_trial(member, found, request.GET.get("run", ""))
        given = trial["run"].input if trial else None
        return trial_page(request, found, TrialForm(version, operation, initial=given), trial)
    form = TrialForm(version, operation, request.POST)
    if not form.is_valid():
        return trial_page(request, found, form, None, status=400)
    try:
        run = trials.start_trial(agent=found, given=form.value(), by=member, key=request.POST.get("once", "")[:100])
    except InvalidInput as exc:
        form.refuse(exc)
        return trial_page(request, found, form, None, status=400)
    except KeyReused:
        return trial_page(request, found, form, None, status=409)
    return redirect(f"{reverse('pages:agent-try', args=[slug])}?{urlencode({'run': run.public_id})}#result")


class TrialForm:
    """The fields of what an agent takes, of one operation if it has several; and, where a call may not be made twice,
    the question whether to make it."""

    def __init__(self, version: AgentVersion, operation: str, data: Any = None, initial: Any = None) -> None:
        self.operation = operation
        self.asks = not version.repeatable
        self.refusal = ""
        schema = version.operations[operation]["parameters"] if operation else version.input_schema or {}
        self.is_empty = bool(operation) and not schema.get("properties")
        if operation and isinstance(initial, dict):
            initial = {key: value for key, value in initial.items() if key != "operation"}
        self.fields = SchemaForm(schema, data, initial, label="Input (JSON)")
        self.agreed = data is not None and data.get("agreed") == "yes"
        self.is_sent = data is not None

    def is_valid(self) -> bool:
        if self.asks and not self.agreed:
            self.refusal = "Say that the call may be made: it cannot be taken back."
        return (self.is_empty or self.fields.is_valid()) and not self.refusal

    def value(self) -> Any:
        value = {} if self.is_empty else self.fields.value()
        return {"operation": self.operation, **value} if self.operation else value

    def refuse(self, exc: InvalidInput) -> None:
        if self.is_empty:
            self.refusal = str(exc)
        else:
            found = [(error["pointer"].removeprefix("/input"), error["message"]) for error in exc.errors]
            self.fields.add_findings(found)


def trial_page(
    request: HttpRequest, found: Agent, form: TrialForm, trial: dict[str, Any] | None, *, status: int = 200
) -> HttpResponse:
    member = member_of(request)
    version = found.current_version
    return render(
        request,
        "agents/try.html",
        {
            "agent": found,
            "version": version,
            "form": form,
            "reaches": reaches(found, version),
            "operations": sorted(version.operations) if version else [],
            "trial": trial,
            "topic": f"run:{trial['run'].public_id}" if trial else "",
            "once": secrets.token_urlsafe(16),
            "runs": trials_of(member, found)[:SHOWN_TRIALS],
        },
        status=status,
    )


@require_safe
@page(Role.BUILDER, reading=True)
def trial_part(request: HttpRequest, slug: str, public_id: str) -> HttpResponse:
    """What became of a trial, for the page that waits for it."""
    member = member_of(request)
    found = visible_agent(member, slug)
    trial = shown_trial(member, found, public_id)
    if trial is None:
        raise Http404
    runs = trials_of(member, found)[:SHOWN_TRIALS]
    answer = render(request, "agents/_trial_part.html", {"trial": trial, "runs": runs})
    answer.headers["X-Seq"] = str(trial["run"].seq)
    return answer


def trials_of(member: Member, found: Agent) -> QuerySet[Run]:
    """Newest first."""
    rows = Run.objects.visible_to(member).filter(definition_version__definition__slug=trials.slug_of(found))
    return rows.for_list().defer("output")


def shown_trial(member: Member, found: Agent, public_id: str) -> dict[str, Any] | None:
    """{run, step, output, kind_of_error, lines}; None if there is no such trial of this agent."""
    run = trials_of(member, found).filter(public_id=public_id).first()
    if run is None:
        return None
    step = run.steps.filter(name=trials.STEP).order_by("-round").first()
    output = step.output if step else None
    if step is not None and step.output_digest is not None:
        output = Payload.objects.filter(digest=bytes(step.output_digest)).values_list("body", flat=True).first()
    return {
        "run": run,
        "step": step,
        "output": output,
        "kind_of_error": KINDS_OF_ERROR.get((step.error or {}).get("class", "")) if step else None,
        "lines": LogLine.objects.of(run, step=trials.STEP).shortened().order_by("number")[:SHOWN_LINES],
    }
