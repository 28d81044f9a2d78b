-- Questions and children agree with the steps that wait for them.
select 'question' as finding, q.run_id, q.key, format('%s is pending, and its step is %s', q.public_id, coalesce(s.status, 'not there')) as words
from q join r on r.id = q.run_id left join s on s.run_id = q.run_id and s.key = q.key
where q.status = 'pending' and not r.tidy and (s.status, s.waits_for, s.fence) is distinct from ('waiting', 'approval', q.fence)
union all
select 'answer', q.run_id, q.key, format('%s was answered and taken up; its step is %s, and %s events tell the answer', q.public_id,
                                        coalesce(s.status, 'not there'), count(e.seq))
from q left join s on s.run_id = q.run_id and s.key = q.key
left join e on e.run_id = q.run_id and e.key = q.key and e.type = 'checkpoint.resolved' and e.data ->> 'request' = q.public_id
where q.status in ('decided', 'expired') and q.acknowledged_at is not null and q.kind = 'gate'
group by q.run_id, q.key, q.public_id, s.status
having coalesce(s.status, '') not in (select status from ended) or count(e.seq) <> (s.status in ('completed', 'failed'))::int
union all
select 'answer', e.run_id, e.key, format('event %s tells an answer to %s, which has none', e.seq, e.data ->> 'request')
from e left join q on q.public_id = e.data ->> 'request' and q.run_id = e.run_id and q.status in ('decided', 'expired')
where e.type = 'checkpoint.resolved' and q.id is null
union all
select 'asked', e.run_id, e.key, format('event %s tells the question %s, which is not there', e.seq, e.data ->> 'request')
from e left join q on q.public_id = e.data ->> 'request' and q.run_id = e.run_id and q.key = e.key
where e.type = 'checkpoint.requested' and q.id is null
union all
select 'asked', q.run_id, q.key, format('%s events tell the question %s', count(e.seq), q.public_id)
from q left join e on e.run_id = q.run_id and e.key = q.key and e.type = 'checkpoint.requested' and e.data ->> 'request' = q.public_id
group by q.run_id, q.key, q.public_id having count(e.seq) <> 1
union all
select 'decisions', q.run_id, q.key, format('%s is %s, and %s decisions count', q.public_id, q.status, count(d.id))
from q left join approvals_decision d on d.request_id = q.id and not d.late
group by q.run_id, q.key, q.public_id, q.status, q.choice, q.decided_by_id
having count(d.id) <> (q.status = 'decided')::int or bool_or(d.choice <> q.choice or d.member_id <> q.decided_by_id)
union all
select 'child', c.id, null, format('its parent is step %s of run %s, which names run %s as its child, and %s', c.parent_key, c.parent_run_id,
                                   coalesce(p.child_run_id::text, 'none'), case when p.status is null then 'is not there' else 'is ' || p.status end)
from r c left join orchestration_step p on p.run_id = c.parent_run_id and p.key = c.parent_key
where c.parent_run_id is not null and not (coalesce(p.child_run_id, 0) > c.id and (c.ended_at is not null or c.stays))  -- of a try before
  and (p.child_run_id is distinct from c.id or c.parent_run_id >= c.id or p.status = 'completed' and p.kind <> 'wait' and c.status <> 'completed')
union all
select 'child', s.run_id, s.key, format('its child, run %s, is not there or has another parent', s.child_run_id)
from s left join orchestration_run c on c.id = s.child_run_id
where s.child_run_id is not null and (c.parent_run_id, c.parent_key) is distinct from (s.run_id, s.key)
union all
select 'forsaken', c.id, null, format('it goes on, and step %s of run %s, which started it, is %s', c.parent_key, c.parent_run_id, p.status)
from r c join orchestration_step p on p.run_id = c.parent_run_id and p.key = c.parent_key join orchestration_run above on above.id = c.parent_run_id
where c.ended_at is null and not c.stays and c.status <> 'canceling' and p.status in (select status from ended) and not above.tidy
