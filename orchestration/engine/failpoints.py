"""Named points of the protocol at which tests kill, freeze or hold a process. The product passes them by: nothing in it
sets `reach`, no setting and no variable does, and tests/settings.py alone puts something else in its place."""

POINTS = (
    "claimed",  # a claim is committed, its walker does not have it yet
    "acquired",  # slots and units of limits are the step's, its call is not begun
    "call",  # before the agent is called
    "called",  # the agent has answered, the outcome is not handed in
    "flush",  # outcomes are handed in, their batch is not sent
    "payloads",  # large values of a batch are committed, the batch is not sent
    "preparing",  # in the transaction of a question, before its rows are made
    "prepared",  # after they are made
    "flushed",  # in the same transaction, before it commits
    "recorded",  # a batch is committed, nobody here knows what it gave
    "patient",  # before what waits alone for its run is written
    "recovering",  # the rows told what a lost commit has done, what its claims lost is not handed back
    "handed_back",  # after a recovery, or by a drain
    "reopened",  # a walker opened a gate again, and does not know it
    "sweep",  # before a sweep
    "swept",  # the sweep's rows are committed, what else there is to do is not done
    "gone",  # neighbours are declared dead, their steps are not handed on
    "expired",  # deadlines have answered, the answers are not taken up
    "answer",  # an answer moved its step, and is not acknowledged
    "round",  # in the transaction that opens a round, before it commits
    "evicted",  # a run has its place, the one in whose place it is to begin is not canceled
    "fired",  # a schedule's time had its turn, in the transaction of the run that it began, before it commits
    "asked",  # a budget is used up and its runs are paused, nobody is asked yet
    "told",  # a child's end moved its parent's step, and is not marked as told
    "tidied",  # questions are withdrawn and children canceled, and the run still says that it is untidy
    "canceled",  # a run's cancel is committed, its questions are not withdrawn
    "resolving",  # in the transaction in which a person says what became of a step, before it commits
    "taken",  # a new life has its row, and does not know it
    "lease",  # before the lease is renewed
    "drain",  # asked to stop, still with work in hand
    "forgotten",  # rows of old runs are deleted, their partitions are there yet
    "kept",  # what stays of old partitions is copied, they are not swapped
    "swapped",  # in the transaction that drops the old partitions, before it commits
    "pulled",  # a lever of a bulk action is pulled, that it was is not written
    "delivered",  # an event from outside is committed, nobody was told
    "keeping",  # in the transaction that keeps a message to a run, before it commits
    "matched",  # the waits that it ends know it, their steps have not moved
    "undoing",  # what a step did is about to be taken back, nothing is called
    "drained",  # all is handed back, the lease is not given up
)


def reach(point: str) -> None:
    """Tests: the process is at this point."""
