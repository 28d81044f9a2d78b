"""A commit whose outcome is not known: the connection is cut before it arrives, or before its answer is read."""

import pytest

from config.chaos.cutting import PORT
from tests.harness import until

# What the message says; and what the one that is meant says, on the same connection after it.
MESSAGES = {
    "a step's end and the next claim": (b'"outcome":"completed"', None),
    "a question": (b'"waits_for":"approval"', b"COMMIT"),
    "a child": (b'"launch":', None),
    "an answer, and a child's end": (b'"was":"waiting"', None),
    "a round": (b'"choice": "retry"', b"COMMIT"),
    "lines of the log": (b"Attempt 1 failed", b"COMMIT"),
}


@pytest.mark.parametrize("message", MESSAGES)
@pytest.mark.parametrize("before", [False, True], ids=["after", "before"])
def test_a_commit_of_unknown_outcome_is_done_once(nursery, order, cutter, at_rest, message, before):
    words, then = MESSAGES[message]
    cutter.cut(words, then=then, before=before)
    run = order.begin()
    worker = nursery.worker(database={"HOST": str(cutter.folder), "PORT": str(PORT)})
    until(lambda: order.drive(run))
    assert cutter.cuts == 1
    order.check(run)
    at_rest(worker)
