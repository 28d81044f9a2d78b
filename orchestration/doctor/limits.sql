-- Slots of limits are held by those who are at work, or wait for their child; places by those who wait, or come. Whose step moved a
-- moment ago is looked after by the next sweep.
select 'slot' as finding, l.run_id, nullif(l.key, 0) as key, 'it holds a slot of a limit, and is not at work' as words
from orchestration_limitslot l left join r on r.id = l.run_id left join s on s.run_id = l.run_id and s.key = l.key and l.key > 0
where l.stirred_at is null and (r.id is not null or not exists (select from orchestration_run x where x.id = l.run_id))
      and case when l.key = 0 then r.id is null or r.ended_at is not null
               else s.key is null or s.fence <> l.fence or s.status <> 'running' and (s.status, s.waits_for) is distinct from ('waiting', 'child') end
union all
select 'place', q.run_id, q.key, 'it stands in the line of a limit, and does not wait for it'
from orchestration_limitqueue q left join r on r.id = q.run_id left join s on s.run_id = q.run_id and s.key = q.key
where q.stirred_at is null and (r.id is not null or not exists (select from orchestration_run x where x.id = q.run_id))
      and (s.key is null or s.status not in ('ready', 'running') and (s.status, s.waits_for) is distinct from ('waiting', 'limit'))
union all
select 'limit', null, null, format('%s counts %s taken and %s promised, and there are %s and %s', l.public_id, l.taken, l.promised, held.n, called.n)
from orchestration_limit l
cross join lateral (select count(*) as n from orchestration_limitslot h where h.limit_id = l.id) held
cross join lateral (
    select coalesce(sum(q.units), 0) as n from orchestration_limitqueue q where q.limit_id = l.id and q.woken_at is not null) called
where :runs::bigint[] is null and (:organization::bigint is null or l.organization_id = :organization::bigint)
      and (l.taken <> held.n or l.promised <> called.n)

-- A run that goes on has its place among those that may go on at once.
union all
select 'start', s.run_id, s.key, 'it began, and holds no slot of the limit of its starts'
from s join r on r.id = s.run_id
where s.kind = 'start' and s.status = 'completed' and r.ended_at is null and s.input -> 'limits' @> '[{"kind": "starts"}]'
    and not exists (select from orchestration_limitslot l where l.run_id = s.run_id and l.key = 0)
