"""What tests of retention do: make runs old, and look at what is left."""

from datetime import timedelta

from orchestration.engine import parts
from orchestration.engine.connection import rows, value
from orchestration.engine.retention import retain
from orchestration.models import Run

OLDER, EVERY = timedelta(days=90), timedelta(days=30)
STEPS = "  a: {agent: echo, deliverable: {name: d, title: t, content: c}}\n  b: {agent: echo, needs: [a]}\n"
ROWS = "select to_jsonb(t) from {} t where run_id = %s order by 1"


def let_go():
    return retain(older=OLDER, every=EVERY)


def age(*runs, days=100):
    """They began and ended so long ago; those that are open began then."""
    for run in runs:
        rows(
            "update orchestration_run set created_at = created_at - make_interval(days => %s),"
            " ended_at = ended_at - make_interval(days => %s) where id = %s",
            [days, days, run.pk],
        )


def speak(run, lines=1):
    """So many lines of its log, one event for each."""
    rows(
        "select engine_log_v1(array_agg(%s::bigint), array_agg(1), array_agg(1), array_agg(0::float8),"
        " array_agg('info'::text), array_agg(repeat('line ', 100))) from generate_series(1, %s)",
        [run.pk, lines],
    )


def rows_of(run):
    """Of all that it wrote."""
    return {table: rows(ROWS.format(table), [run.pk]) for table in (*parts.TABLES, "orchestration_deliverable")}


def there(*runs):
    return set(Run.objects.filter(pk__in=[run.pk for run in runs]).values_list("pk", flat=True))


def leftovers():
    """Tables of a retention that did not come to its end, and rows without their run."""
    tables = rows("select relname from pg_class where relname ~ '_next$' and relkind = 'r'")
    lost = "select count(*) from {} t where not exists (select from orchestration_run r where r.id = t.run_id)"
    return [name for (name,) in tables] + [table for table in parts.TABLES if value(lost.format(table))]
