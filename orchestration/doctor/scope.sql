-- What is looked at: all, some runs, or those of an organization. Its two names are replaced by constants when the plan is made.
with r as not materialized (
    select * from orchestration_run x
    where (:runs::bigint[] is null or x.id = any (:runs::bigint[]))
          and (:organization::bigint is null or x.organization_id = :organization::bigint)
), s as not materialized (
    select * from orchestration_step x
    where (:runs::bigint[] is null or x.run_id = any (:runs::bigint[]))
          and (:organization::bigint is null or x.run_id in (select id from r))
), e as not materialized (
    select * from orchestration_event x
    where (:runs::bigint[] is null or x.run_id = any (:runs::bigint[]))
          and (:organization::bigint is null or x.run_id in (select id from r))
), q as materialized (  -- the questions that steps put
    select x.id, x.public_id, x.status, x.choice, x.decided_by_id, x.deadline_at, x.acknowledged_at, (x.context ->> 'run_id')::bigint as run_id,
           (x.context ->> 'key')::int as key, (x.context ->> 'fence')::bigint as fence, coalesce(x.context ->> 'kind', 'gate') as kind
    from approvals_request x join r on r.public_id = x.context ->> 'run' where x.context ? 'key'
), told as materialized (  -- each run's events; its end is the one since it was opened again, if it was
    select run_id, count(*) as events, min(seq) as first, max(seq) as last, count(*) filter (where type = 'run.started') as starts,
           min(seq) filter (where type = 'run.canceling') as canceling, count(*) filter (where type = 'run.overdue') as overdue,
           count(*) filter (where ends and seq > coalesce(reopened, 0)) as ends,
           min(seq) filter (where ends and seq > coalesce(reopened, 0)) as ended,
           min(type) filter (where ends and seq > coalesce(reopened, 0)) as ends_as
    from (select e.run_id, e.seq, e.type, e.type in ('run.completed', 'run.failed', 'run.canceled', 'run.rejected') as ends,
                 max(e.seq) filter (where e.type = 'run.reopened') over (partition by e.run_id) as reopened from e) e
    group by run_id
), moves as materialized (  -- each step's events that moved it, with the one before and the one after
    select run_id, key, seq, type, lag(type) over w as before, lead(type) over w as after from e
    where key is not null and type in ('step.started', 'step.completed', 'step.failed', 'step.skipped', 'step.canceled', 'step.ready', 'step.blocked',
                                       'step.retrying', 'step.uncertain', 'step.waiting', 'checkpoint.requested', 'step.inherited')
    window w as (partition by run_id, key order by seq)
), waits as not materialized (
    select * from s where s.status = 'waiting'
), nodes as not materialized (  -- rows of the definition's steps: no items, no passes, nothing that undoes
    select * from s where s.head is null and s.undoes is null and s.kind <> 'start'
), ended(status) as (
    values ('completed'), ('failed'), ('skipped'), ('canceled')
)
