"""It is later than its definition promised: that holds nothing, and is told behind what does."""

from collections.abc import Iterator

from orchestration.reasons import Reason, phrase
from orchestration.reasons.facts import Facts


def of(facts: Facts) -> Iterator[Reason]:
    run = facts.run
    if run.overdue_at is not None and not run.has_ended:
        words = phrase("Its definition promised that it would have ended {} ago.", facts.since(run.expect_at))
        yield Reason("overdue", words, since=run.expect_at)
