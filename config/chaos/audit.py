"""What must be true at the end: each function gives what is wrong, a line each."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from config.chaos.crowd import Journal, Promise
from config.chaos.house import House
from orchestration.doctor import examine

Rows = list[tuple[Any, ...]]
Query = Callable[..., Rows]
WOKEN_SECONDS = 10.0  # for so long a frozen worker, woken, may send what it had in hand
STEPS = """
select r.public_id, s.name, s.round, s.status, s.repeatable, extract(epoch from s.ended_at)::float8,
       s.error ->> 'class', (
           select count(*) from orchestration_event e
           where e.run_id = s.run_id and e.key = s.key and e.type = 'step.ready' and e.data ? 'by')
from orchestration_step s join orchestration_run r on r.id = s.run_id
join agents_agentversion v on v.id = s.agent_version_id join agents_agent a on a.id = v.agent_id
where a.kind = 'context'
"""
# Failures that nothing in the load and nothing that was done to it can explain.
UNEXPLAINED = """
select r.public_id, s.name, s.error from orchestration_step s join orchestration_run r on r.id = s.run_id
where s.status = 'failed' and not (
    s.error ->> 'class' in ('temporary', 'timeout', 'worker_lost', 'child_failed', 'child_rejected', 'child_canceled')
    or s.error ->> 'message' = 'A person says so')
"""
# A step that completed with a deliverable made it once.
DELIVERED = """
select r.public_id, s.name, count(d.id) from orchestration_step s join orchestration_run r on r.id = s.run_id
join orchestration_definitionversion v on v.id = r.definition_version_id
join orchestration_definition f on f.id = v.definition_id
left join orchestration_deliverable d on d.run_id = s.run_id and d.key = s.key
where s.status = 'completed' and (f.slug, s.name) in (('chain', 'report'), ('gate', 'send'))
group by 1, 2, s.key having count(d.id) <> 1
"""
BEGUN = """
select r.public_id from orchestration_startkey k join orchestration_run r on r.id = k.run_id where k.key = %s
"""
ENDS = "select status, count(*) from orchestration_run group by 1 order by 1"
DECISION = "select choice, answer from approvals_request where public_id = %s"
RESOLVED = """
select count(*) from orchestration_event e join orchestration_run r on r.id = e.run_id
where r.public_id = %s and e.data ->> 'step' = %s and e.data ? 'by' and e.type = any (%s)
"""
STARTED = """
select count(*), (select count(*) from orchestration_startkey where run_id is not null)
from orchestration_run where parent_run_id is null
"""
WHAT_RESOLVES = {"completed": ["step.completed"], "failed": ["step.failed"], "again": ["step.ready"]}


@dataclass(frozen=True)
class Effects:
    """Steps that call the simulated model, and what reached it."""

    steps: int
    calls: int
    late: int  # calls by workers that were frozen before they sent them; their outcome was not taken


def effects(query: Query, journal: Journal, woken: Iterable[float], wrong: list[str]) -> Effects:
    woken, late = list(woken), 0
    found = query(STEPS)
    for run, name, number, status, repeatable, ended_at, error, agains in found:
        key = f"{run}:{name}:{number}"
        asked = journal.asked.get(key, [])
        if status == "completed" and key not in journal.answered and repeatable:
            wrong.append(f"{key} is completed, and its call was never answered")
        if status == "completed" and not asked:
            wrong.append(f"{key} is completed, and was never called")
        if not repeatable and len(asked) > 1 + agains:
            wrong.append(f"{key} may not be repeated: {len(asked)} calls, {agains} times a person said again")
        for at in asked if ended_at is not None and error != "timeout" else ():
            if at > ended_at and any(0 <= at - since < WOKEN_SECONDS for since in woken):
                late += 1
            elif at > ended_at:
                wrong.append(f"{key} was called {at - ended_at:.3f} s after it was {status}")
    return Effects(len(found), sum(len(times) for times in journal.asked.values()), late)


def rows(query: Query) -> Iterator[str]:
    yield from (f"doctor: {finding}" for finding in examine(settled=True))
    for run, name, error in query(UNEXPLAINED):
        yield f"{run}: {name} failed without a reason of this drill: {error}"
    for run, name, count in query(DELIVERED):
        yield f"{run}: {name} made {count} deliverables"
    ((runs, keys),) = query(STARTED)
    if runs != keys:
        yield f"{runs} runs were started under {keys} keys"


def promises(query: Query, kept: Iterable[Promise]) -> Iterator[str]:
    for promise in kept:
        if not _is_kept(query, promise):
            yield f"was answered with success, and is not so: {promise}"


def _is_kept(query: Query, promise: Promise) -> bool:
    match promise.kind:
        case "run":
            return query(BEGUN, [promise.detail]) == [(promise.subject,)]
        case "decision":
            choice, answer, edits = promise.detail
            return query(DECISION, [promise.subject]) == [(choice, answer)] and (
                not edits or answer["count"] == edits["/count"]
            )
        case "cancel":
            found = query("select status from orchestration_run where public_id = %s", [promise.subject])
            return found in ([("canceled",)], [("rejected",)])  # an abort was quicker
        case _:
            run, name, _ = promise.subject.split(":")
            return bool(query(RESOLVED, [run, name, WHAT_RESOLVES[promise.detail]])[0][0])


def ends(query: Query) -> dict[str, int]:
    """How runs ended."""
    return {str(status): int(count) for status, count in query(ENDS)}


def query_of(house: House) -> Query:
    connection = house.connect()
    return lambda query, parameters=(): connection.execute(query, parameters).fetchall()
