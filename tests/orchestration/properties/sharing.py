"""What runs share, and what befalls it: limits, and events from outside."""

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from orchestration.engine import admission, mail, slots
from orchestration.engine.connection import rows
from orchestration.engine.levers import adjusting, limiting
from orchestration.engine.starts import start_versions
from orchestration.exceptions import Refused
from orchestration.models import Limit, Run
from tests.orchestration.properties.definitions import MAILBOXES, TICK_SECONDS, debounce_of
from tests.orchestration.properties.starts import admit, has_turn
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
        self.evict()
        self.give_turns()

    # --- limits

    def held_up(self):
        """Items about to call, beside one of the same map that has a limit's slot or stands in its line."""
        having = {*self.limits.places, *(row for limit in self.limits.all.values() for row in limit.holders)}
        return [
            hand
            for hand in self.hands
            if not hand.is_called
            and hand.is_current
            and hand.row.head
            and any(item in having and item is not hand.row for item in hand.row.head.newest_items)
        ]

    @precondition(held_up)
    @rule(number=index)
    def fail_beside_others(self, number):
        """Too many items fail, and what others have of limits is free."""
        held_up = self.held_up()
        hand = held_up[number % len(held_up)]
        head = hand.row.head
        while not hand.is_called:
            self.do_call(hand, "permanent")
            self.do_finish([hand], follow=True, look=True)
            hand = next(
                (other for other in self.hands if other.row in (head, *head.newest_items) and other.is_current), hand
            )
        self.tend()

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

    @precondition(lambda self: any(run.start for run in self.runs.values()))
    @rule()
    def give_turns(self):
        for run in [run for _, run in sorted(self.runs.items()) if has_turn(run, self.limits)]:
            if run.start.status == "waiting":
                admit(run, self.limits, [run for _, run in sorted(self.runs.items())])
        admission.give_turns()

    @precondition(lambda self: any(place.evicts for place in self.limits.places.values()))
    @rule()
    def evict(self):
        for place in sorted(self.limits.places.values(), key=lambda place: place.number):
            if place.evicts is not None and place.called_for is None:
                if not place.evicts.has_ended:
                    self.expect_canceled(place.evicts)
                place.evicts = None
        admission.evict()

    def has_clock(self):
        return any(limit.is_rate for limit in self.limits.all.values()) or self.windows

    @precondition(has_clock)
    @rule(count=st.integers(1, 3))
    def ticks(self, count):
        """The clock of rates, and of starts that come together, goes on."""
        self.limits.now += count
        seconds = count * TICK_SECONDS
        rows("update orchestration_ratehit set at = at - make_interval(secs => %s)", [seconds])
        rows(
            "update orchestration_limitqueue set woken_at = woken_at - make_interval(secs => %s)"
            " where woken_at > clock_timestamp()",
            [seconds],
        )
        if self.windows:
            rows("update orchestration_debounce set first_at = first_at - make_interval(secs => %s)", [seconds])
            rows(
                "update orchestration_step set wake_at = wake_at - make_interval(secs => %s)"
                " where kind = 'start' and status = 'waiting' and input ? 'debounce'",
                [seconds],
            )

    @precondition(lambda self: "debounce" in self.version.plan and len(self.runs) < self.most_runs)
    @rule(starts=st.lists(st.tuples(st.sampled_from("xy"), st.integers(0, 2)), min_size=1, max_size=4))
    def starts_follow_each_other(self, starts):
        for key, ticks in starts:
            self.start(0, key)
            if ticks:
                self.ticks(ticks)

    @precondition(lambda self: "debounce" in self.version.plan and len(self.runs) < self.most_runs)
    @rule(keys=st.lists(st.sampled_from("xy"), min_size=2, max_size=4))
    def start_many(self, keys):
        """At once: by their keys, and in their order."""
        inputs = [self.given(key) for key in keys]
        ordered = sorted(inputs, key=lambda given: debounce_of(self.version, given["k"])["key"])
        windows = {id(given): self.join(given) for given in ordered}
        facts = {"by": self.world.members.operator.pk}
        begun = start_versions(self.version.pk, self.world.organization.pk, inputs, **facts)
        for given in ordered:
            self.add_joined(begun[inputs.index(given)], windows[id(given)])

    @precondition(lambda self: self.limits.all)
    @rule(number=index, most=st.sampled_from([None, 1, 2, 3]), span=st.sampled_from([None, 1, 4]))
    def change_limit(self, number, most, span):
        """As a person says; or again as the definitions say."""
        limits = sorted(self.limits.all.values(), key=lambda limit: limit.number)
        self.say(limits[number % len(limits)], most, span)

    def say(self, limit, most, span=None):
        span = span if limit.is_rate else None
        self.limits.change(limit, most, span)
        limiting.change(
            Limit.objects.get(kind=limit.kind, key=limit.key),
            by=self.world.members.operator,
            reason="r",
            most=most,
            span=span and span * TICK_SECONDS,
        )

    def between(self):
        """Places in a line whose steps want something else, too, of which there is not all."""
        wanted = [
            (place, self.limits.all.get((one["kind"], one["key"])))
            for place in sorted(self.limits.places.values(), key=lambda place: place.number)
            for one in place.row.spec["limits"]
        ]
        return [(place, limit) for place, limit in wanted if limit not in (None, place.limit) and limit.is_used]

    @precondition(between)
    @rule(number=index)
    def turn_to_another_line(self, number):
        """Its turn comes, and then it finds something else full."""
        between = self.between()
        place, other = between[number % len(between)]
        self.say(place.limit, 3)
        self.say(other, 1)
        self.ticks(1)
        if place.row.kind == "start":
            return self.give_turns()
        self.sweep(number)
        self.look(number)
        for hand in [hand for hand in self.hands if hand.row is place.row and not hand.is_called]:
            self.do_call(hand, "completed")
            self.do_finish([hand], follow=False, look=False)
        return None

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
        """Slots, places, windows and waits as LOOK gives them."""
        for key, window in self.windows.items():
            left = max(0, window.run.begins_at - self.limits.now) if window.is_open else None
            said = f"{window.given['k']} {window.given['k']} {window.given['items']}"
            nothing = [None] * 6
            yield "window", self.key_of(window.run), key, window.count, left, *nothing, said
        places = {row: (pk, *row.place_in_run) for pk, run in self.runs.items() for row in run.rows}
        for limit in self.limits.all.values():
            is_of = (limit.kind, limit.key, None)
            yield "limit", None, None, len(limit.holders), limit.promised, None, *is_of, None, None, None
            for row in limit.holders:
                yield "slot", *places[row], *is_of, None, None, None
            for place in limit.line:
                evicts = place.evicts and self.key_of(place.evicts)
                said = (limit.kind, limit.key, evicts, place.units, None, place.called_for is not None)
                yield "place", *places[place.row], *said
        for row, place in places.items():
            for number, ear in enumerate(row.ears if row.waits_for == "event" else ()):
                got = ear.event and ear.event.number
                yield "ear", *place, ear.name, ear.key, None, number + 1, None, got


def keys_of(row, kind):
    return [one["key"] for one in row.spec["limits"] if one["kind"] == kind]
