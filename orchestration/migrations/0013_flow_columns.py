"""New columns of runs and steps: null or constant, so that no row is written and who does not know them need not; and
their indexes, each made without standing in anybody's way. What was cut short is made by the next try."""

import django.contrib.postgres.fields
import django.contrib.postgres.indexes
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models

RUN = """
    level smallint not null default 0, root_run_id bigint, budgets bigint[], labels jsonb, deadline_at timestamptz,
    reversible boolean not null default false, undoing boolean not null default false,
    limited boolean not null default false, stays boolean not null default false, schedule_id bigint,
    planned_at timestamptz, forked_run_id bigint, forked_key int, pinned_at timestamptz, archived_at timestamptz
"""
STEP = """
    head int, pass int, phase smallint not null default 0, item jsonb, item_digest bytea, first_item int,
    item_count int, next_item int, bearable int, windowed boolean not null default false, slack int,
    forgiven boolean not null default false, carries boolean not null default false,
    limited boolean not null default false, due_as text, first_at timestamptz, total_seconds real, queue_seconds real,
    expect_seconds real, total_at timestamptz, deadline_at timestamptz, expect_at timestamptz, undo jsonb,
    undo_digest bytea, undo_version_id bigint, undoes int, event_id bigint, inherited_run bigint, inherited_key int,
    confirm boolean not null default false
"""
# Workers are at work meanwhile, and lock runs and steps in either order: who does not get both tables at once lets go and
# tries again, sooner than anyone looks for a deadlock. One statement, so all of it or nothing.
CHANGE = """
do $$
begin
    for turn in 1 .. 600 loop
        begin
            set local lock_timeout = '200ms';
            lock table orchestration_run, orchestration_step in access exclusive mode;
            exit;
        exception when lock_not_available then
            if turn = 600 then raise; end if;
            perform pg_sleep(random() * 0.1);
        end;
    end loop;
    {0}
end $$
"""
REFUSE = """
    if exists (select from orchestration_run where ended_at is null and level > 0) then
        raise exception 'runs are open that use what the release before does not know: let them end, or cancel them';
    end if;
"""
OPEN = "('blocked', 'ready', 'running', 'waiting', 'uncertain')"
INDEXES = {
    "step_deadline": f"(deadline_at) where deadline_at is not null and status in {OPEN}",
    "step_expect": f"(expect_at) where expect_at is not null and status in {OPEN}",
    "step_item_digest": "(item_digest) where item_digest is not null",
    "step_undo_digest": "(undo_digest) where undo_digest is not null",
}
PARTS = """
select p.inhrelid::regclass::text from pg_inherits p where p.inhparent = 'orchestration_step'::regclass and not exists (
    select from pg_inherits i join pg_index x on x.indexrelid = i.inhrelid
    where i.inhparent = %s::regclass and x.indrelid = p.inhrelid)
"""


def columns(text, verb):
    """`add` each of them, or `drop` them by their names."""
    each = [column.strip() for column in text.split(",")]
    return ", ".join(
        f"add column if not exists {column}" if verb == "add" else f"drop column if exists {column.split()[0]}"
        for column in each
    )


def change(verb, before=""):
    tables = {"orchestration_run": RUN, "orchestration_step": STEP}
    return CHANGE.format(
        before + " ".join(f"alter table {table} {columns(text, verb)};" for table, text in tables.items())
    )


def index_steps(apps, schema_editor):
    """Part by part: on a partitioned table PostgreSQL makes none while rows are written."""
    with schema_editor.connection.cursor() as cursor:
        for name, what in INDEXES.items():
            cursor.execute(f"drop index if exists {name}")
            cursor.execute(f"create index {name} on only orchestration_step {what}")
            cursor.execute(PARTS, [name])
            for (part,) in cursor.fetchall():
                own = f"{part}_{name.removeprefix('step_')}"
                cursor.execute(f"drop index concurrently if exists {own}")
                cursor.execute(f"create index concurrently {own} on {part} {what}")
                cursor.execute(f"alter index {name} attach partition {own}")


FIELDS = {
    "level": models.SmallIntegerField(db_default=0),
    "root_run_id": models.BigIntegerField(null=True),
    "budgets": django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField(), null=True, size=None),
    "labels": models.JSONField(null=True),
    "deadline_at": models.DateTimeField(null=True),
    "reversible": models.BooleanField(db_default=False),
    "undoing": models.BooleanField(db_default=False),
    "limited": models.BooleanField(db_default=False),
    "stays": models.BooleanField(db_default=False),
    "schedule_id": models.BigIntegerField(null=True),
    "planned_at": models.DateTimeField(null=True),
    "forked_run_id": models.BigIntegerField(null=True),
    "forked_key": models.IntegerField(null=True),
    "pinned_at": models.DateTimeField(null=True),
    "archived_at": models.DateTimeField(null=True),
}
RUN_INDEXES = (
    models.Index(
        fields=["deadline_at"], name="run_overdue", condition=models.Q(ended_at=None, deadline_at__isnull=False)
    ),
    models.Index(fields=["root_run_id"], name="run_tree", condition=models.Q(root_run_id__isnull=False)),
    django.contrib.postgres.indexes.GinIndex(
        fields=["labels"], name="run_labels", opclasses=["jsonb_path_ops"], condition=models.Q(labels__isnull=False)
    ),
)


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("orchestration", "0012_flow_rows")]

    operations = [
        migrations.SeparateDatabaseAndState(
            [migrations.RunSQL(change("add"), change("drop", REFUSE))],
            [migrations.AddField("run", name, field) for name, field in FIELDS.items()],
        ),
        migrations.RunSQL("set lock_timeout = 0", "reset lock_timeout"),
        migrations.RunSQL([f"drop index concurrently if exists {index.name}" for index in RUN_INDEXES], []),
        *(AddIndexConcurrently("run", index) for index in RUN_INDEXES),
        migrations.RunPython(index_steps, migrations.RunPython.noop),
        migrations.RunSQL("reset lock_timeout", "set lock_timeout = 0"),
        # On the way back it is the first, before an index is dropped: what is refused leaves all as it was.
        migrations.RunSQL(migrations.RunSQL.noop, f"do $$ begin {REFUSE} end $$"),
    ]
