-- Slots of limits are held by those who are at work, or wait for their child.
select 'slot' as finding, l.run_id, nullif(l.key, 0) as key, 'it holds a slot of a limit, and is not at work' as words
from orchestration_limitslot l join r on r.id = l.run_id left join s on s.run_id = l.run_id and s.key = l.key and l.key > 0
where case when l.key = 0 then r.ended_at is not null
           else s.key is null or s.fence <> l.fence or s.status <> 'running' and (s.status, s.waits_for) is distinct from ('waiting', 'child') end
