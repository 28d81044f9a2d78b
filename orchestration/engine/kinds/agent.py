"""A step that calls an agent. An orchestrator's answer is a run that is to be started: the step waits for its end."""

from functools import partial
from typing import TYPE_CHECKING, Any

from django.db import InterfaceError, OperationalError

from agents import exceptions as agent_errors
from agents.calls import Call, Message, Result
from orchestration.engine import failpoints, slots
from orchestration.engine.cache import asked_once
from orchestration.engine.checks import listed
from orchestration.engine.launches import launch
from orchestration.engine.outcomes import Outcome, failed
from orchestration.engine.plans import AgentFacts, agent_of
from orchestration.engine.retries import call_seconds, database_lost, timed_out, try_again
from orchestration.engine.undoing import unknown
from orchestration.orchestrator import Delegated

if TYPE_CHECKING:
    from orchestration.engine.execution import Execution


def begin(execution: "Execution") -> Outcome:
    step = execution.step
    agent = agent_of(execution.claim.agent_version or 0)
    given = step.given.evaluate(execution.context) if step.given else {}
    return ask(execution, agent, given)


def ask(execution: "Execution", agent: AgentFacts, given: Any) -> Outcome:
    """One call, and what became of it."""
    if errors := agent.input_errors(given):
        return failed("permanent", f"{agent.slug} does not take this input: {listed(errors)}", given=given)
    ask = partial(_ask, execution, agent, given)
    if not execution.step.cache:
        return ask()
    said = [[message.role, message.content] for message in _conversation(execution)]
    return asked_once(execution, agent, [given, said], ask, lambda answer: _answered(execution, agent, given, answer))


def _ask(execution: "Execution", agent: AgentFacts, given: Any) -> Outcome:
    claim, step = execution.claim, execution.step
    call = _as_call(execution, agent, given)
    if (instead := slots.ask(execution, given)) is not None:
        return instead
    if not execution.may_begin():  # asked last: this process may have stood still until now, and another has the step
        return Outcome("ready", fields={"unlost": True})
    failpoints.reach("call")
    try:
        result = agent.runner(call)
    except agent_errors.Canceled as exc:
        if not execution.canceled():
            stopped = failed("permanent", f"{agent.slug} stopped, and was not asked to: {exc}", given=given)
            return try_again(claim, step.retry, stopped)
        # Of a run that is canceling the step is canceled; else this process drains, and another goes on.
        return Outcome("ready", input=given, fields={"unlost": True, "more": {"begun": True}})
    except (OperationalError, InterfaceError) as exc:
        return database_lost(claim, str(exc).strip(), given=given)
    except agent_errors.Permanent as exc:
        return try_again(claim, step.retry, failed("permanent", str(exc), given=given))
    except agent_errors.TimedOut as exc:
        return timed_out(claim, str(exc), given=given)
    except agent_errors.Temporary as exc:
        return try_again(claim, step.retry, failed("temporary", str(exc), given=given), exc.retry_after)
    failpoints.reach("called")
    if isinstance(result, Delegated):
        return launch(execution, result.definition, result.input, given=given)
    return _answered(execution, agent, given, result.output, **_usage(result))


def _answered(execution: "Execution", agent: AgentFacts, given: Any, output: Any, **fields: Any) -> Outcome:
    step = execution.step
    if errors := agent.output_errors(given, output):
        words = f"{agent.slug} answered against its schema: {listed(errors)}"
        wrong = failed("permanent", words, given=given, **fields, **unknown(step, words))
        return try_again(execution.claim, step.retry, wrong)
    return execution.finish(Outcome("completed", output=output, input=given, fields=fields))


def _as_call(execution: "Execution", agent: AgentFacts, given: Any) -> Call:
    claim = execution.claim
    return Call(
        input=given,
        configuration=agent.configuration,
        attempt=claim.attempt,
        idempotency_key=claim.idempotency_key,
        deadline_seconds=call_seconds(execution.step),
        canceled=execution.canceled,
        conversation=_conversation(execution),
        output_schema=agent.output_schema(given),
        log=execution.log,
        emit=execution.emit,
        heartbeat=execution.heartbeat,
    )


def _conversation(execution: "Execution") -> tuple[Message, ...]:
    """The definition's own conversation; without one, the note of the reviewer who sent the work back."""
    if execution.step.conversation is not None:
        messages = execution.step.conversation.evaluate(execution.context)
        return tuple(Message(message["role"], message["content"]) for message in messages)
    feedback = execution.claim.feedback
    if feedback is None:
        return ()
    return (Message("user", f"A reviewer sent this back with the note: {feedback['note']}"),)


def _usage(result: Result) -> dict[str, Any]:
    if result.usage is None:
        return {}
    return {"usage": {name: getattr(result.usage, name) for name in result.usage.__slots__}}
