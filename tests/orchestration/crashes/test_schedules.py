"""A schedule's time, and a worker that dies while it begins its run."""

from datetime import timedelta

from accounts.clock import database_clock
from orchestration.models import Run, Schedule, ScheduleFire
from tests.harness import assert_sound, until

TEXT = "name: planned\nschedule: [{{cron: '{minute} {hour} * * *'}}]\nsteps: {{a: {{agent: echo}}}}"


def test_a_kill_of_a_worker_that_begins_a_run_of_a_schedule_begins_it_neither_twice_nor_never(nursery, save, at_rest):
    at = database_clock() - timedelta(minutes=30)
    save(TEXT.format(minute=at.minute, hour=at.hour))
    Schedule.objects.update(last_at=at - timedelta(hours=1), next_at=at)
    victim = nursery.worker(at="fired")
    until(lambda: victim.is_gone)
    assert victim.reached, victim.words()
    assert not Run.objects.exists()
    heir = nursery.worker()
    run = until(lambda: Run.objects.filter(ended_at__isnull=False).first())
    assert assert_sound(run.pk).status == "completed"
    at_rest(heir)
    assert Run.objects.count() == ScheduleFire.objects.filter(run_id=run.pk).count() == 1
