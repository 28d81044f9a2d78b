-- What a run did is taken back before it ends, once, the last first; of a run that completes nothing is.
select 'undone' as finding, r.id as run_id, s.key, format('it is to be undone, and %s rows do so', count(u.key)) as words
from r join s on s.run_id = r.id and s.undo ? 'agent' left join s u on u.run_id = s.run_id and u.undoes = s.key
where r.undoing or r.reversible and r.status in ('failed', 'canceled', 'rejected')
group by r.id, s.key having count(u.key) <> 1
union all
select 'undone', u.run_id, u.key, format('it undoes step %s, which %s', u.undoes, case
    when s.key is null then 'is not there' when not r.undoing then 'its run does not take back' when r.status = 'completed' then 'is of a run that is completed'
    else 'has nothing to undo' end)
from s u join r on r.id = u.run_id left join s on s.run_id = u.run_id and s.key = u.undoes
where u.undoes is not null and (s.key is null or not r.undoing or r.status = 'completed' or not coalesce(s.undo ? 'agent', false))
union all
select 'undone', u.run_id, u.key, format('it began before step %s, which comes first, had ended', b.key)
from s b join s u on u.run_id = b.run_id and b.dependants = array[u.key]
join moves began on began.run_id = u.run_id and began.key = u.key and began.before is null
join moves ended on ended.run_id = b.run_id and ended.key = b.key and ended.after is null
where b.undoes is not null and began.seq < ended.seq
