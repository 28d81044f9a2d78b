"""One plain step alone has a function of its own, and the tables as few conditions as they can: PostgreSQL reads their text anew
for every statement that writes. What they ask is the same.

A run's row is written anew with each step: more of these stay in their page, and need no place in the indexes."""

import importlib

from django.db import migrations

earlier = importlib.import_module("orchestration.migrations.0013_flow_columns")
moves = importlib.import_module("orchestration.migrations.0033_moves_of_levers")
BEFORE = {
    "step_status_known": (
        "status in ('blocked', 'ready', 'running', 'waiting', 'uncertain', 'completed', 'failed', 'skipped', 'canceled')"
    ),
    "step_running_is_owned": "(status = 'running') = (owner is not null)",
    "run_status_known": (
        "status in ('planning', 'running', 'waiting', 'paused', 'canceling', 'completed', 'failed', 'canceled', 'rejected')"
    ),
    "run_ended_has_its_time": "(status in ('completed', 'failed', 'canceled', 'rejected')) = (ended_at is not null)",
}
NOW = {
    "step_status_fits": "case when owner is not null then status = 'running'"
    " else status = any ('{blocked,ready,waiting,uncertain,completed,failed,skipped,canceled}') end",
    "run_status_fits": "case when ended_at is not null then status = any ('{completed,failed,canceled,rejected}')"
    " else status = any ('{planning,running,waiting,paused,canceling}') end",
}


def table(name: str) -> str:
    return f"orchestration_{name.partition('_')[0]}"


def swap(made: dict[str, str], dropped: dict[str, str]) -> list[str]:
    """Of tables that are in use: rows are looked through afterwards, while others write."""
    anew = "alter table {0} drop constraint if exists {1}, add constraint {1} check ({2}) not valid;"
    changes = [anew.format(table(name), name, said) for name, said in made.items()]
    changes += [f"alter table {table(name)} drop constraint if exists {name};" for name in dropped]
    return [
        earlier.CHANGE.format(" ".join(changes)),
        *(f"alter table {table(name)} validate constraint {name}" for name in made),
    ]


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("orchestration", "0043_turns_of_several_limits")]

    operations = [
        migrations.RunSQL(
            moves.replacing("flush_one_v1"),
            "drop function if exists engine_flush_one_v1(bigint, bigint, jsonb, text[], int)",
        ),
        migrations.RunSQL(moves.replacing("claims_v1"), moves.replacing("past/claims_v1_sixth")),
        migrations.RunSQL(
            "alter table orchestration_run set (fillfactor = 40)", "alter table orchestration_run set (fillfactor = 70)"
        ),
        migrations.RunSQL(swap(NOW, BEFORE), swap(BEFORE, NOW)),
    ]
