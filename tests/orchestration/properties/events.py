"""What must be of events from outside: each ends every wait for it, once, and none that did not ask for it."""

from dataclasses import dataclass

from tests.orchestration.properties.model import ModelRun, Row


@dataclass(eq=False)
class Event:
    """`number` counts events and beginnings of runs, in their order; it is what the event carries, too."""

    number: int
    name: str
    key: str
    day: int
    is_matched: bool = False


@dataclass(eq=False)
class Ear:
    """A wait of a row for one name and key, since this day, and what it got."""

    name: str
    key: str
    day: int
    event: Event | None = None


class Events:
    def __init__(self) -> None:
        self.all: list[Event] = []
        self.day = 0
        self.born: dict[ModelRun, int] = {}
        self._count = 0

    def next_number(self) -> int:
        self._count += 1
        return self._count

    def deliver(self, name: str, key: str) -> Event:
        self.all.append(Event(self.next_number(), name, key, self.day))
        return self.all[-1]

    def begin(self, row: Row) -> None:
        """It waits, and hears what came within a day before: the first of that name and key."""
        row.ears = [Ear(name, key, self.day) for name, key in row.spec["wait"]["hears"]]
        for ear in row.ears:
            ear.event = self._first(row, ear, self.all)

    def match(self, rows: list[Row]) -> None:
        new = [event for event in self.all if not event.is_matched]
        for row in rows:
            for ear in row.ears if row.waits_for == "event" else ():
                ear.event = ear.event or self._first(row, ear, new)
        for event in new:
            event.is_matched = True

    def _first(self, row: Row, ear: Ear, events: list[Event]) -> Event | None:
        heard = {other.heard for other in row.run.rows if (other.name, other.round) == (row.name, row.round)}
        return next(
            (
                event
                for event in events
                if (event.name, event.key) == (ear.name, ear.key)
                and event.day >= ear.day
                and event.number > self.born[row.run]
                and event not in heard
            ),
            None,
        )

    @staticmethod
    def of(row: Row) -> list[Event]:
        """What may end its wait."""
        return [ear.event for ear in row.ears if ear.event] if row.waits_for == "event" else []
