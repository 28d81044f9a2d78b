-- What follows from moves of steps that are not plain: engine_settle calls it if a batch has such.
--
-- `more` of an item asks for it: spread (a head lays its items), launch (a child run), hears (outside events), cache (its output
-- is kept for others), budgets (they are charged with this); the columns that it may set stand in the update. The rest
-- follows from the row. Gives what is to be told, what became ready, and what is over for those that wait for it.
-- `is_over` are the batch's steps that ended: it gives them back without heads that wait for them no longer, and more.
create function engine_rare_v1(moved engine_moved_v1[], is_over engine_over_v1[], out told engine_told_v3[], out ready engine_ready_v1[],
    out over engine_over_v1[])
language plpgsql as $$
#variable_conflict use_column
declare
    ended constant text[] := '{completed,failed,skipped,canceled}';
    x record;
    y record;
begin
    over := is_over;
    select bool_or(m.parks or m.more - '{head,begun,budgets}'::text[] <> '{}') as sets,
           bool_or(m.timed) as timed,
           bool_or(m.becomes = 'waiting' and m.more ? 'spread') as spreads,
           bool_or(m.becomes = 'waiting' and m.more ? 'launch') as launches,
           bool_or(m.becomes = 'waiting' and m.more ? 'hears') as hears,
           bool_or(m.kind = 'wait' and m.was = 'waiting') as deaf,
           bool_or(m.item_count is not null and m.becomes = any (ended)) as closes,
           bool_or(m.windowed and m.was <> 'blocked' and m.becomes = any (ended)) as windowed,
           bool_or(m.limited and (m.becomes <> 'waiting' or m.waits_for <> 'child')) as frees,
           bool_or(m.becomes = 'completed' and m.more ? 'cache') as caches,
           bool_or(m.more ? 'budgets') as spends
    into x from unnest(moved) m;
    if x.sets then
        update orchestration_step s set
            priority = case when m.parks then -32768 else s.priority end,
            phase = coalesce((m.more ->> 'phase')::smallint, s.phase),
            wake_at = case when m.becomes = 'waiting' then coalesce((m.more ->> 'at')::timestamptz, s.wake_at) end,
            due_as = case when m.becomes = 'waiting' then m.more ->> 'due_as' end,
            undo = coalesce(m.more -> 'undo', s.undo),
            undo_digest = coalesce(decode(m.more ->> 'undo_digest', 'hex'), s.undo_digest),
            event_id = coalesce((m.more ->> 'event')::bigint, s.event_id)
        from (select * from unnest(moved) limit cardinality(moved)) m
        where s.run_id = m.run and s.key = m.key and (m.parks or m.more - '{head,begun,budgets}'::text[] <> '{}');
    end if;
    if x.timed then
        perform engine_times_v1(array_agg(m.run), array_agg(m.key)) from unnest(moved) m where m.timed;
    end if;
    if x.deaf then
        perform engine_deaf_v1(moved);
    end if;
    if x.hears then
        perform engine_hear_v1(moved);
    end if;
    if x.spreads then
        select * into y from engine_spread_v1(moved);
        told := told || y.told; ready := ready || y.ready;
        if y.early is not null then
            select array_agg(row (o.run, o.bad, array(
                       select d from unnest(o.dependants) d where not exists (select from unnest(y.early) e where e.run = o.run and e.key = abs(d))))::engine_over_v1)
            into over from unnest(over) o;
        end if;
    end if;
    if x.launches then
        ready := ready || engine_launch_v1(moved);
    end if;
    if x.closes then
        told := told || engine_close_v1(moved);
    end if;
    if x.windowed then
        over := over || engine_window_v1(moved);
    end if;
    if x.frees then
        perform engine_release_v1(array_agg(m.run), array_agg(m.key)) from unnest(moved) m
        where m.limited and (m.becomes <> 'waiting' or m.waits_for <> 'child');
    end if;
    if x.caches then
        perform engine_cache_v1(moved);
    end if;
    if x.spends then
        perform engine_charge_v1(moved);
    end if;
end $$;

-- The times of steps that have such, as their status wants it: to be begun by, to have ended by, to be expected by. What has
-- been said of one that is overdue is said once: it has no such time any more. One of which nobody knows what it did has all its
-- time anew if a person says that it is to be done again.
create function engine_times_v1(runs bigint[], keys int[]) returns void language plpgsql as $$
#variable_conflict use_column
begin
    update orchestration_step s set
        total_at = case when s.status <> 'uncertain' then t.total_at end,
        deadline_at = case s.status when 'ready' then least(t.total_at, t.now + make_interval(secs => s.queue_seconds))
                                    when 'uncertain' then null else t.total_at end,
        expect_at = coalesce(s.expect_at, t.now + make_interval(secs => s.expect_seconds))
    from unnest(runs, keys) as c(run, key)
    cross join lateral (
        select clock_timestamp() as now, coalesce(o.total_at, clock_timestamp() + make_interval(secs => o.total_seconds)) as total_at
        from orchestration_step o where o.run_id = c.run and o.key = c.key offset 0) t
    where s.run_id = c.run and s.key = c.key and s.status in ('ready', 'running', 'waiting', 'uncertain');
end $$;
