"""Forks at every step of a run with a bit of everything, and the death of who works on them."""

from orchestration.engine.levers.forking import fork, preview
from orchestration.models import Run
from tests.harness import assert_sound, until


def test_forks_at_each_step_end_as_the_run_did_though_their_worker_dies(nursery, order, members, simulator, at_rest):
    source = order.begin()
    worker = nursery.worker()
    source = order.check(source)
    worker.terminate()
    simulator.forget()
    steps = {fork(source, step, by=members.operator, reason="x").pk: step for step in source.newest_steps()}
    forks = list(Run.objects.filter(pk__in=steps))
    victim = nursery.worker(at="called", nth=5)
    until(lambda: victim.is_gone)
    heir = nursery.worker()
    until(lambda: sum(order.drive(run) for run in forks) == len(forks), 90)
    for run in forks:
        run = assert_sound(run.pk)
        assert (run.status, run.output) == ("completed", source.output)
        inherited = set(run.steps.filter(inherited_run=source.pk).values_list("name", flat=True))
        keys = [key.split(":") for key in list(simulator.keys())]
        assert not {name for public, name, number, *_ in keys if (public, number) == (run.public_id, "1")} & inherited
        assert inherited == set(preview(source, steps[run.pk]).inherits)
    at_rest(heir)
