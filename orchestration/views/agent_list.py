"""The list of agents: what each may reach, where it is used, and what became of its calls."""

from typing import Any
from urllib.parse import urlencode

from django.db.models import F, Func, JSONField, Value
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from accounts.authentication import member_of
from accounts.models import Member, Role
from accounts.permissions import page
from agents.models import Agent, AgentVersion
from agents.reach import Reach, reach_of
from orchestration import recent
from orchestration.models import Definition
from ui.arrivals import keys_of


@require_safe
@page()
def agent_list(request: HttpRequest) -> HttpResponse:
    member = member_of(request)
    rows = agent_rows(member)
    ids = ",".join(str(row["agent"].pk) for row in rows)
    return render(
        request,
        "agents/agents.html",
        {
            "rows": rows,
            "part_url": f"{reverse('pages:agents-part')}?{urlencode({'ids': ids})}",
            "newest_runs": recent.NEWEST_RUNS,
            "may_build": member.has_role(Role.BUILDER),
        },
    )


@require_safe
@page()
def agent_list_part(request: HttpRequest) -> HttpResponse:
    """The rows of the keys `ids` as they are now, where they are, and how many others there are."""
    rows, known = agent_rows(member_of(request)), set(keys_of(request.GET.get("ids", "")))
    shown = [row for row in rows if row["agent"].pk in known]
    context = {"rows": shown, "new": len(rows) - len(shown), "fresh_url": reverse("pages:agents")}
    return render(request, "agents/_agents_part.html", context)


def agent_rows(member: Member) -> list[dict[str, Any]]:
    """All agents, by name."""
    used, calls = definitions_by_agent(member), calls_by_agent(recent.calls_of_newest_runs(member))
    return [
        {
            "agent": agent,
            "version": agent.current_version,
            "reaches": reaches(agent, agent.current_version),
            "definitions": used.get(agent.slug, []),
            "calls": calls.get(agent.pk),
        }
        for agent in Agent.objects.visible_to(member).with_current()
    ]


def reaches(agent: Agent, version: AgentVersion | None) -> list[Reach]:
    return reach_of(agent.kind, version.configuration) if version else []


def definitions_by_agent(member: Member) -> dict[str, list[str]]:
    """{agent's slug: slugs of the definitions whose current version calls it}."""
    path = Value("$.steps[*].agent")
    named = Func(F("current_version__plan"), path, function="jsonb_path_query_array", output_field=JSONField())
    named.arity = 2
    rows = Definition.objects.visible_to(member).written().startable().order_by("slug")
    found: dict[str, list[str]] = {}
    for slug, agents in rows.annotate(named=named).values_list("slug", "named"):
        for agent in sorted({agent for agent in agents if agent}):
            found.setdefault(agent, []).append(slug)
    return found


def calls_by_agent(calls: dict[int, dict[str, int]]) -> dict[int, dict[str, int]]:
    """Of all the versions of an agent together."""
    found: dict[int, dict[str, int]] = {}
    for version, agent in AgentVersion.objects.filter(pk__in=calls).values_list("pk", "agent_id"):
        told = found.setdefault(agent, {"calls": 0, "failed": 0})
        told["calls"] += calls[version]["calls"]
        told["failed"] += calls[version]["failed"]
    return found
