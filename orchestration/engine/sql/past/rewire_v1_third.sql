-- Makes anew, from the version's layout, who waits for whom and who reads what, for every step of a run that has not
-- started: it waits for the newest rows of what it needs, and reads the newest rows. One that reads a row of a later round
-- from afar, past a step that keeps its round, waits for that row too, unless any or n of its needs let it begin. Items,
-- what takes back, and what a start waits in, are no steps of the layout and stay as they are. What becomes ready gets its
-- rank, as everywhere.
-- The caller holds the run's lock.
create function engine_rewire_v1(target bigint) returns void language plpgsql as $$
declare
    ended constant text[] := '{completed,failed,skipped,canceled}';
    queues text[]; keys text[]; ranks bigint[]; begun int[];
begin
    with recursive layout as materialized (
        select l.key as position, l.dependants, l.reads
        from orchestration_run r join orchestration_definitionversion v on v.id = r.definition_version_id
        cross join jsonb_to_recordset(v.layout) as l(key int, dependants int[], reads int[]) where r.id = target
    ), newest as materialized (
        select distinct on (s.position) s.position, s.key, s.round, s.queue, s.status, s.tolerant, s.slack, s.status <> all (ended) as open,
               s.status = 'completed' or s.status = 'failed' and s.carries as good,
               s.status = 'blocked' or s.status = 'ready' and s.started_at is null as unstarted
        from orchestration_step s where s.run_id = target and s.head is null and s.undoes is null and s.kind <> 'start' order by s.position, s.key desc
    ), needs as materialized (
        select n.key, n.round, n.open, n.good, w.key as waiter, sign(d)::int as sign
        from layout l join newest n on n.position = l.position cross join unnest(l.dependants) d join newest w on w.position = abs(d)
        where w.unstarted
    ), reach as (
        select n.key as root, n.waiter as key from needs n where n.open and n.round > 1
        union  -- through a step that needs all, which cannot start before
        select r.root, n.waiter from reach r join newest w on w.key = r.key and w.slack is null join needs n on n.key = r.key and n.open
    ), waits as materialized (
        select n.key, n.waiter, n.sign from needs n where n.open
        union
        select n.key, w.key, 1 from layout l join newest w on w.position = l.position cross join unnest(l.reads) p join newest n on n.position = p
        where w.unstarted and w.slack is null and n.open and n.round > 1 and not exists (select from reach r where r.root = n.key and r.key = w.key)
        union  -- and the first steps for the run's start
        select s.key, w.key, 1 from orchestration_step s cross join newest w
        where s.run_id = target and s.key = 0 and s.kind = 'start' and s.status <> all (ended) and w.unstarted
            and not exists (select from layout l where w.position = any (select abs(d) from unnest(l.dependants) d))
    ), counted as (
        select w.key, w.queue, w.status, w.tolerant, w.slack, (select count(*) from waits where waits.waiter = w.key) as open_needs,
               (select count(*) from needs n where n.waiter = w.key and n.sign > 0 and not n.open and not n.good) as failed_needs,
               array(select n.key from unnest(l.reads) p join newest n on n.position = p order by 1) as reads
        from newest w join layout l on l.position = w.position where w.unstarted
    ), judged as materialized (
        select c.*, case engine_judge_v1('blocked', c.open_needs::int, c.failed_needs::int, c.slack, null, c.tolerant) when 'ready' then 'ready' else 'blocked' end as becomes
        from counted c
    ), ranked as materialized (
        select j.key, j.queue, r.fair_key, engine_fair_v1(j.queue, r.fair_key) + row_number() over (partition by j.queue order by j.key) as rank,
               case when r.status = 'paused' then -32768 else r.priority end as priority
        from judged j cross join orchestration_run r where r.id = target and j.becomes = 'ready' and j.status <> 'ready'
    ), moved as (
        update orchestration_step s set
            dependants = array(select waits.sign * waits.waiter from waits where waits.key = s.key order by waits.waiter),
            open_needs = coalesce(j.open_needs, s.open_needs),
            failed_needs = coalesce(j.failed_needs, s.failed_needs),
            reads = coalesce(j.reads, s.reads),
            status = coalesce(j.becomes, s.status),
            rank = coalesce(k.rank, s.rank),
            priority = case when k.key is null then s.priority else k.priority end
        from orchestration_step o left join judged j on j.key = o.key left join ranked k on k.key = o.key
        where o.run_id = target and o.status <> all (ended) and o.head is null and o.undoes is null and o.kind <> 'start' and s.run_id = target and s.key = o.key
    )
    select array_agg(k.queue), array_agg(k.fair_key), array_agg(k.rank), array_agg(k.key) into queues, keys, ranks, begun from ranked k;
    if queues is not null then
        perform engine_times_v1(array_fill(target, array[cardinality(begun)]), begun);
        perform engine_share_v1(queues, keys, ranks);
    end if;
end $$;
