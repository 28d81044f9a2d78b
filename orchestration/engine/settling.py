"""Moves steps that nobody runs, each by one guarded item, so that twice does nothing: they wait, or are uncertain, and
the word that ends them came from a person or a child."""

from collections.abc import Callable
from typing import Any

import structlog
from django.db import connection, transaction
from django.db.models import QuerySet

from orchestration.engine.connection import rows
from orchestration.engine.execution import Execution
from orchestration.engine.facts import facts_of
from orchestration.engine.hints import hint_after_commit
from orchestration.engine.outcomes import Claim, Item, Outcome, encode, load_payload, store_payloads
from orchestration.engine.plans import agent_of
from orchestration.engine.retries import try_again
from orchestration.models import Step

log = structlog.get_logger(__name__)
FLUSH = "select verdict, n from engine_flush_v6(null, array[%s]::bigint[], %s::jsonb, '{}', 0, null, true, 0)"
# As `engine_flush` gives a claimed one.
CLAIM = "select null, 'waiting', c.* from engine_claims_v1(array[%s]::bigint[], array[%s]::int[]) c where c.fence = %s"
LARGEST_SWEEP = 200
Place = tuple[int, int, int]  # run, key, fence


def settle(step: Place, was: str, outcome: Outcome, *, only_if: Callable[[], bool] | None = None) -> bool:
    """Move a step that nobody runs. False if it has moved on meanwhile. Ready steps are hinted to the workers.

    `only_if` is asked under the lock of the run.
    """
    item = encode(step, was, outcome)
    if item.payloads:
        store_payloads(list(item.payloads))
    if only_if is None:
        return _settle(step[0], item)
    with transaction.atomic():
        rows("select from orchestration_run where id = %s for no key update", [step[0]])
        return only_if() and _settle(step[0], item)


def _settle(run: int, item: Item) -> bool:
    verdicts = dict(rows(FLUSH, [run, f'[{{"n":1,{item.text}}}]']))
    ready = {verdict.removeprefix("ready:"): n for verdict, n in verdicts.items() if verdict.startswith("ready:")}
    hint_after_commit(ready, [run])
    return verdicts.keys().isdisjoint({"late", "busy"})


def each(rows: QuerySet[Any], act: Callable[[int], None]) -> int:
    """`act` on these rows by their keys, a sweep's worth; how many it worked for.

    One that fails, be it only to be read, comes again with the next sweep; those behind it have their turn in this one.
    """
    done, keys = 0, [0]
    while keys and done < LARGEST_SWEEP:
        keys = list(rows.filter(pk__gt=keys[-1]).order_by("pk").values_list("pk", flat=True)[:LARGEST_SWEEP])
        for key in keys:
            connection.ensure_connection()  # fails if the database is gone: then so would all the others
            try:
                act(key)
                done += 1
            except Exception:  # whatever is wrong with this one is not the others'
                log.exception("not_taken_up", act=act.__name__, key=key)
                connection.close_if_unusable_or_obsolete()
    return done


def finished(step: Place, outcome: Outcome) -> Outcome:
    """The outcome of a waiting step with all that follows: of a completion, or of a failure that is tried again."""
    found = rows(CLAIM, step)
    if not found:
        return outcome  # it has moved on: settling it will find the same
    claim = Claim.of(found[0])
    execution = Execution(claim, facts_of(claim), bool)
    return (
        execution.finish(outcome) if outcome.becomes == "completed" else try_again(claim, execution.step.retry, outcome)
    )


def output_errors(step: Step, output: Any) -> list[dict[str, str]]:
    """Why this is nothing that the step's agent may answer to the input that was stored with the step.

    Of one that undoes: nobody reads that."""
    if step.agent_version_id is None or step.undoes is not None:
        return []
    given = step.input if step.input_digest is None else load_payload(bytes(step.input_digest))
    return agent_of(step.agent_version_id).output_errors(given, output)
