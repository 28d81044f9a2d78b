"""What a step costs the database. The rows tell: each event carries the transaction that wrote it."""

from orchestration.engine.connection import value

COMMITS = "select count(distinct xmin::text) from orchestration_event where run_id = any(%s)"
CHAIN = "  s0: {agent: echo}\n" + "".join(f"  s{n}: {{agent: echo, needs: [s{n - 1}]}}\n" for n in range(1, 10))


def test_a_sequential_step_alone_costs_one_commit(begin, engine, finished):
    run = finished(begin(CHAIN))
    assert value(COMMITS, [[run.pk]]) == 1 + 1 + 10  # its start, the claim of the first step, and the end of each


def test_steps_of_many_runs_share_commits(begin, engine_later, finished):
    begun = [begin(CHAIN) for _ in range(20)]
    engine_later()
    for run in begun:
        assert finished(run).status == "completed"
    assert value(COMMITS, [[run.pk for run in begun]]) - len(begun) < len(begun) * 10
