-- Moves steps, and everything that follows from it, in the caller's transaction: statuses, dependants' counters, skips
-- that cascade, deliverables, numbered events, the run's counters and status.
--
-- THE CALLER HOLDS THE LOCK OF EVERY RUN NAMED (for no key update). Each statement below takes its own snapshot, later
-- than those locks, so what it reads of these runs is true. Nothing is decided from a row not locked or updated here.
--
-- To begin a statement costs more than what it does for one step, so what is rare (deliverables, ranks, late results,
-- ends of runs) has a statement of its own, begun only if there is such a thing.
--
-- A plan is made once and kept while tables grow, so none may be free to read a table from its beginning because it was
-- short that day: what is joined to the batch is looked up in a lateral with OFFSET 0, which is not turned round, and a
-- batch says LIMIT its own length, of which the planner assumes next to nothing.
--
-- items: [{n, run, key, fence, was, outcome, …}]: step (run, key) moves from `was` to `outcome` if it still is `was`
--   under that fence. `begun` says that a call was under way: what may not be repeated is then not ready but uncertain.
--   follow: {run: how many threads go on with that run}; dependants that become ready are claimed for
--   them at once, for `worker`.
-- moves: what the caller did itself in this transaction, told first: [{run, key, type, data, open, moving}].
-- Gives, for items that were not simply done, verdict canceled (its run is canceling: nothing is held open there) or late;
-- for each queue in which n steps became ready, verdict `ready:QUEUE`; and the steps claimed.
-- An entry of `told` is an engine_told_v2 (past/settle_v2_first.sql): (place, run, key, type, data, open, moving).
create function engine_settle_v2(worker bigint, items jsonb, follow jsonb, moves jsonb, queues text[],
    out v_n int[], out v_verdict text[], out v_runs bigint[], out v_keys int[], out c_runs bigint[], out c_keys int[])
language plpgsql as $$
#variable_conflict use_column
declare
    ended constant text[] := '{completed,failed,skipped,canceled}';
    told engine_told_v2[] := '{}';  -- what happened, an entry an event, to be told in the order of their places; type null moves counters only
    later float8 := 1e9;            -- dependants are told after all items, those of skipped ones after these
    -- steps that ended and are to be told to their dependants
    f_runs bigint[]; f_bad boolean[]; f_dependants text[];
    r_queues text[];  -- of the steps that became ready
    e_runs bigint[];  -- runs with nothing open
    some_failed boolean;
    ranks bigint[];
    s_queues text[]; s_keys text[]; s_ranks bigint[];  -- what the fair shares have become
    x record;
begin
    if moves <> '[]' then
        select array_agg(row (w.ord - later, w.run, w.key, w.type, w.data, coalesce(w.open, 0), coalesce(w.moving, 0))::engine_told_v2) into told
        from rows from (jsonb_to_recordset(moves) as (run bigint, key int, type text, data jsonb, open int, moving int))
            with ordinality as w(run, key, type, data, open, moving, ord);
    end if;

    -- 1. The items themselves.
    if items <> '[]' then
        with given as materialized (
            select g.*, case when r.status = 'canceling' and g.outcome in ('waiting', 'ready', 'uncertain') then 'canceled'
                             when g.begun and g.outcome = 'ready' and not (select s.repeatable from orchestration_step s where s.run_id = g.run and s.key = g.key)
                             then 'uncertain' else g.outcome end as becomes
            from jsonb_to_recordset(items) as g(n int, run bigint, key int, fence bigint, was text, outcome text, waits_for text, wake float8,
                    unlost boolean, begun boolean, input jsonb, input_digest text, output jsonb, output_digest text, error jsonb, decision jsonb,
                    usage jsonb, child bigint, deliverable jsonb, note jsonb)
            cross join lateral (select r.status from orchestration_run r where r.id = g.run offset 0) r
            limit jsonb_array_length(items)
        ), moved as (
            update orchestration_step s set
                status = g.becomes,
                owner = null,
                waits_for = case when g.becomes = 'waiting' then g.waits_for end,
                wake_at = case when g.becomes = 'waiting' then clock_timestamp() + make_interval(secs => g.wake) end,
                -- a try that was lost with its worker, or handed back, is not one of the tries that `retry` counts
                attempt = s.attempt - (g.was in ('running', 'uncertain') and g.becomes = 'ready')::int,
                lost = case when g.becomes = 'ready' and g.was = 'running' and not coalesce(g.unlost, false) then s.lost + 1
                            when g.was = 'running' and g.becomes <> 'ready' then 0 else s.lost end,
                rank = case when g.becomes = 'ready' then greatest(s.rank, engine_clock_v1(s.queue)) else s.rank end,
                ended_at = case when g.becomes = any (ended) then clock_timestamp() end,
                input = coalesce(g.input, s.input),
                input_digest = coalesce(decode(g.input_digest, 'hex'), s.input_digest),
                output = g.output,
                output_digest = decode(g.output_digest, 'hex'),
                error = g.error,
                decision = coalesce(g.decision, s.decision),
                usage = coalesce(g.usage, s.usage),
                child_run_id = coalesce(g.child, s.child_run_id)
            from given g
            where s.run_id = g.run and s.key = g.key and s.fence = g.fence and s.status = g.was
            returning g.n, s.run_id, s.key, s.name, s.kind, s.round, s.index, s.attempt, s.dependants, s.queue, s.waits_for, g.was, g.becomes, g.outcome,
                      g.error, g.usage, g.deliverable, g.note
        )
        select array_agg(m.n) as n, array_agg(m.run_id) as runs, array_agg(m.key) as keys, array_agg(m.becomes) as becomes,
               array_agg(row (m.n, m.run_id, m.key,
                   case when m.kind = 'output' then null
                        when m.becomes = 'waiting' and m.waits_for = 'approval' then 'checkpoint.requested'
                        when m.becomes = 'waiting' and m.waits_for = 'retry' then 'step.retrying'
                        else 'step.' || m.becomes end,
                   jsonb_strip_nulls(jsonb_build_object('step', m.name, 'round', m.round, 'index', m.index, 'attempt', nullif(m.attempt, 0),
                       'error', m.error, 'waits_for', m.waits_for, 'usage', m.usage)) || coalesce(m.note, '{}'),
                   -(m.becomes = any (ended))::int,
                   (m.becomes = 'ready')::int - (m.was in ('ready', 'running'))::int)::engine_told_v2) as told,
               array_agg(row (m.n - 0.5, m.run_id, m.key, 'checkpoint.resolved', jsonb_build_object('step', m.name, 'round', m.round) || m.note, 0, 0)::engine_told_v2)
                   filter (where m.was = 'waiting' and m.kind = 'approval' and m.note is not null) as resolved,
               array_agg(m.run_id) filter (where m.becomes = any (ended) and m.dependants <> '{}') as f_runs,
               array_agg(m.becomes <> 'completed') filter (where m.becomes = any (ended) and m.dependants <> '{}') as f_bad,
               array_agg(m.dependants::text) filter (where m.becomes = any (ended) and m.dependants <> '{}') as f_dependants,
               array_agg(m.queue) filter (where m.becomes = 'ready') as r_queues,
               bool_or(m.becomes <> m.outcome) as otherwise,
               bool_or(m.becomes = 'completed' and m.deliverable is not null) as delivers
        into x from moved m;
        told := told || x.told || x.resolved;
        f_runs := x.f_runs; f_bad := x.f_bad; f_dependants := x.f_dependants; r_queues := x.r_queues;

        if x.delivers then
            with kept as (
                insert into orchestration_deliverable (public_id, run_id, key, name, version, title, content, created_at)
                select g.deliverable ->> 'id', g.run, g.key, g.deliverable ->> 'name',
                       1 + (select count(*) from orchestration_deliverable d where d.run_id = g.run and d.name = g.deliverable ->> 'name'),
                       g.deliverable ->> 'title', g.deliverable ->> 'content', clock_timestamp()
                from jsonb_to_recordset(items) as g(n int, run bigint, key int, deliverable jsonb)
                join unnest(x.n, x.runs, x.keys, x.becomes) as m(n, run, key, becomes) on m.n = g.n and m.run = g.run and m.key = g.key
                where m.becomes = 'completed' and g.deliverable is not null
                returning run_id, key, public_id, name, version, title
            )
            select told || array_agg(row (m.n + 0.5, k.run_id, k.key, 'deliverable.created', jsonb_build_object('step', s.name, 'deliverable', k.public_id,
                       'name', k.name, 'version', k.version, 'title', k.title), 0, 0)::engine_told_v2) into told
            from kept k join unnest(x.n, x.runs, x.keys) as m(n, run, key) on m.run = k.run_id and m.key = k.key
            join orchestration_step s on s.run_id = k.run_id and s.key = k.key;
        end if;

        if x.otherwise or coalesce(cardinality(x.n), 0) < jsonb_array_length(items) then
            select array_agg(g.n), array_agg(case when m.n is null then 'late' else 'canceled' end), array_agg(g.run), array_agg(g.key),
                   told || array_agg(row (g.n, g.run, g.key, 'step.late_result', jsonb_build_object('outcome', g.outcome), 0, 0)::engine_told_v2)
                       filter (where m.n is null and g.was = 'running')
            into v_n, v_verdict, v_runs, v_keys, told
            from jsonb_to_recordset(items) as g(n int, run bigint, key int, was text, outcome text)
            left join unnest(x.n, x.runs, x.keys, x.becomes) as m(n, run, key, becomes) on m.n = g.n and m.run = g.run and m.key = g.key
            where m.n is null or m.becomes <> g.outcome;
        end if;
    end if;

    -- 2. Their dependants, and the dependants of those that are skipped for it, and so on.
    while f_runs is not null loop
        with fed as (
            select f.run_id, d as key, count(*)::int as n, (count(*) filter (where f.bad))::int as bad
            from unnest(f_runs, f_bad, f_dependants) f(run_id, bad, dependants) cross join unnest(f.dependants::int[]) d
            group by 1, 2
        ), judged as (
            select fed.*, s.queue, r.fair_key,
                   case when s.open_needs > fed.n then 'blocked'
                        when s.failed_needs + fed.bad > 0 and not s.tolerant then 'skipped'
                        when r.status in ('running', 'waiting') and s.queue = any (queues) then 'running' else 'ready' end as may
            from fed
            cross join lateral (select s.* from orchestration_step s where s.run_id = fed.run_id and s.key = fed.key and s.status = 'blocked' offset 0) s
            cross join lateral (select r.status, r.fair_key from orchestration_run r where r.id = fed.run_id offset 0) r
        ), poised as (  -- no more of a run are claimed at once than threads go on with it
            select j.*, case when j.may = 'running' and row_number() over (partition by j.run_id, j.may order by j.key)
                                  > coalesce((follow ->> j.run_id::text)::int, 0) then 'ready' else j.may end as becomes
            from judged j
        )
        select array_agg(run_id) as runs, array_agg(key) as keys, array_agg(n) as n, array_agg(bad) as bad, array_agg(becomes) as becomes,
               array_agg(queue) as queues, array_agg(fair_key) as fair_keys, bool_or(becomes = 'ready') as some_ready
        into x from poised;
        exit when x.runs is null;

        ranks := null;
        if x.some_ready then
            with poised as (
                select p.* from unnest(x.runs, x.keys, x.becomes, x.queues, x.fair_keys) with ordinality as p(run_id, key, becomes, queue, fair_key, ord)
            ), fair as materialized (
                select q.queue, q.fair_key, engine_fair_v1(q.queue, q.fair_key) as rank
                from (select distinct p.queue, p.fair_key from poised p where p.becomes = 'ready') q
            ), ranked as materialized (
                select p.ord, f.queue, f.fair_key, f.rank + row_number() over (partition by f.queue, f.fair_key order by p.run_id, p.key) as rank
                from poised p join fair f on f.queue = p.queue and f.fair_key = p.fair_key where p.becomes = 'ready'
            )
            select array_agg(k.rank order by p.ord), s_queues || array_agg(k.queue) filter (where k.queue is not null),
                   s_keys || array_agg(k.fair_key) filter (where k.queue is not null), s_ranks || array_agg(k.rank) filter (where k.queue is not null)
            into ranks, s_queues, s_keys, s_ranks from poised p left join ranked k on k.ord = p.ord;
        end if;

        with moved as (
            update orchestration_step s set
                open_needs = s.open_needs - p.n,
                failed_needs = s.failed_needs + p.bad,
                status = p.becomes,
                owner = case when p.becomes = 'running' then worker end,
                fence = s.fence + (p.becomes = 'running')::int,
                attempt = s.attempt + (p.becomes = 'running')::int,
                started_at = case when p.becomes = 'running' then clock_timestamp() end,
                ended_at = case when p.becomes = 'skipped' then clock_timestamp() end,
                rank = coalesce(p.rank, s.rank)
            from (select * from unnest(x.runs, x.keys, x.n, x.bad, x.becomes, ranks) limit cardinality(x.runs)) as p(run_id, key, n, bad, becomes, rank)
            where s.run_id = p.run_id and s.key = p.key and s.status = 'blocked'
            returning s.run_id, s.key, s.name, s.kind, s.round, s.index, s.attempt, s.dependants, s.queue, p.becomes
        )
        select array_agg(row (later + m.key, m.run_id, m.key,
                   case when m.kind = 'output' or m.becomes not in ('running', 'skipped') then null
                        when m.becomes = 'running' then 'step.started' else 'step.skipped' end,
                   jsonb_strip_nulls(jsonb_build_object('step', m.name, 'round', m.round, 'index', m.index, 'attempt', nullif(m.attempt, 0),
                       'reason', case when m.becomes = 'skipped' then 'a step it needs did not complete' end)),
                   -(m.becomes = 'skipped')::int, (m.becomes in ('ready', 'running'))::int)::engine_told_v2) filter (where m.becomes <> 'blocked') as told,
               array_agg(m.run_id) filter (where m.becomes = 'running') as c_runs,
               array_agg(m.key) filter (where m.becomes = 'running') as c_keys,
               array_agg(m.run_id) filter (where m.becomes = 'skipped' and m.dependants <> '{}') as f_runs,
               array_agg(true) filter (where m.becomes = 'skipped' and m.dependants <> '{}') as f_bad,
               array_agg(m.dependants::text) filter (where m.becomes = 'skipped' and m.dependants <> '{}') as f_dependants,
               array_agg(m.queue) filter (where m.becomes = 'ready') as r_queues
        into x from moved m;
        told := told || x.told;
        c_runs := c_runs || x.c_runs; c_keys := c_keys || x.c_keys; r_queues := r_queues || x.r_queues;
        f_runs := x.f_runs; f_bad := x.f_bad; f_dependants := x.f_dependants;
        if f_runs is not null and x.c_runs is not null then  -- these threads are taken
            select jsonb_object_agg(f.run, f.n::int - (select count(*) from unnest(x.c_runs) c where c = f.run::bigint)) into follow
            from jsonb_each_text(follow) f(run, n);
        end if;
        later := later + 1e6;
    end loop;

    if r_queues is not null then
        select v_n || array_agg(z.n), v_verdict || array_agg(z.verdict), v_runs || array_agg(null::bigint), v_keys || array_agg(null::int)
        into v_n, v_verdict, v_runs, v_keys
        from (select count(*)::int as n, 'ready:' || q as verdict from unnest(r_queues) q group by q) z;
    end if;
    if s_ranks is not null then
        perform engine_share_v1(s_queues, s_keys, s_ranks);
    end if;

    -- 3. The runs' counters and status, and the events, numbered on from the run's last.
    with entry as materialized (
        select * from unnest(told) limit cardinality(told)
    ), sums as (
        select e.run, count(e.type)::int as n, sum(e.open)::int as open, sum(e.moving)::int as moving, bool_or(e.type = 'step.failed') as fails
        from entry e group by e.run
    ), moved as (
        update orchestration_run r set
            seq = r.seq + u.n, open_steps = r.open_steps + u.open, moving_steps = r.moving_steps + u.moving,
            status = case when r.ended_at is not null or r.open_steps + u.open = 0 or r.status in ('canceling', 'paused') then r.status
                          when r.moving_steps + u.moving = 0 then 'waiting' else 'running' end
        from sums u where r.id = u.run
        returning r.id, r.seq - u.n as seq, r.open_steps = 0 and r.ended_at is null as ends, u.fails
    ), numbered as (
        insert into orchestration_event (run_id, seq, type, key, data)
        select e.run, m.seq + (row_number() over (partition by e.run order by e.place))::int, e.type, e.key, e.data
        from entry e join moved m on m.id = e.run where e.type is not null
    )
    select array_agg(m.id) filter (where m.ends), bool_or(m.fails) into e_runs, some_failed from moved m;

    if some_failed then
        -- The first failure is the run's. One that has a newer round is none of the run's.
        update orchestration_run r set error = f.error from (
            select e.run, (array_agg(e.data -> 'error' || jsonb_build_object('step', e.data ->> 'step') order by e.place))[1] as error
            from unnest(told) e
            where e.type = 'step.failed' and not exists (
                select from orchestration_step o join orchestration_step n on n.run_id = o.run_id and n.position = o.position and n.key > o.key
                where o.run_id = e.run and o.key = e.key)
            group by e.run) f
        where r.id = f.run and r.error is null;
    end if;

    -- 4. Runs with nothing open end.
    if e_runs is not null then
        with final as (
            select r.id, coalesce(r.error, o.error) as error, o.output, o.output_digest,
                   case when r.status = 'canceling' then r.ending when coalesce(r.error, o.error) is null then 'completed' else 'failed' end as status
            from orchestration_run r left join orchestration_step o on o.run_id = r.id and o.kind = 'output' and o.status in ('completed', 'failed')
            where r.id = any (e_runs)
        ), moved as (
            update orchestration_run r set
                seq = r.seq + 1, status = f.status, error = f.error, ended_at = clock_timestamp(),
                output = case when f.status = 'completed' then f.output end,
                output_digest = case when f.status = 'completed' then f.output_digest end
            from final f where r.id = f.id
            returning r.id, r.seq, r.status, r.error
        )
        insert into orchestration_event (run_id, seq, type, data)
        select m.id, m.seq, 'run.' || m.status, jsonb_strip_nulls(jsonb_build_object('error', m.error)) from moved m;
    end if;
end $$;
