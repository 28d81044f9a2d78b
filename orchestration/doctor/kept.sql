-- Deliverables, log lines and large values.
select 'deliverable' as finding, d.run_id, null::int as key, format('%s has %s versions, from %s to %s', d.name, count(*), min(d.version), max(d.version)) as words
from orchestration_deliverable d join r on r.id = d.run_id group by d.run_id, d.name having min(d.version) <> 1 or max(d.version) <> count(*)
union all
select 'deliverable', coalesce(d.run_id, e.run_id), coalesce(d.key, e.key), format('%s has %s', coalesce(d.public_id, e.data ->> 'deliverable'),
                                                             case when e.seq is null then 'no event' else 'an event and no row' end)
from (select d.* from orchestration_deliverable d join r on r.id = d.run_id) d
full join (select * from e where e.type = 'deliverable.created') e on e.run_id = d.run_id and e.data ->> 'deliverable' = d.public_id
where d.id is null or e.seq is null
union all
select 'log', r.id, null, format('its log counts %s lines and %s errors, and has %s (up to number %s) and %s', coalesce(h.number, 0), coalesce(h.errors, 0),
                                 coalesce(l.n, 0), coalesce(l.last, 0), coalesce(l.errors, 0))
from r left join orchestration_loghead h on h.run_id = r.id left join lateral (
    select count(*) as n, max(l.number) as last, count(*) filter (where l.level = 'error') as errors from orchestration_logline l where l.run_id = r.id) l on true
where (coalesce(h.number, 0), coalesce(h.number, 0), coalesce(h.errors, 0)) <> (l.n, coalesce(l.last, 0), l.errors)
union all
select 'stream', r.id, null, format('its stream %s counts %s values, and has %s (up to number %s)', coalesce(h.name, v.name), coalesce(h.number, 0),
                                    coalesce(v.n, 0), coalesce(v.last, 0))
from (select h.* from orchestration_streamhead h join r on r.id = h.run_id) h
full join (select v.run_id, v.name, count(*) as n, max(v.number) as last from orchestration_streamvalue v join r on r.id = v.run_id group by 1, 2) v
    on v.run_id = h.run_id and v.name = h.name
join r on r.id = coalesce(h.run_id, v.run_id)
where (coalesce(h.number, 0), coalesce(h.number, 0)) <> (coalesce(v.n, 0), coalesce(v.last, 0))
union all
select 'payload', v.run_id, v.key, format('its %s lies in a payload that is not there', v.what)
from (select s.run_id, s.key, 'input' as what, s.input_digest as digest from s where s.input_digest is not null
      union all select s.run_id, s.key, 'output', s.output_digest from s where s.output_digest is not null
      union all select s.run_id, s.key, 'item', s.item_digest from s where s.item_digest is not null
      union all select s.run_id, s.key, 'undo', s.undo_digest from s where s.undo_digest is not null
      union all select r.id, null, 'output', r.output_digest from r where r.output_digest is not null
      union all select m.run_id, null, 'message', m.data_digest from orchestration_outsideevent m join r on r.id = m.run_id where m.data_digest is not null) v
left join orchestration_payload p on p.digest = v.digest where p.digest is null
union all
select 'orphan', x.run_id, null, format('%s rows of %s belong to no run', count(*), x.what)
from (select run_id, 'steps' as what from s union all select run_id, 'events' from e
      union all select run_id, 'deliverables' from orchestration_deliverable where :runs::bigint[] is null and :organization::bigint is null
      union all select run_id, 'streamhead' from orchestration_streamhead where :runs::bigint[] is null and :organization::bigint is null
      union all select run_id, 'loghead' from orchestration_loghead where :runs::bigint[] is null and :organization::bigint is null) x
where not exists (select from orchestration_run r where r.id = x.run_id) group by x.run_id, x.what
