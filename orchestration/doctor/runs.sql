-- A run agrees with its events and its steps.
select 'events' as finding, r.id as run_id, null::int as key,
       format('its events are %s, from %s to %s, and its last number is %s', coalesce(t.events, 0), t.first, t.last, r.seq) as words
from r left join told t on t.run_id = r.id where (t.events, t.first, t.last) is distinct from (r.seq::bigint, 1, r.seq)
union all
select 'beginning', r.id, null, format('it has %s events run.started, and the first event is %s', t.starts, e.type)
from r join told t on t.run_id = r.id join e on e.run_id = r.id and e.seq = 1 where t.starts <> 1 or e.type <> 'run.started'
union all
select 'end', r.id, null, format('it is %s, and %s events tell its end (%s)', r.status, coalesce(t.ends, 0), t.ends_as)
from r left join told t on t.run_id = r.id
where case when r.ended_at is null then t.ends <> 0 else (t.ends, t.ends_as) is distinct from (1::bigint, 'run.' || r.status) end
union all
select 'after_end', e.run_id, e.key, format('event %s, %s, comes after its end', e.seq, e.type)
from told t join e on e.run_id = t.run_id and e.seq > t.ended
where e.type not in ('step.late_result', 'run.forked', 'run.budget_warning', 'run.budget_exceeded')  -- what is spent is looked at afterwards
union all
select 'after_canceling', e.run_id, e.key, format('event %s, %s, comes after run.canceling', e.seq, e.type)
from told t join e on e.run_id = t.run_id and e.seq > t.canceling
where e.type in ('step.started', 'step.ready', 'step.retrying', 'step.waiting', 'step.uncertain', 'step.blocked', 'checkpoint.requested',
                 'run.round_opened', 'run.canceling')
      and not exists (select from s where s.run_id = e.run_id and s.key = e.key and s.undoes is not null)
union all
select 'canceling', r.id, null, format('it is %s, and the event run.canceling %s', r.status, case when t.canceling is null then 'is missing' else 'is there' end)
from r join told t on t.run_id = r.id where (r.status in ('canceling', 'canceled', 'rejected') or r.status = 'failed' and r.ending is not null) <> (t.canceling is not null)
union all
select 'counters', r.id, null, format('it counts %s open and %s moving steps, and has %s and %s', r.open_steps, r.moving_steps, c.open, c.moving)
from r left join lateral (
    select count(*) filter (where s.status not in (select status from ended)) as open, count(*) filter (where s.status in ('ready', 'running')) as moving
    from s where s.run_id = r.id) c on true
where (r.open_steps, r.moving_steps) <> (c.open, c.moving)
union all
select 'status', r.id, null, format('it is %s with %s open and %s moving steps', r.status, r.open_steps, r.moving_steps)
from r where case when r.ended_at is not null then r.open_steps <> 0
                  when r.open_steps = 0 then true
                  when r.status in ('canceling', 'paused') then false
                  else r.status <> case when r.moving_steps > 0 then 'running' else 'waiting' end end
union all
select 'promise', r.id, null, format('%s events tell that it is later than was promised, and it was told %s', t.overdue, coalesce('at ' || r.overdue_at, 'never'))
from r join told t on t.run_id = r.id where t.overdue <> (r.overdue_at is not null)::int or r.overdue_at is not null and r.expect_at is null
union all
select 'error', r.id, null, format('it is %s, and its error is %s', r.status, coalesce(r.error ->> 'message', 'none'))
from r where r.status = 'completed' and r.error is not null or r.status = 'failed' and r.error is null
union all
select 'failure', r.id, f.key, 'the run is completed, and the newest row of this step failed'
from r join nodes f on f.run_id = r.id and f.status = 'failed' and not f.forgiven and not f.carries where r.status = 'completed'
      and not exists (select from nodes n where n.run_id = f.run_id and n.position = f.position and n.key > f.key)
union all
select 'failure', f.run_id, f.key, format('it failed with the class %s, of which follows %s, and is held to something else', f.error ->> 'class',
                                          engine_follows_v1(f.on_failure, f.error))
from nodes f where f.status = 'failed' and f.on_failure is not null
      and (f.forgiven, f.carries) is distinct from (engine_follows_v1(f.on_failure, f.error) <> 'fail', engine_follows_v1(f.on_failure, f.error) = 'continue')
union all
select 'layout', r.id, null, format('it has %s rows of the first round, and its version has %s steps', c.n, jsonb_array_length(v.layout))
from r join orchestration_definitionversion v on v.id = r.definition_version_id
cross join lateral (select count(*) as n from nodes s where s.run_id = r.id and s.round = 1) c where c.n <> jsonb_array_length(v.layout)
