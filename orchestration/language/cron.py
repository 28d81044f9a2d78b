"""Times of a schedule: five fields, as cron has them, in a time zone. Pure; every moment that goes in or out is aware.

A local time that a change of clocks leaves out fires at the first moment after it. One that comes twice fires once, the
first time; with an hour field that begins with `*`, every real hour counts, and so both do.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

MINUTE = timedelta(minutes=1)
HORIZON_DAYS = 5 * 366  # one that does not fire within it never does
NAMED = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
PART = re.compile(r"(?:(\*)|(\w+)(?:-(\w+))?)(?:/(\d+))?", re.ASCII)
LONGEST = 200
# Name, least, greatest, names of the values from the least on.
FIELDS: tuple[tuple[str, int, int, tuple[str, ...]], ...] = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day", 1, 31, ()),
    ("month", 1, 12, MONTHS),
    ("weekday", 0, 7, DAYS),
)


class CronError(ValueError):
    """What is wrong with the fields, or with the zone."""


@dataclass(frozen=True, slots=True)
class Cron:
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]  # 0 is Sunday
    every_hour: bool
    either_day: bool  # both kinds of days are said: one of them is enough
    zone: ZoneInfo

    def after(self, moment: datetime) -> datetime | None:
        """The first time after it, in UTC; None if there is none within five years."""
        return self._real_after(moment) if self.every_hour else self._local_after(moment)

    def between(self, after: datetime, upto: datetime) -> Iterator[datetime]:
        """Those later than `after`, up to and with `upto`."""
        at = self.after(after)
        while at is not None and at <= upto:
            yield at
            at = self.after(at)

    def latest(self, after: datetime, upto: datetime, most: int) -> list[datetime]:
        """The last of those, at most so many. It looks back further and further, not through all that there were."""
        for hours in (1, 24, 32 * 24, 400 * 24):
            start = max(after, upto - timedelta(hours=hours))
            found = list(self.between(start, upto))
            if len(found) >= most or start == after:
                return found[-most:]
        return list(self.between(after, upto))[-most:]

    def _has_day(self, day: date) -> bool:
        by_date, by_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return day.month in self.months and (by_date or by_week if self.either_day else by_date and by_week)

    def _days_from(self, day: date) -> Iterator[date]:
        return (each for each in (day + timedelta(n) for n in range(HORIZON_DAYS)) if self._has_day(each))

    def _local_after(self, moment: datetime) -> datetime | None:
        here = moment.astimezone(self.zone)
        for day in self._days_from(here.date()):
            for hour in sorted(self.hours):
                for minute in sorted(self.minutes):
                    if (day, hour, minute) >= (here.date(), here.hour, here.minute):
                        at = self._moment_of(datetime(day.year, day.month, day.day, hour, minute))
                        if at > moment:
                            return at
        return None

    def _moment_of(self, local: datetime) -> datetime:
        """When it is first so late here; for a time left out, when the clocks were changed."""
        at = local.replace(tzinfo=self.zone).astimezone(UTC)
        if at.astimezone(self.zone).replace(tzinfo=None) == local:
            return at
        before = local.replace(tzinfo=self.zone, fold=1).astimezone(UTC)
        return _first(
            before, at, lambda one: one.astimezone(self.zone).utcoffset() != before.astimezone(self.zone).utcoffset()
        )

    def _real_after(self, moment: datetime) -> datetime | None:
        at = moment.astimezone(UTC).replace(second=0, microsecond=0) + MINUTE
        end = at + timedelta(HORIZON_DAYS)
        while at < end:
            here = at.astimezone(self.zone)
            if not self._has_day(here.date()):
                day = next(self._days_from(here.date()), None)
                if day is None:
                    return None
                at = self._moment_of(datetime(day.year, day.month, day.day))
            elif here.hour not in self.hours:
                at = self._ahead(at, 60 - here.minute)
            elif here.minute not in self.minutes:
                at = self._ahead(at, min((m for m in self.minutes if m > here.minute), default=60) - here.minute)
            else:
                return at
        return None

    def _ahead(self, at: datetime, minutes: int) -> datetime:
        """So many minutes on; one at a time where the clocks are changed meanwhile."""
        there = at + minutes * MINUTE
        same = there.astimezone(self.zone).utcoffset() == at.astimezone(self.zone).utcoffset()
        return there if same else at + MINUTE


def _first(no: datetime, yes: datetime, holds: Callable[[datetime], bool]) -> datetime:
    """The first second at which it holds, between one at which it does not and one at which it does."""
    while yes - no > timedelta(seconds=1):
        middle = no + timedelta(seconds=(yes - no) // timedelta(seconds=1) // 2)
        no, yes = (no, middle) if holds(middle) else (middle, yes)
    return yes


@lru_cache(maxsize=4096)
def cron_of(words: str, zone: str) -> Cron:
    """Raises CronError, in words."""
    if len(words) > LONGEST:
        raise CronError(f"it has more than {LONGEST} signs")
    fields = NAMED.get(words.strip().lower(), words).split()
    if len(fields) != len(FIELDS):
        names = ", ".join(NAMED)
        raise CronError(f"{words!r} is not five fields (minute, hour, day, month, weekday), nor one of {names}")
    minutes, hours, days, months, weekdays = (_values(*each) for each in zip(fields, FIELDS, strict=True))
    stars = [field.startswith("*") for field in fields]
    weekdays = frozenset(day % 7 for day in weekdays)
    cron = Cron(minutes, hours, days, months, weekdays, stars[1], not stars[2] and not stars[4], zone_of(zone))
    if cron.after(datetime(2024, 1, 1, tzinfo=UTC)) is None:
        raise CronError(f"{words!r} names no day that there is")
    return cron


def zone_of(name: str) -> ZoneInfo:
    if name not in available_timezones():
        raise CronError(f"There is no time zone {name!r}; they are called as in Europe/Berlin")
    return ZoneInfo(name)


def _values(text: str, field: tuple[str, int, int, tuple[str, ...]]) -> frozenset[int]:
    return frozenset().union(*(_of_part(part, *field) for part in text.split(",")))


def _of_part(part: str, name: str, least: int, most: int, names: tuple[str, ...]) -> range:
    found = PART.fullmatch(part)
    if found is None:
        raise CronError(f"{part!r} is no {name}; write *, a value, a range such as 1-5, or steps such as */10")
    star, first, last, step = found.groups()
    start = least if star else _value(first, name, least, most, names)
    end = _value(last, name, least, most, names) if last else most if star or step else start
    if end < start:
        raise CronError(f"{part!r} is no {name}: the range ends before it begins")
    if step is not None and not 1 <= int(step) <= most:
        raise CronError(f"{part!r} is no {name}: a step is from 1 to {most}")
    return range(start, end + 1, int(step or 1))


def _value(text: str, name: str, least: int, most: int, names: tuple[str, ...]) -> int:
    if text.lower() in names:
        return least + names.index(text.lower())
    if not text.isdigit() or not least <= int(text) <= most:
        raise CronError(f"{text!r} is no {name}: it is from {least} to {most}")
    return int(text)
