"""What must be of limits of starts: who begins, who stands in line, and who is canceled for another."""

from tests.orchestration.properties.limits import Limit, Limits
from tests.orchestration.properties.model import ModelRun


def admit(run: ModelRun, limits: Limits, runs: list[ModelRun]) -> Limit | None:
    """Its turn: it begins, or stands in the line of this limit. `runs` are all that there are, in their order."""
    assert run.start is not None
    full = limits.ask(run.start, run.start.spec["limits"])
    assert not isinstance(full, int)
    if full is None:
        run.end(run.start, "completed")
        return None
    run.start.waits_for = "limit"
    when_full = run.start.spec["when_full"]
    if full.kind == "starts" and when_full != "queue":
        limits.places[run.start].evicts = displaced(run, full, when_full, runs)
    if full.kind != "starts" or when_full != "refuse":
        run.told["run.queued"] = 1  # once
    return full


def displaced(run: ModelRun, full: Limit, when_full: str, runs: list[ModelRun]) -> ModelRun | None:
    """Who is canceled for it: itself, if it is refused; else the oldest, if there are more of them than may be."""
    if when_full == "refuse":
        return run
    there = {row.run for row in full.holders} | {place.row.run for place in full.line}
    leaving = {place.evicts for place in full.line if place.row is not run.start}
    staying = {other for other in there if other.status != "canceling" and not other.has_ended} - leaving
    older = [other for other in runs if other in staying and other is not run]
    return older[0] if older and len(staying) > full.most else None


def is_refused(run: ModelRun, full: Limit | None) -> bool:
    """One that is told so leaves nothing behind."""
    return full is not None and full.kind == "starts" and bool(run.start) and run.start.spec["when_full"] == "refuse"


def has_turn(run: ModelRun, limits: Limits) -> bool:
    start = run.start
    return start is not None and start.status == "waiting" and (start.waits_for == "time" or start in limits.woken())
