-- Start-time fair queuing: a step that becomes ready goes behind the last one of its key, and never before its queue's
-- clock, which is the rank of the first that is ready; with none ready, the last rank that was given. Steps of
-- paused runs, of the last priority, do not count.
--
-- Both are read without a lock: a rank only orders, and two batches that read the same do no harm. In PL/pgSQL, which keeps their
-- plans: one of the language SQL that reads a table is planned anew by each statement that calls it.
--
-- A key may have a weight, ORGANIZATION*WEIGHT:KEY: a step of it is a share of a turn, so that as many of them have one rank. It takes
-- its turns with steps of that key that have another weight, or none; where it stands within a rank is `part` of the key's row.
create function engine_clock_v1(of_queue text) returns bigint language plpgsql stable as $$
begin
    return coalesce(engine_first_v1(of_queue), (select f.rank from orchestration_fairshare f where f.queue = of_queue order by f.rank desc limit 1), 0);
end $$;

create function engine_weight_v1(of_key text) returns int language sql immutable as $$
    select coalesce(substring(of_key from '^\d+\*(\d+):')::int, 1)
$$;

-- The rank after which the next steps of a key come.
create function engine_fair_v1(of_queue text, of_key text) returns bigint language plpgsql stable as $$
begin
    if strpos(of_key, '*') = 0 then
        return greatest((select f.rank from orchestration_fairshare f where f.queue = of_queue and f.fair_key = of_key), engine_clock_v1(of_queue));
    end if;
    -- What is left of a rank by the steps before belongs to the next, that of the clock too.
    return ceil(greatest((select f.rank + f.part from orchestration_fairshare f
                          where f.queue = of_queue and f.fair_key = regexp_replace(of_key, '^(\d+)\*\d+:', '\1:')), engine_clock_v1(of_queue) - 1, 0)
                + 1.0::float8 / engine_weight_v1(of_key) - 1e-6)::bigint - 1;
end $$;

-- Keeps the last rank of each key; of keys with a weight, each step of which is named, where they stand. The row is everybody's: who
-- finds it locked for longer than an ordinary commit takes, by a process that stands still, goes on without: its key is a little too
-- far ahead then, and nobody waits for anybody.
create function engine_share_v1(queues text[], keys text[], ranks bigint[]) returns void language plpgsql as $$
#variable_conflict use_column
declare
    patience constant text := current_setting('lock_timeout');
begin
    perform set_config('lock_timeout', '50ms', true);
    begin
        if strpos(array_to_string(keys, ' '), '*') = 0 then
            insert into orchestration_fairshare as f (queue, fair_key, rank)
            select z.queue, z.key, max(z.rank) from unnest(queues, keys, ranks) z(queue, key, rank) group by 1, 2 order by 1, 2
            on conflict (queue, fair_key) do update set rank = greatest(f.rank, excluded.rank);
        else
            with given as materialized (  -- steps of a batch have ranks one behind the other from the one after `base` on, or share them
                select z.queue, regexp_replace(z.key, '^(\d+)\*\d+:', '\1:') as key, min(z.rank) - 1 as base, max(z.rank) as last,
                       sum(w.share) as turns, max(w.share) as most, max(w.share) = 1 and min(w.share) = 1 as plain
                from unnest(queues, keys, ranks) z(queue, key, rank) cross join lateral (select 1.0::float8 / engine_weight_v1(z.key) as share) w
                group by 1, 2
            ), reached as materialized (
                select g.*, case when g.plain then g.last else g.base + g.turns end as position from given g
            )
            insert into orchestration_fairshare as f (queue, fair_key, rank, part)
            select r.queue, r.key, floor(r.position), r.position - floor(r.position) from reached r order by 1, 2
            on conflict (queue, fair_key) do update set (rank, part) = (
                select floor(p.position), p.position - floor(p.position)
                from reached r
                cross join lateral (  -- it stands within the rank before `base`, or the clock has gone on without it
                    select case when r.plain then greatest(f.rank + f.part, r.position)
                                when f.rank + f.part > r.base - r.most then f.rank + f.part + r.turns else r.position end as position) p
                where r.queue = f.queue and r.key = f.fair_key);
        end if;
    exception when lock_not_available then
        null;
    end;
    perform set_config('lock_timeout', patience, true);
end $$;
