"""The tables of the engine, made and unmade."""

import pytest
from django.core.management import call_command
from django.db import IntegrityError, ProgrammingError, connection
from django.db.migrations.executor import MigrationExecutor

from orchestration.engine.connection import rows
from tests.harness import assert_sound, claim, end, forget_versions, make_worker

INDEXES = "select indexdef from pg_indexes where starts_with(tablename, 'orchestration') order by indexname"
CANNOT_BE = [
    "update orchestration_step set status = 'begun'",
    "update orchestration_step set status = 'running'",
    "update orchestration_step set owner = 1",
    "update orchestration_step set owner = 1, status = 'completed'",
    "update orchestration_run set status = 'begun'",
    "update orchestration_run set status = 'completed'",
    "update orchestration_run set ended_at = now()",
    "update orchestration_run set ended_at = now(), status = 'waiting'",
]
MAY_BE = [
    "update orchestration_step set owner = 1, status = 'running'",
    "update orchestration_step set owner = null, status = 'failed'",
    "update orchestration_run set ended_at = now(), status = 'rejected'",
    "update orchestration_run set ended_at = null, status = 'paused'",
]


def test_the_migrations_go_back_and_forth_with_rows_in_the_tables(servers, committed, begin):
    def leaves():
        return [node for node in MigrationExecutor(connection).loader.graph.leaf_nodes() if node[0] == "orchestration"]

    def migrate_and_run():
        run = begin("  a: {agent: echo, with: {value: 1}}\n  b: {agent: echo, needs: [a]}\n")
        worker = make_worker()
        for _ in range(2):
            (step,) = claim(worker)
            end(worker, step, output={"value": 1})
        assert assert_sound(run.pk).status == "completed"

    migrate_and_run()
    (leaf,) = leaves()
    for target in ("0011", "0001", "zero"):
        call_command("migrate", "orchestration", target, verbosity=0)
        call_command("migrate", "orchestration", leaf[1], verbosity=0)
        forget_versions()
        migrate_and_run()


@pytest.mark.parametrize("target", ["0043", "0044"])
def test_the_tables_refuse_what_cannot_be(servers, committed, begin, target):
    begin("  a: {agent: echo}\n")
    call_command("migrate", "orchestration", target, verbosity=0)
    try:
        for change in CANNOT_BE:
            with pytest.raises(IntegrityError, match="violates check constraint"):
                rows(change)
        for change in MAY_BE:
            rows(change)
    finally:
        call_command("migrate", "orchestration", verbosity=0)


@pytest.mark.parametrize(("level", "target"), [(2, "0022"), (3, "0038"), (4, "0040")])
def test_nothing_goes_back_while_a_run_is_open_that_the_release_before_would_misunderstand(
    committed, begin, level, target
):
    run = begin("  a: {agent: echo}\n")
    rows("update orchestration_run set level = %s", [level])
    indexes = rows(INDEXES)
    with pytest.raises(ProgrammingError, match="let them end, or cancel them"):
        call_command("migrate", "orchestration", target, verbosity=0)
    call_command("migrate", "orchestration", verbosity=0)
    assert rows("select level from orchestration_run where id = %s", [run.pk]) == [(level,)]
    assert not rows("select indexrelid::regclass::text from pg_index where not indisvalid")
    assert rows(INDEXES) == indexes
