"""What must be of starts: which come together, who begins, who stands in line, and who is canceled for another."""

from dataclasses import dataclass, field
from typing import Any

from tests.orchestration.properties.limits import Limit, Limits
from tests.orchestration.properties.model import ModelRun


@dataclass(eq=False)
class Window:
    """Starts of a version under a key that came together in one run."""

    run: ModelRun
    version: int
    first_at: float
    count: int = 0
    given: dict[str, Any] = field(default_factory=dict)

    @property
    def is_open(self) -> bool:
        """Whether its run waits for more of them."""
        return self.run.begins_at is not None and not self.run.has_ended and self.run.ending is None

    def takes(self, version: int, gather: int | None) -> bool:
        return self.is_open and version == self.version and (gather is None or len(self.given["items"]) < gather)

    def join(self, how: dict[str, Any], given: dict[str, Any], limits: list[dict[str, Any]], now: float) -> None:
        """One more: what it brings takes the place of what was there, or is put behind it, and the wait begins anew."""
        assert self.run.start is not None
        items, gather = [*self.given.get("items", []), *given["items"]], how["gather"]
        self.given = given if gather is None else {**given, "items": items}
        self.count += 1
        latest = self.first_at + how["at_most"] if how["at_most"] else float("inf")
        self.run.begins_at = now if gather is not None and len(items) >= gather else min(now + how["for"], latest)
        self.run.start.waits_for = "time"
        self.run.start.spec = {**self.run.start.spec, "limits": limits}


def admit(run: ModelRun, limits: Limits, runs: list[ModelRun]) -> Limit | None:
    """Its turn: it begins, or stands in the line of this limit. `runs` are all that there are, in their order."""
    assert run.start is not None
    run.begins_at = None
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


def readmit(run: ModelRun, limits: Limits) -> bool:
    """Whether one that had ended has a place again among those that may go on at once. It stands in no line for it."""
    wanted = [one for one in run.start.spec["limits"] if one["kind"] == "starts"] if run.start is not None else []
    return not wanted or limits.ask(run.start, wanted) is None


def has_turn(run: ModelRun, limits: Limits) -> bool:
    start = run.start
    if start is None or start.status != "waiting":
        return False
    return (run.begins_at or 0) <= limits.now if start.waits_for == "time" else start in limits.woken()
