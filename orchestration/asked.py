"""What a checkpoint's question is about, told to the pages of approvals."""

from collections.abc import Collection
from typing import Any

from django.urls import reverse

from accounts.models import Member
from agents.models import AgentVersion
from approvals.models import Request
from approvals.surroundings import Result, Step, Surroundings
from orchestration.engine.levers.keeping import below
from orchestration.models import DefinitionVersion, Run
from orchestration.models import Step as RunStep
from orchestration.run_lists import simulated_among

SHOWN = ("run_id", "key", "position", "name", "round", "status", "waits_for", "agent_version_id")


def tell(row: Request, member: Member) -> Surroundings | None:
    """None about what no run asked."""
    run = (
        Run.objects.visible_to(member)
        .filter(public_id=row.run or "")
        .select_related("definition_version__definition")
        .defer("input", "output", *(f"definition_version__{name}" for name in ("text", "plan", "layout")))
        .first()
    )
    if run is None:
        return None
    version, sees = run.definition_version, run.payload_visible_to(member)
    results = (
        run.deliverables.visible_to(member)
        .order_by("name", "-version")
        .distinct("name")
        .only("public_id", "title", "version")
    )
    return Surroundings(
        title=f"{version.definition.slug} v{version.number}",
        url=reverse("pages:run", args=[run.public_id]),
        status=run.status,
        sentence=_sentence(run) if sees else "",
        has_ended=run.has_ended,
        behind=_behind(run, [name for name, _ in row.digest_parts.get("steps", [])]),
        again=_again(version, row.step),
        results=[
            Result(found.title, reverse("pages:deliverable", args=[found.public_id]))
            for found in (results if sees else ())
        ],
        is_simulated=bool(simulated_among([run.pk])),
        topic=f"run:{run.public_id}",
        seq=run.seq,
    )


def family(name: str, member: Member) -> list[str]:
    """The public ids of a run and of all that it started, at any depth; none of one that is not the member's to see."""
    run = Run.objects.visible_to(member).filter(public_id=name).first()
    keys = [] if run is None else below(run)
    return list(Run.objects.filter(pk__in=keys).values_list("public_id", flat=True))


def simulated(rows: Collection[Request]) -> set[int]:
    """The keys of those whose run a stand-in took part in. One query."""
    steps = RunStep.objects.filter(run__public_id__in={row.run for row in rows if row.run}, usage__simulated=True)
    marked = set(steps.order_by().values_list("run__organization_id", "run__public_id").distinct())
    return {row.pk for row in rows if (row.organization_id, row.run) in marked}


def _sentence(run: Run) -> str:
    """What its chip does not say."""
    if not run.error:
        return ""
    return f"{run.error.get('step', '')}: {run.error.get('message', '')}".strip(": ")


def _behind(run: Run, names: list[str]) -> list[Step]:
    rows = RunStep.objects.filter(run=run, name__in=names).only(*SHOWN).order_by("position", "-round")
    newest: dict[str, Any] = {}
    for row in rows:
        newest.setdefault(row.name, row)
    pinned = [row.agent_version_id for row in newest.values() if row.agent_version_id]
    agents = dict(AgentVersion.objects.filter(pk__in=pinned).values_list("pk", "agent__slug"))
    return [_step(row, agents.get(row.agent_version_id, "")) for row in newest.values()]


def _step(row: RunStep, agent: str) -> Step:
    url = reverse("pages:agent", args=[agent]) if agent else ""
    return Step(row.name, agent, url, row.status, row.waits_for)


def _again(version: DefinitionVersion, gate: str | None) -> list[str]:
    """The gate's own list, taken out of the plan by the database: a plan may be long."""
    steps = DefinitionVersion.objects.filter(pk=version.pk).values_list("plan__steps", flat=True).first() or []
    for step in steps:
        if step["name"] == gate:
            return list((step["approval"] or {}).get("retry") or step["needs"])
    return []
