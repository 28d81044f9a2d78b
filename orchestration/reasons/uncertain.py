"""A call may have happened: a person says."""

from collections.abc import Iterator
from urllib.parse import urlencode

from orchestration.models import Step
from orchestration.reasons import Reason, phrase
from orchestration.reasons.facts import Facts, label, more, name


def of(facts: Facts) -> Iterator[Reason]:
    group = facts.group(Step.Status.UNCERTAIN)
    if not group.total or facts.run.undoing:  # then it is one that undoes: see `undoing`
        return
    step = group.steps[0]
    words = phrase(
        "Nobody knows whether {} happened: contact was lost during its call, which may not be repeated."
        " Say what became of it{}.",
        name(step),
        more(group),
    )
    url = f"{facts.run.get_absolute_url()}?{urlencode({'step': step.name})}"
    yield Reason("uncertain", words, label(step), since=step.started_at, url=url)
