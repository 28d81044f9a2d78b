-- Starts a run of a version for each of the inputs, in one statement: the runs, their steps, and their first events. The
-- agents' versions current now are pinned. `publics` are the runs' public ids, in the order of the inputs.
-- Returns the runs in that order, and how many steps are ready in which queues.
create function engine_start_v2(version bigint, organization bigint, publics text[], inputs jsonb[], by_member bigint,
    parent bigint default null, parent_step int default null, nesting int default 0)
returns table (runs bigint[], queues text[], ready int[]) language plpgsql as $$
#variable_conflict use_column
declare
    missing text;
    ranks bigint[];
begin
    with laid as materialized (  -- the rows of one run; seat: its place among the ready steps of its queue
        select l.*, a.current_version_id, coalesce(a.kind, 'default') as queue, coalesce(l.repeatable, w.repeatable, true) as again,
               row_number() over (partition by a.kind, l.open_needs = 0 order by l.key) as seat,
               count(*) over (partition by a.kind, l.open_needs = 0) as seats
        from orchestration_definitionversion v
        cross join jsonb_to_recordset(v.layout) as l(key int, name text, kind text, agent text, open_needs int, dependants int[], reads int[],
            tolerant boolean, repeatable boolean)
        left join agents_agent a on a.organization_id = organization and a.slug = l.agent
        left join agents_agentversion w on w.id = a.current_version_id
        where v.id = version
    ), sums as materialized (
        select count(*) as total, count(*) filter (where l.open_needs = 0) as moving,
               min(l.agent) filter (where l.agent is not null and l.current_version_id is null) as missing from laid l
    ), fair as materialized (
        select q.queue, q.seats, engine_fair_v1(q.queue, organization::text) as rank
        from (select distinct l.queue, l.seats from laid l where l.open_needs = 0) q
    ), begun as (
        insert into orchestration_run (public_id, organization_id, definition_version_id, status, seq, open_steps, moving_steps, input, fair_key, priority,
            depth, parent_run_id, parent_key, tidy, started_by_id, created_at)
        select g.public, organization, version, 'running', 1, s.total, s.moving, g.input, organization::text, 0, nesting, parent, parent_step, false,
               by_member, clock_timestamp()
        from unnest(publics, inputs) with ordinality as g(public, input, ord) cross join sums s order by g.ord
        returning id
    ), run as materialized (
        select id, row_number() over (order by id) as ord from begun
    ), inserted as (
        insert into orchestration_step (run_id, key, position, name, kind, queue, status, open_needs, dependants, reads, tolerant, repeatable,
            agent_version_id, rank)
        select r.id, l.key, l.key, l.name, l.kind, l.queue, case when l.open_needs = 0 then 'ready' else 'blocked' end, l.open_needs, l.dependants,
               l.reads, l.tolerant, l.again, l.current_version_id,
               case when l.open_needs = 0 then (select f.rank from fair f where f.queue = l.queue) + (r.ord - 1) * l.seats + l.seat else 0 end
        from run r cross join laid l
    ), told as (
        insert into orchestration_event (run_id, seq, type, data)
        select r.id, 1, 'run.started', jsonb_build_object('definition', d.slug, 'version', v.number)
        from run r cross join orchestration_definitionversion v join orchestration_definition d on d.id = v.definition_id where v.id = version
    )
    select (select array_agg(r.id order by r.ord) from run r), (select array_agg(f.queue) from fair f),
           (select array_agg(f.seats * cardinality(publics)) from fair f), (select array_agg(f.rank + f.seats * cardinality(publics)) from fair f), (select s.missing from sums s)
    into runs, queues, ready, ranks, missing;
    if missing is not null then
        raise exception 'agent % is not here any more', missing using errcode = 'foreign_key_violation';
    end if;
    if queues is not null then
        perform engine_share_v1(queues, array_fill(organization::text, array[cardinality(queues)]), ranks);
    end if;
    return next;
end $$;
