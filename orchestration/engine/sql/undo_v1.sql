-- Takes back what runs have done that fail or are canceled, before they end: for each row whose `undo` names an agent one row of
-- kind `undo`, the last that ended first, each waiting for the one before it, however that ends.
--
-- `runs` have nothing open. Gives those of them that end now: what is completed, what has nothing to take back, and what has
-- taken back all; and the rows that became ready of the others.
create function engine_undo_v1(runs bigint[], out ends bigint[], out ready engine_ready_v1[]) language plpgsql as $$
#variable_conflict use_column
declare
    parked constant smallint := -32768;  -- of paused runs
begin
    with undoes as materialized (
        select r.id, r.status = 'paused' as parks, r.priority, r.fair_key from orchestration_run r
        where r.id = any (runs) and r.reversible and not r.undoing
              and (r.status = 'canceling' or r.error is not null or exists (
                  select from orchestration_step o where o.run_id = r.id and o.kind = 'output' and o.status = 'failed'))
    ), done as materialized (
        select u.*, d.*, row_number() over (partition by u.id order by t.seq desc, d.key desc) as nth, count(*) over (partition by u.id) as total
        from undoes u
        cross join lateral (
            select s.key, s.position, s.name, s.round, s.index, s.pass, s.undo -> 'input' as input, s.undo_digest, s.undo_version_id
            from orchestration_step s where s.run_id = u.id and s.undo ? 'agent' offset 0) d
        left join lateral (  -- its end, by its number: clocks may go back
            select max(e.seq) as seq from orchestration_event e where e.run_id = u.id and e.key = d.key offset 0) t on true
    ), numbered as materialized (
        select d.*, a.kind as queue, w.repeatable, case when d.nth = 1 then engine_fair_v1(a.kind, d.fair_key) + 1 else 0 end as rank,
               (select max(s.key) from orchestration_step s where s.run_id = d.id) + d.nth as own
        from done d join agents_agentversion w on w.id = d.undo_version_id join agents_agent a on a.id = w.agent_id
    ), laid as (
        insert into orchestration_step (run_id, key, position, name, round, index, pass, kind, queue, status, open_needs, dependants, reads, tolerant,
            repeatable, agent_version_id, priority, rank, forgiven, undoes, input, input_digest)
        select w.id, w.own, w.position, w.name || ':undo', w.round, w.index, w.pass, 'undo', w.queue, case when w.nth = 1 then 'ready' else 'blocked' end,
               (w.nth > 1)::int, case when w.nth < w.total then array[w.own + 1] else '{}' end, '{}', true, w.repeatable, w.undo_version_id,
               case when w.parks then parked else w.priority end, w.rank, true, w.key, w.input, w.undo_digest
        from numbered w
    ), begun as (
        update orchestration_run r set undoing = true, seq = r.seq + 1, open_steps = w.total, moving_steps = 1,
            status = case when r.status in ('canceling', 'paused') then r.status else 'running' end
        from numbered w where r.id = w.id and w.nth = 1
        returning r.id, r.seq, w.total
    ), told as (
        insert into orchestration_event (run_id, seq, type, data)
        select b.id, b.seq, 'run.compensating', jsonb_build_object('steps', b.total) from begun b
    )
    select array(select unnest(runs) except select b.id from begun b),
           (select array_agg(row (w.queue, w.fair_key, w.rank)::engine_ready_v1) from numbered w where w.nth = 1 and not w.parks)
    into ends, ready;

    -- What could not be taken back is said with the run's end.
    update orchestration_run r set error = coalesce(r.error, jsonb_build_object('class', 'permanent',
        'message', 'Not all of it could be undone: ' || array_to_string(f.names, ', ') || '.')) || jsonb_build_object('undo_failed', f.names)
    from (select s.run_id, array_agg(s.name order by s.key) as names from unnest(ends) e
          cross join lateral (select s.run_id, s.key, s.name from orchestration_step s where s.run_id = e and s.undoes is not null and s.status = 'failed' offset 0) s
          group by s.run_id) f
    where r.id = f.run_id and r.undoing;
end $$;
