-- Opens a round: the steps at `positions`, the gate's among them, get new rows with round + 1; others keep theirs.
--
-- By a person's retry the gate waits under `gate_fence`: it ends, completed, with `decision`, and its dependants wait for
-- the new gate. With `held` the gate, `gate_key`, has ended, and the step `held`, claimed under `held_fence`, found that
-- what would run is not what was decided: it waits for the new gate. If another step found that before, there is a newer
-- gate already, and `held` only waits for that one.
--
-- A step's newest row is the one that counts. Older rows that are open are canceled, but a call under way goes on: it is recorded
-- as it ends, and nothing waits for it.
-- Returns whether it did; false if the gate, the step or the run has moved on.
create function engine_reopen_v2(target bigint, gate_key int, gate_fence bigint, positions int[], decision jsonb, note jsonb, feedback_given jsonb,
    held int default null, held_fence bigint default null) returns boolean language plpgsql as $$
declare
    ended constant text[] := '{completed,failed,skipped,canceled}';
    run_status text;
    last_key int;
    opened jsonb;               -- the names of the new rows, null if there are none
    items jsonb; skips jsonb; moves jsonb := '[]';
    open_before int; moving_before int;
begin
    select r.status into run_status from orchestration_run r where r.id = target for no key update;
    if run_status not in ('running', 'waiting', 'paused') then
        return false;
    end if;
    if held is null then
        perform from orchestration_step s where s.run_id = target and s.key = gate_key and s.fence = gate_fence and s.status = 'waiting';
    else
        perform from orchestration_step s where s.run_id = target and s.key = held and s.fence = held_fence and s.status = 'running';
    end if;
    if not found then
        return false;
    end if;
    select max(s.key), count(*) filter (where s.status <> all (ended)), count(*) filter (where s.status in ('ready', 'running'))
    into last_key, open_before, moving_before from orchestration_step s where s.run_id = target;
    if held is not null then
        if exists (select from orchestration_step s join orchestration_step g on g.run_id = target and g.key = gate_key
                   where s.run_id = target and s.position = g.position and s.key > gate_key) then
            positions := '{}';
        end if;
        select jsonb_build_array(jsonb_build_object('run', target, 'key', held, 'type', 'step.blocked',
                   'data', jsonb_build_object('step', s.name, 'round', s.round) || (note - 'step')))
        into moves from orchestration_step s where s.run_id = target and s.key = held;
        update orchestration_step s set status = 'blocked', owner = null, attempt = 0, started_at = null, fence = s.fence + 1
        where s.run_id = target and s.key = held;
    end if;

    -- 1. What is open at these positions gives way; a question that is just being put has no call under way.
    select coalesce(jsonb_agg(jsonb_build_object('n', 0, 'run', target, 'key', s.key, 'fence', s.fence, 'was', s.status, 'outcome', 'canceled')), '[]')
    into items from orchestration_step s
    where s.run_id = target and s.position = any (positions) and s.key <> gate_key
          and (s.status in ('blocked', 'ready', 'waiting', 'uncertain') or s.status = 'running' and s.kind = 'approval');
    update orchestration_run r set tidy = true where r.id = target and exists (
        select from orchestration_step s where s.run_id = target and s.position = any (positions) and s.status = 'waiting' and s.waits_for = 'child');

    -- 2. The new rows.
    with newest as (
        select distinct on (s.position) s.* from orchestration_step s
        where s.run_id = target and s.position = any (positions) order by s.position, s.key desc
    ), made as (
        insert into orchestration_step (run_id, key, position, name, round, index, kind, queue, status, open_needs, dependants, reads, tolerant, repeatable,
            agent_version_id, priority, feedback)
        select target, last_key + row_number() over (order by n.position), n.position, n.name, n.round + 1, n.index, n.kind, n.queue, 'blocked', 0, '{}', '{}',
               n.tolerant, n.repeatable, n.agent_version_id, n.priority, feedback_given
        from newest n returning name
    )
    select jsonb_agg(name order by name) into opened from made;

    -- 3. Who waits for whom, and reads what. What waits for nothing and may not start is skipped.
    perform engine_rewire_v1(target);
    select coalesce(jsonb_agg(jsonb_build_object('n', 0, 'run', target, 'key', s.key, 'fence', s.fence, 'was', 'blocked', 'outcome', 'skipped',
                                                 'note', '{"reason": "a step it needs did not complete"}'::jsonb)), '[]')
    into skips from orchestration_step s
    where s.run_id = target and s.status = 'blocked' and s.open_needs = 0 and not exists (
        select from orchestration_step n where n.run_id = target and n.position = s.position and n.key > s.key);

    -- 4. A failure that has a newer round is none of the run's.
    update orchestration_run r set error = (
        select s.error || jsonb_build_object('step', s.name) from orchestration_step s
        where s.run_id = target and s.status = 'failed' and not exists (
            select from orchestration_step n where n.run_id = target and n.position = s.position and n.key > s.key)
        order by s.ended_at, s.key limit 1)
    where r.id = target and r.error is not null;

    if held is null then
        items := jsonb_build_array(jsonb_build_object('n', 0, 'run', target, 'key', gate_key, 'fence', gate_fence, 'was', 'waiting',
            'outcome', 'completed', 'decision', decision, 'note', note)) || items;
    end if;
    select moves || jsonb_build_array(jsonb_build_object('run', target, 'type', case when opened is not null then 'run.round_opened' end,
        'open', count(*) filter (where s.status <> all (ended)) - open_before,
        'moving', count(*) filter (where s.status in ('ready', 'running')) - moving_before, 'data', note || jsonb_build_object('steps', opened)))
    into moves from orchestration_step s where s.run_id = target;
    perform engine_settle_v2(null, items || skips, '{}', moves, null);
    return true;
end $$;
