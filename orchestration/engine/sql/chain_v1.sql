-- Moves steps that completed as most do, and begins what follows, in one statement instead of engine_settle's many: each has one
-- dependant, which waits for nothing else, and a thread goes on with it. What is not so plain it leaves to engine_settle, which
-- would do the same: the rows are those that it would have written.
--
-- THE CALLER HOLDS THE LOCK OF EVERY RUN NAMED (for no key update), AND HAS ONE ITEM OF EACH.
-- items and follow are those of engine_settle. Gives the numbers of the items that are done, and the steps claimed.
create function engine_chain_v1(worker bigint, items jsonb, follow jsonb, queues text[], out done int[], out c_runs bigint[], out c_keys int[])
language plpgsql as $$
#variable_conflict use_column
begin
    with done as (
        update orchestration_step s set
            status = g.outcome, owner = null, waits_for = null, wake_at = null, due_as = null, first_at = coalesce(s.first_at, s.started_at), lost = 0,
            ended_at = clock_timestamp(), input = coalesce(g.input, s.input), input_digest = coalesce(decode(g.input_digest, 'hex'), s.input_digest),
            output = g.output, output_digest = decode(g.output_digest, 'hex'), error = null, usage = coalesce(g.usage, s.usage)
        from (
            select g.*, r.at from jsonb_to_recordset(items) as g(n int, run bigint, key int, fence bigint, was text, outcome text, input jsonb,
                input_digest text, output jsonb, output_digest text, usage jsonb, note jsonb, decision jsonb, child bigint, deliverable jsonb, more jsonb)
            cross join lateral (select r.ctid as at from orchestration_run r where r.id = g.run and r.status in ('running', 'waiting') offset 0) r
            where g.was = 'running' and g.outcome = 'completed' and follow ? g.run::text
                  and coalesce(g.decision, g.deliverable, g.more, to_jsonb(g.child)) is null
            limit jsonb_array_length(items)) g
        where s.run_id = g.run and s.key = g.key and s.fence = g.fence and s.status = g.was and cardinality(s.dependants) = 1
              and s.kind not in ('start', 'output', 'wait') and not s.limited and not s.windowed and s.item_count is null
              and (select d.status = 'blocked' and d.open_needs = 1 and d.failed_needs = 0 and d.queue = any (queues)
                          and coalesce(d.total_seconds, d.queue_seconds, d.expect_seconds) is null
                   from orchestration_step d where d.run_id = s.run_id and d.key = abs(s.dependants[1]))
        returning g.n, s.run_id, s.key, g.at, abs(s.dependants[1]) as next,
            jsonb_strip_nulls(jsonb_build_object('step', s.name, 'round', s.round, 'index', s.index, 'pass', s.pass, 'attempt', nullif(s.attempt, 0),
                'usage', g.usage)) || coalesce(g.note, '{}') as data
    ), begun as (
        update orchestration_step s set
            status = 'running', open_needs = 0, owner = worker, fence = s.fence + 1, attempt = s.attempt + (s.phase = 0)::int,
            started_at = clock_timestamp()
        from done d where s.run_id = d.run_id and s.key = d.next
        returning d.n, d.at, d.key as ended, d.data as of_end, s.run_id, s.key, s.kind <> 'output' as is_told,
            jsonb_strip_nulls(jsonb_build_object('step', s.name, 'round', s.round, 'index', s.index, 'pass', s.pass, 'attempt', nullif(s.attempt, 0),
                'gathering', nullif(s.phase > 0, false))) as data
    ), moved as (
        update orchestration_run r set seq = r.seq + 1 + b.is_told::int, open_steps = r.open_steps - 1, status = 'running'
        from begun b where r.ctid = b.at  -- by its id, a short table would be read from its beginning; it is locked, so this is it
        returning r.id, r.seq - b.is_told::int as seq, b.ended, b.of_end, b.key, b.is_told, b.data
    ), told as (
        insert into orchestration_event (run_id, seq, type, key, data)
        select m.id, t.seq, t.type, t.key, t.data from moved m
        cross join lateral (values (true, m.seq, 'step.completed', m.ended, m.of_end), (m.is_told, m.seq + 1, 'step.started', m.key, m.data))
            as t(is_told, seq, type, key, data)
        where t.is_told
    )
    select array_agg(b.n), array_agg(b.run_id), array_agg(b.key) into done, c_runs, c_keys from begun b;
end $$;
