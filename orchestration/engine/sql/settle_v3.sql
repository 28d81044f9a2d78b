-- Moves steps, and everything that follows from it, in the caller's transaction: statuses, dependants' counters, skips
-- that cascade, deliverables, numbered events, the run's counters and status.
--
-- THE CALLER HOLDS THE LOCK OF EVERY RUN NAMED (for no key update). Each statement below takes its own snapshot, later
-- than those locks, so what it reads of these runs is true. Nothing is decided from a row not locked or updated here.
--
-- To begin a statement costs more than what it does for one step, and more again for each time it names the steps' table. So
-- what is rare (deliverables, ranks, late results, ends of runs) has a statement of its own, begun only if there is such a
-- thing, and all that only some kinds of steps need is engine_rare's.
--
-- A plan is made once and kept while tables grow, so none may be free to read a table from its beginning because it was
-- short that day: what is joined to the batch is looked up in a lateral with OFFSET 0, which is not turned round, and a
-- batch says LIMIT its own length, of which the planner assumes next to nothing.
--
-- items: [{n, run, key, fence, was, outcome, …}]: step (run, key) moves from `was` to `outcome` if it still is `was`
--   under that fence. `more` holds what is rare: `begun` says that a call was under way (what may not be repeated is then not
--   ready but uncertain), `head` is that of an item, `canceled_too` of a child that was canceled; the rest is engine_rare's.
--   follow: {run: how many threads go on with that run}; dependants that become ready are claimed for
--   them at once, for `worker`.
-- moves: what the caller did itself in this transaction, told first: [{run, key, type, data, open, moving}].
-- Gives, for items that were not simply done, verdict canceled (it is held open no more: its run is canceling, or its map
-- is over) or late; for each queue in which n steps became ready, verdict `ready:QUEUE`; and the steps claimed.
create type engine_told_v3 as (place float8, run bigint, key int, type text, data jsonb, open int, moving int, fails boolean);
create type engine_over_v1 as (run bigint, bad boolean, dependants int[]);
create type engine_ready_v1 as (queue text, fair_key text, rank bigint);
create type engine_done_v1 as (n int, run bigint, key int, becomes text);
create type engine_moved_v1 as (n int, run bigint, key int, was text, becomes text, kind text, waits_for text, head int, windowed boolean,
    item_count int, limited boolean, parks boolean, timed boolean, more jsonb);

create function engine_settle_v3(worker bigint, items jsonb, follow jsonb, moves jsonb, queues text[],
    out v_n int[], out v_verdict text[], out v_runs bigint[], out v_keys int[], out c_runs bigint[], out c_keys int[])
language plpgsql as $$
#variable_conflict use_column
declare
    ended constant text[] := '{completed,failed,skipped,canceled}';
    parked constant smallint := -32768;  -- the priority of what is ready in a paused run: behind everything, where it hides nothing
    told engine_told_v3[] := '{}';  -- what happened, to be told in the order of its places
    ready engine_ready_v1[];        -- what became ready
    later float8 := 1e9;            -- dependants are told after all items, those of skipped ones after these
    -- steps that ended and are to be told to their dependants; a need -k is one whose end k takes however it was
    over engine_over_v1[];
    sole int[];  -- the dependants of the only one
    -- dependants: how many needs ended, how many badly; and of several what they become, with what that hangs on
    d_runs bigint[]; d_keys int[]; d_n int[]; d_bad int[]; d_becomes text[]; d_parks boolean[]; d_ranks bigint[]; d_fair_keys text[]; d_queues text[];
    some_ready boolean;
    e_runs bigint[];  -- runs with nothing open
    x record;
    y record;
begin
    if moves <> '[]' then
        select array_agg(row (w.ord - later, w.run, w.key, w.type, w.data, coalesce(w.open, 0), coalesce(w.moving, 0), false)::engine_told_v3) into told
        from rows from (jsonb_to_recordset(moves) as (run bigint, key int, type text, data jsonb, open int, moving int))
            with ordinality as w(run, key, type, data, open, moving, ord);
    end if;

    -- 1. The items themselves.
    if items <> '[]' then
        if jsonb_path_exists(items, '$[*].more') then
            items := engine_given_v1(items);
        end if;
        with moved as (
            update orchestration_step s set
                status = g.becomes,
                owner = null,
                waits_for = case when g.becomes = 'waiting' then g.waits_for end,
                wake_at = case when g.becomes = 'waiting' then clock_timestamp() + make_interval(secs => g.wake) end,
                due_as = null,
                first_at = case when g.becomes = 'waiting' and g.waits_for = 'limit' and s.attempt <= 1 then s.first_at else coalesce(s.first_at, s.started_at) end,
                -- a try that was lost with its worker, handed back, or kept from its call by a limit, is not one of those that `retry` counts
                attempt = s.attempt - (g.was in ('running', 'uncertain') and s.phase = 0
                                       and (g.becomes = 'ready' or g.becomes = 'waiting' and g.waits_for = 'limit'))::int,
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
                child_run_id = coalesce(g.child, s.child_run_id),
                -- what follows from a failure, where that hangs on its class
                forgiven = case when s.on_failure is not null and g.becomes = 'failed' then engine_follows_v1(s.on_failure, g.error) <> 'fail' else s.forgiven end,
                carries = case when s.on_failure is not null and g.becomes = 'failed' then engine_follows_v1(s.on_failure, g.error) = 'continue' else s.carries end
            from (
                select g.*, r.status = 'paused' as parks,
                       case when r.status = 'canceling' and (g.outcome in ('waiting', 'ready', 'uncertain') and not r.undoing or g.more ? 'canceled_too') then 'canceled'
                            else coalesce(g.instead, g.outcome) end as becomes
                from jsonb_to_recordset(items) as g(n int, run bigint, key int, fence bigint, was text, outcome text, waits_for text, wake float8,
                        unlost boolean, input jsonb, input_digest text, output jsonb, output_digest text, error jsonb, decision jsonb,
                        usage jsonb, child bigint, deliverable jsonb, note jsonb, more jsonb, instead text)
                cross join lateral (select r.status, r.undoing from orchestration_run r where r.id = g.run offset 0) r
                limit jsonb_array_length(items)) g
            where s.run_id = g.run and s.key = g.key and s.fence = g.fence and s.status = g.was
            returning g.n, s.run_id, s.key, s.name, s.kind, s.round, s.index, s.pass, s.attempt, s.dependants, s.queue, s.rank, s.waits_for,
                      s.forgiven, s.carries, s.head, s.windowed, s.item_count, s.limited, g.was, g.becomes, g.outcome,
                      s.total_seconds is not null or s.queue_seconds is not null as timed, g.parks and g.becomes = 'ready' as parks,
                      g.error, g.usage, g.deliverable, g.note, g.more
        )
        select array_agg(row (m.n, m.run_id, m.key, m.becomes)::engine_done_v1) as done,
               array_agg(row (m.n, m.run_id, m.key, m.was, m.becomes, m.kind, m.waits_for, m.head, m.windowed, m.item_count, m.limited, m.parks, m.timed,
                              m.more)::engine_moved_v1)
                   filter (where m.timed or m.parks or m.limited or m.windowed or m.item_count is not null or m.kind = 'wait'
                                 or m.more - '{head,begun}'::text[] <> '{}') as rare,
               array_agg(row (m.n, m.run_id, m.key,
                   case when m.kind in ('output', 'start') then null
                        when m.becomes = 'waiting' and m.waits_for = 'approval' then 'checkpoint.requested'
                        when m.becomes = 'waiting' and m.waits_for = 'retry' then 'step.retrying'
                        else 'step.' || m.becomes end,
                   jsonb_strip_nulls(jsonb_build_object('step', m.name, 'round', m.round, 'index', m.index, 'pass', m.pass, 'attempt', nullif(m.attempt, 0),
                       'error', m.error, 'waits_for', m.waits_for, 'usage', m.usage)) || coalesce(m.note, '{}'),
                   -(m.becomes = any (ended))::int,
                   (m.becomes = 'ready')::int - (m.was in ('ready', 'running'))::int,
                   m.becomes = 'failed' and not m.forgiven)::engine_told_v3) as told,
               array_agg(row (m.n - 0.5, m.run_id, m.key, 'checkpoint.resolved', jsonb_build_object('step', m.name, 'round', m.round) || m.note, 0, 0, false)::engine_told_v3)
                   filter (where m.was = 'waiting' and m.kind = 'approval' and m.note ? 'choice') as resolved,
               array_agg(row (m.run_id, m.becomes <> 'completed' and not (m.becomes = 'failed' and m.carries), m.dependants)::engine_over_v1)
                   filter (where m.becomes = any (ended) and m.dependants <> '{}') as over,
               array_agg(row (m.queue, null, m.rank)::engine_ready_v1) filter (where m.becomes = 'ready' and not m.parks) as ready,
               bool_or(m.becomes <> m.outcome) as otherwise,
               bool_or(m.deliverable is not null) as delivers
        into x from moved m;
        told := told || x.told || x.resolved;
        over := x.over; ready := x.ready;

        if x.rare is not null then
            select * into y from engine_rare_v1(x.rare, over);
            told := told || y.told; ready := ready || y.ready; over := y.over;
        end if;

        if x.delivers then
            with kept as (
                insert into orchestration_deliverable (public_id, run_id, key, name, version, title, content, created_at)
                select g.deliverable ->> 'id', g.run, g.key, g.deliverable ->> 'name',
                       1 + (select count(*) from orchestration_deliverable d where d.run_id = g.run and d.name = g.deliverable ->> 'name'),
                       g.deliverable ->> 'title', g.deliverable ->> 'content', clock_timestamp()
                from jsonb_to_recordset(items) as g(n int, run bigint, key int, deliverable jsonb)
                join unnest(x.done) m on m.n = g.n and m.run = g.run and m.key = g.key
                where m.becomes = 'completed' and g.deliverable is not null
                returning run_id, key, public_id, name, version, title
            )
            select told || array_agg(row (m.n + 0.5, k.run_id, k.key, 'deliverable.created', jsonb_build_object('step', s.name, 'deliverable', k.public_id,
                       'name', k.name, 'version', k.version, 'title', k.title), 0, 0, false)::engine_told_v3) into told
            from kept k join unnest(x.done) m on m.run = k.run_id and m.key = k.key
            join orchestration_step s on s.run_id = k.run_id and s.key = k.key;
        end if;

        if x.otherwise or coalesce(cardinality(x.done), 0) < jsonb_array_length(items) then
            select array_agg(g.n), array_agg(case when m.n is null then 'late' else 'canceled' end), array_agg(g.run), array_agg(g.key),
                   told || array_agg(row (g.n, g.run, g.key, 'step.late_result', jsonb_build_object('outcome', g.outcome), 0, 0, false)::engine_told_v3)
                       filter (where m.n is null and g.was = 'running')
            into v_n, v_verdict, v_runs, v_keys, told
            from jsonb_to_recordset(items) as g(n int, run bigint, key int, was text, outcome text)
            left join unnest(x.done) m on m.n = g.n and m.run = g.run and m.key = g.key
            where m.n is null or m.becomes <> g.outcome;
        end if;
    end if;

    -- 2. Their dependants, and the dependants of those that are skipped for it, and so on.
    while over is not null loop
        sole := case when cardinality(over) = 1 then over[1].dependants end;
        if cardinality(sole) = 1 then  -- as in a chain: nothing to count, nothing to share
            d_runs := array[over[1].run]; d_keys := array[abs(sole[1])]; d_n := '{1}'; d_bad := array[(over[1].bad and sole[1] > 0)::int];
            d_becomes := null; d_parks := null; d_ranks := null; d_fair_keys := null;
        else
            with fed as (
                select o.run as run_id, abs(d) as key, count(*)::int as n, (count(*) filter (where o.bad and d > 0))::int as bad
                from unnest(over) o cross join unnest(o.dependants) d
                group by 1, 2
            ), judged as (
                select fed.*, s.queue, r.fair_key, r.status = 'paused' as parks,
                       engine_judge_v1(s.status, s.open_needs - fed.n, s.failed_needs + fed.bad, s.slack, s.bearable, s.tolerant) as verdict,
                       engine_goes_v1(r.status, r.undoing) and s.queue = any (queues) as goes
                from fed
                cross join lateral (
                    select s.status, s.queue, s.open_needs, s.failed_needs, s.slack, s.bearable, s.tolerant from orchestration_step s
                    where s.run_id = fed.run_id and s.key = fed.key and (s.status = 'blocked' or s.status = 'waiting' and s.item_count is not null) offset 0) s
                cross join lateral (select r.status, r.undoing, r.fair_key from orchestration_run r where r.id = fed.run_id offset 0) r
            ), poised as (  -- no more of a run are claimed at once than threads go on with it
                select j.*, case when j.verdict = 'ready' and j.goes and row_number() over (partition by j.run_id, j.verdict = 'ready' and j.goes order by j.key)
                                      <= coalesce((follow ->> j.run_id::text)::int, 0) then 'running' else j.verdict end as becomes
                from judged j
            )
            select array_agg(run_id), array_agg(key), array_agg(n), array_agg(bad), array_agg(becomes), array_agg(parks), array_agg(fair_key),
                   array_agg(case when becomes = 'ready' then queue end), bool_or(becomes = 'ready')
            into d_runs, d_keys, d_n, d_bad, d_becomes, d_parks, d_fair_keys, d_queues, some_ready from poised;
            exit when d_runs is null;

            d_ranks := null;
            if some_ready then
                with poised as (
                    select p.* from unnest(d_runs, d_keys, d_queues, d_fair_keys) with ordinality as p(run_id, key, queue, fair_key, ord)
                ), fair as materialized (
                    select q.queue, q.fair_key, engine_fair_v1(q.queue, q.fair_key) as rank
                    from (select distinct p.queue, p.fair_key from poised p where p.queue is not null) q
                ), ranked as materialized (
                    select p.ord, f.rank + row_number() over (partition by f.queue, f.fair_key order by p.run_id, p.key) as rank
                    from poised p join fair f on f.queue = p.queue and f.fair_key = p.fair_key
                )
                select array_agg(k.rank order by p.ord) into d_ranks from poised p left join ranked k on k.ord = p.ord;
            end if;
        end if;

        with moved as (
            update orchestration_step s set
                open_needs = s.open_needs - p.n,
                failed_needs = s.failed_needs + p.bad,
                status = p.becomes,
                owner = case when p.runs then worker end,
                fence = s.fence + p.runs::int,
                attempt = s.attempt + (p.runs and s.phase = 0)::int,
                started_at = case when p.runs then clock_timestamp() else s.started_at end,
                ended_at = case when p.becomes = 'skipped' then clock_timestamp() end,
                waits_for = case when p.becomes = 'waiting' then s.waits_for end,
                wake_at = case when p.becomes = 'waiting' then s.wake_at end,
                priority = case when p.becomes = 'ready' and p.parks then parked else s.priority end,
                rank = case when p.becomes = 'ready' then coalesce(p.rank, engine_fair_v1(s.queue, p.fair_key) + 1) else s.rank end
            from (
                select d.run_id, d.key, d.n, d.bad, d.rank, coalesce(d.fair_key, o.fair_key) as fair_key, coalesce(d.parks, o.parks) as parks,
                       coalesce(d.becomes, o.becomes) as becomes, coalesce(d.becomes, o.becomes) = 'running' as runs
                from unnest(d_runs, d_keys, d_n, d_bad, d_becomes, d_parks, d_ranks, d_fair_keys) as d(run_id, key, n, bad, becomes, parks, rank, fair_key)
                left join lateral (  -- the only one is judged here
                    select r.fair_key, r.status = 'paused' as parks,
                           case when j.verdict = 'ready' and engine_goes_v1(r.status, r.undoing) and s.queue = any (queues)
                                     and (follow ->> d.run_id::text)::int > 0 then 'running' else j.verdict end as becomes
                    from orchestration_run r cross join orchestration_step s
                    cross join lateral (
                        select engine_judge_v1(s.status, s.open_needs - d.n, s.failed_needs + d.bad, s.slack, s.bearable, s.tolerant) as verdict) j
                    where d.becomes is null and r.id = d.run_id and s.run_id = d.run_id and s.key = d.key
                          and (s.status = 'blocked' or s.status = 'waiting' and s.item_count is not null) offset 0) o on true
                limit cardinality(d_runs)) p
            where s.run_id = p.run_id and s.key = p.key and p.becomes is not null
            returning s.run_id, s.key, s.name, s.kind, s.round, s.index, s.pass, s.attempt, s.phase, s.dependants, s.queue, s.rank,
                      s.total_seconds is not null or s.queue_seconds is not null or s.expect_seconds is not null as timed,
                      s.status as becomes, p.fair_key, p.parks
        )
        select array_agg(row (later + m.key, m.run_id, m.key,
                   case when m.kind = 'output' or m.becomes not in ('running', 'skipped') then null
                        when m.becomes = 'running' then 'step.started' else 'step.skipped' end,
                   jsonb_strip_nulls(jsonb_build_object('step', m.name, 'round', m.round, 'index', m.index, 'pass', m.pass, 'attempt', nullif(m.attempt, 0),
                       'gathering', nullif(m.phase > 0, false), 'reason', case when m.becomes = 'skipped' then 'a step it needs did not complete' end)),
                   -(m.becomes = 'skipped')::int, (m.becomes in ('ready', 'running'))::int, false)::engine_told_v3)
                   filter (where m.becomes in ('ready', 'running', 'skipped')) as told,
               array_agg(m.run_id) filter (where m.becomes = 'running') as c_runs,
               array_agg(m.key) filter (where m.becomes = 'running') as c_keys,
               array_agg(row (m.run_id, true, m.dependants)::engine_over_v1) filter (where m.becomes = 'skipped' and m.dependants <> '{}') as over,
               array_agg(row (m.queue, m.fair_key, m.rank)::engine_ready_v1) filter (where m.becomes = 'ready' and not m.parks) as ready,
               bool_or(m.timed) as timed
        into x from moved m;
        if x.timed then
            perform engine_times_v1(d_runs, d_keys);
        end if;
        told := told || x.told;
        c_runs := c_runs || x.c_runs; c_keys := c_keys || x.c_keys; ready := ready || x.ready;
        over := x.over;
        if over is not null and x.c_runs is not null then  -- these threads are taken
            select jsonb_object_agg(f.run, f.n::int - (select count(*) from unnest(x.c_runs) c where c = f.run::bigint)) into follow
            from jsonb_each_text(follow) f(run, n);
        end if;
        later := later + 1e6;
    end loop;

    -- 3. The runs' counters and status, and the events, numbered on from the run's last.
    with entry as materialized (
        select * from unnest(told) limit cardinality(told)
    ), sums as (
        select e.run, count(e.type)::int as n, sum(e.open)::int as open, sum(e.moving)::int as moving, bool_or(e.fails) as fails
        from entry e group by e.run
    ), moved as (
        update orchestration_run r set
            seq = r.seq + u.n, open_steps = r.open_steps + u.open, moving_steps = r.moving_steps + u.moving,
            status = case when r.ended_at is not null or r.open_steps + u.open = 0 or r.status in ('canceling', 'paused') then r.status
                          when r.moving_steps + u.moving = 0 then 'waiting' else 'running' end
        from sums u where r.id = u.run
        returning r.id, r.seq - u.n as seq, r.open_steps = 0 and r.ended_at is null as ends, r.reversible, r.limited, r.budgets, u.fails
    ), numbered as (
        insert into orchestration_event (run_id, seq, type, key, data)
        select e.run, m.seq + (row_number() over (partition by e.run order by e.place))::int, e.type, e.key, e.data
        from entry e join moved m on m.id = e.run where e.type is not null
    )
    select array_agg(m.id) filter (where m.ends) as ends, bool_or(m.ends and m.reversible) as undoes, bool_or(m.ends and m.limited) as frees,
           bool_or(m.ends and m.budgets is not null) as spends, bool_or(m.fails) as fails
    into x from moved m;
    e_runs := x.ends;

    if x.fails then
        -- The first failure is the run's. One that has a newer round is none of the run's.
        update orchestration_run r set error = f.error from (
            select e.run, (array_agg(e.data -> 'error' || jsonb_build_object('step', e.data ->> 'step') order by e.place))[1] as error
            from unnest(told) e
            where e.fails and not exists (
                select from orchestration_step o join orchestration_step n on n.run_id = o.run_id and n.position = o.position and n.key > o.key
                where o.run_id = e.run and o.key = e.key and n.head is null and n.undoes is null)
            group by e.run) f
        where r.id = f.run and r.error is null;
    end if;

    -- 4. Runs with nothing open end; what is to be taken back first, they do before.
    if x.undoes then
        select * into y from engine_undo_v1(e_runs);
        e_runs := y.ends; ready := ready || y.ready;
    end if;
    if e_runs is not null then
        with final as (
            select r.id, coalesce(r.error, o.error) as error, o.output, o.output_digest,
                   case when r.status = 'canceling' then r.ending when coalesce(r.error, o.error) is null then 'completed' else 'failed' end as status
            from orchestration_run r left join lateral (  -- of a run that went on again only the newest counts
                select o.error, o.output, o.output_digest from orchestration_step o where o.run_id = r.id and o.kind = 'output' order by o.key desc limit 1) o on true
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
        if x.frees then  -- the places of their starts
            perform engine_release_v1(e_runs, array_fill(0, array[cardinality(e_runs)]));
        end if;
        if x.spends then
            perform engine_unasked_v1(e_runs);
        end if;
    end if;

    if ready is not null then
        select v_n || array_agg(z.n), v_verdict || array_agg(z.verdict), v_runs || array_agg(null::bigint), v_keys || array_agg(null::int)
        into v_n, v_verdict, v_runs, v_keys
        from (select count(*)::int as n, 'ready:' || r.queue as verdict from unnest(ready) r group by r.queue) z;
        perform engine_share_v1(array_agg(r.queue), array_agg(r.fair_key), array_agg(r.rank)) from unnest(ready) r where r.fair_key is not null having count(*) > 0;
    end if;
end $$;
