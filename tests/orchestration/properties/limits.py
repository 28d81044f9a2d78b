"""What must be of limits: who holds one, who stands in its line, and who is called up.

Nobody is counted: who holds one is told by the model's rows alone.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.orchestration.properties.model import ModelRun, Row

LONG_AGO = float("-inf")


@dataclass(eq=False)
class Place:
    """In a line. `called_for`: when there is room for it."""

    row: Row
    number: int
    limit: "Limit"
    units: int
    priority: int
    is_parked: bool
    called_for: float | None = None
    evicts: ModelRun | None = None  # it is to be canceled for this one

    def is_before(self, other: "Place") -> bool:
        if other.row.run.status == "paused":
            return self is not other
        return (-self.priority, self.number) < (-other.row.run.priority, other.number)

    @property
    def stands(self) -> bool:
        return self.row.status in ("ready", "running") or self.row.waits_for == "limit"


@dataclass(eq=False)
class Limit:
    """`granted`: of a rate, when each of its units went."""

    number: int
    kind: str
    key: str
    asked_most: int = 0
    asked_span: float | None = None
    said_most: int | None = None
    said_span: float | None = None
    holders: dict[Row, tuple[int, int, int] | None] = field(default_factory=dict)
    line: list[Place] = field(default_factory=list)
    granted: list[float] = field(default_factory=list)

    @property
    def is_rate(self) -> bool:
        return self.kind in ("rate", "start_rate")

    @property
    def is_used(self) -> bool:
        return bool(self.holders or self.granted)

    @property
    def most(self) -> int:
        return self.said_most or self.asked_most

    @property
    def span(self) -> float:
        return self.said_span or self.asked_span or 0

    @property
    def promised(self) -> int:
        return sum(place.units for place in self.line if place.called_for is not None)

    def room_at(self, units: int) -> float:
        """When so many more may go."""
        last = len(self.granted) + units - self.most - 1
        return self.granted[last] + self.span if 0 <= last < len(self.granted) else LONG_AGO

    def next(self) -> Place | None:
        waiting = [place for place in self.line if place.called_for is None and not place.is_parked]
        return min(waiting, key=lambda place: (-place.priority, place.number), default=None)


class Limits:
    def __init__(self) -> None:
        self.all: dict[tuple[str, str], Limit] = {}
        self.places: dict[Row, Place] = {}
        self.now = 0.0  # the clock of rates
        self._numbers = itertools.count()

    def kept(self) -> Callable[[], None]:
        """What puts all back as it is now."""
        whole = [self, *self.all.values(), *self.places.values()]
        was = [
            {name: each.copy() if isinstance(each, dict | list) else each for name, each in vars(one).items()}
            for one in whole
        ]

        def put_back() -> None:
            for one, values in zip(whole, was, strict=True):
                vars(one).update(values)

        return put_back

    def tend(self, limits: "list[Limit] | None" = None) -> None:
        """Who has left has nothing any more; who is next is called up."""
        for limit in list(self.all.values()) if limits is None else limits:
            limit.holders = {row: place for row, place in limit.holders.items() if is_at_work(row, place)}
            for place in list(limit.line):
                if not place.stands:
                    self._leave(place)
                    continue
                place.is_parked = place.row.run.status == "paused"
                place.priority = place.row.run.priority
                if place.is_parked:
                    place.called_for = None
            self._call(limit)

    def _leave(self, place: Place) -> None:
        place.limit.line.remove(place)
        del self.places[place.row]

    def _call(self, limit: Limit) -> None:
        while next_ := limit.next():
            if limit.is_rate:
                if limit.promised and limit.promised + next_.units > limit.most:
                    return
                next_.called_for = max(self.now, limit.room_at(limit.promised + next_.units))
            elif len(limit.holders) + limit.promised >= limit.most:
                return
            else:
                next_.called_for = self.now

    def ask(self, row: Row, wanted: list[dict[str, Any]]) -> "Limit | int | None":
        """None if it has all now; else the limit in whose line it stands, or how many units may be had at once."""
        mine = self.places.get(row)
        asked = {self._found(one): one["units"] for one in wanted}
        concerned = [*asked] if mine is None or mine.limit in asked else [*asked, mine.limit]
        for one in wanted:
            limit = self._found(one)
            limit.asked_most, limit.asked_span = one["max"], one["span"]
        self.tend(concerned)
        mine = self.places.get(row)
        full = None
        for limit in sorted(asked, key=lambda limit: limit.number):
            if limit.is_rate and asked[limit] > limit.most:
                return limit.most
            if full is None and self._is_full(limit, asked[limit], row, mine):
                full = limit
        if mine is not None:
            mine.called_for = None
        if full is None:
            self._have(row, asked)
        elif mine is None:
            run, units = row.run, asked[full] if full.is_rate else 1
            is_paused = run.status == "paused"
            self.places[row] = Place(row, next(self._numbers), full, units, run.priority, is_paused)
            full.line.append(self.places[row])
        else:
            mine.limit.line.remove(mine)
            full.line.append(mine)
            mine.limit, mine.units = full, asked[full] if full.is_rate else 1
        if full is not None or mine is not None:
            for limit in concerned:
                self._call(limit)
        return full

    def _found(self, one: dict[str, Any]) -> Limit:
        place = one["kind"], one["key"]
        return self.all.setdefault(place, Limit(len(self.all), *place))

    def _is_full(self, limit: Limit, units: int, row: Row, mine: Place | None) -> bool:
        is_called = mine is not None and mine.limit is limit and mine.called_for is not None
        if not is_called and self._is_outdone(limit, row, mine):
            return True
        promised = limit.promised
        if mine is not None and mine.called_for is not None:  # what was promised to those behind it, it may have
            promised = sum(
                place.units for place in limit.line if place.called_for is not None and place.is_before(mine)
            )
        if not limit.is_rate:
            return len(limit.holders) + promised >= limit.most
        if is_called:
            return self.now < limit.room_at(units)
        return promised + units > limit.most or self.now < limit.room_at(promised + units)

    def _is_outdone(self, limit: Limit, row: Row, mine: Place | None) -> bool:
        """Whether somebody waits who comes before it."""
        next_ = limit.next()
        if next_ is None or next_ is mine:
            return False
        if row.run.status == "paused":
            return True
        own = (-row.run.priority, mine.number if mine is not None else float("inf"))
        return (-next_.priority, next_.number) < own

    def _have(self, row: Row, asked: dict[Limit, int]) -> None:
        if row in self.places:
            self._leave(self.places[row])
        for limit, units in asked.items():
            if limit.is_rate:
                limit.granted += [self.now] * units
            else:
                limit.holders[row] = row.place

    def change(self, limit: Limit, most: int | None, span: float | None) -> None:
        """A person's word. Who was told when its turn comes is told anew."""
        for place in limit.line:
            if place.called_for is not None and place.called_for > self.now:
                place.called_for = None
        limit.said_most, limit.said_span = most, span
        self.tend([limit])

    def woken(self) -> list[Row]:
        """Those whose turn has come."""
        return [
            row
            for row, place in self.places.items()
            if row.waits_for == "limit" and place.called_for is not None and place.called_for <= self.now
        ]


def is_at_work(row: Row, place: tuple[int, int, int] | None) -> bool:
    if row.kind == "start":
        return not row.run.has_ended
    return row.place == place and (row.status == "running" or row.waits_for == "child")
