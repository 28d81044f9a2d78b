-- Lays the items of the heads that ask for it: more {spread: {items: [{item | digest}], kind, index, pass, window, bearable,
-- repeatable, reads, after, total, patience}}.
--
-- With a `window` only so many are ready, the next is let go as one ends (engine_window). A repeat's next pass is one item more,
-- `after` so many seconds. `total` and `patience` are seconds of each. `reads` are positions; an item reads of these the rows that
-- its head reads.
-- Gives what is to be told, what became ready, and the heads that began before all their needs had ended: from now on a head
-- counts its items, and none of those.
create function engine_spread_v1(moved engine_moved_v1[], out told engine_told_v3[], out ready engine_ready_v1[], out early engine_done_v1[])
language plpgsql as $$
#variable_conflict use_column
declare
    parked constant smallint := -32768;  -- of paused runs
    t_runs bigint[]; t_keys int[];  -- those that are ready and have times
begin
    with asked as materialized (  -- no row of an item carries all of `more`: to look into it costs as much as it is long
        select m.n, m.run, m.key, x.kind, x.index, x.pass, x."window", x.bearable, x.repeatable, x.reads, x.after, x.total as seconds, x.patience, jsonb_array_length(x.items) as total
        from unnest(moved) m
        cross join lateral jsonb_to_record(m.more -> 'spread') as x(items jsonb, kind text, index int, pass int, "window" int, bearable int,
            repeatable boolean, reads jsonb, after float8, total real, patience real)
        where m.becomes = 'waiting' and m.more ? 'spread'
    ), heads as materialized (
        select a.n, a.run, a.key, a.kind, a.index as of_all, a.pass, a.bearable, a.repeatable, a.total, a.seconds, a.patience, h.position, h.name, h.round, h.queue, h.agent_version_id, h.feedback, h.item, h.item_digest,
               h.limited, h.undo_version_id, h.first_item, h.slack, r.fair_key, r.status = 'paused' as parks, r.priority,
               l.last + (sum(a.total) over (partition by a.run order by a.n, a.key) - a.total)::int as base,
               coalesce(a."window", a.total) as win,
               case when a.after > 0 then clock_timestamp() + make_interval(secs => a.after) end as wake_at,
               array(select o.key from orchestration_step o where o.run_id = a.run and o.key = any (h.reads)
                     and o.position in (select jsonb_array_elements(a.reads)::int) order by o.key) as reads
        from asked a
        cross join lateral (select h.* from orchestration_step h where h.run_id = a.run and h.key = a.key offset 0) h
        cross join lateral (select r.* from orchestration_run r where r.id = a.run offset 0) r
        cross join lateral (select max(s.key) as last from orchestration_step s where s.run_id = a.run offset 0) l
    ), fair as materialized (
        select q.queue, q.fair_key, engine_fair_v1(q.queue, q.fair_key) as rank from (select distinct h.queue, h.fair_key from heads h) q
    ), items as (
        select h.*, i.item as value, i.ord::int as nth, f.rank + row_number() over (partition by h.queue, h.fair_key order by h.run, h.key, i.ord) as place,
               case when h.wake_at is not null then 'waiting' when i.ord <= h.win then 'ready' else 'blocked' end as status
        from heads h join fair f on f.queue = h.queue and f.fair_key = h.fair_key
        join unnest(moved) m on m.run = h.run and m.key = h.key
        cross join lateral jsonb_array_elements(m.more -> 'spread' -> 'items') with ordinality as i(item, ord)
    ), laid as (
        insert into orchestration_step (run_id, key, position, name, round, index, pass, kind, queue, status, waits_for, wake_at, due_as, open_needs,
            dependants, reads, tolerant, repeatable, agent_version_id, priority, rank, feedback, head, item, item_digest, windowed, forgiven, limited,
            undo_version_id, total_seconds, queue_seconds)
        select i.run, i.base + i.nth, i.position, i.name, i.round, coalesce(i.of_all, i.nth - 1), i.pass, i.kind, i.queue, i.status, case when i.status = 'waiting' then 'time' end, i.wake_at, case when i.status = 'waiting' then 'ready' end,
               (i.status = 'blocked')::int, array[i.key], i.reads, true, i.repeatable, i.agent_version_id,
               case when i.parks and i.status = 'ready' then parked else i.priority end, case when i.status = 'ready' then i.place else 0 end, i.feedback, i.key,
               coalesce(i.value -> 'item', i.item), coalesce(decode(i.value ->> 'digest', 'hex'), i.item_digest), i.win < i.total, true, i.limited,
               i.undo_version_id, i.seconds, i.patience
        from items i
        returning run_id, key, name, round, index, pass, status, queue, rank, head, wake_at, status = 'ready' and coalesce(total_seconds, queue_seconds) > 0 as timed
    ), counted as (
        update orchestration_step s set
            first_item = coalesce(s.first_item, h.base + 1), item_count = coalesce(s.item_count, 0) + h.total,
            next_item = case when h.win < h.total then h.base + h.win + 1 end,
            bearable = h.bearable, open_needs = h.total, failed_needs = 0
        from heads h where s.run_id = h.run and s.key = h.key
    )
    select array_agg(row (h.n + 0.2, h.run, h.key, null, null, h.total, case when h.wake_at is null then least(h.win, h.total) else 0 end, false)::engine_told_v3)
           || (select array_agg(row (h.n + 0.3, l.run_id, l.key, 'step.waiting', jsonb_strip_nulls(jsonb_build_object('step', l.name, 'round', l.round,
                  'index', l.index, 'pass', l.pass, 'waits_for', 'time', 'until', l.wake_at)), 0, 0, false)::engine_told_v3)
               from laid l join heads h on h.run = l.run_id and h.key = l.head where l.status = 'waiting'),
           (select array_agg(row (l.queue, h.fair_key, l.rank)::engine_ready_v1) from laid l join heads h on h.run = l.run_id and h.key = l.head
            where l.status = 'ready' and not h.parks),
           array_agg(row (h.n, h.run, h.key, 'waiting')::engine_done_v1) filter (where h.slack is not null),
           (select array_agg(l.run_id order by l.run_id, l.key) from laid l where l.timed),
           (select array_agg(l.key order by l.run_id, l.key) from laid l where l.timed)
    into told, ready, early, t_runs, t_keys from heads h;
    if t_runs is not null then
        perform engine_times_v1(t_runs, t_keys);
    end if;
    if early is not null then
        update orchestration_step s set dependants = array_remove(array_remove(s.dependants, e.key), -e.key)
        from unnest(early) e
        where s.run_id = e.run and s.head is null and s.status in ('blocked', 'ready', 'running', 'waiting', 'uncertain')
              and s.dependants && array[e.key, -e.key];
    end if;
end $$;
