-- Opens a round: the steps at `positions`, the gate's among them, get new rows with round + 1; others keep theirs.
--
-- By a person's retry the gate waits under `gate_fence`: it ends, completed, with `decision`, and its dependants wait for
-- the new gate. With `held` the gate has ended, and the step `held`, claimed under `held_fence`, found that what would
-- run is not what was decided: it, and all others behind the gate that did not start, wait for the new gate.
-- Returns whether it did; false if the gate, the step or the run has moved on.
create function engine_reopen_v1(target bigint, gate_key int, gate_fence bigint, positions int[], decision jsonb, note jsonb, feedback_given jsonb,
    held int default null, held_fence bigint default null) returns boolean language plpgsql as $$
declare
    run_status text;
    last_key int;
    fresh int[]; stale int[];   -- new and old keys, in the order of positions
    behind int[];
    gate_item jsonb := '[]'; held_move jsonb := '[]';
    ready int; back int := 0;
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

    select max(s.key) into last_key from orchestration_step s where s.run_id = target;
    select array_agg(n.key order by n.position), array_agg(last_key + n.seat order by n.position) into stale, fresh from (
        select distinct on (s.position) s.position, s.key, dense_rank() over (order by s.position)::int as seat
        from orchestration_step s where s.run_id = target and s.position = any (positions) order by s.position, s.round desc) n;
    select s.dependants into behind from orchestration_step s where s.run_id = target and s.key = gate_key;

    with pairs as (select * from unnest(stale, fresh) p(old, new)),
    rows as (
        select s.*, p.new,
               (select count(*)::int from orchestration_step o where o.run_id = target and o.key = any (stale) and s.key = any (o.dependants)) as needed,
               array(select q.new from pairs q where q.old = any (s.dependants) order by 1) as inner_dependants,
               array(select coalesce((select q.new from pairs q where q.old = k), k) from unnest(s.reads) k order by 1) as new_reads
        from orchestration_step s join pairs p on p.old = s.key where s.run_id = target
    ), made as (
        insert into orchestration_step (run_id, key, position, name, round, index, kind, queue, status, open_needs, dependants, reads, tolerant, repeatable,
            agent_version_id, priority, feedback)
        select target, new, position, name, round + 1, index, kind, queue, case when needed = 0 then 'ready' else 'blocked' end, needed,
               case when key = gate_key then behind else inner_dependants end, new_reads, tolerant, repeatable, agent_version_id, priority, feedback_given
        from rows returning status
    )
    select count(*) filter (where status = 'ready') into ready from made;

    -- What lies behind the gate reads the new rows.
    with recursive after as (
        select unnest(behind) as key
        union select d from after join orchestration_step s on s.run_id = target and s.key = after.key cross join unnest(s.dependants) d
    )
    update orchestration_step s set reads = array(select coalesce((select q.new from unnest(stale, fresh) q(old, new) where q.old = k), k)
                                                  from unnest(s.reads) k order by 1)
    from after where s.run_id = target and s.key = after.key and s.reads && stale;

    update orchestration_step s set dependants = '{}' where s.run_id = target and s.key = gate_key;
    if held is null then
        gate_item := jsonb_build_array(jsonb_build_object('n', 0, 'run', target, 'key', gate_key, 'fence', gate_fence, 'was', 'waiting',
            'outcome', 'completed', 'decision', decision, 'note', note));
    else
        select jsonb_build_array(jsonb_build_object('run', target, 'key', held, 'type', 'step.blocked',
                   'data', jsonb_build_object('step', s.name, 'round', s.round) || (note - 'step')))
        into held_move from orchestration_step s where s.run_id = target and s.key = held;
        select count(*) filter (where s.status in ('ready', 'running')) into back from orchestration_step s
        where s.run_id = target and s.key = any (behind) and (s.status in ('blocked', 'ready') or s.key = held);
        update orchestration_step s set open_needs = s.open_needs + 1, status = 'blocked', owner = null, attempt = 0, started_at = null, fence = s.fence + 1
        where s.run_id = target and s.key = any (behind) and (s.status in ('blocked', 'ready') or s.key = held);
    end if;
    perform engine_settle_v1(null, gate_item, '{}', held_move || jsonb_build_array(jsonb_build_object('run', target, 'type', 'run.round_opened',
        'open', cardinality(fresh), 'moving', ready - back, 'data', note || jsonb_build_object('steps',
            (select jsonb_agg(distinct s.name) from orchestration_step s where s.run_id = target and s.key = any (fresh))))));
    return true;
end $$;
