-- Steps as their walkers want them. `input` null: it is large, and its process reads it once; `more` is null for plain steps.
-- Planned as a part of the statement that asks.
create function engine_claims_v1(runs bigint[], keys int[])
returns table (run bigint, key int, fence bigint, attempt int, "position" int, name text, round int, index int, kind text, agent_version bigint,
    feedback jsonb, reads jsonb, definition_version bigint, public_id text, organization bigint, started_by bigint, depth int, input jsonb,
    failed boolean, more jsonb)
language sql stable as $$
    select s.run_id, s.key, s.fence, s.attempt, s.position, s.name, s.round, s.index, s.kind, s.agent_version_id, s.feedback,
           (select jsonb_agg(jsonb_build_object('k', o.key, 'p', o.position, 's', o.status, 'o', o.output, 'x', encode(o.output_digest, 'hex'), 'd', o.decision))
            from unnest(s.reads) as k(key) cross join lateral (  -- one by one: with `any` the planner may read all steps of the run
                select o.key, o.position, o.status, o.output, o.output_digest, o.decision from orchestration_step o
                where o.run_id = s.run_id and o.key = k.key offset 0) o),
           r.definition_version_id, r.public_id::text, r.organization_id, r.started_by_id, r.depth::int,
           case when pg_column_size(r.input) < 4096 then r.input end, r.error is not null,
           case when s.head is not null or s.phase > 0 or s.attempt > 1 or s.limited or s.confirm or s.undoes is not null or s.event_id is not null
                     or r.budgets is not null or r.limited then
               jsonb_strip_nulls(jsonb_build_object('head', s.head, 'pass', s.pass, 'phase', nullif(s.phase, 0), 'limited', nullif(s.limited, false), 'holds', nullif(r.limited, false),
                   'confirm', nullif(s.confirm, false), 'undoes', s.undoes, 'event', s.event_id, 'budgets', r.budgets, 'first_item', s.first_item,
                   'items', s.item_count, 'item_digest', encode(s.item_digest, 'hex'),
                   'tried_for', case when s.attempt > 1 then extract(epoch from clock_timestamp() - s.first_at) end))
               || case when s.item is not null then jsonb_build_object('item', s.item) else '{}' end end
    from unnest(runs, keys) as c(run, key)
    cross join lateral (
        select s.run_id, s.key, s.fence, s.attempt, s.position, s.name, s.round, s.index, s.kind, s.agent_version_id, s.feedback, s.reads, s.head, s.pass,
               s.phase, s.limited, s.confirm, s.undoes, s.event_id, s.first_item, s.item_count, s.item, s.item_digest, s.first_at
        from orchestration_step s where s.run_id = c.run and s.key = c.key offset 0) s
    cross join lateral (
        select r.definition_version_id, r.public_id, r.organization_id, r.started_by_id, r.depth, r.input, r.error, r.budgets, r.limited
        from orchestration_run r where r.id = c.run offset 0) r
$$;
