-- A step's events come in an order that is possible, and its row is what the last of them says.
select 'order' as finding, m.run_id, m.key, format('event %s, %s, follows %s', m.seq, m.type, coalesce(m.before, 'nothing')) as words
from moves m where not coalesce(m.before, '') = any (case m.type
    when 'step.inherited' then array['']
    when 'step.started' then array['', 'step.ready', 'step.blocked', 'step.waiting']
    when 'step.ready' then array['step.started', 'step.retrying', 'step.uncertain', 'step.waiting', 'checkpoint.requested']
    when 'step.retrying' then array['step.started', 'step.waiting']
    when 'step.waiting' then array['', 'step.started']
    when 'checkpoint.requested' then array['step.started']
    when 'step.uncertain' then array['step.started']
    when 'step.blocked' then array['step.started']
    -- An end may come at any time: by hand, by a deadline, by a cancel.
    else array['', 'step.started', 'step.ready', 'step.blocked', 'step.retrying', 'step.waiting', 'checkpoint.requested', 'step.uncertain'] end)
union all
select 'told', s.run_id, s.key, format('it is %s, and its last event is %s', s.status, coalesce(m.type, 'none'))
from s left join moves m on m.run_id = s.run_id and m.key = s.key and m.after is null
where s.kind not in ('output', 'start') and s.inherited_run is null and not coalesce(m.type, '') = any (case s.status
    when 'running' then array['step.started']
    when 'uncertain' then array['step.uncertain']
    when 'blocked' then array['', 'step.blocked']
    when 'ready' then array['', 'step.ready', 'step.blocked', case when s.phase > 0 then 'step.waiting' else '' end]
    when 'waiting' then array[case s.waits_for when 'approval' then 'checkpoint.requested' when 'retry' then 'step.retrying' else 'step.waiting' end]
    else array['step.' || s.status] end)
union all
select 'told', e.run_id, e.key, format('event %s, %s, names a step that is not there', e.seq, e.type)
from e left join s on s.run_id = e.run_id and s.key = e.key where e.key is not null and s.key is null
union all
select 'ended_at', s.run_id, s.key, format('it is %s, and the time of its end is %s', s.status, coalesce(s.ended_at::text, 'missing'))
from s where (s.status in (select status from ended)) <> (s.ended_at is not null)
union all
select 'twice', s.run_id, min(s.key), format('step %s has %s rows in round %s', min(s.name), count(*), s.round)
from s group by s.run_id, s.position, s.round, s.index, s.pass, s.undoes, s.kind = 'start' having count(*) > 1
union all
select 'owner', s.run_id, s.key, format('it runs, and its worker %s has no row', s.owner)
from s where s.status = 'running' and not exists (select from orchestration_worker w where w.id = s.owner)
union all
select 'needs', b.run_id, b.key, format('it waits for %s steps, and %s that are open lead to it', b.open_needs, coalesce(n.open, 0))
from s b left join (
    select s.run_id, abs(d) as key, count(*) as open from s cross join unnest(s.dependants) d
    where s.status not in (select status from ended) group by 1, 2) n on n.run_id = b.run_id and n.key = b.key
where case when b.status = 'blocked' then not b.windowed and (b.open_needs = 0 or b.open_needs <> coalesce(n.open, 0))
           else b.status = 'waiting' and b.item_count is not null and b.open_needs <> coalesce(n.open, 0) end
union all
select 'needs', i.run_id, i.key, format('it waits for its turn among the items of step %s, and none that is at work lets it go', i.head)
from s i where i.status = 'blocked' and i.windowed and not exists (
    select from s o where o.run_id = i.run_id and o.head = i.head and o.status in ('ready', 'running', 'waiting', 'uncertain'))
union all
select 'listens', w.run_id, w.key, format('its wait for %s is open, and it waits no more', w.name)
from orchestration_eventwait w join s on s.run_id = w.run_id and s.key = w.key
where s.status <> 'waiting' or s.fence <> w.fence
union all
select 'message', m.run_id, m.taken_key, format('it is said to have taken the message %s, and has not', m.public_id)
from orchestration_outsideevent m join r on r.id = m.run_id where m.taken_key is not null
    and not exists (select from s where s.run_id = m.run_id and s.key = m.taken_key and s.event_id = m.id)
    and not exists (select from orchestration_eventwait w where w.run_id = m.run_id and w.key = m.taken_key and w.event_id = m.id)
union all
select 'message', w.run_id, w.key, format('it waits for the message %s, which is there', m.public_id)
from orchestration_eventwait w join s on s.run_id = w.run_id and s.key = w.key
join orchestration_outsideevent m on m.run_id = w.run_id and m.name = w.name and m.taken_key is null
where w.organization_id = 0 and not exists (
    select from orchestration_eventwait o where o.run_id = w.run_id and o.key = w.key and o.event_id is not null)
union all
select 'nothing_wakes', s.run_id, s.key, format('it waits for %s, and nothing can wake it', coalesce(s.waits_for, 'nothing'))
from waits s where case s.waits_for
    when 'retry' then s.wake_at is null
    when 'time' then s.wake_at is null
    when 'event' then not exists (select from orchestration_eventwait w where w.run_id = s.run_id and w.key = s.key and w.fence = s.fence)
    when 'limit' then s.wake_at is null and not exists (select from orchestration_cacheplace c where c.run_id = s.run_id and c.key = s.key and c.fence = s.fence)
                      and not exists (select from orchestration_limitqueue l where l.run_id = s.run_id and l.key = s.key and l.fence = s.fence)
    when 'approval' then not exists (select from q where q.run_id = s.run_id and q.key = s.key and q.fence = s.fence
                                     and (q.status = 'pending' or q.status in ('decided', 'expired') and q.acknowledged_at is null))
    when 'child' then not exists (select from s i where s.item_count is not null and i.run_id = s.run_id and i.head = s.key
                                  and i.status not in (select status from ended)) and not exists (select from orchestration_run c where c.id = s.child_run_id and c.parent_run_id = s.run_id and c.parent_key = s.key
                                  and c.told_at is null)
    else true end
