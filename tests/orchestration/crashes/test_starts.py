"""A worker that dies between the start of a run and the cancel of the one in whose place it begins."""

from orchestration.engine.starts import start_version
from orchestration.models import Run
from tests.harness import assert_all_sound, until

TEXT = "name: newest\nconcurrency: {max: 1, when_full: cancel_oldest}\nsteps: {a: {wait: {event: never}}}"


def test_a_kill_before_the_oldest_is_canceled_leaves_it_to_the_next_sweep(
    nursery, save, organization, members, at_rest
):
    version = save(TEXT)
    runs = [start_version(version.pk, organization.pk, {}, by=members.operator.pk) for _ in range(2)]
    victim = nursery.worker(at="evicted")
    until(lambda: victim.is_gone)
    assert victim.reached, victim.words()
    oldest, newest = (Run.objects.get(pk=run) for run in runs)
    assert (oldest.ended_at, newest.status) == (None, "waiting")
    heir = nursery.worker()
    until(lambda: Run.objects.filter(pk=oldest.pk, status="canceled").exists())
    until(lambda: newest.steps.filter(waits_for="event").exists())
    at_rest(heir)
    assert_all_sound(runs)
