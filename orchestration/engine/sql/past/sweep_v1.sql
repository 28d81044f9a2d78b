-- Repairs what no one is at work on, each part reading a partial index of just what is to repair, and says what else waits
-- for a hand: {swept, wake and deadline: seconds until the nearest or null, ready, answers, untold, untidy, and neighbors:
-- [[id, pid]] of the other living workers of this host}.
--
-- Nobody is declared dead by a process whose own heartbeat was late (`lease` is null for one lease after), nor within one
-- lease of the server's start.
create function engine_sweep_v1(worker bigint, lease float8, lost_limit int) returns jsonb language plpgsql as $$
declare
    fit boolean;
    items jsonb;
    mine bigint[];
    swept int := 0;
begin
    select w.lease_until > clock_timestamp() and pg_postmaster_start_time() + make_interval(secs => lease) < clock_timestamp() into fit
    from orchestration_worker w where w.id = worker and w.dead_at is null for key share;
    if fit then
        -- A flush holds its worker's row FOR KEY SHARE, so this takes only those that commit nothing at this moment.
        update orchestration_worker w set dead_at = clock_timestamp() where w.id in (
            select d.id from orchestration_worker d where d.dead_at is null and d.lease_until < clock_timestamp() for update skip locked);
    end if;

    with wanted as materialized (
        (select s.run_id from orchestration_step s join orchestration_worker w on w.id = s.owner
         where s.status = 'running' and w.dead_at is not null limit 500)
        union
        (select s.run_id from orchestration_step s where s.status = 'waiting' and s.wake_at <= clock_timestamp() order by s.wake_at limit 500)
    )
    select array_agg(r.id) into mine from (
        select r.id from orchestration_run r where r.id in (select run_id from wanted) order by r.id for no key update skip locked) r;

    if mine is not null then
        select jsonb_agg(i.item) into items from (
            select jsonb_build_object('n', 0, 'run', s.run_id, 'key', s.key, 'fence', s.fence, 'was', s.status, 'outcome',
                       case when not s.repeatable then 'uncertain' when s.lost + 1 >= lost_limit then 'failed' else 'ready' end,
                       'error', case when s.repeatable and s.lost + 1 >= lost_limit then jsonb_build_object('class', 'worker_lost',
                           'message', format('The worker was lost %s times in a row while this step ran.', s.lost + 1)) end,
                       'note', case when not s.repeatable then '{"reason": "the worker was lost during the call; it may have happened"}'::jsonb
                                    else '{"reason": "the worker was lost"}'::jsonb end) as item
            from orchestration_step s join orchestration_worker w on w.id = s.owner
            where s.run_id = any (mine) and s.status = 'running' and w.dead_at is not null
            union all
            select jsonb_build_object('n', 0, 'run', s.run_id, 'key', s.key, 'fence', s.fence, 'was', 'waiting',
                       'outcome', case when s.waits_for = 'retry' then 'ready' else 'failed' end,
                       'error', case when s.waits_for <> 'retry' then jsonb_build_object('class', 'timeout', 'message', 'What it waited for did not end in time.') end)
            from orchestration_step s where s.run_id = any (mine) and s.status = 'waiting' and s.wake_at <= clock_timestamp()) i;
        if items is not null then
            -- The child that is waited for no longer is to be canceled: `tidy` tells who does that after this commit.
            update orchestration_run r set tidy = true where r.id in (
                select (i ->> 'run')::bigint from jsonb_array_elements(items) i where i -> 'error' ->> 'class' = 'timeout');
            perform engine_settle_v1(null, items);
            swept := jsonb_array_length(items);
        end if;
    end if;

    return jsonb_build_object(
        'swept', swept,
        'wake', (select extract(epoch from s.wake_at - clock_timestamp()) from orchestration_step s
                 where s.status = 'waiting' and s.wake_at is not null order by s.wake_at limit 1),
        'deadline', (select extract(epoch from q.deadline_at - clock_timestamp()) from approvals_request q
                     where q.status = 'pending' and q.deadline_at is not null order by q.deadline_at limit 1),
        'neighbors', (select jsonb_agg(jsonb_build_array(w.id, w.pid)) from orchestration_worker w join orchestration_worker me on me.host = w.host
                      where me.id = worker and w.dead_at is null and w.id <> worker),
        'ready', exists (select from orchestration_step s where s.status = 'ready'),
        'answers', exists (select from approvals_request q where q.status in ('decided', 'expired') and q.acknowledged_at is null),
        'untold', exists (select from orchestration_run r where r.told_at is null and r.parent_run_id > 0 and r.ended_at is not null),
        'untidy', exists (select from orchestration_run r where r.tidy));
end $$;
