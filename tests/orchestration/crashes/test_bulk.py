"""Who pulls a lever at many runs is killed between the deed and its record."""

import pytest

from accounts.models import AuditEntry
from orchestration.engine import bulk
from orchestration.levers import BY_NAME
from orchestration.models import Bulk, BulkItem, Event, Run
from tests.harness import until

GIVEN = {"priority": 7}


@pytest.mark.parametrize(("point", "nth"), [("pulled", 1), ("pulled", 2), ("swept", 2)])
def test_a_kill_in_the_midst_of_many_does_it_once_to_each(nursery, begin, members, at_rest, point, nth):
    runs = [begin("  a: {wait: {for: 1d}}\n") for _ in range(3)]
    worker = nursery.worker()
    until(lambda: Run.objects.filter(status="waiting").count() == 3)
    worker.kill()
    lever, chosen = BY_NAME["run", "priority"], bulk.Chosen(ids=[run.public_id for run in runs])
    looked = bulk.look(lever, chosen, GIVEN, by=members.operator)
    bulk.begin(lever, chosen, GIVEN, reason="so", digest=looked.digest, by=members.operator)
    victim = nursery.worker(at=point, nth=nth)
    until(lambda: victim.is_gone)
    assert victim.reached, victim.words()
    heir = nursery.worker()
    until(lambda: not Bulk.objects.filter(ended_at=None).exists())
    assert list(BulkItem.objects.values_list("status", flat=True)) == ["done"] * 3
    assert list(Run.objects.values_list("priority", flat=True)) == [7] * 3
    assert AuditEntry.objects.filter(action="run.change").count() == 3
    assert Event.objects.filter(type="run.changed").count() == 3
    at_rest(heir)
