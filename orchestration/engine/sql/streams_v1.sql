-- Values that steps hand out while they run. Who hands them out is told by the try, as of a line in the log.
alter table orchestration_streamvalue add column attempt int not null default 1;

-- Writes values as they were handed in, as engine_log does lines: each stream's values are numbered 1..n without a gap under its
-- head row.
--
-- Locks: head rows, in the order of run ids and names, after those of logs; nothing else.
create function engine_emit_v1(runs bigint[], keys int[], attempts int[], ages float8[], names text[], texts text[])
returns text language plpgsql as $$
declare
    now constant timestamptz := clock_timestamp();
begin
    with given as materialized (
        select g.*, row_number() over (partition by g.run_id, g.name order by g.place) as n
        from unnest(runs, keys, attempts, ages, names, texts) with ordinality g(run_id, key, attempt, age, name, text, place)
    ), head as (
        insert into orchestration_streamhead as h (run_id, name, number)
        select run_id, name, count(*) from given group by run_id, name order by run_id, name
        on conflict (run_id, name) do update set number = h.number + excluded.number
        returning h.run_id, h.name, h.number
    ), size as (
        select run_id, name, count(*) as total from given group by run_id, name
    )
    insert into orchestration_streamvalue (run_id, name, number, at, key, attempt, value)
    select g.run_id, g.name, h.number - s.total + g.n, now - make_interval(secs => g.age), g.key, g.attempt, g.text::jsonb
    from given g join head h on h.run_id = g.run_id and h.name = g.name join size s on s.run_id = g.run_id and s.name = g.name;
    return pg_current_xact_id()::text;
end $$;
