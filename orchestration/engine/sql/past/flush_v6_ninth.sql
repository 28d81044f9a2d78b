-- One round trip and one commit: ends the steps given, and claims the next ones for `worker`.
--
-- items are those of engine_settle; runs are theirs, each once. follow: {run: how many threads go on with it}.
-- want: how many ready steps to claim beside, from `queues`, of runs whose level the worker `understands`.
-- patient: wait for locked runs (one item, no claims).
-- worker null settles on behalf of nobody: answers, children, a person's word.
--
-- Returns a row for each item that was not simply done (late, canceled, or busy: its run is locked elsewhere, hand it in
-- again), for each queue with steps left ready, one of verdict elsewhere if n more could be claimed were their runs not locked
-- by others at this moment, and, verdict claimed, one for each step that is now this worker's. `input` null: it is large, and its
-- process reads it once; `more` is null for plain steps.
create function engine_flush_v6(worker bigint, runs bigint[], items jsonb, follow jsonb, want int, queues text[], patient boolean, understands int)
returns table (n int, verdict text, run bigint, key int, fence bigint, attempt int, "position" int, name text, round int, index int, kind text,
    agent_version bigint, feedback jsonb, reads jsonb, definition_version bigint, public_id text, organization bigint, started_by bigint,
    depth int, input jsonb, failed boolean, more jsonb)
language plpgsql as $$
#variable_conflict use_column
declare
    alive boolean;
    mine bigint[];                  -- the runs of the items that are locked now
    c_runs bigint[]; c_keys int[];  -- claimed from the queue
    c_live int;                     -- ready steps that were seen, of runs that go on, at most `want`
    moves jsonb := '[]';
    parked constant smallint := -32768;  -- of paused runs
    x record;
begin
    -- Lock 1: the own worker row. Heartbeats pass KEY SHARE; a declaration of death waits for this flush, or is seen by it.
    -- Lock 2: the runs. Only those that are free at once, so that one run held long does not hold up the batch.
    if patient then
        perform from orchestration_worker w where w.id = worker and w.dead_at is null for key share;
        alive := found;
        select array_agg(r.id) into mine from (
            select r.id from orchestration_run r where r.id = any (runs) order by r.id for no key update) r;
    else  -- in one statement; the runs depend on `me`, so they come after it
        with me as (
            select from orchestration_worker w where w.id = worker and w.dead_at is null for key share
        )
        select me.n > 0, array_agg(r.id) filter (where r.id is not null) into alive, mine
        from (select count(*) as n from me) me left join lateral (
            select r.id from orchestration_run r where r.id = any (runs) and me.n >= 0 order by r.id for no key update skip locked) r on true
        group by me.n;
    end if;

    if alive and want > 0 then
        -- Look first, without a lock, in a window of eight times the need, of the usual priority from the queue's floor on
        -- (engine_floors); lock the runs that are free; then take their steps that are still ready, by a guarded update with a
        -- snapshot later than the locks.
        with seen as materialized (
            select c.run_id, c.key, c.priority, c.rank from unnest(queues) q cross join lateral (
                (select s.run_id, s.key, s.priority, s.rank from orchestration_step s where s.status = 'ready' and s.queue = q and s.priority > 0
                 order by s.priority desc, s.rank limit want * 8)
                union all
                (select s.run_id, s.key, s.priority, s.rank from orchestration_step s where s.status = 'ready' and s.queue = q and s.priority = 0
                 and s.rank >= coalesce((select f.floor from orchestration_queuefloor f where f.queue = q), 0) order by s.rank limit want * 8)
                union all
                (select s.run_id, s.key, s.priority, s.rank from orchestration_step s where s.status = 'ready' and s.queue = q and s.priority < 0 and s.priority > parked
                 order by s.priority desc, s.rank limit want * 8)) c
            order by c.priority desc, c.rank limit want * 8
        ), wanted as (
            select run_id, count(*) as steps, max(priority) as priority, min(rank) as rank from seen group by run_id
        ), free as (
            select r.id from (select run_id from wanted order by priority desc, rank) w cross join lateral (
                select r.id from orchestration_run r where r.id = w.run_id and r.level <= understands and engine_goes_v1(r.status, r.undoing) for no key update skip locked) r
            limit want
        ), chosen as (
            select run_id, key from seen where run_id in (select id from free) order by priority desc, rank limit want
        )
        select (select array_agg(run_id) from chosen), (select array_agg(key) from chosen),
               (select least(want, coalesce(sum(steps), 0)) from wanted w where (select r.level <= understands and engine_goes_v1(r.status, r.undoing) from orchestration_run r where r.id = w.run_id))
        into c_runs, c_keys, c_live;

        if c_runs is not null then
            with taken as (
                update orchestration_step s set status = 'running', owner = worker, fence = s.fence + 1, attempt = s.attempt + (s.phase = 0)::int,
                    started_at = clock_timestamp(), deadline_at = s.total_at
                from (select *, 'ready' from unnest(c_runs, c_keys) limit want) c(run, key, was)  -- a constant would lead to the index of all that is ready
                where s.run_id = c.run and s.key = c.key and s.status = c.was
                returning s.run_id, s.key, s.name, s.kind, s.round, s.index, s.pass, s.attempt, s.phase
            )
            select array_agg(run_id), array_agg(key),
                   coalesce(jsonb_agg(jsonb_build_object('run', run_id, 'key', key, 'type', case when kind <> 'output' then 'step.started' end,
                       'data', jsonb_strip_nulls(jsonb_build_object('step', name, 'round', round, 'index', index, 'pass', pass,
                           'attempt', attempt, 'gathering', nullif(phase > 0, false))))), '[]')
            into c_runs, c_keys, moves from taken;
        end if;

        n := c_live - coalesce(cardinality(c_runs), 0);
        if n > 0 then
            verdict := 'elsewhere';
            return next;
        end if;
    end if;

    if coalesce(cardinality(mine), 0) < cardinality(runs) then
        verdict := 'busy';
        for n, run, key in
            select g.n, g.run, g.key from jsonb_to_recordset(items) as g(n int, run bigint, key int) where not coalesce(g.run = any (mine), false)
        loop
            return next;
        end loop;
        select coalesce(jsonb_agg(i), '[]') into items from jsonb_array_elements(items) i where (i ->> 'run')::bigint = any (mine);
    end if;

    -- What is plain, all in one statement, if no run has several.
    if alive and items <> '[]' and follow <> '{}' and jsonb_array_length(items) = cardinality(mine) then
        x := engine_chain_v1(worker, items, follow, queues);
        if cardinality(x.done) = jsonb_array_length(items) then
            items := '[]';
        elsif x.done is not null then
            select jsonb_agg(i) into items from jsonb_array_elements(items) i where (i ->> 'n')::int <> all (x.done);
        end if;
        c_runs := c_runs || x.c_runs; c_keys := c_keys || x.c_keys;
    end if;

    if items <> '[]' or moves <> '[]' then
        x := engine_settle_v3(worker, items, case when alive then follow else '{}' end, moves, queues);
        if x.v_n is not null then
            for n, verdict, run, key in select * from unnest(x.v_n, x.v_verdict, x.v_runs, x.v_keys) loop
                return next;
            end loop;
        end if;
        c_runs := c_runs || x.c_runs; c_keys := c_keys || x.c_keys;
    end if;

    if c_keys is not null then
        return query select null::int, 'claimed', c.* from engine_claims_v1(c_runs, c_keys) c;
    end if;
end $$;
