from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.utils.functional import cached_property

from accounts.clock import database_clock
from accounts.models import Member, Organization
from accounts.public_ids import new_public_id
from agents import exceptions as agent_errors
from agents.calls import Call, Message, Result, say_nothing
from agents.models import AgentVersion
from approvals.digests import digest_of
from approvals.models import Policy, Request
from orchestration.engine import failpoints
from orchestration.engine.connection import decoded, returned_connection, rows, value
from orchestration.engine.outcomes import Claim, Outcome, dump, failed, load_payload
from orchestration.engine.plans import AgentFacts, Plan, StepPlan, agent_of, plan_of
from orchestration.engine.retries import call_seconds, database_lost, timed_out, try_again
from orchestration.engine.starts import start_version
from orchestration.language.expressions import ExpressionError, TypingError, as_text
from orchestration.models import Definition, Step
from orchestration.orchestrator import Delegated

DEEPEST = 16  # a run that starts a run that starts a run …


class RunFacts:
    """What stays the same for all steps of a run."""

    def __init__(self, claim: Claim) -> None:
        self.run = claim.run
        self.plan: Plan = plan_of(claim.definition_version)
        self._input = claim.input
        self.url = f"{settings.BASE_URL}/runs/{claim.public_id}/"

    @cached_property
    def input(self) -> Any:
        return self.plan.typing.apply(decoded(self._input))


class Execution:
    """One try of one claimed step, from its row to what became of it."""

    def __init__(
        self,
        claim: Claim,
        facts: RunFacts,
        canceled: Callable[[], bool],
        log: Callable[..., None] = say_nothing,
        may_begin: Callable[[], bool] = lambda: True,
    ) -> None:
        self.claim = claim
        self.facts = facts
        self.plan = facts.plan
        self.canceled = canceled
        self.log = log
        self.may_begin = may_begin

    def outcome(self) -> Outcome | None:
        """None if the step was taken back to wait for another decision: then there is nothing to record."""
        try:
            if self.claim.kind == "output":
                return self._run_output()
            step = self.plan.steps[self.claim.position]
            context = self._context()
            if step.condition is not None and not step.condition.evaluate(context):
                return Outcome("skipped", fields={"note": {"reason": "its `if` is false"}})
            for gate in self.plan.gates_before(step):
                read = next(read for read in self.claim.reads if read["p"] == gate)
                if self._differs_from_decided(read):
                    # Where no round can be opened any more (its run is canceling) the step just goes back.
                    return None if self._reopen_gate(read) else Outcome("ready", fields={"unlost": True})
            if step.kind == "approval":
                return self._ask(step, context)
            return self._call(step, context)
        except (ExpressionError, TypingError) as exc:
            return failed("expression", str(exc))

    def _run_output(self) -> Outcome:
        if self.claim.failed or self.plan.output is None:
            return Outcome("skipped")
        return Outcome("completed", output=self.plan.output.evaluate(self._context()))

    def _context(self) -> dict[str, Any]:
        claim = self.claim
        return {
            "input": self.facts.input,
            "steps": {self.plan.steps[read["p"]].name: self._read(read) for read in claim.reads},
            "run": {
                "id": claim.public_id,
                "started_by": member_name(claim.started_by),
                "organization": organization_slug(claim.organization),
                "url": self.facts.url,
            },
            "round": claim.round,
            "attempt": claim.attempt,
            "index": claim.index,
            "feedback": claim.feedback,
        }

    def _read(self, read: Mapping[str, Any]) -> dict[str, Any]:
        output = read["o"]
        if read["x"] is not None:
            with returned_connection():
                output = load_payload(bytes.fromhex(read["x"]))
        typing = self.plan.steps[read["p"]].typing
        completed = read["s"] == Step.Status.COMPLETED
        return {"output": typing.apply(output) if completed else None, "status": read["s"], "decision": read["d"]}

    # --- an agent's step

    def _call(self, step: StepPlan, context: dict[str, Any]) -> Outcome:
        with returned_connection():
            agent = agent_of(self.claim.agent_version or 0)
        given = step.given.evaluate(context) if step.given else {}
        if errors := agent.input_errors(given):
            return failed("permanent", f"{agent.slug} does not take this input: {listed(errors)}", given=given)
        call = self._as_call(step, agent, given, context)
        if not self.may_begin():  # asked last: this process may have stood still until now, and another has the step
            return Outcome("ready", fields={"unlost": True})
        failpoints.reach("call")
        try:
            result = agent.runner(call)
        except agent_errors.Canceled as exc:
            if not self.canceled():
                return failed("permanent", f"{agent.slug} stopped, and was not asked to: {exc}", given=given)
            # Of a run that is canceling the step is canceled; else this process drains, and another goes on.
            return Outcome("ready", input=given, fields={"unlost": True, "begun": True})
        except (OperationalError, InterfaceError) as exc:
            return database_lost(self.claim, str(exc).strip(), given=given)
        except agent_errors.Permanent as exc:
            return failed("permanent", str(exc), given=given)
        except agent_errors.TimedOut as exc:
            return timed_out(self.claim, str(exc), given=given)
        except agent_errors.Temporary as exc:
            return try_again(self.claim, step.retry, failed("temporary", str(exc), given=given), exc.retry_after)
        failpoints.reach("called")
        if isinstance(result, Delegated):
            return self._start_child(result, given)
        if errors := agent.output_errors(given, result.output):
            return failed("permanent", f"{agent.slug} answered against its schema: {listed(errors)}", given=given)
        return self._completed(step, context, given, result)

    def _as_call(self, step: StepPlan, agent: AgentFacts, given: Any, context: dict[str, Any]) -> Call:
        return Call(
            input=given,
            configuration=agent.configuration,
            attempt=self.claim.attempt,
            idempotency_key=self.claim.idempotency_key,
            deadline_seconds=call_seconds(step),
            canceled=self.canceled,
            conversation=self._conversation(step, context),
            output_schema=agent.output_schema(given),
            log=self.log,
        )

    def _conversation(self, step: StepPlan, context: dict[str, Any]) -> tuple[Message, ...]:
        """The definition's own conversation; without one, the note of the reviewer who sent the work back."""
        if step.conversation is not None:
            return tuple(
                Message(message["role"], message["content"]) for message in step.conversation.evaluate(context)
            )
        if self.claim.feedback is None:
            return ()
        return (Message("user", f"A reviewer sent this back with the note: {self.claim.feedback['note']}"),)

    def _completed(self, step: StepPlan, context: dict[str, Any], given: Any, result: Result) -> Outcome:
        fields: dict[str, Any] = {}
        if result.usage is not None:
            fields["usage"] = {name: getattr(result.usage, name) for name in result.usage.__slots__}
        fields |= self._deliverable(step, context, result.output)
        return Outcome("completed", output=result.output, input=given, fields=fields)

    def deliverable(self, output: Any) -> dict[str, Any]:
        """The field of the outcome that makes this step's deliverable of `output`; empty if it has none."""
        return self._deliverable(self.plan.steps[self.claim.position], self._context(), output)

    def _deliverable(self, step: StepPlan, context: dict[str, Any], output: Any) -> dict[str, Any]:
        if step.deliverable is None:
            return {}
        texts = step.deliverable.evaluate({**context, "output": step.typing.apply(output)})
        return {"deliverable": {"id": new_public_id("dlv"), **{name: as_text(text) for name, text in texts.items()}}}

    def _start_child(self, wanted: Delegated, given: Any) -> Outcome:
        claim = self.claim
        if claim.depth >= DEEPEST:
            return failed(
                "permanent", f"Runs start runs {DEEPEST} deep here; the definition seems to call itself.", given=given
            )
        with returned_connection():
            version = (
                Definition.objects.filter(organization_id=claim.organization, slug=wanted.definition)
                .values_list("current_version_id", flat=True)
                .first()
            )
            if version is None:
                return failed("permanent", f"No definition is called {wanted.definition!r} here.", given=given)
            errors = plan_of(version).input_errors(wanted.input)
            if errors:
                return failed(
                    "permanent", f"{wanted.definition} does not take this input: {listed(errors)}", given=given
                )

        def prepare() -> dict[str, Any]:
            parent = (claim.run, claim.key)
            child = start_version(
                version, claim.organization, wanted.input, by=claim.started_by, parent=parent, depth=claim.depth + 1
            )
            return {
                "child": child,
                "note": {"child": value("select public_id from orchestration_run where id = %s", [child])},
            }

        fields: dict[str, Any] = {"waits_for": "child"}
        timeout = self.plan.steps[claim.position].timeout
        if timeout is not None:
            fields["wake"] = timeout
        return Outcome("waiting", input=given, fields=fields, prepare=prepare)

    # --- a checkpoint

    def _ask(self, step: StepPlan, context: dict[str, Any]) -> Outcome:
        """The request is made in the transaction that lets the step wait."""
        claim, approval = self.claim, step.approval or {}
        payload = step.show.evaluate(context) if step.show else None
        title = str(step.title.evaluate(context)) if step.title else step.name
        deadline = approval["deadline"]
        with returned_connection():
            policy = Policy.objects.get(organization_id=claim.organization, slug=approval["policy"])
            behind = self._digests_behind(claim.position)

        def prepare() -> dict[str, Any]:
            request = Request.ask(
                organization=Organization(pk=claim.organization),
                subject=f"run:{claim.run}:{claim.name}",
                title=title,
                payload=payload,
                choices=list(approval["choices"]),
                editable=list(approval["editable"]),
                payload_schema=approval["payload_schema"],
                policy=policy,
                requested_by=Member(pk=claim.started_by) if claim.started_by else None,
                definition_digest=self.plan.digest,
                steps=behind,
                deadline_at=database_clock() + timedelta(seconds=deadline["after"]) if deadline else None,
                deadline_choice=deadline["then"] if deadline else None,
                context={
                    "run": claim.public_id,
                    "definition": self.plan.slug,
                    "step": claim.name,
                    "round": claim.round,
                    "url": self.facts.url,
                    "run_id": claim.run,
                    "key": claim.key,
                    "fence": claim.fence,
                },
            )
            return {"note": {"request": request.public_id, "title": title}}

        return Outcome(
            "waiting", input={"title": title, "show": payload}, fields={"waits_for": "approval"}, prepare=prepare
        )

    def _digests_behind(self, gate: int) -> list[list[str]]:
        """[[step, its pinned agent version's digest]], of the steps that need this gate directly, in order."""
        names = [step.name for step in self.plan.steps.values() if self.plan.steps[gate].name in step.needs]
        pinned = dict(
            rows(
                "select distinct on (name) name, agent_version_id from orchestration_step"
                " where run_id = %s and name = any(%s) order by name, round desc",
                [self.claim.run, names],
            )
        )
        digests = dict(
            AgentVersion.objects.filter(pk__in=[version for version in pinned.values() if version]).values_list(
                "pk", "digest"
            )
        )
        return [[name, digests.get(pinned[name], "")] for name in sorted(names)]

    def _differs_from_decided(self, read: Mapping[str, Any]) -> bool:
        """Whether what would run is not what was decided: the digest, made anew, against that after edits."""
        decision = read["d"]
        if decision is None or "digest" not in decision:
            return False  # no one was asked: the gate was skipped, and its `status` is read by this step's `if`
        payload = read["o"]
        with returned_connection():
            if read["x"] is not None:
                payload = load_payload(bytes.fromhex(read["x"]))
            steps = self._digests_behind(read["p"])
        return bool(decision["digest"] != digest_of(payload, decision["choices"], self.plan.digest, steps))

    def _reopen_gate(self, read: Mapping[str, Any]) -> bool:
        """Let this step wait for a newer gate than the one it read: for one that is there already, or a new one.

        False if the step or its run has moved on.
        """
        gate = read["p"]
        name = self.plan.steps[gate].name
        note = {"reason": f"what {name} let through is not what was decided", "step": name}
        with returned_connection():
            opened = value(
                "select engine_reopen_v2(%s, %s, null, %s, null, %s::jsonb, null, %s, %s)",
                [self.claim.run, read["k"], [gate], dump(note), self.claim.key, self.claim.fence],
            )
        failpoints.reach("reopened")
        return bool(opened)


def listed(errors: list[dict[str, str]]) -> str:
    return "; ".join(f"{error['pointer']}: {error['message']}" for error in errors[:5])


@lru_cache(maxsize=4096)
def member_name(member: int | None) -> str | None:
    if member is None:
        return None
    with returned_connection():
        return str(Member.objects.values_list("user__username", flat=True).get(pk=member))


@lru_cache(maxsize=1024)
def organization_slug(organization: int) -> str:
    with returned_connection():
        return str(Organization.objects.values_list("slug", flat=True).get(pk=organization))
