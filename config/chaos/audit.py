"""What must be true at the end: each function gives what is wrong, a line each."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

from config.chaos.crowd import Journal, Promise
from config.chaos.house import House
from orchestration.doctor import examine

Rows = list[tuple[Any, ...]]
Query = Callable[..., Rows]
WOKEN_SECONDS = 2.0  # for so long a worker that was frozen, woken, may send a call that it had begun
STEPS = """
select r.public_id, s.run_id, s.key, s.name, s.round, s.status, s.repeatable, extract(epoch from s.ended_at)::float8,
       count(*) filter (where e.type = 'step.started'), count(*) filter (where e.type = 'step.ready' and e.data ? 'by')
from orchestration_step s join orchestration_run r on r.id = s.run_id
join agents_agentversion v on v.id = s.agent_version_id join agents_agent a on a.id = v.agent_id
left join orchestration_event e on e.run_id = s.run_id and e.key = s.key
where a.kind = 'context' group by r.id, s.run_id, s.key
"""
CLAIMS = "select run_id, key, pid, extract(epoch from at)::float8 from drill_claim order by run_id, key, fence"
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
    claims: int
    calls: int
    late: int  # calls by workers that were frozen before they sent them; their outcome was not taken


@dataclass
class Claim:
    """A worker's right to call a step once, until the step is ended or somebody else's."""

    who: str
    since: float
    until: float
    is_used: bool = False


def effects(query: Query, journal: Journal, house: House, wrong: list[str]) -> Effects:
    claims: dict[tuple[int, int], list[tuple[str, float]]] = defaultdict(list)
    for run_id, step_key, pid, at in query(CLAIMS):
        claims[run_id, step_key].append((house.name_of(pid, at), at))
    found, late = query(STEPS), 0
    for run, run_id, step_key, name, number, status, repeatable, ended_at, starts, agains in found:
        key = f"{run}:{name}:{number}"
        asked, held = journal.asked.get(key, []), claims[run_id, step_key]
        if status == "completed" and key not in journal.answered and repeatable:
            wrong.append(f"{key} is completed, and its call was never answered")
        if status == "completed" and not asked:
            wrong.append(f"{key} is completed, and was never called")
        if not repeatable and len(asked) > 1 + agains:
            wrong.append(f"{key} may not be repeated: {len(asked)} calls, {agains} times a person said again")
        if starts != len(held):
            wrong.append(f"{key} was claimed {len(held)} times, and has {starts} events of it")
        ends = [*(at for _, at in held[1:]), inf if ended_at is None else ended_at]
        late += late_calls(key, asked, [Claim(*held[n], ends[n]) for n in range(len(held))], house.hurt, wrong)
    return Effects(len(found), sum(map(len, claims.values())), sum(map(len, journal.asked.values())), late)


def late_calls(
    key: str,
    asked: list[tuple[float, str]],
    claims: list[Claim],
    hurt: Mapping[str, list[tuple[float, float]]],
    wrong: list[str],
) -> int:
    """Each call needs a claim of the worker that made it. How many came when it was over: only a worker that was frozen
    or killed with it in hand may have sent such a one."""
    late = 0
    for at, who in asked:
        claim = next((c for c in reversed(claims) if c.who == who and c.since <= at and not c.is_used), None)
        if claim is None:
            wrong.append(f"{key} was called by {who} more often than {who} had claimed it: {asked}, {claims}")
            continue
        claim.is_used = True
        if at <= claim.until:
            continue
        if any(claim.since <= since <= claim.until and at < to + WOKEN_SECONDS for since, to in hurt.get(who, [])):
            late += 1
        else:
            wrong.append(f"{key} was called by {who} {at - claim.until:.3f} s after {who} had lost it: {claims}")
    return late


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
