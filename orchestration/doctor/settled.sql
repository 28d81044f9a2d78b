-- What is left over when nothing is supposed to move.
select 'left_running' as finding, s.run_id, s.key,
       format('it runs; its worker %s %s', s.owner, case when w.dead_at is not null then 'is dead' when w.lease_until < clock_timestamp() then 'has no lease any more' else 'lives' end) as words
from s left join orchestration_worker w on w.id = s.owner where s.status = 'running'
union all
select 'left_ready', s.run_id, s.key, format('it is ready in the queue %s, and no worker takes it', s.queue) from s where s.status = 'ready'
union all
select 'left_canceling', r.id, null, 'it is canceling, and has not ended' from r where r.status = 'canceling'
union all
select 'left_timer', s.run_id, s.key, format('it was to go on %s ago', date_trunc('second', clock_timestamp() - s.wake_at))
from waits s where s.wake_at < clock_timestamp()
union all
select 'left_promise', r.id, null, format('it was promised to have ended %s ago, and nobody said that it has not', date_trunc('second', clock_timestamp() - r.expect_at))
from r where r.ended_at is null and r.overdue_at is null and r.expect_at < clock_timestamp()
union all
select 'left_deadline', q.run_id, q.key, format('the deadline of %s was %s ago', q.public_id, date_trunc('second', clock_timestamp() - q.deadline_at))
from q where q.status = 'pending' and q.deadline_at < clock_timestamp()
union all
select 'left_answer', q.run_id, q.key, format('%s is %s, and nobody took that up', q.public_id, q.status)
from q where q.status in ('decided', 'expired') and q.acknowledged_at is null
union all
select 'left_untold', r.id, null, format('it ended %s ago, and run %s was not told', date_trunc('second', clock_timestamp() - r.ended_at), r.parent_run_id)
from r where r.ended_at is not null and r.told_at is null and r.parent_run_id > 0
union all
select 'left_flight', c.run_id, c.key, format('an answer of %s is asked for by a step that is at it no more', c.agent)
from orchestration_cacheentry c join r on r.id = c.run_id where c.fence is not null and not engine_flies_v1(c.run_id, c.key, c.fence, c.promised)
union all
select 'left_untidy', r.id, null, 'questions of it are to be withdrawn, or children to be canceled' from r where r.tidy
union all
select 'left_budget', b.run_id, null, 'its budget crossed a limit or was raised, and nobody looked at it' from r join orchestration_budget b on b.run_id = r.id where b.due
union all
select 'left_lease', null, null, format('worker %s (%s, process %s) has a lease that ended %s ago, and nobody declared it dead', w.id, w.host, w.pid,
                                       date_trunc('second', clock_timestamp() - w.lease_until))
from orchestration_worker w where w.dead_at is null and w.lease_until < clock_timestamp()
union all
select 'left_session', null, null, format('session %s (%s) holds a transaction open since %s', a.pid, a.application_name, date_trunc('second', a.xact_start))
from pg_stat_activity a where a.datname = current_database() and a.pid <> pg_backend_pid() and a.state like 'idle in transaction%'
      and a.state_change < clock_timestamp() - interval '1 s'
union all
select 'left_lock', null, null, format('session %s holds an advisory lock', l.pid)
from pg_locks l where l.locktype = 'advisory' and l.pid <> pg_backend_pid()
      and l.database = (select oid from pg_database where datname = current_database())
