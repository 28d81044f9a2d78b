"""What the steps of a run have in common, kept in the process: none of it changes once it is written.

A large value is read and typed once, however many steps read it; the least used are forgotten first.
"""

from functools import cached_property
from threading import Condition
from typing import Any

from cachetools import LRUCache, cached
from django.conf import settings

from orchestration.engine.connection import decoded, returned_connection, value
from orchestration.engine.mail import heard_by
from orchestration.engine.outcomes import INLINE_BYTES, Claim, payload_text
from orchestration.engine.plans import Plan, plan_of

KEPT_RUNS = 256
KEPT_CHARACTERS = 16_000_000  # of large values
Sized = tuple[Any, int]  # a typed value, and how many characters of JSON it is

_large: LRUCache[Any, Sized] = LRUCache(KEPT_CHARACTERS, getsizeof=lambda kept: kept[1])
_loading = Condition()


class RunFacts:
    """What stays the same for all steps of a run."""

    def __init__(self, claim: Claim) -> None:
        self.run = claim.run
        self.version = claim.definition_version
        self.plan: Plan = plan_of(claim.definition_version)
        self.url = f"{settings.BASE_URL}/runs/{claim.public_id}/"
        self._text = claim.input if claim.input is not None and len(claim.input) <= INLINE_BYTES else None

    @property
    def input(self) -> Any:
        return _input_of(self)[0] if self._text is None else self._small_input

    @cached_property
    def _small_input(self) -> Any:
        return self.plan.typing.apply(decoded(self._text))

    def event_of(self, key: int) -> Any:
        """What ended this completed wait; None if a time or a run did."""
        return _event_of(self.run, key)

    def error_of(self, key: int) -> str | None:
        """The class of the error of this failed step."""
        return _error_of(self.run, key)

    def large_output(self, position: int, digest: str) -> Any:
        """An output that lies in a row of its own, of the step at that place in the definition."""
        return _output_of(self, position, digest)[0]


@cached(LRUCache(KEPT_RUNS), key=lambda claim: (claim.run, claim.definition_version), condition=Condition())
def facts_of(claim: Claim) -> RunFacts:
    return RunFacts(claim)


@cached(_large, key=lambda facts: (facts.run, facts.version), condition=_loading)
def _input_of(facts: RunFacts) -> Sized:
    with returned_connection():
        text = value("select input from orchestration_run where id = %s", [facts.run])
    return facts.plan.typing.apply(decoded(text)), len(text)


@cached(_large, key=lambda facts, position, digest: (facts.version, position, digest), condition=_loading)
def _output_of(facts: RunFacts, position: int, digest: str) -> Sized:
    with returned_connection():
        text = payload_text(bytes.fromhex(digest))
    return facts.plan.steps[position].typing.apply(decoded(text)), len(text)


@cached(LRUCache(1_024), condition=Condition())
def _event_of(run: int, key: int) -> dict[str, Any] | None:
    with returned_connection():
        return heard_by(run, key)


@cached(LRUCache(1_024), condition=Condition())
def _error_of(run: int, key: int) -> str | None:
    with returned_connection():
        found: str | None = value(
            "select error ->> 'class' from orchestration_step where run_id = %s and key = %s", [run, key]
        )
    return found


def forget_facts() -> None:
    """Keys begin again in another database."""
    facts_of.cache_clear()
    _error_of.cache_clear()
    _event_of.cache_clear()
    with _loading:
        _large.clear()
