"""Waits for events against everything that may happen at the same moment, with real threads and connections."""

from contextlib import suppress

import pytest

from orchestration.engine import answers, mail, messages
from orchestration.engine.connection import rows
from orchestration.engine.starts import start_version
from orchestration.exceptions import Refused, RunEnded
from orchestration.models import Event, EventWait, OutsideEvent, Run, Step
from tests.harness import assert_all_sound, claim, flush, make_worker, race, sweep

ROUNDS = 200
TEXT = "name: waits\nsteps: {w: {wait: {event: paid, key: x}}}"
ENDS = ["step.completed", "step.failed", "step.canceled"]


class Waits:
    """A run in each round, whose step is claimed; its event's key is the run's number."""

    def __init__(self, version, organization, by):
        self.organization, self.by = organization, by
        self.runs = [start_version(version.pk, organization.pk, {}, by=by.pk) for _ in range(ROUNDS)]
        self.worker = make_worker()
        self.claims = {step[0]: step for step in claim(self.worker, ROUNDS)}
        assert len(self.claims) == ROUNDS

    def open(self, n, **fields):
        hears = {"hears": [{"name": "paid", "key": str(n)}], "organization": self.organization.pk}
        more = {**hears, "becomes": "completed", "look_back": 24, **fields.pop("more", {})}
        while any(row[1] == "busy" for row in self.flush(n, waits_for="event", more=more, **fields)):
            pass

    def flush(self, n, **fields):
        return flush(self.worker, self.claims[self.runs[n]], "waiting", **fields)

    def open_all(self, **fields):
        for n in range(ROUNDS):
            self.open(n, **fields)

    def deliver(self, n, data=None):
        return mail.deliver(
            organization=self.organization, name="paid", key=str(n), data=data, sender_id=None, by=None
        )[0]

    def settle(self):
        mail.match()
        sweep(self.worker)

    def cancel(self, n):
        with suppress(RunEnded):
            answers.cancel(Run.objects.get(pk=self.runs[n]), by=self.by, reason="r")

    def ended(self):
        """Each step has ended once, and nothing listens any more; gives their statuses in the order of the rounds."""
        while mail.match() or sweep(self.worker)["swept"]:
            pass
        assert not EventWait.objects.exists()
        for run in self.runs:
            assert Event.objects.filter(run_id=run, type__in=ENDS).count() == 1
        assert_all_sound(self.runs)
        found = dict(Step.objects.filter(name="w").values_list("run_id", "status"))
        return [found[run] for run in self.runs]


@pytest.fixture
def waits(committed, save, organization, members):
    return Waits(save(TEXT), organization, members.operator)


def test_an_event_against_the_opening_of_its_wait(waits):
    race(ROUNDS, waits.open, lambda n: waits.deliver(n, data=n))
    assert set(waits.ended()) == {"completed"}
    assert sorted(Step.objects.filter(name="w").values_list("output", flat=True)) == list(range(ROUNDS))


def test_an_event_that_is_matched_while_its_wait_opens(waits):
    def deliver(n):
        waits.deliver(n)
        waits.settle()

    race(ROUNDS, waits.open, deliver)
    assert set(waits.ended()) == {"completed"}


def test_an_event_against_the_timeout(waits):
    waits.open_all(wake=3600.0, more={"due_as": "failed"})

    def deliver(n):
        waits.deliver(n)
        waits.settle()

    def time_out(n):
        rows("update orchestration_step set wake_at = clock_timestamp() where run_id = %s", [waits.runs[n]])
        sweep(waits.worker)

    race(ROUNDS, deliver, time_out)
    assert set(waits.ended()) <= {"completed", "failed"}


def test_an_event_against_cancel(waits):
    waits.open_all()

    def deliver(n):
        waits.deliver(n)
        waits.settle()

    race(ROUNDS, deliver, waits.cancel)
    ended = waits.ended()
    assert set(ended) <= {"completed", "canceled"}
    statuses = dict(Run.objects.values_list("pk", "status"))
    assert [statuses[run] for run in waits.runs] == ended


def test_cancel_against_the_opening_of_a_wait(waits):
    race(ROUNDS, waits.open, waits.cancel)
    assert set(waits.ended()) == {"canceled"}


def test_two_events_of_one_key_end_one_wait_with_the_first(waits):
    waits.open_all()

    def deliver(n):
        event = waits.deliver(n)
        waits.settle()
        return event.pk

    gave = race(ROUNDS, deliver, deliver)
    assert set(waits.ended()) == {"completed"}
    heard = dict(Step.objects.filter(name="w").values_list("run_id", "event_id"))
    assert all(heard[run] in events for run, events in zip(waits.runs, gave, strict=True))
    assert not OutsideEvent.objects.filter(matched_at=None).exists()


def test_two_sweepers_and_an_event_for_all(committed, save, organization, members):
    version = save("name: many\nsteps: {w: {wait: {event: paid}}, v: {wait: {event: paid}}}")
    runs = [start_version(version.pk, organization.pk, {}, by=members.operator.pk) for _ in range(100)]
    worker = make_worker()
    more = {"hears": [{"name": "paid", "key": ""}], "organization": organization.pk, "becomes": "completed"}
    for step in claim(worker, 200):
        flush(worker, step, "waiting", waits_for="event", more={**more, "look_back": 24})
    mail.deliver(organization=organization, name="paid", key="", data=1, sender_id=None, by=None)

    def take_up(n):
        mail.match()
        sweep(worker)

    race(10, take_up, take_up)
    assert {run.status for run in assert_all_sound(runs)} == {"completed"}
    assert not EventWait.objects.exists()


# --- messages

MAILBOX = """name: mailbox
messages: {paid: {if: "steps.w.status != 'failed'"}}
steps: {w: {wait: {message: paid}}}
"""


class Mailbox(Waits):
    def open(self, n, **fields):
        more = {"hears": [{"name": "paid", "key": "", "message": True}], **fields.pop("more", {})}
        super().open(n, more=more, **fields)

    def send(self, n):
        """The message, or None if it was refused."""
        with suppress(Refused):
            return messages.send(Run.objects.get(pk=self.runs[n]), name="paid", data=n, sender_id=str(n), by=self.by)[0]

    def ended(self):
        """A message that was kept was taken by a step that has it, or by none."""
        found = super().ended()
        heard = dict(Step.objects.filter(name="w").values_list("run_id", "event_id"))
        for message in OutsideEvent.objects.all():
            assert (message.taken_key is not None) == (heard[message.run_id] == message.pk)
        return found


@pytest.fixture
def mailbox(committed, save, organization, members):
    return Mailbox(save(MAILBOX), organization, members.operator)


def test_a_message_against_the_opening_of_its_wait(mailbox):
    race(ROUNDS, mailbox.open, mailbox.send)
    assert set(mailbox.ended()) == {"completed"}
    assert sorted(Step.objects.filter(name="w").values_list("output", flat=True)) == list(range(ROUNDS))


def test_a_message_against_its_waits_timeout(mailbox):
    mailbox.open_all(wake=3600.0, more={"due_as": "failed"})

    def send(n):
        message = mailbox.send(n)
        sweep(mailbox.worker)
        return message

    def time_out(n):
        rows("update orchestration_step set wake_at = clock_timestamp() where run_id = %s", [mailbox.runs[n]])
        sweep(mailbox.worker)

    gave = race(ROUNDS, send, time_out)
    for status, (message, _) in zip(mailbox.ended(), gave, strict=True):
        assert status == ("failed" if message is None else "completed")


def test_a_message_that_is_sent_twice_at_once_against_cancel(mailbox):
    mailbox.open_all()
    gave = race(ROUNDS, mailbox.send, mailbox.send, mailbox.cancel)
    for status, (one, other, _) in zip(mailbox.ended(), gave, strict=True):
        assert one is None or other is None or one == other
        assert status == "canceled" or one is not None or other is not None
    assert OutsideEvent.objects.count() <= ROUNDS
