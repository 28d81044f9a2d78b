-- Lets a run that is not at work go on by another version of its definition: what it did keeps its rows under the numbers of the
-- new layout, by name; what has not started is laid anew, with the agents' versions of now; open questions are put anew. Whether what it did
-- fits was looked at when its last event was `seen`.
--
-- Gives what the run's status was if that does not allow it, moved if it is not as it was seen; null if it is done.
create function engine_move_v1(target bigint, version bigint, seen int, note jsonb) returns text language plpgsql as $$
declare
    ended constant text[] := '{completed,failed,skipped,canceled}';
    run orchestration_run;
    items jsonb; skips jsonb; moves jsonb;
    open_before int; moving_before int;
begin
    select r.* into run from orchestration_run r where r.id = target for no key update;
    if run.status not in ('waiting', 'paused') or run.undoing then
        return case when run.undoing then 'undoing' else run.status end;
    end if;
    if run.seq <> seen or exists (select from orchestration_step s where s.run_id = target and s.status = 'running') then
        return 'moving';
    end if;
    select count(*) filter (where s.status <> all (ended)), count(*) filter (where s.status in ('ready', 'running'))
    into open_before, moving_before from orchestration_step s where s.run_id = target;
    update orchestration_run r set definition_version_id = version, level = greatest(r.level, (v.plan ->> 'level')::smallint),
        reversible = r.reversible or exists (select from jsonb_to_recordset(v.layout) as l(undo text) where l.undo is not null)
    from orchestration_definitionversion v where r.id = target and v.id = version;

    -- 1. Rows that have not started, and that the new layout does not have.
    delete from orchestration_step s
    where s.run_id = target and s.head is null and s.undoes is null and s.kind <> 'start'
          and (s.status = 'blocked' or s.status = 'ready' and s.started_at is null)
          and not exists (
              select from orchestration_definitionversion v cross join jsonb_to_recordset(v.layout) as l(name text) where v.id = version and l.name = s.name);

    -- 2. The numbers of all others; of those that have not started, all that the layout says.
    with layout as materialized (
        select l.*, a.current_version_id, u.current_version_id as undo_version, coalesce(a.kind, 'default') as queue, coalesce(l.repeatable, w.repeatable, true) as again
        from orchestration_definitionversion v
        cross join jsonb_to_recordset(v.layout) as l(key int, name text, kind text, agent text, tolerant boolean, repeatable boolean, slack int,
            forgiven boolean, carries boolean, limited boolean, total real, patience real, expects real, undo text, on_failure jsonb)
        left join agents_agent a on a.organization_id = run.organization_id and a.slug = l.agent
        left join agents_agentversion w on w.id = a.current_version_id
        left join agents_agent u on u.organization_id = run.organization_id and u.slug = l.undo
        where v.id = version
    ), renamed as (
        update orchestration_step s set
            position = l.key,
            tolerant = case when n.open then l.tolerant else s.tolerant end, slack = case when n.open then l.slack else s.slack end,
            forgiven = case when n.open then coalesce(l.forgiven, false) else s.forgiven end,
            carries = case when n.open then coalesce(l.carries, false) else s.carries end,
            on_failure = case when n.open then l.on_failure else s.on_failure end,
            kind = case when n.unstarted then l.kind else s.kind end, queue = case when n.unstarted then l.queue else s.queue end,
            repeatable = case when n.unstarted then l.again else s.repeatable end,
            agent_version_id = case when n.unstarted then l.current_version_id else s.agent_version_id end,
            limited = coalesce(l.limited, false) or s.limited and not n.unstarted,
            total_seconds = case when n.unstarted then l.total else s.total_seconds end,
            queue_seconds = case when n.unstarted then l.patience else s.queue_seconds end,
            expect_seconds = case when n.unstarted then l.expects else s.expect_seconds end,
            undo_version_id = case when n.unstarted then l.undo_version else s.undo_version_id end
        from layout l
        cross join lateral (
            select o.key, o.head is null and o.undoes is null and o.status <> all (ended) as open,
                   o.head is null and o.undoes is null and (o.status = 'blocked' or o.status = 'ready' and o.started_at is null) as unstarted
            from orchestration_step o where o.run_id = target and o.name = l.name and o.kind <> 'start' offset 0) n
        where s.run_id = target and s.key = n.key
        returning s.name
    )
    insert into orchestration_step (run_id, key, position, name, kind, queue, status, open_needs, dependants, reads, tolerant, repeatable, agent_version_id,
        priority, slack, forgiven, carries, limited, total_seconds, queue_seconds, expect_seconds, undo_version_id, on_failure)
    select target, (select max(s.key) from orchestration_step s where s.run_id = target) + row_number() over (order by l.key), l.key, l.name, l.kind, l.queue,
           'blocked', 0, '{}', '{}', l.tolerant, l.again, l.current_version_id, run.priority, l.slack, coalesce(l.forgiven, false), coalesce(l.carries, false),
           coalesce(l.limited, false), l.total, l.patience, l.expects, l.undo_version, l.on_failure
    from layout l where not exists (select from renamed n where n.name = l.name);

    -- 3. Who waits for whom; what those that have started read.
    select r.skips into skips from engine_round_v1(target, '{}', null) r;
    update orchestration_step s set reads = array(
        select max(o.key) from orchestration_step o
        where o.run_id = target and o.head is null and o.undoes is null and o.kind <> 'start' and o.position = any (l.reads) group by o.position order by 1)
    from orchestration_definitionversion v cross join jsonb_to_recordset(v.layout) as l(key int, reads int[])
    where v.id = version and s.run_id = target and s.position = l.key and s.head is null and s.undoes is null and s.status <> all (ended);

    -- 4. Open questions are put anew: they name the version. To put one is no try.
    update orchestration_step s set attempt = s.attempt - 1 where s.run_id = target and s.status = 'waiting' and s.waits_for = 'approval';
    select coalesce(jsonb_agg(jsonb_build_object('n', 0, 'run', target, 'key', s.key, 'fence', s.fence, 'was', 'waiting', 'outcome', 'ready')), '[]')
    into items from orchestration_step s where s.run_id = target and s.status = 'waiting' and s.waits_for = 'approval';
    select jsonb_build_array(jsonb_build_object('run', target, 'type', 'run.moved', 'data', note, 'open', count(*) filter (where s.status <> all (ended)) - open_before,
        'moving', count(*) filter (where s.status in ('ready', 'running')) - moving_before))
    into moves from orchestration_step s where s.run_id = target;
    perform engine_settle_v3(null, items || skips, '{}', moves, null);
    return null;
end $$;
