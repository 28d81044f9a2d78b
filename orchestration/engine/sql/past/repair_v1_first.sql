-- Moves what no one is at work on in these runs: steps of dead workers, and steps whose time has come.
-- The caller holds the runs' locks. Returns how many steps moved.
create function engine_repair_v1(runs bigint[], lost_limit int) returns int language plpgsql as $$
declare
    items jsonb;
begin
    select jsonb_agg(i.item) into items from (
        select jsonb_build_object('n', 0, 'run', s.run_id, 'key', s.key, 'fence', s.fence, 'was', s.status, 'outcome',
                   case when not s.repeatable then 'uncertain' when s.lost + 1 >= lost_limit then 'failed' else 'ready' end,
                   'error', case when s.repeatable and s.lost + 1 >= lost_limit then jsonb_build_object('class', 'worker_lost',
                       'message', format('The worker was lost %s times in a row while this step ran.', s.lost + 1)) end,
                   'note', case when not s.repeatable then '{"reason": "the worker was lost during the call; it may have happened"}'::jsonb
                                else '{"reason": "the worker was lost"}'::jsonb end) as item
        from orchestration_step s join orchestration_worker w on w.id = s.owner
        where s.run_id = any (runs) and s.status = 'running' and w.dead_at is not null
        union all
        select jsonb_build_object('n', 0, 'run', s.run_id, 'key', s.key, 'fence', s.fence, 'was', 'waiting',
                   'outcome', case when s.waits_for = 'retry' then 'ready' else 'failed' end,
                   'error', case when s.waits_for <> 'retry' then jsonb_build_object('class', 'timeout', 'message', 'What it waited for did not end in time.') end)
        from orchestration_step s where s.run_id = any (runs) and s.status = 'waiting' and s.wake_at <= clock_timestamp()) i;
    if items is null then
        return 0;
    end if;
    -- The child that is waited for no longer is to be canceled: `tidy` tells who does that after this commit.
    update orchestration_run r set tidy = true where r.id in (
        select (i ->> 'run')::bigint from jsonb_array_elements(items) i where i -> 'error' ->> 'class' = 'timeout');
    perform engine_settle_v2(null, items, '{}', '[]', null);
    return jsonb_array_length(items);
end $$;
