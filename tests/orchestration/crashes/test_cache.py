"""Whoever asks for many is killed; and how often a server was asked, by its own count."""

import pytest

from orchestration.models import CacheEntry, CachePlace, Run, Step
from tests.harness import assert_all_sound, until
from tests.orchestration.crashes.looks import WRITER

ASKS = "  a: {agent: writer, with: {text: same}, cache: {ttl: 1h}}\noutput: '${{ steps.a.output.text }}'\n"


@pytest.fixture
def ask(nursery, begin, save_agent, simulator):
    """So many runs that ask the same."""
    save_agent(name="writer", **WRITER)

    def ask(count):
        return [begin(ASKS) for _ in range(count)]

    return ask


def all_completed(runs):
    until(lambda: not Run.objects.filter(ended_at=None).exists(), 60)
    ended = assert_all_sound([run.pk for run in runs])
    assert {run.status for run in ended} == {"completed"}
    assert len({run.output for run in ended}) == 1


def test_fifty_at_once_ask_once(nursery, ask, at_rest, simulator):
    simulator.slow_once(1.0)
    runs = ask(50)
    first, second = nursery.worker(), nursery.worker()
    all_completed(runs)
    assert sum(simulator.keys().values()) == 1
    assert not CachePlace.objects.exists()
    at_rest(first, second)


# The first batch is that of a step that waits: then who asks may have asked, or not.
@pytest.mark.parametrize(("point", "asked"), [("call", {1}), ("called", {2}), ("flush", {1, 2}), ("recorded", {1, 2})])
def test_a_kill_of_the_one_that_asks_lets_the_next_ask(nursery, ask, at_rest, simulator, point, asked):
    runs = ask(8)
    victim = nursery.worker(at=point)
    until(lambda: victim.is_gone)
    assert victim.reached, victim.words()
    heir = nursery.worker()
    all_completed(runs)
    assert sum(simulator.keys().values()) in asked
    assert CacheEntry.objects.filter(fence=None).count() == 1
    at_rest(heir)


def test_a_kill_in_the_sweep_that_passes_the_turn_on(nursery, ask, at_rest, simulator):
    runs = ask(8)
    frozen = nursery.worker(at="call")
    until(lambda: frozen.is_gone)
    sweeping = nursery.worker(at="swept", nth=2)
    until(lambda: sweeping.is_gone)
    assert sweeping.reached, sweeping.words()
    heir = nursery.worker()
    all_completed(runs)
    assert Step.objects.filter(name="a", usage__cached_from__isnull=False).count() == 7
    at_rest(heir)
