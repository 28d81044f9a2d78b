-- Begins a run of the version of `source` in which the steps whose newest rows have the keys `kept` are not done again: what they
-- gave, and what was decided, is taken over, large values by their digests. All others begin as in any run, with the agents'
-- versions of now; those at the positions `asking` ask a person first. `given` is the new run's input, `cut` the key of the row
-- from which on it goes another way. Both runs tell it.
--
-- Gives the new run; null if what is to be kept has moved on.
create function engine_fork_v1(source bigint, cut int, kept int[], asking int[], public text, given jsonb, by_member bigint, facts jsonb, note jsonb)
returns bigint language plpgsql as $$
declare
    ended constant text[] := '{completed,failed,skipped,canceled}';
    origin orchestration_run;
    laid record;
    new bigint;
    skips jsonb; moves jsonb;
    open_before int; moving_before int;
begin
    select r.* into origin from orchestration_run r where r.id = source for no key update;
    if (select count(*) from orchestration_step s
        where s.run_id = source and s.key = any (kept) and s.status = any (ended) and not exists (
            select from orchestration_step n where n.run_id = source and n.position = s.position and n.key > s.key and n.head is null and n.undoes is null)
            and not exists (select from orchestration_step u where u.run_id = source and u.undoes = s.key)) <> cardinality(kept) then
        return null;
    end if;
    laid := engine_lay_v1(origin.definition_version_id, origin.organization_id, array[public], array[given], by_member, null, null, 0, array[facts]);
    new := laid.runs[1];
    if laid.queues is not null then
        perform engine_share_v1(array_agg(z.queue), array_agg(z.key), array_agg(z.rank - z.n + i.nth))
        from unnest(laid.queues, laid.keys, laid.ready, laid.ranks) z(queue, key, n, rank) cross join generate_series(1, z.n) i(nth);
    end if;
    update orchestration_run r set forked_run_id = source, forked_key = cut, level = greatest(r.level, 2 * (asking <> '{}')::int) where r.id = new;
    select count(*) filter (where s.status <> all (ended)), count(*) filter (where s.status in ('ready', 'running'))
    into open_before, moving_before from orchestration_step s where s.run_id = new;

    update orchestration_step s set
        status = o.status, open_needs = 0, attempt = o.attempt, started_at = o.started_at, ended_at = o.ended_at, input = o.input, input_digest = o.input_digest,
        output = o.output, output_digest = o.output_digest, error = o.error, decision = o.decision, feedback = o.feedback, forgiven = o.forgiven, carries = o.carries,
        agent_version_id = o.agent_version_id, total_at = null, deadline_at = null, expect_at = null, inherited_run = source, inherited_key = o.key
    from orchestration_step o where o.run_id = source and o.key = any (kept) and s.run_id = new and s.position = o.position;
    update orchestration_step s set confirm = true where s.run_id = new and s.position = any (asking);
    select r.skips into skips from engine_round_v1(new, '{}', null) r;

    select jsonb_build_array(
        jsonb_build_object('run', source, 'type', 'run.forked', 'data', note || jsonb_build_object('to', public)),
        jsonb_build_object('run', new, 'type', 'run.forked', 'data', note || jsonb_build_object('from', origin.public_id),
            'open', count(*) filter (where s.status <> all (ended)) - open_before,
            'moving', count(*) filter (where s.status in ('ready', 'running')) - moving_before))
        || coalesce(jsonb_agg(jsonb_build_object('run', new, 'key', s.key, 'type', 'step.inherited', 'data', jsonb_build_object('step', s.name,
            'round', s.round, 'status', s.status, 'from', origin.public_id)) order by s.key) filter (where s.inherited_run is not null), '[]')
    into moves from orchestration_step s where s.run_id = new;
    perform engine_settle_v3(null, skips, '{}', moves, null);
    return new;
end $$;
