"""Rows in their thousands, for figures and for tests of pages that are full.

A few runs are really made, by an engine in this process: one for each way a run can go. The rest are copies of all
their rows, each with ids of its own and moved back in time. So they are as sound as runs are.
"""

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction

from accounts.models import Member, Organization, Role
from agents.calls import LEVELS
from agents.seeding import seed_agents
from approvals.models import ABORT, CONTINUE, RETRY, Request
from approvals.seeding import seed_policies
from orchestration import sources
from orchestration.engine import answers
from orchestration.engine.process import Process
from orchestration.engine.starts import start
from orchestration.models import Deliverable, Run

NAMES = ("monthly-figures", "refund-check", "newsletter")
DAYS = 30
POLL_SECONDS, PATIENCE_SECONDS = 0.02, 120
WAITING, DONE, AGAIN, FAILED, REJECTED, CANCELED = "waiting", "done", "again", "failed", "rejected", "canceled"
WEIGHTS = {DONE: 78, AGAIN: 4, FAILED: 9, REJECTED: 5, CANCELED: 4}  # of those that wait for nobody
STEPS = """
input:
  type: object
  properties: {month: {type: string, title: Month}, fail: {type: boolean}}
steps:
  figures:
    agent: echo
    with: {value: 84000}
  risky:
    agent: echo
    if: ${{ input.fail }}
    with: {value: 1, fail: {times: 9, kind: permanent}}
  check:
    needs: [figures, risky]
    if: ${{ steps.risky.status != 'failed' }}
    approval:
      title: Figures of ${{ input.month }}
      show: {rows: [{measure: Revenue, amount: "${{ steps.figures.output.value }}"}, {measure: Costs, amount: 61000}]}
      editable: /rows/*/amount
      retry: [figures]
      deadline: {after: 3d, then: abort}
  report:
    needs: [check]
    agent: echo
    with: {value: "${{ steps.check.output.rows[0].amount }}"}
    deliverable: {name: report, title: "Report of ${{ input.month }}", content: "# Report\\n\\n${{ output.value }} EUR"}
output: {amount: "${{ steps.report.output.value }}"}
"""
LARGE_LAYERS, LARGE_WIDTH = 20, 10


@dataclass(frozen=True)
class Sample:
    runs: int
    requests: int
    large_run: str  # the public id of a run of 200 steps
    seconds: float


def make(organization: Organization, *, runs: int, requests: int, log_lines: int = 0) -> Sample:
    """`requests` of the `runs` wait for an answer; the large run has the log. There are an operator and an approver."""
    began = time.monotonic()
    people = Member.objects.filter(organization=organization).order_by("pk")
    operator = people.filter(roles__contains=[Role.OPERATOR])[0]
    approver = people.filter(roles__contains=[Role.APPROVER]).exclude(pk=operator.pk)[0]
    seed_agents(organization)
    seed_policies(organization)
    texts = [sources.Source(f"{name}.yaml", f"name: {name}\ndescription: Made for figures{STEPS}") for name in NAMES]
    texts.append(sources.Source("large.yaml", large_definition()))
    sources.apply(texts, organization=organization, by=None)
    with _engine() as look:
        large = start(organization=organization, definition="large", given={}, by=operator)
        patterns = {
            way: [_Pattern(way, name, operator, approver, look) for name in NAMES] for way in (WAITING, *WEIGHTS)
        }
        for each in patterns.values():
            for pattern in each:
                pattern.go()
        look(lambda: Run.objects.get(pk=large.pk).has_ended)
    say(large, log_lines)
    ways = _ways(runs, requests)
    with transaction.atomic(), connection.cursor() as cursor:
        for way, each in patterns.items():
            for number, pattern in enumerate(each):
                places = [place for place, chosen in enumerate(ways) if chosen == way and place % len(NAMES) == number]
                _Copies(cursor, pattern.run, [DAYS * (1 - place / len(ways)) for place in places]).make()
    with connection.cursor() as cursor:
        cursor.execute("analyze")
    return Sample(runs, requests, large.public_id, time.monotonic() - began)


def large_definition() -> str:
    """200 steps in layers; each needs two of the layer before."""
    lines = ["name: large", "description: Made for figures", "steps:"]
    for layer in range(LARGE_LAYERS):
        for place in range(LARGE_WIDTH):
            above = [f"l{layer - 1}_s{(place + more) % LARGE_WIDTH}" for more in (0, 1)] if layer else []
            lines.append(f"  l{layer}_s{place}: {{agent: echo, needs: [{', '.join(above)}], with: {{value: {place}}}}}")
    return "\n".join(lines)


def say(run: Run, lines: int) -> None:
    """Lines of its steps, as the engine writes them."""
    words = ("Read 1,204 rows", "Asked the model", "\x1b[33mThe answer was slow\x1b[0m", "Tried again after a time-out")
    said = [(n % (LARGE_LAYERS * LARGE_WIDTH) + 1, LEVELS[1 + n % 97 // 90 + n % 97 // 95], n) for n in range(lines)]
    with connection.cursor() as cursor:
        cursor.execute(
            "select engine_log_v1(%s, %s, %s, %s, %s, %s)",
            [
                [run.pk] * lines,
                [key for key, _, _ in said],
                [1] * lines,
                [float(lines - n) / 10 for _, _, n in said],
                [level for _, level, _ in said],
                [f"{words[n % len(words)]}, line {n}" for _, _, n in said],
            ],
        )


def _ways(runs: int, requests: int) -> list[str]:
    """How each run went, the oldest first; the same each time."""
    chance = random.Random(7)  # noqa: S311
    ways = [WAITING] * requests + chance.choices(list(WEIGHTS), list(WEIGHTS.values()), k=runs - requests)
    chance.shuffle(ways)
    return ways


@contextlib.contextmanager
def _engine() -> Iterator[Callable[[Callable[[], Any]], Any]]:
    """An engine in this process; gives what waits until something is so, and gives that."""
    process = Process()
    _in_thread(process.start)

    def look(found: Callable[[], Any]) -> Any:
        end = time.monotonic() + PATIENCE_SECONDS
        while not (it := found()):
            if time.monotonic() > end:
                raise TimeoutError("the sample's runs do not go on")
            process.sweeper.wake_within(0.0)
            process.recorder.look()
            time.sleep(POLL_SECONDS)
        return it

    try:
        yield look
    finally:
        _in_thread(process.stop)


def _in_thread(call: Callable[[], None]) -> None:
    """Its connection is not this thread's."""
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()


class _Pattern:
    """One run that goes its way."""

    def __init__(self, way: str, name: str, operator: Member, approver: Member, look: Callable[[Any], Any]) -> None:
        given = {"month": "2026-10", "fail": way == FAILED}
        self.run = start(organization=operator.organization, definition=name, given=given, by=operator)
        self.way, self.operator, self.approver, self.look = way, operator, approver, look

    def go(self) -> None:
        if self.way == CANCELED:
            self._pending()
            answers.cancel(self.run, by=self.operator, reason="Not needed any more")
        elif self.way == REJECTED:
            self._decide(ABORT, "These are last year's figures")
        elif self.way in (DONE, AGAIN):
            if self.way == AGAIN:
                self._decide(RETRY, "Please look at the costs again")
            self._decide(CONTINUE, "")
        if self.way == WAITING:
            self._pending()
        else:
            self.look(lambda: Run.objects.filter(pk=self.run.pk, ended_at__isnull=False, tidy=False).exists())

    def _pending(self) -> Request:
        asked: Request = self.look(lambda: Request.objects.pending().of_run(self.run.public_id).first())
        return asked

    def _decide(self, choice: str, note: str) -> None:
        request = self._pending()
        request.decide(by=self.approver, choice=choice, note=note, digest=request.digest, door="page")
        self.look(lambda: not Request.objects.unacknowledged().filter(pk=request.pk).exists())


class _Copies:
    """All rows of one run, copied as often as there are `ages` (days), whatever columns they have by now."""

    def __init__(self, cursor: Any, run: Run, ages: list[float]) -> None:
        self.cursor, self.run, self.ages = cursor, run, ages
        requests = Request.objects.of_run(run.public_id).values_list("public_id", flat=True)
        deliverables = Deliverable.objects.filter(run=run).values_list("public_id", flat=True)
        self.named = [run.public_id, *requests, *deliverables]

    def make(self) -> None:
        run = self.run.pk
        self.cursor.execute("drop table if exists copy")
        self.cursor.execute(
            "create temporary table copy on commit drop as select nextval(pg_get_serial_sequence('orchestration_run',"
            " 'id')) as id, make_interval(secs => 86400 * age) as back from unnest(%s::float[]) as age",
            [self.ages],
        )
        mine = f"s.run_id = {run}"
        self._copy("orchestration_run", f"s.id = {run}", id="c.id")
        for table in ("orchestration_step", "orchestration_event"):
            self._copy(table, mine, run_id="c.id", wake_at="s.wake_at")
        for table in ("orchestration_loghead", "orchestration_logline"):
            self._copy(table, mine, run_id="c.id")
        self._copy("orchestration_deliverable", mine, "id", run_id="c.id")
        subject = f"run:{run}:"
        self._copy(
            "approvals_request",
            f"s.subject like '{subject}%%'",
            "id",
            subject=f"replace(s.subject, '{subject}', 'run:' || c.id || ':')",
            context=f"jsonb_set({self._renamed('s.context::text')}::jsonb, '{{run_id}}', to_jsonb(c.id))",
            deadline_at="s.deadline_at + c.back / 10",  # none of them is over
        )
        for request in Request.objects.of_run(self.run.public_id):
            copied = self._renamed(f"'{request.public_id}'")
            of_the_copy = f"(select n.id from approvals_request n where n.public_id = {copied})"  # noqa: S608
            self._copy("approvals_decision", f"s.request_id = {request.pk}", "id", request_id=of_the_copy)
        self._copy("accounts_auditentry", "s.target = any(%s)", "id", given=[self.named])

    def _copy(self, table: str, which: str, *left_out: str, given: Any = (), **changed: str) -> None:
        self.cursor.execute(
            "select column_name, data_type from information_schema.columns"
            " where table_name = %s and table_schema = current_schema() and is_generated = 'NEVER'",
            [table],
        )
        columns = {name: kind for name, kind in self.cursor.fetchall() if name not in left_out}
        values = [changed.get(name) or self._moved(f"s.{name}", kind) for name, kind in columns.items()]
        names = ", ".join(f'"{name}"' for name in columns)
        self.cursor.execute(
            f"insert into {table} ({names}) select {', '.join(values)} from {table} s, copy c where {which}",  # noqa: S608
            given or None,
        )

    def _moved(self, column: str, kind: str) -> str:
        if kind == "timestamp with time zone":
            return f"{column} - c.back"
        if kind == "jsonb":
            return f"{self._renamed(f'{column}::text')}::jsonb"
        if kind in ("text", "character varying"):
            return self._renamed(column)
        return column

    def _renamed(self, text: str) -> str:
        """Public ids in `text` replaced by those of the copy, which follow from both."""
        for name in self.named:
            prefix = name.partition("_")[0]
            text = f"replace({text}, '{name}', '{prefix}_' || left(md5('{name}' || c.id), 22))"
        return text
