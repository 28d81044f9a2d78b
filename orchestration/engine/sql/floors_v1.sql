-- Raises the floor of each queue: the rank below which nothing of the usual priority, 0, is ready, so that neither a claim nor a clock
-- looks there. What was ready once stays in the index for as long as any transaction of the database, a backup perhaps, may look back
-- at it, and each claim would pass all of that.
--
-- Only a hint. A rank is never before its queue's clock, but who read the clock may commit later: so the floor is what an earlier call saw,
-- and if something is ready below it all the same, this call finds it and lowers the floor again. Rows that others hold are left out.
create function engine_floors_v1() returns void language plpgsql as $$
declare
    found_queues text[]; found_ranks bigint[];
begin
    with recursive known as (
        (select f.queue from orchestration_fairshare f order by f.queue limit 1)
        union all
        select n.queue from known k cross join lateral (
            select f.queue from orchestration_fairshare f where f.queue > k.queue order by f.queue limit 1) n
    )
    select array_agg(k.queue), array_agg(coalesce(
        (select s.rank from orchestration_step s where s.status = 'ready' and s.queue = k.queue and s.priority = 0 order by s.rank limit 1),
        (select f.rank from orchestration_fairshare f where f.queue = k.queue order by f.rank desc limit 1)))
    into found_queues, found_ranks from known k;

    with free as (
        select q.queue, n.rank, n.rank < q.floor as lower from unnest(found_queues, found_ranks) n(queue, rank) join orchestration_queuefloor q on q.queue = n.queue
        where n.rank < q.floor or n.rank > q.floor + 64 and q.at < clock_timestamp() - interval '400 milliseconds'
        order by q.queue for no key update of q skip locked
    )
    update orchestration_queuefloor q set floor = least(q.seen, f.rank), seen = f.rank, at = clock_timestamp() from free f where q.queue = f.queue;

    insert into orchestration_queuefloor (queue, floor, seen)
    select n.queue, 0, n.rank from unnest(found_queues, found_ranks) n(queue, rank)
    where not exists (select from orchestration_queuefloor q where q.queue = n.queue) on conflict do nothing;
end $$;
