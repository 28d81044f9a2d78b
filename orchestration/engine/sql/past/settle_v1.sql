-- Moves steps, and everything that follows from it, in the caller's transaction: statuses, dependants' counters, skips
-- that cascade, deliverables, numbered events, the run's counters and status.
--
-- THE CALLER HOLDS THE LOCK OF EVERY RUN NAMED (for no key update). Each statement below takes its own snapshot, later
-- than those locks, so what it reads of these runs is true. Nothing is decided from a row not locked or updated here.
--
-- items: [{n, run, key, fence, was, outcome, …}]: step (run, key) moves from `was` to `outcome` if it still is `was`
--   under that fence. `begun` says that a call was under way: what may not be repeated is then not ready but uncertain.
--   follow: {run: how many threads go on with that run}; dependants that become ready are claimed for
--   them at once, for `worker`.
-- moves: what the caller did itself in this transaction, told first: [{run, key, type, data, open, moving}].
-- Returns a row for each item, verdict done, canceled (its run is canceling: nothing is held open there) or late; one for
-- each step claimed, verdict claimed; and one for each queue in which n steps became ready, verdict `ready:QUEUE`.
create function engine_settle_v1(worker bigint, items jsonb, follow jsonb default '{}', moves jsonb default '[]', queues text[] default null)
returns table (n int, verdict text, run bigint, key int) language plpgsql as $$
#variable_conflict use_column
declare
    ended constant text[] := '{completed,failed,skipped,canceled}';
    -- what happened, in order: one entry an event; type null moves counters only
    t_runs bigint[] := '{}'; t_keys int[] := '{}'; t_types text[] := '{}'; t_data jsonb[] := '{}';
    t_open int[] := '{}'; t_moving int[] := '{}';
    -- steps that ended and are to be told to their dependants
    f_runs bigint[]; f_keys int[]; f_bad boolean[];
    v_n int[]; v_verdict text[]; v_runs bigint[]; v_keys int[];
    x record;
begin
    -- 1. The items themselves.
    with given as materialized (
        select g.*, case when r.status = 'canceling' and g.outcome in ('waiting', 'ready', 'uncertain') then 'canceled'
                         when g.begun and g.outcome = 'ready' and not (select s.repeatable from orchestration_step s where s.run_id = g.run and s.key = g.key)
                         then 'uncertain' else g.outcome end as becomes
        from jsonb_to_recordset(items) as g(n int, run bigint, key int, fence bigint, was text, outcome text, waits_for text, wake float8,
                unlost boolean, begun boolean, input jsonb, input_digest text, output jsonb, output_digest text, error jsonb, decision jsonb,
                usage jsonb, child bigint, deliverable jsonb, note jsonb)
        join orchestration_run r on r.id = g.run
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
                  g.error, g.usage, g.child, g.deliverable, g.note
    ), kept as (
        insert into orchestration_deliverable (public_id, run_id, key, name, version, title, content, created_at)
        select m.deliverable ->> 'id', m.run_id, m.key, m.deliverable ->> 'name',
               1 + (select count(*) from orchestration_deliverable d where d.run_id = m.run_id and d.name = m.deliverable ->> 'name'),
               m.deliverable ->> 'title', m.deliverable ->> 'content', clock_timestamp()
        from moved m where m.becomes = 'completed' and m.deliverable is not null
        returning run_id, key, public_id, name, version, title
    ), told as (
        select m.n as ord, 0 as sub, m.run_id, m.key,
               case when m.kind = 'output' then null
                    when m.becomes = 'waiting' and m.waits_for = 'approval' then 'checkpoint.requested'
                    when m.becomes = 'waiting' and m.waits_for = 'retry' then 'step.retrying'
                    else 'step.' || m.becomes end as type,
               jsonb_strip_nulls(jsonb_build_object('step', m.name, 'round', m.round, 'index', m.index, 'attempt', nullif(m.attempt, 0), 'error', m.error,
                   'waits_for', m.waits_for, 'usage', m.usage)) || coalesce(m.note, '{}') as data,
               -(m.becomes = any (ended))::int as open,
               (m.becomes = 'ready')::int - (m.was in ('ready', 'running'))::int as moving
        from moved m
        union all
        select g.n, 0, g.run, g.key, 'step.late_result', jsonb_build_object('outcome', g.outcome), 0, 0
        from given g where g.was = 'running' and not exists (select from moved m where m.n = g.n)
        union all
        select m.n, -1, m.run_id, m.key, 'checkpoint.resolved', jsonb_build_object('step', m.name, 'round', m.round) || m.note, 0, 0
        from moved m where m.was = 'waiting' and m.kind = 'approval' and m.note is not null
        union all
        select m.n, 1, k.run_id, k.key, 'deliverable.created', jsonb_build_object('step', m.name, 'deliverable', k.public_id, 'name', k.name,
               'version', k.version, 'title', k.title), 0, 0
        from kept k join moved m on m.run_id = k.run_id and m.key = k.key
        union all
        select -1, w.ord, w.run, w.key, w.type, w.data, coalesce(w.open, 0), coalesce(w.moving, 0)
        from rows from (jsonb_to_recordset(moves) as (run bigint, key int, type text, data jsonb, open int, moving int))
            with ordinality as w(run, key, type, data, open, moving, ord)
    ), listed as (
        select array_agg(run_id order by ord, sub) r, array_agg(key order by ord, sub) k, array_agg(type order by ord, sub) t,
               array_agg(data order by ord, sub) d, array_agg(open order by ord, sub) o, array_agg(moving order by ord, sub) m from told
    ), fronts as (
        select array_agg(run_id) r, array_agg(key) k, array_agg(becomes <> 'completed') b
        from moved where becomes = any (ended) and dependants <> '{}'
    ), verdicts as (
        select array_agg(v.n) n, array_agg(v.verdict) v, array_agg(v.run) r, array_agg(v.key) k
        from (select g.n, case when m.n is null then 'late' when m.becomes <> m.outcome then 'canceled' else 'done' end as verdict, g.run, g.key
              from given g left join moved m on m.n = g.n
              union all
              select count(*)::int, 'ready:' || m.queue, null, null from moved m where m.becomes = 'ready' group by m.queue) v
    )
    select listed.*, fronts.r as fr, fronts.k as fk, fronts.b as fb, verdicts.n as vn, verdicts.v as vv, verdicts.r as vr, verdicts.k as vk
    into x from listed, fronts, verdicts;
    if x.r is not null then
        t_runs := x.r; t_keys := x.k; t_types := x.t; t_data := x.d; t_open := x.o; t_moving := x.m;
    end if;
    f_runs := x.fr; f_keys := x.fk; f_bad := x.fb; v_n := x.vn; v_verdict := x.vv; v_runs := x.vr; v_keys := x.vk;

    -- 2. Their dependants, and the dependants of those that are skipped for it, and so on.
    while f_runs is not null loop
        with fed as materialized (
            select s.run_id, d as key, count(*)::int as n, count(*) filter (where f.bad)::int as bad
            from unnest(f_runs, f_keys, f_bad) f(run_id, key, bad)
            join orchestration_step s on s.run_id = f.run_id and s.key = f.key
            cross join unnest(s.dependants) d
            group by 1, 2
        ), judged as (
            select fed.*, s.queue, r.fair_key, r.status as run_status,
                   case when s.open_needs > fed.n then 'blocked'
                        when s.failed_needs + fed.bad > 0 and not s.tolerant then 'skipped' else 'ready' end as becomes
            from fed join orchestration_step s on s.run_id = fed.run_id and s.key = fed.key join orchestration_run r on r.id = fed.run_id
            where s.status = 'blocked'
        ), poised as (
            select j.run_id, j.key, j.n, j.bad, j.queue, j.fair_key,
                   case when j.becomes = 'ready' and j.run_status in ('running', 'waiting')
                             and j.queue = any (queues)
                             and row_number() over (partition by j.run_id, j.becomes, j.queue = any (queues) order by j.key) <= coalesce((follow ->> j.run_id::text)::int, 0)
                        then 'running' else j.becomes end as becomes
            from judged j
        ), ranked as (
            -- Start-time fair queuing: behind the key's last one, never behind the queue's clock, which is its first ready step's
            -- rank. Both are read without a lock: a rank only orders, and two batches that read the same do no harm.
            select p.run_id, p.key, p.queue, p.fair_key,
                   row_number() over (partition by p.queue, p.fair_key order by p.run_id, p.key)
                   + greatest((select f.rank from orchestration_fairshare f where f.queue = p.queue and f.fair_key = p.fair_key),
                              (select min(c.rank) from (select s.rank from orchestration_step s where s.status = 'ready' and s.queue = p.queue
                                                        order by s.priority desc, s.rank limit 1) c), 0) as rank
            from poised p where p.becomes = 'ready'
        ), moved as (
            update orchestration_step s set
                open_needs = s.open_needs - p.n,
                failed_needs = s.failed_needs + p.bad,
                status = p.becomes,
                owner = case when p.becomes = 'running' then worker end,
                fence = s.fence + (p.becomes = 'running')::int,
                attempt = s.attempt + (p.becomes = 'running')::int,
                started_at = case when p.becomes = 'running' then clock_timestamp() end,
                ended_at = case when p.becomes = 'skipped' then clock_timestamp() end,
                rank = coalesce(k.rank, s.rank)
            from poised p left join ranked k on k.run_id = p.run_id and k.key = p.key
            where s.run_id = p.run_id and s.key = p.key and s.status = 'blocked'
            returning s.run_id, s.key, s.name, s.kind, s.round, s.index, s.attempt, s.dependants, s.queue, p.becomes
        ), shared as (
            insert into orchestration_fairshare as f (queue, fair_key, rank)
            select queue, fair_key, max(rank) from ranked group by 1, 2 order by 1, 2
            on conflict (queue, fair_key) do update set rank = greatest(f.rank, excluded.rank)
        ), told as (
            select run_id, key,
                   case when kind = 'output' or becomes not in ('running', 'skipped') then null
                        when becomes = 'running' then 'step.started' else 'step.skipped' end as type,
                   jsonb_strip_nulls(jsonb_build_object('step', name, 'round', round, 'index', index, 'attempt', nullif(attempt, 0),
                       'reason', case when becomes = 'skipped' then 'a step it needs did not complete' end)) as data,
                   -(becomes = 'skipped')::int as open, (becomes in ('ready', 'running'))::int as moving
            from moved where becomes <> 'blocked'
        ), listed as (
            select array_agg(run_id order by key) r, array_agg(key order by key) k, array_agg(type order by key) t, array_agg(data order by key) d,
                   array_agg(open order by key) o, array_agg(moving order by key) m from told
        ), fronts as (
            select array_agg(run_id) r, array_agg(key) k from moved where becomes = 'skipped' and dependants <> '{}'
        ), verdicts as (
            select array_agg(v.n) n, array_agg(v.verdict) v, array_agg(v.run_id) r, array_agg(v.key) k
            from (select null::int as n, 'claimed' as verdict, run_id, key from moved where becomes = 'running'
                  union all
                  select count(*)::int, 'ready:' || queue, null, null from moved where becomes = 'ready' group by queue) v
        )
        select listed.*, fronts.r as fr, fronts.k as fk, verdicts.n as vn, verdicts.v as vv, verdicts.r as vr, verdicts.k as vk
        into x from listed, fronts, verdicts;
        if x.r is not null then
            t_runs := t_runs || x.r; t_keys := t_keys || x.k; t_types := t_types || x.t; t_data := t_data || x.d;
            t_open := t_open || x.o; t_moving := t_moving || x.m;
            v_n := v_n || x.vn; v_verdict := v_verdict || x.vv; v_runs := v_runs || x.vr; v_keys := v_keys || x.vk;
        end if;
        f_runs := x.fr; f_keys := x.fk; f_bad := array_fill(true, array[coalesce(cardinality(x.fk), 0)]);
    end loop;

    -- 3. The runs' counters and status, and the events, numbered on from the run's last.
    with told as materialized (
        select * from unnest(t_runs, t_keys, t_types, t_data, t_open, t_moving) with ordinality as t(run_id, key, type, data, open, moving, ord)
    ), sums as (
        select run_id, count(type)::int as n, sum(open)::int as open, sum(moving)::int as moving,
               (array_agg(data -> 'error' || jsonb_build_object('step', data ->> 'step') order by ord)
                   filter (where type = 'step.failed' and not exists (  -- a failure that has a newer round is none of the run's
                       select from orchestration_step o join orchestration_step n on n.run_id = o.run_id and n.position = o.position and n.key > o.key
                       where o.run_id = told.run_id and o.key = told.key)))[1] as error
        from told group by run_id
    ), final as (
        select r.id, u.n, r.open_steps + u.open as open, r.moving_steps + u.moving as moving, coalesce(r.error, u.error, o.error) as error, o.output, o.output_digest,
               case when r.ended_at is not null then r.status
                    when r.open_steps + u.open = 0 and r.status = 'canceling' then r.ending
                    when r.open_steps + u.open = 0 then case when coalesce(r.error, u.error, o.error) is null then 'completed' else 'failed' end
                    when r.status in ('canceling', 'paused') then r.status
                    when r.moving_steps + u.moving = 0 then 'waiting' else 'running' end as status,
               r.open_steps + u.open = 0 and r.ended_at is null as ends
        from sums u join orchestration_run r on r.id = u.run_id
        left join lateral (select s.output, s.output_digest, s.error from orchestration_step s
                           where r.open_steps + u.open = 0 and s.run_id = r.id and s.kind = 'output' and s.status in ('completed', 'failed')) o on true
    ), moved as (
        update orchestration_run r set
            seq = r.seq + f.n + f.ends::int, open_steps = f.open, moving_steps = f.moving, status = f.status, error = f.error,
            output = case when f.ends and f.status = 'completed' then f.output else r.output end,
            output_digest = case when f.ends and f.status = 'completed' then f.output_digest else r.output_digest end,
            ended_at = case when f.ends then clock_timestamp() else r.ended_at end
        from final f where r.id = f.id
        returning r.id, r.seq, r.status, r.error, f.n, f.ends
    )
    insert into orchestration_event (run_id, seq, type, key, data)
    select t.run_id, m.seq - m.n - m.ends::int + (row_number() over (partition by t.run_id order by t.ord))::int, t.type, t.key, t.data
    from told t join moved m on m.id = t.run_id where t.type is not null
    union all
    select m.id, m.seq, 'run.' || m.status, null, jsonb_strip_nulls(jsonb_build_object('error', m.error)) from moved m where m.ends;

    return query select * from unnest(v_n, v_verdict, v_runs, v_keys);
end $$;
