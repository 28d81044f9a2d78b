"""What a cancel would take back, here and in the runs below: said before it is asked for."""

from orchestration.engine.connection import rows
from orchestration.models import Run

# Of each open run of the tree: what its rows say that took part. Heads did nothing themselves. Why something cannot be
# undone may quote what is in a run: of one that not all may see it is left to its page.
FOUND = """
with recursive tree as (
    select %s::bigint as id
    union all
    select c.id from tree t join orchestration_run c on c.parent_run_id = t.id where c.parent_run_id > 0 and c.ended_at is null and not c.stays
), took_part as (
    select s.run_id, s.name, s.key, coalesce(s.undo ->> 'agent', a.slug) as agent, s.undo ->> 'why' as why,
           case when s.undo ? 'agent' then case when (s.undo ->> 'reversible')::boolean then 'undone' else 'asked' end
                when s.undo_version_id is not null and s.status in ('running', 'waiting') and s.started_at is not null then 'awaited'
                when s.status = 'uncertain' then 'unknown'
                when s.status = 'completed' and s.child_run_id is not null then 'child'
                when s.status = 'completed' and not s.repeatable then 'kept' end as what
    from tree t cross join lateral (
        select s.* from orchestration_step s where s.run_id = t.id and s.undoes is null
        and (s.kind in ('agent', 'run') or s.kind = 'wait' and exists (
            select from orchestration_run c where c.id = s.child_run_id and c.status = 'completed')) offset 0) s
    left join agents_agentversion v on v.id = s.undo_version_id left join agents_agent a on a.id = v.agent_id
)
select r.public_id, p.name, p.what, p.agent, case when d.visible_to is null then min(p.why) end, count(*)
from took_part p join orchestration_run r on r.id = p.run_id join orchestration_definitionversion d on d.id = r.definition_version_id
where p.what is not null group by r.id, r.public_id, d.visible_to, p.name, p.what, p.agent order by max(p.run_id) desc, max(p.key) desc
"""  # noqa: E501
WHY = {
    "unknown": "Nobody knows whether it happened.",
    "child": "The run that it started has completed, and the step has no compensate.",
    "kept": "It may not be repeated, and has no compensate.",
}
TITLES = {
    "undone": "Undone, the last first",
    "awaited": "Under way: waited for, then undone",
    "asked": "A person is asked how to undo",
    "kept": "Not undone",
}
SHOWN = 12  # steps in a line


def undo_lines(run: Run) -> list[str]:
    """A line for what is undone, what is waited for, what a person is asked, and what stays. One query."""
    parts: dict[str, list[str]] = {title: [] for title in TITLES}
    for public_id, step, what, agent, why, times in rows(FOUND, [run.pk]) if not run.has_ended else ():
        words = f"{step} ({times} times)" if times > 1 else step
        words += f" in {public_id}" if public_id != run.public_id else ""
        reason = WHY.get(what) or why
        words += f": {reason.rstrip('.')}" if reason else f" by {agent}"
        parts["kept" if what in WHY else what].append(words)
    for said in parts.values():
        if left := len(said[SHOWN:]):
            said[SHOWN:] = [f"and {left} more steps"]
    return [f"{TITLES[title]}: {'; '.join(said)}." for title, said in parts.items() if said]
