"""What runs share, and what befalls it: limits, and events from outside."""

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from orchestration.engine import mail, slots
from orchestration.engine.connection import rows
from orchestration.engine.levers import adjusting, limiting
from orchestration.exceptions import Refused
from orchestration.models import Limit, Run
from tests.orchestration.properties.definitions import MAILBOXES, TICK_SECONDS
from tests.orchestration.properties.workers import ACTS, PRIORITIES, Workers, index

TIMES_OF_EVENTS = {
    "orchestration_run": "created_at",
    "orchestration_outsideevent": "received_at",
    "orchestration_eventwait": "since",
}


def hears(machine):
    return any(row.spec.get("wait") and row.spec["wait"]["hears"] for row in machine.rows())


class Sharing(Workers):
    def __init__(self):
        super().__init__()
        self.gone: list[tuple[float, str, int]] = []  # calls that were made under a rate: when, its key, units

    @precondition(lambda self: self.limits.all or hears(self))
    @rule(number=index, acts=st.lists(st.sampled_from(ACTS), min_size=1, max_size=5))
    def bustle(self, number, acts):
        """As a worker does: it claims, calls and records, and sweeps with all its errands."""
        worker = self.worker(number)
        self.look(number)
        for act in acts:
            mine = [hand for hand in self.hands if hand.worker is worker]
            if waiting := [hand for hand in mine if not hand.is_called]:
                self.do_call(waiting[0], act)
            elif mine:
                self.do_finish(mine[:1], follow=True, look=True)
        self.sweep(number)
        self.match()
        self.tend()

    # --- limits

    def has_gone(self, hand):
        """A call is made: as its agent counts those that are at work, there are no more than may be."""
        hand.is_at_work = True
        at_work = [other for other in self.hands if other.is_at_work and other.is_current]
        for one in hand.row.spec["limits"]:
            limit = self.limits.all[one["kind"], one["key"]]
            if one["kind"] == "steps":
                inside = [other for other in at_work if one["key"] in keys_of(other.row, "steps")]
                assert len(inside) <= limit.most
            else:
                self.gone.append((self.limits.now, one["key"], one["units"]))
                since = self.limits.now - limit.span
                assert sum(units for at, key, units in self.gone if key == one["key"] and at > since) <= limit.most

    @precondition(lambda self: self.limits.all)
    @rule()
    def tend(self):
        self.limits.tend()
        slots.tend()

    @precondition(lambda self: any(limit.is_rate for limit in self.limits.all.values()))
    @rule(count=st.integers(1, 3))
    def ticks(self, count):
        """The clock of rates goes on."""
        self.limits.now += count
        seconds = count * TICK_SECONDS
        rows("update orchestration_ratehit set at = at - make_interval(secs => %s)", [seconds])
        rows(
            "update orchestration_limitqueue set woken_at = woken_at - make_interval(secs => %s)"
            " where woken_at > clock_timestamp()",
            [seconds],
        )

    @precondition(lambda self: self.limits.all)
    @rule(number=index, most=st.sampled_from([None, 1, 2, 3]), span=st.sampled_from([None, 1, 4]))
    def change_limit(self, number, most, span):
        """As a person says; or again as the definitions say."""
        limits = sorted(self.limits.all.values(), key=lambda limit: limit.number)
        limit = limits[number % len(limits)]
        span = span if limit.is_rate else None
        self.limits.change(limit, most, span)
        limiting.change(
            Limit.objects.get(kind=limit.kind, key=limit.key),
            by=self.world.members.operator,
            reason="r",
            most=most,
            span=span and span * TICK_SECONDS,
        )

    @precondition(lambda self: self.limits.all)
    @rule(number=index, priority=st.sampled_from(PRIORITIES))
    def adjust(self, number, priority):
        pk = sorted(self.runs)[number % len(self.runs)]
        run, found = self.runs[pk], Run.objects.get(pk=pk)
        try:
            adjusting.set_priority(found, by=None, reason="r", priority=priority)
        except Refused:
            assert run.has_ended
        else:
            assert not run.has_ended
            run.priority = priority

    # --- events

    @precondition(hears)
    @rule(number=index, again=st.booleans())
    def deliver(self, number, again):
        name, key = MAILBOXES[number % len(MAILBOXES)]
        known = [event for event in self.events.all if (event.name, event.key) == (name, key)]
        again = again and bool(known)
        expected = known[-1] if again else self.events.deliver(name, key)
        found, is_new = mail.deliver(
            organization=self.world.organization,
            name=name,
            key=key,
            data=-1 if again else expected.number,
            sender_id=str(expected.number),
            by=None,
        )
        assert (found.data, is_new) == (expected.number, not again)

    def listened_to(self):
        """What is waited for and has not come."""
        waiting = [row for row in self.rows() if row.waits_for == "event" and not self.events.of(row)]
        return {(ear.name, ear.key) for row in waiting for ear in row.ears}

    @precondition(hears)
    @rule()
    def match(self):
        self.events.match(self.rows())
        mail.match()

    @precondition(hears)
    @rule()
    def a_day_passes(self):
        """And what came before it is too old for those who begin to wait."""
        self.events.day += 1
        for table, column in TIMES_OF_EVENTS.items():
            rows(f"update {table} set {column} = {column} - interval '25 hours'")  # noqa: S608

    # --- what must be

    def expect_shared(self):
        """Slots, places and waits as LOOK gives them."""
        places = {row: (pk, *row.place_in_run) for pk, run in self.runs.items() for row in run.rows}
        for limit in self.limits.all.values():
            is_of = (limit.kind, limit.key, None)
            yield "limit", None, None, len(limit.holders), limit.promised, None, *is_of, None, None
            for row in limit.holders:
                yield "slot", *places[row], *is_of, None, None
            for place in limit.line:
                yield "place", *places[place.row], *is_of, place.units, place.called_for is not None
        for row, place in places.items():
            for number, ear in enumerate(row.ears if row.waits_for == "event" else ()):
                got = ear.event and ear.event.number
                yield "ear", *place, ear.name, ear.key, None, number + 1, got


def keys_of(row, kind):
    return [one["key"] for one in row.spec["limits"] if one["kind"] == kind]
