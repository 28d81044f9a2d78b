"""The worker that ran a step is lost: another takes it up."""

from collections.abc import Iterator

from orchestration.models import Step, Worker
from orchestration.reasons import Part, Reason, phrase
from orchestration.reasons.facts import Facts, Group, label, more, name


def of(facts: Facts) -> Iterator[Reason]:
    lost = lost_steps(facts)
    if not lost:
        return
    step = lost[0]
    worker = facts.workers[step.owner or 0]
    if not facts.some_worker_lives:
        then = "No worker is running that would notice; start one."
    elif step.repeatable:
        then = "It runs again as soon as another worker notices."
    else:
        then = "Whether it happened, a person is asked as soon as another worker notices."
    words = phrase(
        "Worker {}, which ran {}{}, has been lost for {}. {}",
        place_of(worker),
        name(step),
        more(Group(lost, len(lost))),
        facts.since(worker.lease_until),
        then,
    )
    yield Reason("lease", words, label(step), since=worker.lease_until)


def lost_steps(facts: Facts) -> list[Step]:
    """Running ones whose worker's lease is over; of a worker of which there is no row, nothing is known."""
    workers = facts.workers
    gone = {pk for pk, worker in workers.items() if worker.dead_at or worker.lease_until <= facts.now}
    return [step for step in facts.group(Step.Status.RUNNING).steps if step.owner in gone]


def place_of(worker: Worker) -> Part:
    return Part(f"{worker.host.split()[0]}:{worker.pid}")
