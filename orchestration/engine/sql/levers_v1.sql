-- What a person does to a run that goes on, or has failed. Each takes the run's lock, and gives what the run's status was if
-- that does not allow it; null if it is done. `note` is what the run's event says: who, and why.

-- Nothing starts until engine_resume: what is ready lies behind everything else, where a claim does not look. Calls under way
-- end, answers, timers and children are taken up.
create function engine_pause_v1(target bigint, note jsonb) returns text language plpgsql as $$
declare
    run_status text;
begin
    select case when r.undoing then 'undoing' else r.status end into run_status from orchestration_run r where r.id = target for no key update;
    if run_status not in ('running', 'waiting') then
        return run_status;
    end if;
    update orchestration_run r set status = 'paused' where r.id = target;
    update orchestration_step s set priority = -32768 where s.run_id = target and s.status = 'ready';
    update orchestration_limitqueue q set stirred_at = clock_timestamp() where q.run_id = target;
    perform engine_settle_v3(null, '[]', '{}', jsonb_build_array(jsonb_build_object('run', target, 'type', 'run.paused', 'data', note)), null);
    return null;
end $$;

-- What became ready meanwhile takes its turn behind what is ready now.
create function engine_resume_v1(target bigint, note jsonb) returns text language plpgsql as $$
declare
    run_status text;
begin
    select r.status into run_status from orchestration_run r where r.id = target for no key update;
    if run_status <> 'paused' then
        return run_status;
    end if;
    update orchestration_step s set priority = r.priority, rank = case when s.status = 'ready' then greatest(s.rank, engine_clock_v1(s.queue)) else s.rank end
    from orchestration_run r where r.id = target and s.run_id = target
        and (s.status = 'ready' or s.status in ('blocked', 'waiting', 'running', 'uncertain') and s.priority = -32768);
    update orchestration_run r set status = 'waiting' where r.id = target;  -- or running: the moves say
    update orchestration_limitqueue q set stirred_at = clock_timestamp() where q.run_id = target;
    perform engine_settle_v3(null, '[]', '{}', jsonb_build_array(jsonb_build_object('run', target, 'type', 'run.resumed', 'data', note)), null);
    return null;
end $$;

-- New rows for the failed steps at `positions`, for what was skipped or failed behind them, and for the run's output, if it was
-- begun: what is being worked out is of what there was. All others keep theirs. A run that failed goes on. `given`: {position: an
-- item's fields}: that step's new row is completed with it.
--
-- Gives also: told (it has ended, and another run waits for that, or has been told), undone (what it did was taken back), moved (a step
-- named has not failed), archived.
create function engine_retry_v1(target bigint, positions int[], given jsonb, note jsonb) returns text language plpgsql as $$
declare
    ended constant text[] := '{completed,failed,skipped,canceled}';
    run_status text;
    opened jsonb; skips jsonb; items jsonb; moves jsonb;
    open_before int; moving_before int;
begin
    select case when r.archived_at is not null then 'archived' when r.undoing then 'undone' when r.ended_at is not null and r.parent_run_id > 0 then 'told' else r.status end
    into run_status from orchestration_run r where r.id = target for no key update;
    if run_status not in ('running', 'waiting', 'paused', 'failed') then
        return run_status;
    end if;
    if positions = '{}' or exists (
        select from unnest(positions) p where (
            select s.status from orchestration_step s where s.run_id = target and s.position = p and s.head is null and s.undoes is null
            order by s.key desc limit 1) is distinct from 'failed') then
        return 'moved';
    end if;
    select count(*) filter (where s.status <> all (ended)), count(*) filter (where s.status in ('ready', 'running'))
    into open_before, moving_before from orchestration_step s where s.run_id = target;
    if run_status = 'failed' and not engine_readmit_v1(target) then
        return 'full';
    end if;
    if run_status = 'failed' then
        update orchestration_run r set status = 'running', ended_at = null, output = null, output_digest = null where r.id = target;
    end if;

    with recursive layout as materialized (
        select l.key as position, l.dependants from orchestration_run r join orchestration_definitionversion v on v.id = r.definition_version_id
        cross join jsonb_to_recordset(v.layout) as l(key int, dependants int[]) where r.id = target
    ), newest as materialized (
        select distinct on (s.position) s.position, s.status, s.kind, s.started_at from orchestration_step s
        where s.run_id = target and s.head is null and s.undoes is null and s.kind <> 'start' order by s.position, s.key desc
    ), behind as (
        select unnest(positions) as position
        union
        select n.position from behind b join layout l on l.position = b.position cross join unnest(l.dependants) d
        join newest n on n.position = abs(d) and n.status in ('skipped', 'failed')
    )
    select array_agg(n.position) into positions from newest n
    where n.position in (select position from behind) or n.kind = 'output' and (n.status = any (ended) or n.started_at is not null);

    select * into opened, skips from engine_round_v1(target, positions, null);
    select coalesce(jsonb_agg(g.item || jsonb_build_object('n', 0, 'run', target, 'key', s.key, 'fence', s.fence, 'was', s.status, 'outcome', 'completed')), '[]')
    into items from jsonb_each(given) as g(place, item)
    cross join lateral (
        select s.* from orchestration_step s where s.run_id = target and s.position = g.place::int and s.head is null and s.undoes is null
        order by s.key desc limit 1) s;
    select jsonb_build_array(jsonb_build_object('run', target, 'type', case when run_status = 'failed' then 'run.reopened' else 'run.round_opened' end,
        'open', count(*) filter (where s.status <> all (ended)) - open_before,
        'moving', count(*) filter (where s.status in ('ready', 'running')) - moving_before, 'data', note || jsonb_build_object('steps', opened)))
    into moves from orchestration_step s where s.run_id = target;
    perform engine_settle_v3(null, items || skips, '{}', moves, null);
    return null;
end $$;

-- Another priority, or another time by which the run has to have ended (`deadline_at`, null for none), as `what` says.
create function engine_adjust_v1(target bigint, what jsonb, note jsonb) returns text language plpgsql as $$
declare
    run orchestration_run;
begin
    select r.* into run from orchestration_run r where r.id = target for no key update;
    if run.ended_at is not null then
        return run.status;
    end if;
    update orchestration_run r set
        priority = coalesce((what ->> 'priority')::smallint, r.priority),
        deadline_at = case when what ? 'deadline_at' then (what ->> 'deadline_at')::timestamptz else r.deadline_at end
    where r.id = target;
    if what ? 'priority' then
        update orchestration_step s set priority = (what ->> 'priority')::smallint
        where s.run_id = target and s.status in ('blocked', 'ready', 'running', 'waiting', 'uncertain') and s.priority > -32768;
        update orchestration_limitqueue q set stirred_at = clock_timestamp() where q.run_id = target;
    end if;
    perform engine_settle_v3(null, '[]', '{}', jsonb_build_array(jsonb_build_object('run', target, 'type', 'run.changed', 'data', note || jsonb_build_object(
        'to', what, 'from', jsonb_build_object('priority', run.priority, 'deadline_at', run.deadline_at)))), null);
    return null;
end $$;
