"""The moves of every kind of step. Functions that the release before calls keep their names and what they take and give:
they move steps by those of today, and its workers claim steps of runs that they understand alone."""

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).resolve().parent.parent / "engine" / "sql"
MOVED = "bigint, jsonb, jsonb, jsonb, text[]"
FLUSHED = "bigint, bigint[], jsonb, jsonb, int, text[], boolean"
ARRAY = "engine_moved_v1[]"
GOING = "r.status in ('running', 'waiting')"


def source(name: str) -> str:
    return (SQL / f"{name}.sql").read_text()


def replacing(name: str) -> str:
    return source(name).replace("create function", "create or replace function")


def dropping(*signatures: str) -> str:
    return "; ".join(f"drop function {signature}" for signature in signatures)


class Migration(migrations.Migration):
    dependencies = [("orchestration", "0014_flow_starts")]

    operations = [
        migrations.RunSQL(
            source("judge_v1"),
            dropping(
                "engine_judge_v1(text, int, int, int, int, boolean)",
                "engine_goes_v1(text, boolean)",
            ),
        ),
        migrations.RunSQL(
            source("past/settle_v3_first"),
            dropping(f"engine_settle_v3({MOVED})")
            + "; drop type engine_told_v3, engine_over_v1, engine_ready_v1, engine_done_v1, engine_moved_v1",
        ),
        migrations.RunSQL(source("past/given_v1_first"), dropping("engine_given_v1(jsonb)")),
        migrations.RunSQL(
            source("past/rare_v1_first"),
            dropping(f"engine_rare_v1({ARRAY}, engine_over_v1[])", "engine_times_v1(bigint[], int[])"),
        ),
        migrations.RunSQL(
            source("past/heads_v1_third"),
            dropping(f"engine_window_v1({ARRAY})", f"engine_close_v1({ARRAY})", "engine_kept_v1(bigint, bigint)"),
        ),
        migrations.RunSQL(source("past/claims_v1_first"), dropping("engine_claims_v1(bigint[], int[])")),
        migrations.RunSQL(source("round_v1"), dropping("engine_round_v1(bigint, int[], jsonb)")),
        migrations.RunSQL(source("past/flush_v3"), dropping(f"engine_flush_v3({FLUSHED})")),
        migrations.RunSQL(source("past/cancel_v4_first"), dropping("engine_cancel_v4(bigint, text, jsonb, jsonb)")),
        migrations.RunSQL(replacing("past/fair_v1_fourth"), replacing("past/fair_v1_first")),
        migrations.RunSQL(replacing("reopen_v2"), replacing("past/reopen_v2_first")),
        *(
            migrations.RunSQL(replacing(f"past/{name}_second"), replacing(f"past/{name}_first"))
            for name in ("rewire_v1", "repair_v1", "sweep_v2")
        ),
        migrations.RunSQL(source("past/settle_v2_by_v3"), replacing("past/settle_v2")),
        migrations.RunSQL(
            replacing("past/flush_v2").replace(GOING, f"r.level = 0 and {GOING}"), replacing("past/flush_v2")
        ),
    ]
