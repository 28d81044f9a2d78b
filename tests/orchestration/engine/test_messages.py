"""Messages to a run: judged before they are kept, taken by one wait each, the oldest first."""

import pytest

from accounts.models import AuditEntry
from orchestration.engine import answers, mail, messages
from orchestration.engine.connection import rows
from orchestration.engine.levers import by_hand
from orchestration.exceptions import InvalidInput, Refused
from orchestration.models import Event, EventWait, OutsideEvent, Step
from tests.harness import assert_sound, until
from tests.orchestration.engine.looks import statuses, step

MOST = {"most": 9}
W = "  w: {wait: {message: bid}}\n"
BIDS = """
messages:
  bid: {schema: {type: integer, minimum: 1}, if: message <= input.most, reply: {of: "${{ input.most }}"}}
  note: {}
  late: {if: "steps.w.status == 'completed'", reply: "${{ steps.w.output }}"}
"""


@pytest.fixture
def send(members):
    def send(run, name="bid", data=5, sender_id=None):
        return messages.send(run, name=name, data=data, sender_id=sender_id, by=members.operator)[0]

    return send


def waiting(run, *names):
    def wait():
        found = Step.objects.filter(run_id=run.pk, name__in=names, status="waiting")
        return found.count() == len(names)

    until(wait)


def taken(message):
    message.refresh_from_db()
    return message.taken_key


@pytest.mark.parametrize("data", [5, 7])
def test_a_message_ends_the_wait_for_it_and_is_answered(begin, engine, finished, send, data):
    run = begin(f"  w: {{wait: {{message: bid}}}}\noutput: ${{{{ steps.w.output + 1 }}}}\n{BIDS}", {"most": 7})
    engine.look()
    waiting(run, "w")
    message = send(run, data=data)
    run = finished(run)
    assert (run.status, run.output, message.reply) == ("completed", data + 1, {"of": 7})
    assert (step(run, "w").event_id, taken(message)) == (message.pk, step(run, "w").key)
    told = Event.objects.get(run_id=run.pk, type="message.received").data
    assert told == {"message": "bid", "id": message.public_id, "by": message.by.name}
    assert AuditEntry.objects.get(action="run.message").data == told
    assert Event.objects.get(run_id=run.pk, type="step.completed").data["event"] == message.public_id
    assert not EventWait.objects.exists()
    assert_sound(run.pk)


def test_messages_that_came_first_are_taken_in_their_order_one_by_each_wait(begin, engine_later, finished, send):
    run = begin(W + "  x: {wait: {message: bid}, needs: [w]}\n" + BIDS, MOST)
    first, second, third = (send(run, data=n) for n in (3, 1, 2))
    engine_later()
    run = finished(run)
    assert [step(run, name).output for name in "wx"] == [3, 1]
    assert [taken(each) is None for each in (first, second, third)] == [False, False, True]
    assert_sound(run.pk)


@pytest.mark.parametrize(
    ("name", "data", "error"),
    [
        ("bid", 0, InvalidInput),
        ("bid", None, InvalidInput),
        ("bid", 10, Refused),
        ("offer", 1, InvalidInput),
        ("late", 1, Refused),
    ],
)
def test_what_a_run_does_not_take_is_refused_and_leaves_nothing(begin, send, name, data, error):
    run = begin(W + BIDS, MOST)
    with pytest.raises(error):
        send(run, name=name, data=data)
    assert not OutsideEvent.objects.exists()
    assert not Event.objects.filter(type="message.received").exists()
    assert not AuditEntry.objects.filter(action="run.message").exists()


def test_it_is_judged_by_what_the_run_is_at_that_moment(begin, engine, finished, send):
    run = begin(f"  w: {{wait: {{message: bid}}}}\n  x: {{wait: {{message: late}}, needs: [w]}}\n{BIDS}", MOST)
    engine.look()
    waiting(run, "w")
    send(run, data=4)
    waiting(run, "x")
    assert send(run, name="late", data="x").reply == 4
    assert finished(run).status == "completed"


def test_what_was_judged_by_another_state_is_not_kept(begin, send):
    run = begin(W + BIDS, MOST)

    def keep(seen):
        given = [run.pk, seen, "msg_x", "note", None, None, "null", None, None, "{}"]
        return rows(messages.KEEP, given)[0][0]

    for other in ('[["w", 1, "waiting"]]', '[["w", 2, "ready"]]', '[["v", 1, "ready"]]'):
        assert keep(other) == "moved"
    assert not OutsideEvent.objects.exists()
    assert keep('[["w", 1, "ready"]]') == "kept"


def test_sent_again_under_its_name_it_is_the_first_with_its_reply(begin, send):
    run, other = (begin(W + BIDS, {"most": most}) for most in (9, 3))
    first = send(run, data=4, sender_id="k")
    assert send(run, data=0, sender_id="k") == first
    assert send(other, data=2, sender_id="k").reply == {"of": 3}
    mail.deliver(organization=run.organization, name="bid", key="", data=1, sender_id="k", by=None)
    assert OutsideEvent.objects.count() == 3


def test_a_message_whose_wait_ended_otherwise_is_for_the_next(begin, engine, finished, send, members):
    run = begin("  a: {wait: {any: [{message: note}, {message: bid}]}}\n" + W + BIDS, MOST)
    engine.look()
    waiting(run, "a", "w")
    engine.stop()
    message = send(run)
    assert taken(message) == 1
    by_hand.skip(run, step(run, "a"), by=members.operator, reason="r")
    assert taken(message) == 2
    assert [(wait.key, wait.event_id) for wait in EventWait.objects.all()] == [(2, message.pk)]
    answers.cancel(run, by=members.operator, reason="r")
    assert (taken(message), EventWait.objects.count()) == (None, 0)


@pytest.mark.parametrize("how", ["cancel", "end"])
def test_a_run_that_has_ended_takes_none(begin, engine, finished, send, members, how):
    run = begin(f"  w: {{wait: {{for: 0s}}}}\n{BIDS}", MOST)
    if how == "cancel":
        answers.cancel(run, by=members.operator, reason="r")
    else:
        engine.look()
        finished(run)
    with pytest.raises(Refused, match="has ended"):
        send(run)
    assert not OutsideEvent.objects.exists()


def test_each_item_of_a_map_takes_one(begin, engine, finished, send):
    each = "  w: {map: {over: [1, 2, 3]}, wait: {message: bid}}\noutput: ${{ steps.w.output }}\n"
    run = begin(each + BIDS, MOST)
    send(run, data=1)
    engine.look()
    until(lambda: EventWait.objects.filter(event_id=None).count() == 2)
    send(run, data=2)
    send(run, data=3)
    run = finished(run)
    assert (sorted(run.output), statuses(run)["w"]) == ([1, 2, 3], "completed")
    assert_sound(run.pk)


def test_a_large_message_lies_by_its_digest(begin, engine, finished, send):
    run = begin(f"  w: {{wait: {{message: note}}}}\n{BIDS}", MOST)
    message = send(run, name="note", data="x" * 5_000)
    engine.look()
    run = finished(run)
    assert (message.data, message.content) == (None, "x" * 5_000)
    assert bytes(step(run, "w").output_digest) == bytes(message.data_digest)
    assert_sound(run.pk)
