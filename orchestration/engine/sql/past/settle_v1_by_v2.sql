-- What the release before calls, and what cancels, reopens and sweeps: the moves are engine_settle_v2's.
create or replace function engine_settle_v1(worker bigint, items jsonb, follow jsonb default '{}', moves jsonb default '[]', queues text[] default null)
returns table (n int, verdict text, run bigint, key int) language plpgsql as $$
#variable_conflict use_column
begin
    return query
    select z.n, z.verdict, z.run, z.key
    from engine_settle_v2(worker, items, follow, moves, queues) s
    cross join lateral (
        select * from unnest(s.v_n, s.v_verdict, s.v_runs, s.v_keys) v(n, verdict, run, key)
        union all select null, 'claimed', c.run, c.key from unnest(s.c_runs, s.c_keys) c(run, key)) z;
end $$;
