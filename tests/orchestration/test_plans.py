import threading
from concurrent.futures import ThreadPoolExecutor

from agents.gateways.model import _client
from orchestration.engine.connection import returned_connection
from orchestration.engine.plans import plan_of


def at_once(ask):
    threads = 16
    barrier = threading.Barrier(threads, timeout=30)

    def one(_):
        barrier.wait()
        with returned_connection():
            return ask()

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(one, range(threads)))


def test_what_many_walkers_ask_for_at_once_is_made_once(begin, committed):
    version = begin("".join(f"  s{n}: {{agent: echo}}\n" for n in range(30))).definition_version_id
    plan_of.cache_clear()
    assert len({id(plan) for plan in at_once(lambda: plan_of(version))}) == 1
    assert len({id(client) for client in at_once(lambda: _client("http://127.0.0.1:9/v1", "key"))}) == 1
