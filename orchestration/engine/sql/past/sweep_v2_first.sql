-- Repairs what no one is at work on, each part reading a partial index of just what is to repair, and says what else waits
-- for a hand: {swept; failed: [[run, error]] that could not be repaired; more: whether to come back at once; wake and
-- deadline: seconds until the nearest, or null; ready, answers, untold, untidy; neighbors: [[id, pid]] of the other living
-- workers of this host}. `skip`: runs that failed a moment ago, so that they hide none behind them.
--
-- Who declares others dead must know that it is not the database that was away. It is asked here, of its row, and not
-- remembered by the process: a sweep may arrive long after it was sent. Its last heartbeat came within half a lease, and since
-- its beginning, or a heartbeat that came later than that, a whole lease has passed (`fit_from`); so has since the server's start.
create function engine_sweep_v2(worker bigint, lease float8, lost_limit int, skip bigint[]) returns jsonb language plpgsql as $$
declare
    most constant int := 500;
    mine bigint[];
    swept int := 0;
    failed jsonb := '[]';
    more boolean;
begin
    -- Lock 1: the own worker row.
    perform from orchestration_worker w where w.id = worker and w.dead_at is null
        and w.lease_until > clock_timestamp() + make_interval(secs => lease / 2) and w.fit_from < clock_timestamp()
        and pg_postmaster_start_time() + make_interval(secs => lease) < clock_timestamp() for key share;
    if found then
        -- Lock 2: the dead. A flush holds its worker's row FOR KEY SHARE, so this takes only those that commit nothing at this moment.
        update orchestration_worker w set dead_at = clock_timestamp() where w.id in (
            select d.id from orchestration_worker d where d.dead_at is null and d.lease_until < clock_timestamp() for update skip locked);
    end if;

    -- Lock 3: the runs to repair, those that are free.
    with orphaned as materialized (
        select s.run_id from orchestration_step s join orchestration_worker w on w.id = s.owner
        where s.status = 'running' and w.dead_at is not null and s.run_id <> all (skip) limit most
    ), due as materialized (
        select s.run_id from orchestration_step s where s.status = 'waiting' and s.wake_at <= clock_timestamp() and s.run_id <> all (skip)
        order by s.wake_at limit most
    ), wanted as (
        select run_id from orphaned union select run_id from due
    ), free as (
        select r.id from orchestration_run r where r.id in (select run_id from wanted) order by r.id for no key update skip locked
    )
    select (select array_agg(id) from free),
           (select count(*) from free) < (select count(*) from wanted) or most in ((select count(*) from orphaned), (select count(*) from due))
    into mine, more;

    if mine is not null then
        begin
            swept := engine_repair_v1(mine, lost_limit);
        exception when others then  -- one of them cannot be repaired, now or ever: each by itself
            for i in 1 .. cardinality(mine) loop
                begin
                    swept := swept + engine_repair_v1(mine[i:i], lost_limit);
                exception when others then
                    failed := failed || jsonb_build_array(jsonb_build_array(mine[i], sqlerrm));
                end;
            end loop;
        end;
    end if;

    return jsonb_build_object(
        'swept', swept,
        'failed', failed,
        'more', more,
        'wake', (select extract(epoch from s.wake_at - clock_timestamp()) from orchestration_step s
                 where s.status = 'waiting' and s.wake_at > clock_timestamp() order by s.wake_at limit 1),
        'deadline', (select extract(epoch from q.deadline_at - clock_timestamp()) from approvals_request q
                     where q.status = 'pending' and q.deadline_at is not null order by q.deadline_at limit 1),
        'neighbors', (select jsonb_agg(jsonb_build_array(w.id, w.pid)) from orchestration_worker w join orchestration_worker me on me.host = w.host
                      where me.id = worker and w.dead_at is null and w.id <> worker),
        'ready', exists (select from orchestration_step s where s.status = 'ready'),
        'answers', exists (select from approvals_request q where q.status in ('decided', 'expired') and q.acknowledged_at is null),
        'untold', exists (select from orchestration_run r where r.told_at is null and r.parent_run_id > 0 and r.ended_at is not null),
        'untidy', exists (select from orchestration_run r where r.tidy));
end $$;
