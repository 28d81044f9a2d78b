-- The rank of the first that is ready in a queue, from its floor on; null if there is none, but of paused runs.
create function engine_first_v1(of_queue text) returns bigint language plpgsql stable as $$
begin
    return coalesce(
        (select s.rank from orchestration_step s where s.status = 'ready' and s.queue = of_queue and s.priority > 0 order by s.priority desc, s.rank limit 1),
        (select s.rank from orchestration_step s where s.status = 'ready' and s.queue = of_queue and s.priority = 0
         and s.rank >= coalesce((select q.floor from orchestration_queuefloor q where q.queue = of_queue), 0) order by s.rank limit 1),
        (select s.rank from orchestration_step s where s.status = 'ready' and s.queue = of_queue and s.priority < 0 and s.priority > -32768
         order by s.priority desc, s.rank limit 1));
end $$;

-- Keeps the floor of each queue: the rank below which nothing of the usual priority, 0, is ready, so that neither a claim nor a clock
-- looks there. What was ready once stays in the index for as long as any transaction of the database, a backup perhaps, may look back
-- at it, and each claim would pass all of that. Says whether anything is ready.
--
-- Only a hint. No rank is before its queue's clock, the rank of something that is ready; but who read the clock may commit later, and a
-- priority may be changed. So the floor is what an earlier call saw, and what is ready below it all the same is found by a call, which
-- lowers the floor again. That look passes all that lies there: by one process at a time, and for a twentieth of the time at most.
create function engine_floors_v1() returns boolean language plpgsql as $$
declare
    q record;
    first bigint;
    began timestamptz;
    took interval;
    below text := '';
    is_ready boolean := false;
begin
    insert into orchestration_queuefloor (queue, floor, seen)
    with recursive known as (
        (select f.queue from orchestration_fairshare f order by f.queue limit 1)
        union all
        select n.queue from known k cross join lateral (
            select f.queue from orchestration_fairshare f where f.queue > k.queue order by f.queue limit 1) n
    )
    select k.queue, 0, 0 from known k where not exists (select from orchestration_queuefloor o where o.queue = k.queue)
    order by k.queue on conflict do nothing;

    for q in select o.* from orchestration_queuefloor o where o.look_at <= clock_timestamp() order by o.queue for no key update skip locked loop
        began := clock_timestamp();
        first := coalesce(
            least((select s.rank from orchestration_step s where s.status = 'ready' and s.queue = q.queue and s.priority > 0 order by s.priority desc, s.rank limit 1),
                  (select s.rank from orchestration_step s where s.status = 'ready' and s.queue = q.queue and s.priority = 0 order by s.rank limit 1),
                  (select s.rank from orchestration_step s where s.status = 'ready' and s.queue = q.queue and s.priority < 0 and s.priority > -32768
                   order by s.priority desc, s.rank limit 1)),
            (select f.rank from orchestration_fairshare f where f.queue = q.queue order by f.rank desc limit 1), 0);
        took := clock_timestamp() - began;
        if first < q.floor or first > q.floor + 64 or took > interval '20 milliseconds' then  -- else it is not worth a new row
            update orchestration_queuefloor o set floor = least(o.seen, first), seen = first,
                look_at = clock_timestamp() + greatest(took * 20, interval '400 milliseconds') where o.queue = q.queue;
        end if;
    end loop;

    for q in select o.queue from orchestration_queuefloor o order by o.queue loop
        is_ready := is_ready or engine_first_v1(q.queue) is not null or exists (  -- or in a queue before it that has no floor yet
            select from orchestration_step s where s.status = 'ready' and s.queue > below and s.queue < q.queue and s.priority > -32768);
        below := q.queue;
    end loop;
    return is_ready or exists (select from orchestration_step s where s.status = 'ready' and s.queue > below and s.priority > -32768);
end $$;
