-- Starts a run of a version: the run, its steps, and its first event. The agents' versions current now are pinned.
create function engine_start_v1(version bigint, organization bigint, public text, given jsonb, by_member bigint,
    parent bigint default null, parent_step int default null, nesting int default 0)
returns table (run bigint, queues text[]) language plpgsql as $$
#variable_conflict use_column
declare
    started bigint;
    missing text;
    total int; moving int;
begin
    select count(*), count(*) filter (where open_needs = 0) into total, moving
    from orchestration_definitionversion v, jsonb_to_recordset(v.layout) as l(open_needs int) where v.id = version;
    insert into orchestration_run (public_id, organization_id, definition_version_id, status, seq, open_steps, moving_steps, input, fair_key, priority,
        depth, parent_run_id, parent_key, tidy, started_by_id, created_at)
    values (public, organization, version, 'running', 1, total, moving, given, organization::text, 0, nesting, parent, parent_step, false, by_member, clock_timestamp())
    returning orchestration_run.id into started;

    with laid as (
        select l.*, a.current_version_id, coalesce(a.kind, 'default') as queue, coalesce(l.repeatable, v.repeatable, true) as again,
               row_number() over (partition by a.kind, l.open_needs = 0 order by l.key) as seat
        from orchestration_definitionversion d
        cross join jsonb_to_recordset(d.layout) as l(key int, name text, kind text, agent text, open_needs int, dependants int[], reads int[],
            tolerant boolean, repeatable boolean)
        left join agents_agent a on a.organization_id = organization and a.slug = l.agent
        left join agents_agentversion v on v.id = a.current_version_id
        where d.id = version
    ), ranked as (
        select l.*, case when l.open_needs = 0 then l.seat
                    + greatest((select f.rank from orchestration_fairshare f where f.queue = l.queue and f.fair_key = organization::text),
                               (select min(c.rank) from (select s.rank from orchestration_step s where s.status = 'ready' and s.queue = l.queue
                                                         order by s.priority desc, s.rank limit 1) c), 0) else 0 end as rank
        from laid l
    ), inserted as (
        insert into orchestration_step (run_id, key, position, name, kind, queue, status, open_needs, dependants, reads, tolerant, repeatable,
            agent_version_id, rank)
        select started, key, key, name, kind, queue, case when open_needs = 0 then 'ready' else 'blocked' end, open_needs, dependants, reads, tolerant, again,
               current_version_id, rank from ranked
    ), shared as (
        insert into orchestration_fairshare as f (queue, fair_key, rank)
        select queue, organization::text, max(rank) from ranked where open_needs = 0 group by 1 order by 1
        on conflict (queue, fair_key) do update set rank = greatest(f.rank, excluded.rank)
    )
    select array_agg(distinct queue) filter (where open_needs = 0), min(agent) filter (where agent is not null and current_version_id is null)
    into queues, missing from ranked;
    if missing is not null then
        raise exception 'agent % is not here any more', missing using errcode = 'foreign_key_violation';
    end if;

    insert into orchestration_event (run_id, seq, type, data)
    select started, 1, 'run.started', jsonb_build_object('definition', d.slug, 'version', v.number)
    from orchestration_definitionversion v join orchestration_definition d on d.id = v.definition_id where v.id = version;
    run := started;
    return next;
end $$;
