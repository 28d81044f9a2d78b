"""To try an agent is a run of one step: claimed, called and recorded by a worker as any other, with its cost and log.

Its definition is made here. The language has no way to hand a run's whole input to an agent, and no name like these.
"""

import json
from dataclasses import replace
from typing import Any

from django.db import transaction

from accounts.models import Member
from agents.models import Agent, AgentVersion
from orchestration.idempotency import start_once
from orchestration.language import AgentFacts, Compiled, compile_definition
from orchestration.models import TRIAL_PREFIX, Definition, Run

STEP = "call"
TEXT = """\
# Made to try an agent: one call of it, which is given the run's input.
name: trial
description: {description}
steps:
  call: {{agent: {agent}}}
output: ${{{{ steps.call.output }}}}
"""


def slug_of(agent: Agent) -> str:
    return f"{TRIAL_PREFIX}{agent.slug}"


@transaction.atomic
def start_trial(*, agent: Agent, given: Any, by: Member, key: str) -> Run:
    """One call of the agent's current version; `key` starts it once. Raises InvalidInput, KeyReused."""
    if agent.current_version is None:
        raise ValueError(f"{agent.slug} has no version")
    text = TEXT.format(description=json.dumps(f"One call of {agent.title}"), agent=json.dumps(agent.slug))
    compiled = trial_of(agent, agent.current_version, text)
    Definition.save_version(organization=by.organization, text=text, compiled=compiled, by=by)
    return start_once(definition=slug_of(agent), given=given, by=by, key=key)


def trial_of(agent: Agent, version: AgentVersion, text: str) -> Compiled:
    """The text's plan, its step given `input` as it is, under the name of the trial."""
    facts = {agent.slug: AgentFacts(agent.kind)}
    compiled = compile_definition(text, file="trial.yaml", agents=facts, policies=())
    if compiled.plan is None:
        raise ValueError(f"the trial of {agent.slug} has errors: {compiled.findings}")
    (step,) = compiled.plan["steps"]
    step |= {"with": "${{ input }}", "output_schema": version.output_schema}
    return replace(compiled, plan={**compiled.plan, "name": slug_of(agent), "input": version.input_schema})
