-- One round trip and one commit: ends the steps given, and claims the next ones for `worker`.
--
-- items are those of engine_settle, with `follow`: the thread that hands the item in goes on with the same run.
-- want: how many ready steps to claim beside, from `queues`. patient: wait for locked runs (one item, no claims).
-- worker null settles on behalf of nobody: answers, children, a person's word.
--
-- Returns a row for each item that was not simply done (late, canceled, or busy: its run is locked elsewhere, hand it in
-- again), for each queue with steps left ready, one of verdict elsewhere if n runs with ready steps are locked by others at
-- this moment, and, verdict claimed, one for each step that is now this worker's.
create function engine_flush_v1(worker bigint, items jsonb, want int, queues text[], patient boolean)
returns table (n int, verdict text, run bigint, key int, fence bigint, attempt int, "position" int, name text, round int, index int, kind text,
    agent_version bigint, feedback jsonb, reads jsonb, definition_version bigint, public_id text, organization bigint, started_by bigint,
    depth int, input jsonb, failed boolean)
language plpgsql as $$
#variable_conflict use_column
declare
    alive boolean;
    mine bigint[];                  -- the runs of the items that are locked now
    c_runs bigint[]; c_keys int[];  -- claimed from the queue
    c_live int;                     -- runs with ready steps that were seen, at most `want`
    elsewhere int := 0;
    moves jsonb := '[]';
    follow jsonb;
    s_n int[]; s_verdict text[]; s_runs bigint[]; s_keys int[];
begin
    -- Lock 1: the own worker row. Heartbeats pass KEY SHARE; a declaration of death waits for this flush, or is seen by it.
    perform from orchestration_worker w where w.id = worker and w.dead_at is null for key share;
    alive := found;

    -- Lock 2: the runs. Only those that are free at once, so that one run held long does not hold up the batch.
    if patient then
        select array_agg(r.id) into mine from (
            select r.id from orchestration_run r where r.id in (select (i ->> 'run')::bigint from jsonb_array_elements(items) i)
            order by r.id for no key update) r;
    elsif items <> '[]' then
        select array_agg(r.id) into mine from (
            select r.id from orchestration_run r where r.id in (select (i ->> 'run')::bigint from jsonb_array_elements(items) i)
            order by r.id for no key update skip locked) r;
    end if;

    if alive and want > 0 then
        -- Look first, without a lock, in a window of eight times the need; lock the runs that are free; then take the
        -- steps that are still ready, by a guarded update with a snapshot later than the locks.
        with seen as materialized (
            select c.run_id, c.priority, c.rank from unnest(queues) q cross join lateral (
                select s.run_id, s.priority, s.rank from orchestration_step s where s.status = 'ready' and s.queue = q
                order by s.priority desc, s.rank limit want * 8) c
            order by c.priority desc, c.rank limit want * 8
        ), wanted as (
            select run_id, max(priority) as priority, min(rank) as rank from seen group by run_id
        ), free as (
            select r.id from orchestration_run r join wanted w on w.run_id = r.id
            where r.status in ('running', 'waiting') order by w.priority desc, w.rank limit want for no key update of r skip locked
        )
        select (select array_agg(id) from free),
               (select least(want, count(*)) from wanted w join orchestration_run r on r.id = w.run_id where r.status in ('running', 'waiting'))
        into c_runs, c_live;
        elsewhere := c_live - coalesce(cardinality(c_runs), 0);

        if c_runs is not null then
            with chosen as materialized (
                select s.run_id, s.key from orchestration_step s
                where s.run_id = any (c_runs) and s.status = 'ready' and s.queue = any (queues) order by s.priority desc, s.rank limit want
            ), taken as (
                update orchestration_step s set status = 'running', owner = worker, fence = s.fence + 1, attempt = s.attempt + 1,
                    started_at = clock_timestamp(), waits_for = null, wake_at = null
                from chosen c where s.run_id = c.run_id and s.key = c.key and s.status = 'ready'
                returning s.run_id, s.key, s.name, s.kind, s.round, s.index, s.attempt
            )
            select array_agg(run_id), array_agg(key),
                   coalesce(jsonb_agg(jsonb_build_object('run', run_id, 'key', key, 'type', case when kind <> 'output' then 'step.started' end,
                       'data', jsonb_strip_nulls(jsonb_build_object('step', name, 'round', round, 'index', index, 'attempt', attempt)))), '[]')
            into c_runs, c_keys, moves from taken;
        end if;
    end if;

    if mine is not null or moves <> '[]' then
        select coalesce(jsonb_object_agg(f.run, f.times), '{}') into follow from (
            select i ->> 'run' as run, count(*) as times from jsonb_array_elements(items) i
            where alive and (i ->> 'follow')::boolean and (i ->> 'run')::bigint = any (mine) group by 1) f;
        select array_agg(z.n), array_agg(z.verdict), array_agg(z.run), array_agg(z.key) into s_n, s_verdict, s_runs, s_keys
        from engine_settle_v1(worker, coalesce((select jsonb_agg(i) from jsonb_array_elements(items) i where (i ->> 'run')::bigint = any (mine)), '[]'),
                              follow, moves, queues) z
        where z.verdict <> 'done';
    end if;

    return query
    select a.n, a.verdict, a.run, a.key, s.fence, s.attempt, s.position, s.name, s.round, s.index, s.kind, s.agent_version_id, s.feedback,
           (select jsonb_agg(jsonb_build_object('k', o.key, 'p', o.position, 's', o.status, 'o', o.output, 'x', encode(o.output_digest, 'hex'), 'd', o.decision))
            from orchestration_step o where o.run_id = s.run_id and o.key = any (s.reads)),
           r.definition_version_id, r.public_id::text, r.organization_id, r.started_by_id, r.depth::int, r.input, r.error is not null
    from (select z.n, z.verdict, z.run, z.key from unnest(s_n, s_verdict, s_runs, s_keys) z(n, verdict, run, key)
          union all select null, 'claimed', z.run, z.key from unnest(c_runs, c_keys) z(run, key)
          union all select elsewhere, 'elsewhere', null, null where elsewhere > 0
          union all select (i ->> 'n')::int, 'busy', (i ->> 'run')::bigint, (i ->> 'key')::int from jsonb_array_elements(items) i
                    where not coalesce((i ->> 'run')::bigint = any (mine), false)) a
    left join orchestration_step s on a.verdict = 'claimed' and s.run_id = a.run and s.key = a.key
    left join orchestration_run r on r.id = s.run_id;
end $$;
