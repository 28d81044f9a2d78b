"""What each step did when: the time it waited for a worker, ran and waited, from the run's events; drawn as bars.

Long times in which nothing runs are folded, so that the rest can be seen: a night before an approval is as wide as a
minute. Pure but for the rows it is given.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

QUEUED, RAN, WAITED = "queued", "ran", "waited"
LONG = 0.2  # of the whole: idle for longer is folded
LONG_SECONDS = 3.0  # and longer than this
FOLD = 12.0  # percent, the width of a fold: the wait is seen as one, though not as long as it was
THIN = 0.4  # percent, so that what took no time is seen
AFTER = {  # what a step does after an event of this type; None: nothing more
    "step.started": RAN,
    "step.ready": QUEUED,
    "step.blocked": None,
    "step.retrying": WAITED,
    "step.waiting": WAITED,
    "step.uncertain": WAITED,
    "checkpoint.requested": WAITED,
    "step.completed": None,
    "step.failed": None,
    "step.skipped": None,
    "step.canceled": None,
}


@dataclass(slots=True)
class Span:
    """`end` is None while it lasts. `how` is what ended it: completed, failed, retrying, …"""

    kind: str
    start: datetime
    end: datetime | None = None
    attempt: int | None = None
    how: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """`x` and `width` in percent."""

    kind: str
    x: float
    width: float
    how: str
    title: str


@dataclass(frozen=True, slots=True)
class Fold:
    x: float
    width: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Timeline:
    """`bars` by the key of the step's row."""

    bars: Mapping[int, Sequence[Bar]]
    folds: Sequence[Fold]
    seconds: float


@dataclass
class _Lane:
    spans: list[Span] = field(default_factory=list)

    def turn(self, kind: str | None, at: datetime, how: str) -> None:
        if self.spans and self.spans[-1].end is None:
            self.spans[-1].end = at
            self.spans[-1].how = how
        if kind is not None:
            tries = sum(span.kind == RAN for span in self.spans)
            self.spans.append(Span(kind, at, attempt=tries + 1 if kind == RAN else None))


def spans_of(events: Iterable[tuple[int, str, datetime]], ready: Mapping[int, datetime]) -> dict[int, list[Span]]:
    """By the step's key. `events`: (key, type, at) in order; `ready`: when each was free to start, if it was."""
    lanes: dict[int, _Lane] = {}
    for key, at in ready.items():
        lanes.setdefault(key, _Lane()).turn(QUEUED, at, "")
    for key, kind, at in events:
        if kind in AFTER:
            lanes.setdefault(key, _Lane()).turn(AFTER[kind], at, kind.partition(".")[2])
    return {
        key: [span for span in lane.spans if span.end is None or span.end >= span.start] for key, lane in lanes.items()
    }


def draw(spans: Mapping[int, Sequence[Span]], *, start: datetime, end: datetime) -> Timeline:
    """Bars from `start` to `end`; what still lasts reaches to `end`."""
    scale = _Scale([span for lane in spans.values() for span in lane], start, end)
    bars = {key: [bar for span in lane if (bar := scale.bar(span))] for key, lane in spans.items()}
    return Timeline(bars, scale.folds, scale.total)


class _Scale:
    """Time to percent, with folds where long nothing runs or is queued."""

    def __init__(self, spans: Sequence[Span], start: datetime, end: datetime) -> None:
        self.start, self.total = start, max((end - start).total_seconds(), 0.001)
        marks = {0.0, self.total}
        active: list[tuple[float, float]] = []
        for span in spans:
            first, last = self._seconds(span.start), self._seconds(span.end)
            marks |= {first, last}
            if span.kind != WAITED and last > first:
                active.append((first, last))
        edges = sorted(marks)
        idle = _idle(edges, sorted(active))
        long = {at for at in idle if edges[at + 1] - edges[at] > max(LONG * self.total, LONG_SECONDS)}
        shown = self.total - sum(edges[at + 1] - edges[at] for at in long)
        wide = 100.0 - FOLD * len(long)
        self.edges, self.percents, self.folds = edges, [0.0], []
        for at in range(len(edges) - 1):
            seconds = edges[at + 1] - edges[at]
            width = FOLD if at in long else wide * seconds / shown if shown > 0 else 0.0
            if at in long:
                self.folds.append(Fold(round(self.percents[-1], 2), FOLD, seconds))
            self.percents.append(self.percents[-1] + width)
        self.place = dict(zip(self.edges, self.percents, strict=True))

    def bar(self, span: Span) -> Bar | None:
        first, last = self._seconds(span.start), self._seconds(span.end)
        x, end = self.place[first], self.place[last]
        if span.kind == QUEUED and end - x < THIN:
            return None
        width = max(end - x, THIN)
        x = min(x, 100.0 - width)
        return Bar(span.kind, round(x, 2), round(width, 2), span.how, _words(span, last - first))

    def _seconds(self, at: datetime | None) -> float:
        if at is None:
            return self.total
        return min(max((at - self.start).total_seconds(), 0.0), self.total)


def _idle(edges: Sequence[float], active: Sequence[tuple[float, float]]) -> list[int]:
    """Which of the intervals between `edges` no active span covers; both ascend."""
    found, at, reach = [], 0, -1.0
    for number, edge in enumerate(edges[:-1]):
        while at < len(active) and active[at][0] <= edge:
            reach = max(reach, active[at][1])
            at += 1
        if reach <= edge:
            found.append(number)
    return found


def _words(span: Span, seconds: float) -> str:
    took = f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    if span.kind == QUEUED:
        return f"Waited {took} for a worker"
    if span.kind == WAITED:
        return f"Waited {took}"
    return f"Attempt {span.attempt}: {took}{', ' + span.how.replace('_', ' ') if span.how else ''}"
