-- Lays a run of a version for each of the inputs: the runs, their steps, and their first events, in one statement. The agents'
-- versions current now are pinned. It locks nothing, so that it may be called by who holds runs; it raises only if an agent is gone
-- (CS404), which its caller may look at before.
--
-- `publics` are the runs' public ids, in the order of the inputs; `facts`, in that order too or null, say what else there is of a
-- run: level (else the version's own), priority, fair_by, labels, timeout (seconds), root, budgets (whose it spends), budget (its own),
-- stays, schedule, planned_at, and `waits`: {for, at, due_as, admits}: the run waits with a row of kind `start` and key 0, which all its first steps
-- need; `admits` is that row's input.
--
-- Gives the runs in that order, and of each queue and fair key how many steps are ready and the last rank among them.
create function engine_lay_v1(version bigint, organization bigint, publics text[], inputs jsonb[], by_member bigint, parent bigint, parent_step int,
    nesting int, facts jsonb[], out runs bigint[], out queues text[], out keys text[], out ready int[], out ranks bigint[])
language plpgsql as $$
#variable_conflict use_column
declare
    now constant timestamptz := clock_timestamp();
    missing text;
begin
    with laid as materialized (  -- the rows of one run; seat: its place among the ready steps of its queue
        select l.*, a.current_version_id, u.current_version_id as undo_version, coalesce(a.kind, 'default') as queue,
               coalesce(l.repeatable, w.repeatable, true) as again, l.total is not null or l.patience is not null or l.expects is not null as timed,
               row_number() over (partition by a.kind, l.open_needs = 0 order by l.key) as seat,
               count(*) over (partition by a.kind, l.open_needs = 0) as seats
        from orchestration_definitionversion v
        cross join jsonb_to_recordset(v.layout) as l(key int, name text, kind text, agent text, open_needs int, dependants int[], reads int[],
            tolerant boolean, repeatable boolean, slack int, forgiven boolean, carries boolean, limited boolean, total real, patience real, expects real,
            undo text)
        left join agents_agent a on a.organization_id = organization and a.slug = l.agent
        left join agents_agentversion w on w.id = a.current_version_id
        left join agents_agent u on u.organization_id = organization and u.slug = l.undo
        where v.id = version
    ), sums as materialized (
        select count(*) as total, count(*) filter (where l.open_needs = 0) as moving, bool_or(l.undo is not null) as reversible,
               coalesce(min(l.agent) filter (where l.agent is not null and l.current_version_id is null),
                        min(l.undo) filter (where l.undo is not null and l.undo_version is null)) as missing from laid l
    ), given as materialized (
        select g.public, g.input, g.ord, organization::text || coalesce(':' || f.fair_by, '') as fair_key, f.*,
               row_number() over (partition by f.fair_by, f.waits is null order by g.ord) as nth, count(*) over (partition by f.fair_by, f.waits is null) as many
        from unnest(publics, inputs, facts) with ordinality as g(public, input, facts, ord)
        cross join jsonb_to_record(coalesce(g.facts, '{}')) as f(level smallint, priority smallint, fair_by text, labels jsonb, timeout float8, root bigint,
            budgets bigint[], stays boolean, schedule bigint, planned_at timestamptz, waits jsonb)
    ), fair as materialized (
        select q.queue, q.seats, k.fair_key, k.many, engine_fair_v1(q.queue, k.fair_key) as rank
        from (select distinct l.queue, l.seats from laid l where l.open_needs = 0) q
        cross join (select distinct g.fair_key, g.many from given g where g.waits is null) k
    ), begun as (
        insert into orchestration_run (public_id, organization_id, definition_version_id, status, seq, open_steps, moving_steps, input, fair_key, priority,
            depth, parent_run_id, parent_key, tidy, started_by_id, created_at, level, root_run_id, budgets, labels, deadline_at, reversible, stays,
            schedule_id, planned_at)
        select g.public, organization, version, case when g.waits is null then 'running' else 'waiting' end, 1, s.total + (g.waits is not null)::int,
               case when g.waits is null then s.moving else 0 end, g.input, g.fair_key, coalesce(g.priority, 0), nesting, parent, parent_step, false,
               by_member, now, coalesce(g.level, (select (v.plan ->> 'level')::smallint from orchestration_definitionversion v where v.id = version), 0),
               g.root, g.budgets, g.labels, now + make_interval(secs => g.timeout), s.reversible, coalesce(g.stays, false), g.schedule, g.planned_at
        from given g cross join sums s order by g.ord
        returning id
    ), run as materialized (
        select b.id, g.* from (select id, row_number() over (order by id) as ord from begun) b join given g on g.ord = b.ord
    ), inserted as (
        insert into orchestration_step (run_id, key, position, name, kind, queue, status, open_needs, dependants, reads, tolerant, repeatable,
            agent_version_id, priority, rank, slack, forgiven, carries, limited, total_seconds, queue_seconds, expect_seconds, total_at, deadline_at, expect_at,
            undo_version_id)
        select r.id, l.key, l.key, l.name, l.kind, l.queue, case when t.starts then 'ready' else 'blocked' end,
               l.open_needs + (l.open_needs = 0 and r.waits is not null)::int, l.dependants, l.reads, l.tolerant, l.again, l.current_version_id,
               coalesce(r.priority, 0), coalesce(f.rank + (r.nth - 1) * l.seats + l.seat, 0), l.slack, coalesce(l.forgiven, false), coalesce(l.carries, false),
               coalesce(l.limited, false), l.total, l.patience, l.expects,
               case when t.starts and l.timed then now + make_interval(secs => l.total) end,
               case when t.starts and l.timed then now + make_interval(secs => least(l.total, l.patience)) end,
               case when t.starts and l.timed then now + make_interval(secs => l.expects) end, l.undo_version
        from run r cross join laid l cross join lateral (select l.open_needs = 0 and r.waits is null as starts) t
        left join fair f on t.starts and f.queue = l.queue and f.fair_key = r.fair_key
    ), gates as (
        insert into orchestration_step (run_id, key, position, name, kind, queue, status, waits_for, wake_at, due_as, open_needs, dependants, reads, tolerant,
            repeatable, priority, input)
        select r.id, 0, 0, '', 'start', 'default', 'waiting', r.waits ->> 'for', (r.waits ->> 'at')::timestamptz, r.waits ->> 'due_as', 0,
               (select array_agg(l.key order by l.key) from laid l where l.open_needs = 0), '{}', true, true,
               coalesce(r.priority, 0), r.waits -> 'admits'
        from run r where r.waits is not null
    ), told as (
        insert into orchestration_event (run_id, seq, type, data)
        select r.id, 1, 'run.started', jsonb_build_object('definition', d.slug, 'version', v.number)
        from run r cross join orchestration_definitionversion v join orchestration_definition d on d.id = v.definition_id where v.id = version
    )
    select (select array_agg(r.id order by r.ord) from run r), q.queues, q.keys, q.ready, q.ranks, (select s.missing from sums s)
    into runs, queues, keys, ready, ranks, missing
    from (select array_agg(f.queue) as queues, array_agg(f.fair_key) as keys, array_agg(f.seats * f.many) as ready, array_agg(f.rank + f.seats * f.many) as ranks
          from fair f) q;
    if missing is not null then
        raise exception 'agent % is not here any more', missing using errcode = 'CS404';
    end if;
    if facts[1] ? 'budget' then
        insert into orchestration_budget (run_id, usd, tokens, runs, soft, policy)
        select b.id, c.* from unnest(runs) as b(id)
        cross join jsonb_to_record(facts[1] -> 'budget') as c(usd numeric, tokens bigint, runs int, soft float8, policy text);
        update orchestration_run r set budgets = r.id || r.budgets where r.id = any (runs);
    end if;
end $$;
