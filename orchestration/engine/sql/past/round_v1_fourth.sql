-- The rows of a new round of the steps at `positions`, and what follows from them for all that has not started: who waits for
-- whom, and reads what. A failure that has a newer round is none of the run's. The caller holds the run's lock.
-- Gives the names of the new rows, null if there are none, and items that skip what may not start.
create function engine_round_v1(target bigint, positions int[], feedback_given jsonb, out opened jsonb, out skips jsonb) language plpgsql as $$
begin
    with newest as (
        select distinct on (s.position) s.* from orchestration_step s
        where s.run_id = target and s.position = any (positions) and s.head is null and s.undoes is null order by s.position, s.key desc
    ), made as (
        insert into orchestration_step (run_id, key, position, name, round, index, kind, queue, status, open_needs, dependants, reads, tolerant, repeatable,
            agent_version_id, priority, feedback, slack, forgiven, carries, limited, total_seconds, queue_seconds, expect_seconds, undo_version_id)
        select target, (select max(s.key) from orchestration_step s where s.run_id = target) + row_number() over (order by n.position), n.position, n.name,
               n.round + 1, n.index, n.kind, n.queue, 'blocked', 0, '{}', '{}', n.tolerant, n.repeatable, n.agent_version_id, r.priority, feedback_given,
               n.slack, n.forgiven, n.carries, n.limited, n.total_seconds, n.queue_seconds, n.expect_seconds, n.undo_version_id
        from newest n cross join orchestration_run r where r.id = target returning name
    )
    select jsonb_agg(name order by name) into opened from made;

    perform engine_rewire_v1(target);
    select coalesce(jsonb_agg(jsonb_build_object('n', 0, 'run', target, 'key', s.key, 'fence', s.fence, 'was', 'blocked', 'outcome', 'skipped',
                                                 'note', '{"reason": "a step it needs did not complete"}'::jsonb)), '[]')
    into skips from orchestration_step s
    where s.run_id = target and s.status = 'blocked' and s.head is null and s.undoes is null
          and engine_judge_v1(s.status, s.open_needs, s.failed_needs, s.slack, null, s.tolerant) = 'skipped' and not exists (
        select from orchestration_step n where n.run_id = target and n.position = s.position and n.key > s.key and n.head is null and n.undoes is null);

    update orchestration_run r set error = (
        select s.error || jsonb_build_object('step', s.name) from orchestration_step s
        where s.run_id = target and s.status = 'failed' and not s.forgiven and not exists (
            select from orchestration_step n where n.run_id = target and n.position = s.position and n.key > s.key and n.head is null and n.undoes is null)
        order by s.ended_at, s.key limit 1)
    where r.id = target and r.error is not null;
end $$;
