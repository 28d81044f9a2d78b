-- Moves what no one is at work on in these runs: steps of dead workers, steps whose time has come or is over, and those that
-- were waiting for a place in a limit, for another's answer or for an event from outside and have it; and says of steps and runs, once, that
-- they are later than was promised. The caller holds the runs' locks. Returns how many steps moved, and promises were broken.
create function engine_repair_v1(runs bigint[], lost_limit int) returns int language plpgsql as $$
declare
    items jsonb; moves jsonb;
begin
    with lost as (
        select s.run_id, s.key, 1 as place, jsonb_build_object(
                   'outcome', case when not s.repeatable or s.undoes is not null and s.lost + 1 >= lost_limit then 'uncertain'
                                   when s.lost + 1 >= lost_limit then 'failed' else 'ready' end,
                   'error', case when s.repeatable and s.lost + 1 >= lost_limit then jsonb_build_object('class', 'worker_lost',
                       'message', format('The worker was lost %s times in a row while this step ran.', s.lost + 1)) end,
                   'note', case when not s.repeatable then '{"reason": "the worker was lost during the call; it may have happened"}'::jsonb
                                else '{"reason": "the worker was lost"}'::jsonb end) as item
        from orchestration_step s join orchestration_worker w on w.id = s.owner
        where s.run_id = any (runs) and s.status = 'running' and w.dead_at is not null
    ), heard as (  -- of several that came, the first
        select distinct on (s.run_id, s.key) s.run_id, s.key, 2, jsonb_build_object('outcome', w.becomes,
                   'output', case when w.becomes = 'completed' then e.data end,
                   'output_digest', case when w.becomes = 'completed' then encode(e.data_digest, 'hex') end,
                   'note', jsonb_build_object('event', e.public_id),
                   'more', jsonb_build_object('event', e.id, 'phase', case when w.becomes = 'ready' then 1 else 0 end))
        from orchestration_eventwait w join orchestration_step s on s.run_id = w.run_id and s.key = w.key
        join orchestration_outsideevent e on e.id = w.event_id
        where w.run_id = any (runs) and s.status = 'waiting' and s.fence = w.fence
        order by s.run_id, s.key, e.id
    ), late as (
        select s.run_id, s.key, 3, jsonb_build_object(
                   'outcome', case when s.status = 'running' and not s.repeatable then 'uncertain' else 'failed' end,
                   'error', jsonb_build_object('class', 'timeout', 'message', case when s.status = 'ready' and s.total_at is distinct from s.deadline_at
                       then 'No worker took it in time.' else 'It did not end in time, with all that it waited for.' end))
        from orchestration_step s
        where s.run_id = any (runs) and s.deadline_at <= clock_timestamp() and s.status in ('ready', 'running', 'waiting')
    ), due as (
        select s.run_id, s.key, 4, jsonb_strip_nulls(jsonb_build_object(
                   'outcome', coalesce(s.due_as, case when s.waits_for in ('retry', 'limit') then 'ready' else 'failed' end),
                   'error', case when coalesce(s.due_as, s.waits_for) not in ('retry', 'limit', 'ready', 'completed')
                       then jsonb_build_object('class', 'timeout', 'message', 'What it waited for did not end in time.') end,
                   'more', case when s.due_as = 'ready' and s.kind = 'wait' and s.started_at is not null then '{"phase": 1}'::jsonb end))
        from orchestration_step s where s.run_id = any (runs) and s.status = 'waiting' and s.wake_at <= clock_timestamp() and s.kind <> 'start'
    ), woken as (
        select s.run_id, s.key, 5, jsonb_build_object('outcome', 'ready')
        from orchestration_limitqueue q join orchestration_step s on s.run_id = q.run_id and s.key = q.key
        where q.run_id = any (runs) and q.key > 0 and q.woken_at <= clock_timestamp() and s.status = 'waiting' and s.waits_for = 'limit' and s.fence = q.fence
        union all
        select s.run_id, s.key, 5, '{"outcome": "ready"}'::jsonb from orchestration_cacheplace p join orchestration_step s on s.run_id = p.run_id and s.key = p.key
        where p.run_id = any (runs) and p.woken_at is not null and s.status = 'waiting' and s.waits_for = 'limit' and s.fence = p.fence
    ), first as (  -- of what may be said of one step at this moment
        select distinct on (run_id, key) * from (
            select * from lost union all select * from heard union all select * from late union all select * from due union all select * from woken) a
        order by run_id, key, place
    )
    select jsonb_agg(jsonb_build_object('n', 0, 'run', s.run_id, 'key', s.key, 'fence', s.fence, 'was', s.status) || f.item
                     || case when m.more <> '{}' then jsonb_build_object('more', coalesce(f.item -> 'more', '{}') || m.more) else '{}' end)
    into items from first f join orchestration_step s on s.run_id = f.run_id and s.key = f.key
    cross join lateral (  -- of a call, or a child, that may have done what can be undone
        select jsonb_strip_nulls(jsonb_build_object('head', s.head, 'begun', case when s.undo_version_id is not null
                   and (s.status = 'running' or s.status = 'waiting' and s.child_run_id is not null) then true end)) as more) m;

    with due as materialized (
        select s.run_id, s.key, s.expect_seconds from orchestration_step s
        where s.run_id = any (runs) and s.expect_at <= clock_timestamp() and s.status in ('blocked', 'ready', 'running', 'waiting', 'uncertain')
    ), over as (  -- said once
        update orchestration_step s set expect_at = null, expect_seconds = null
        from due d where s.run_id = d.run_id and s.key = d.key
        returning s.run_id, s.key, s.name, s.round, s.index, d.expect_seconds
    ), overdue as (
        update orchestration_run r set overdue_at = clock_timestamp()
        where r.id = any (runs) and r.ended_at is null and r.overdue_at is null and r.expect_at is not null and r.expect_at <= clock_timestamp()
        returning r.id, extract(epoch from r.expect_at - r.created_at)::float8 as expect_seconds
    )
    select jsonb_agg(t.told) into moves from (
        select jsonb_build_object('run', o.run_id, 'key', o.key, 'type', 'step.overdue', 'data', jsonb_strip_nulls(jsonb_build_object(
                   'step', o.name, 'round', o.round, 'index', o.index, 'within', o.expect_seconds))) as told from over o
        union all
        select jsonb_build_object('run', o.id, 'type', 'run.overdue', 'data', jsonb_build_object('within', o.expect_seconds)) from overdue o) t;

    if items is null and moves is null then
        return 0;
    end if;
    -- The child that is waited for no longer is to be canceled: `tidy` tells who does that after this commit.
    update orchestration_run r set tidy = true where r.id in (
        select (i ->> 'run')::bigint from jsonb_array_elements(items) i where i -> 'error' ->> 'class' = 'timeout');
    perform engine_settle_v3(null, coalesce(items, '[]'), '{}', coalesce(moves, '[]'), null);
    return coalesce(jsonb_array_length(items), 0) + coalesce(jsonb_array_length(moves), 0);
end $$;
