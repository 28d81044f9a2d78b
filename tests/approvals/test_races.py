from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
from django.db import connection

from accounts.clock import database_clock
from approvals.exceptions import AlreadyEnded
from approvals.models import Request
from tests.factories import MemberFactory, PolicyFactory, ask

ROUNDS = 200
pytestmark = pytest.mark.django_db(transaction=True)


def race(pool, *acts):
    """Run the acts at once, each on a connection of its own; what each gave or raised."""
    barrier = Barrier(len(acts))

    def run(act):
        connection.ensure_connection()
        barrier.wait()
        try:
            return act()
        except AlreadyEnded as exc:
            return exc
        finally:
            connection.close()

    return [future.result() for future in [pool.submit(run, act) for act in acts]]


def decide(row, member, choice="continue"):
    return lambda: Request.objects.get(pk=row.pk).decide(by=member, choice=choice, digest=row.digest, note="why").choice


@pytest.fixture
def people():
    policy = PolicyFactory()
    return policy, *MemberFactory.create_batch(2, organization=policy.organization, roles=["approver"])


@pytest.mark.parametrize("rival", ["decide", "deadline", "withdraw"])
def test_one_outcome_whoever_comes_first(people, rival):
    policy, ada, bob = people
    with ThreadPoolExecutor(2) as pool:
        for turn in range(ROUNDS):
            subject = f"run:{turn}:check"
            soon = database_clock() + timedelta(milliseconds=turn % 8)
            due = {"deadline_at": soon, "deadline_choice": "abort"} if rival == "deadline" else {}
            row = ask(policy, subject=subject, **due)
            acts = {
                "decide": decide(row, bob, "abort"),
                "deadline": Request.expire_due,
                "withdraw": lambda row=row: Request.withdraw([row.pk]),
            }
            mine, theirs = race(pool, decide(row, ada), acts[rival])
            while rival == "deadline" and Request.objects.pending().filter(pk=row.pk).exists():
                Request.expire_due()
            row.refresh_from_db()
            assert row.decisions.count() == (2 if rival == "decide" else 1)
            assert row.decisions.filter(late=False).count() == (row.status == "decided")
            if rival == "decide":
                assert sorted([isinstance(mine, AlreadyEnded), isinstance(theirs, AlreadyEnded)]) == [False, True]
            else:
                assert (row.status == "decided") is (mine == "continue")
            if row.status == "decided" and rival == "deadline":
                assert row.decided_at < row.deadline_at
