-- Heads and their items: a map's window, and what is left of a map that is over.

-- For each item that ended of a map that lets only so many run at once, its next blocked one may start: it is told that what it
-- waited for has ended, as a step is whose need has.
create function engine_window_v1(moved engine_moved_v1[]) returns engine_over_v1[] language plpgsql as $$
#variable_conflict use_column
declare
    freed engine_over_v1[];
begin
    with over as (
        select m.run, m.head, count(*)::int as n from unnest(moved) m
        where m.windowed and m.was <> 'blocked' and m.becomes in ('completed', 'failed', 'skipped', 'canceled') group by 1, 2
    ), heads as materialized (  -- of a window that a person made smaller, the first ends let nobody go
        select o.run, o.head, h.next_item, h.first_item + h.item_count as past, greatest(o.n - coalesce(h.item_surplus, 0), 0) as n,
               greatest(h.item_surplus - o.n, 0) as surplus, h.item_surplus > 0 as is_smaller
        from over o
        cross join lateral (select h.* from orchestration_step h where h.run_id = o.run and h.key = o.head and h.status = 'waiting' offset 0) h
    ), next as materialized (
        select h.run, h.head, i.key from heads h cross join lateral (
            select i.key from orchestration_step i
            where i.run_id = h.run and i.key >= h.next_item and i.key < h.past and i.status = 'blocked' order by i.key limit h.n) i
    ), moved as (
        update orchestration_step s set next_item = coalesce(n.key + 1, s.next_item), item_surplus = h.surplus
        from heads h left join (select n.run, n.head, max(n.key) as key from next n group by 1, 2) n on n.run = h.run and n.head = h.head
        where s.run_id = h.run and s.key = h.head and (n.key is not null or h.is_smaller)
    )
    select array_agg(row (n.run, false, array[n.key])::engine_over_v1) into freed from next n;
    return freed;
end $$;

-- Items of heads that ended give way, and theirs: what runs goes on and is recorded as it ends, what waits for a child that its
-- run's cancel has yet to reach waits on. Questions and children are left to `tidy`.
create function engine_close_v1(moved engine_moved_v1[]) returns engine_told_v3[] language plpgsql as $$
#variable_conflict use_column
declare
    told engine_told_v3[];
    runs bigint[]; heads int[];
    limited_runs bigint[]; limited_keys int[];
    place float8;
    x record;
begin
    select array_agg(m.run), array_agg(m.key), max(m.n) + 0.7 into runs, heads, place from unnest(moved) m
    where m.item_count is not null and m.becomes in ('completed', 'failed', 'skipped', 'canceled');
    while runs is not null loop
        with open as materialized (
            select i.run_id, i.key, i.status, i.waits_for, i.limited from unnest(runs, heads) as o(run, head)
            cross join lateral (select h.* from orchestration_step h where h.run_id = o.run and h.key = o.head offset 0) h
            cross join lateral (
                select i.* from orchestration_step i
                where i.run_id = o.run and i.key >= h.first_item and i.head = o.head and i.status in ('blocked', 'ready', 'waiting', 'uncertain') offset 0) i
            where not engine_kept_v1(i.run_id, i.child_run_id)
        ), closed as (
            update orchestration_step s set status = 'canceled', waits_for = null, wake_at = null, due_as = null, ended_at = clock_timestamp()
            from (select * from open limit 10000) o where s.run_id = o.run_id and s.key = o.key
            returning s.run_id, s.key, s.name, s.round, s.index, s.pass, s.kind, s.item_count, s.limited, o.status as was, o.waits_for
        )
        select array_agg(row (place, c.run_id, c.key, 'step.canceled', jsonb_strip_nulls(jsonb_build_object('step', c.name, 'round', c.round, 'index', c.index,
                   'pass', c.pass, 'reason', 'what it is an item of has ended')), -1, -(c.was = 'ready')::int, false)::engine_told_v3) as told,
               array_agg(c.run_id) filter (where c.item_count is not null) as runs, array_agg(c.key) filter (where c.item_count is not null) as heads,
               array_agg(c.run_id) filter (where c.was = 'waiting' and c.waits_for in ('approval', 'child')) as untidy,
               array_agg(c.run_id) filter (where c.limited) as limited_runs, array_agg(c.key) filter (where c.limited) as limited_keys,
               array_agg(row (0, c.run_id, c.key, c.was, 'canceled', c.kind, null, null, false, null, false, false, false, null)::engine_moved_v1)
                   filter (where c.kind = 'wait' and c.was = 'waiting') as deaf
        into x from closed c;
        told := told || x.told;
        if x.untidy is not null then
            update orchestration_run r set tidy = true where r.id = any (x.untidy) and not r.tidy;
        end if;
        if x.deaf is not null then
            perform engine_deaf_v1(x.deaf);
        end if;
        if x.limited_runs is not null then
            perform engine_release_v1(x.limited_runs, x.limited_keys);
        end if;
        runs := x.runs; heads := x.heads;
    end loop;
    return told;
end $$;

-- Whether a step waits on for this child although its run is canceling: leaves end first. Not for one that outlives its parent.
create function engine_kept_v1(run bigint, child bigint) returns boolean language plpgsql stable as $$
#variable_conflict use_variable
begin
    return child is not null and exists (select from orchestration_run r where r.id = run and r.status = 'canceling')
        and exists (select from orchestration_run c where c.id = child and c.ended_at is null and not c.stays);
end $$;
