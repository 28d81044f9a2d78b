-- Kept answers lie where they say, and who waits for one has somebody who asks.
select 'answer_lost' as finding, null::bigint as run_id, null::int as key, format('the kept answer %s of %s lies in a payload that is not there', encode(c.digest, 'hex'), c.agent) as words
from orchestration_cacheentry c where c.output_digest is not null and (:organization::bigint is null or c.organization_id = :organization::bigint)
      and :runs::bigint[] is null and not exists (select from orchestration_payload p where p.digest = c.output_digest)
union all
select 'nothing_wakes', s.run_id, s.key, 'it waits for an answer that nobody asks for'
from waits s join orchestration_cacheplace p on p.run_id = s.run_id and p.key = s.key and p.fence = s.fence
where s.waits_for = 'limit' and p.woken_at is null and not exists (
    select from orchestration_cacheentry c where c.organization_id = p.organization_id and c.digest = p.digest and c.fence is not null)
