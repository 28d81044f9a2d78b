"""Looks at the rows alone and says what cannot be: a run that disagrees with its events, a question of nobody.

All of it is one statement, so it sees one moment, of a system that is at work too. It reads, and changes nothing.
"""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from django.db import connection

from accounts.models import Organization
from orchestration.doctor.cures import cure_of
from orchestration.engine.lease import pid_space
from orchestration.engine.sweeper import is_gone

SHOWN = 20  # of each kind
ALWAYS = ("runs", "steps", "asked", "kept", "limits", "undone", "budgets", "cache")
LEFTOVERS = "settled"
REPORT = """
select n.finding, r.public_id, n.run_id, n.key, st.name, n.words, n.found from (
    select f.*, row_number() over w as place, count(*) over (partition by f.finding) as found from found f
    window w as (partition by f.finding order by f.run_id, f.key)) n
left join orchestration_run r on r.id = n.run_id
left join orchestration_step st on st.run_id = n.run_id and st.key = n.key
where n.place <= :shown order by n.run_id nulls last, n.finding, n.key
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """`found` is how many of its kind there are; at most SHOWN of them are given."""

    kind: str
    run: str | None
    step: str | None
    words: str
    found: int = 1

    @property
    def cure(self) -> str:
        return cure_of(self.kind)

    def __str__(self) -> str:
        place = " ".join(filter(None, [self.run and f"run {self.run}", self.step and f"step {self.step}"]))
        return f"{self.kind}: {place + ': ' if place else ''}{self.words}"


def examine(
    runs: Collection[int] | None = None, *, organization: Organization | None = None, settled: bool = False
) -> list[Finding]:
    """What is wrong with these runs, with those of an organization, or with all. With `settled` nothing is supposed to
    move now: then what still does, or waits to be moved, is a finding too."""
    with connection.cursor() as cursor:
        cursor.execute(_statement(settled, runs, organization))
        rows = cursor.fetchall()
    found = [
        Finding(kind, run or (number and str(number)), name or (key and str(key)), words, count)
        for kind, run, number, key, name, words, count in rows
    ]
    return found + (_gone() if settled else [])


def _statement(settled: bool, runs: Collection[int] | None, organization: Organization | None) -> str:
    """Constants instead of parameters: the planner leaves out what they rule out."""
    names = {
        ":runs": "null" if runs is None else "'{" + ",".join(str(int(run)) for run in runs) + "}'",
        ":organization": "null" if organization is None else str(int(organization.pk)),
        ":shown": str(SHOWN),
    }
    text = _checks(settled)
    for name, constant in names.items():
        text = text.replace(name, constant)
    return text


@cache
def _checks(settled: bool) -> str:
    parts = [_file(name) for name in (*ALWAYS, *([LEFTOVERS] if settled else []))]
    return f"{_file('scope')}, found as (\n" + "\nunion all\n".join(parts) + f")\n{REPORT}"


def _file(name: str) -> str:
    return files(__name__).joinpath(f"{name}.sql").read_text()


def _gone() -> list[Finding]:
    """Workers of this host that live by their rows, and whose process is not there."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select id, pid from orchestration_worker"
            " where dead_at is null and lease_until >= clock_timestamp() and host = %s order by id",
            [pid_space()],
        )
        living = cursor.fetchall()
    return [
        Finding("left_lease", None, None, f"worker {worker} has a lease, and its process {pid} is gone")
        for worker, pid in living
        if is_gone(pid)
    ]
