-- Another window of a map that is under way: `most` items at once, `said` being how many its definition allows. Those for whom there is
-- room then are let go at once, in their order; where more are at work than that, as many ends let nobody go (engine_window).
-- The run is locked here. Gives what the run's status was if that does not allow it, or `begun`: none of the items waits for its turn.
create function engine_widen_v1(target bigint, of_head int, most int, said int, note jsonb) returns text language plpgsql as $$
#variable_conflict use_column
declare
    parked constant smallint := -32768;  -- of paused runs
    run orchestration_run;
    head orchestration_step;
    at_work int;
    n_keys int[]; n_queues text[]; n_ranks bigint[]; n_timed int[];
begin
    select r.* into run from orchestration_run r where r.id = target for no key update;
    if run.status not in ('running', 'waiting', 'paused') or run.undoing then
        return case when run.undoing and run.ended_at is null then 'undoing' else run.status end;
    end if;
    select h.* into head from orchestration_step h where h.run_id = target and h.key = of_head and h.status = 'waiting';
    if head.next_item is null or not exists (
        select from orchestration_step i
        where i.run_id = target and i.key >= head.next_item and i.key < head.first_item + head.item_count and i.status = 'blocked') then
        return 'begun';
    end if;
    select count(*) into at_work from orchestration_step i
    where i.run_id = target and i.key >= head.first_item and i.key < head.next_item and i.head = of_head
        and i.status in ('ready', 'running', 'waiting', 'uncertain');

    with next as materialized (
        select i.key, i.queue, row_number() over (order by i.key) as seat from orchestration_step i
        where i.run_id = target and i.key >= head.next_item and i.key < head.first_item + head.item_count and i.status = 'blocked'
        order by i.key limit greatest(most - at_work, 0)
    ), fair as materialized (
        select q.queue, engine_fair_v1(q.queue, run.fair_key) as rank from (select distinct n.queue from next n) q
    ), moved as (
        update orchestration_step s set status = 'ready', open_needs = 0, rank = f.rank + n.seat,
            priority = case when run.status = 'paused' then parked else s.priority end
        from next n join fair f on f.queue = n.queue where s.run_id = target and s.key = n.key and s.status = 'blocked'
        returning s.key, s.queue, s.rank, coalesce(s.total_seconds, s.queue_seconds) > 0 as timed
    )
    select array_agg(m.key), array_agg(m.queue), array_agg(m.rank), array_agg(m.key) filter (where m.timed)
    into n_keys, n_queues, n_ranks, n_timed from moved m;
    if n_timed is not null then
        perform engine_times_v1(array_fill(target, array[cardinality(n_timed)]), n_timed);
    end if;
    update orchestration_step s set item_window = most, item_surplus = greatest(at_work - most, 0),
        next_item = coalesce((select max(k) + 1 from unnest(n_keys) k), s.next_item)
    where s.run_id = target and s.key = of_head;
    perform engine_settle_v3(null, '[]', '{}', jsonb_build_array(jsonb_build_object('run', target, 'key', of_head, 'type', 'run.changed',
        'moving', coalesce(cardinality(n_keys), 0), 'data', note || jsonb_build_object('step', head.name, 'round', head.round,
            'to', jsonb_build_object('concurrency', most), 'from', jsonb_build_object('concurrency', coalesce(head.item_window, said))))), null);
    if n_keys is not null and run.status <> 'paused' then
        perform engine_share_v1(n_queues, array_fill(run.fair_key, array[cardinality(n_keys)]), n_ranks);
    end if;
    return null;
end $$;
