-- Start-time fair queuing: a step that becomes ready goes behind the last one of its key, and never before its queue's
-- clock, which is the rank of the first that is ready; with none ready, the last rank that was given. Steps of
-- paused runs, of the last priority, do not count.
--
-- Both are read without a lock: a rank only orders, and two batches that read the same do no harm.
create function engine_clock_v1(of_queue text) returns bigint language sql stable as $$
    select coalesce((select s.rank from orchestration_step s where s.status = 'ready' and s.queue = of_queue and s.priority > -32768 order by s.priority desc, s.rank limit 1),
                    (select f.rank from orchestration_fairshare f where f.queue = of_queue order by f.rank desc limit 1), 0)
$$;

create function engine_fair_v1(of_queue text, of_key text) returns bigint language sql stable as $$
    select greatest((select f.rank from orchestration_fairshare f where f.queue = of_queue and f.fair_key = of_key), engine_clock_v1(of_queue))
$$;

-- Keeps the last rank of each key. The row is everybody's: who finds it locked for longer than an ordinary commit takes,
-- by a process that stands still, goes on without: its key is a little too far ahead then, and nobody waits for anybody.
create function engine_share_v1(queues text[], keys text[], ranks bigint[]) returns void language plpgsql as $$
#variable_conflict use_column
declare
    patience constant text := current_setting('lock_timeout');
begin
    perform set_config('lock_timeout', '50ms', true);
    begin
        insert into orchestration_fairshare as f (queue, fair_key, rank)
        select z.queue, z.key, max(z.rank) from unnest(queues, keys, ranks) z(queue, key, rank) group by 1, 2 order by 1, 2
        on conflict (queue, fair_key) do update set rank = greatest(f.rank, excluded.rank);
    exception when lock_not_available then
        null;
    end;
    perform set_config('lock_timeout', patience, true);
end $$;
