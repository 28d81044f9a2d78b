-- Writes lines as they were handed in: the n-th of each array is one line, `ages` is how many seconds ago it was said, by
-- a clock that only counts. Each run's lines are numbered 1..n without a gap under its head row.
--
-- Locks: head rows, in the order of run ids; nothing else. A transaction that writes lines takes no other lock of the
-- engine, and none that holds a run's row writes lines, so the two never wait for each other.
--
-- Returns this transaction's id: who loses its connection at the commit asks pg_xact_status what became of it.
create function engine_log_v1(runs bigint[], keys int[], attempts int[], ages float8[], levels text[], texts text[])
returns text language plpgsql as $$
declare
    now constant timestamptz := clock_timestamp();
begin
    with line as materialized (
        select l.*, row_number() over (partition by l.run_id order by l.place) as n
        from unnest(runs, keys, attempts, ages, levels, texts) with ordinality l(run_id, key, attempt, age, level, text, place)
    ), head as (
        insert into orchestration_loghead as h (run_id, number, errors)
        select run_id, count(*), count(*) filter (where level = 'error') from line group by run_id order by run_id
        on conflict (run_id) do update set number = h.number + excluded.number, errors = h.errors + excluded.errors
        returning h.run_id, h.number
    ), size as (
        select run_id, count(*) as lines from line group by run_id
    )
    insert into orchestration_logline (run_id, number, at, key, attempt, level, text)
    select l.run_id, h.number - s.lines + l.n, now - make_interval(secs => l.age), l.key, l.attempt, l.level, l.text
    from line l join head h on h.run_id = l.run_id join size s on s.run_id = l.run_id;
    return pg_current_xact_id()::text;
end $$;
