-- Repairs what no one is at work on, each part reading a partial index of just what is to repair, and says what else waits
-- for a hand: {swept; failed: [[run, error]] that could not be repaired; more: whether to come back at once; wake and
-- deadline: seconds until the nearest of the steps, or of the questions, or null; ready, answers, untold, untidy, overdue (runs),
-- events, limits (stirred), budgets, evictions, starts (whose turn it is), flights (of answers), bulk: whether there is such; schedule: seconds until the next; now;
-- neighbors: [[id, pid]] of the other living workers of this host}. `skip`: runs that failed a moment ago, so that they hide none
-- behind them.
--
-- Who declares others dead must know that it is not the database that was away. It is asked here, of its row, and not
-- remembered by the process: a sweep may arrive long after it was sent. Its last heartbeat came within half a lease, and since
-- its beginning, or a heartbeat that came later than that, a whole lease has passed (`fit_from`); so has since the server's start.
create function engine_sweep_v2(worker bigint, lease float8, lost_limit int, skip bigint[]) returns jsonb language plpgsql as $$
declare
    most constant int := 500;
    dead bigint[];
    mine bigint[];
    swept int := 0;
    failed jsonb := '[]';
    more boolean;
    now timestamptz;  -- a variable: with a function that is asked anew for each row, an index is read to its end
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

    now := clock_timestamp();

    -- Lock 3: the runs to repair, those that are free.
    with orphaned as materialized (
        select s.run_id from orchestration_worker w cross join lateral (  -- laterals, here and below: a join made while the tables are short reads all of long ones
            select s.run_id from orchestration_step s where s.owner = w.id and s.status = 'running' and s.run_id <> all (skip) limit most) s
        where w.dead_at is not null and w.cleared_at is null limit most
    ), due as materialized (
        select s.run_id from orchestration_step s where s.status = 'waiting' and s.wake_at <= now and s.run_id <> all (skip)
            and s.kind <> 'start' order by s.wake_at limit most
    ), late as materialized (
        select s.run_id from orchestration_step s where s.deadline_at is not null and s.deadline_at <= now
            and s.status in ('ready', 'running', 'waiting') and s.run_id <> all (skip) order by s.deadline_at limit most
    ), over as materialized (
        select s.run_id from orchestration_step s where s.expect_at is not null and s.expect_at <= now
            and s.status in ('blocked', 'ready', 'running', 'waiting', 'uncertain') and s.run_id <> all (skip) order by s.expect_at limit most
    ), promised as materialized (
        select r.id as run_id from orchestration_run r where r.ended_at is null and r.overdue_at is null and r.expect_at is not null
            and r.expect_at <= now and r.id <> all (skip) order by r.expect_at limit most
    ), woken as materialized (
        select q.run_id from orchestration_limitqueue q
        cross join lateral (select s.status, s.fence from orchestration_step s where s.run_id = q.run_id and s.key = q.key offset 0) s
        where q.woken_at <= now and q.key > 0 and s.status = 'waiting' and s.fence = q.fence and q.run_id <> all (skip) order by q.woken_at limit most
    ), answered as materialized (
        select p.run_id from orchestration_cacheplace p
        cross join lateral (select s.status, s.fence from orchestration_step s where s.run_id = p.run_id and s.key = p.key offset 0) s
        where p.woken_at is not null and s.status = 'waiting' and s.fence = p.fence and p.run_id <> all (skip) order by p.woken_at limit most
    ), heard as materialized (
        select w.run_id from orchestration_eventwait w where w.event_id is not null and w.run_id <> all (skip) order by w.event_id limit most
    ), wanted as (
        select run_id from orphaned union select run_id from due union select run_id from late union select run_id from over
        union select run_id from promised union select run_id from woken union select run_id from answered union select run_id from heard
    ), free as (
        select r.id from orchestration_run r where r.id in (select run_id from wanted) order by r.id for no key update skip locked
    )
    select (select array_agg(id) from free),
           (select count(*) from free) < (select count(*) from wanted) or most in ((select count(*) from orphaned), (select count(*) from due), (select count(*) from late),
                    (select count(*) from over), (select count(*) from promised), (select count(*) from woken), (select count(*) from answered), (select count(*) from heard))
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

    -- Who is dead and owns nothing is not looked at again: what ran under it may lie in the index long after. First FOR UPDATE, which
    -- no flush for it outlasts, then, with a later snapshot, the look.
    select array_agg(d.id) into dead from (
        select w.id from orchestration_worker w where w.dead_at is not null and w.cleared_at is null for update skip locked) d;
    if dead is not null then
        update orchestration_worker w set cleared_at = clock_timestamp() from unnest(dead) d(id)
        cross join lateral (select count(*) as running from (
            select from orchestration_step s where s.owner = d.id and s.status = 'running' limit 1) s) o
        where w.id = d.id and o.running = 0;
    end if;

    return jsonb_build_object(
        'swept', swept,
        'failed', failed,
        'more', more,
        'now', clock_timestamp(),
        'wake', (select extract(epoch from min(w.at) - clock_timestamp()) from (
                    (select s.wake_at as at from orchestration_step s where s.status = 'waiting' and s.wake_at > now order by s.wake_at limit 1)
                    union all
                    (select s.deadline_at from orchestration_step s where s.deadline_at is not null and s.deadline_at > now
                     and s.status in ('ready', 'running', 'waiting') order by s.deadline_at limit 1)
                    union all
                    (select s.expect_at from orchestration_step s where s.expect_at is not null and s.expect_at > now
                     and s.status in ('blocked', 'ready', 'running', 'waiting', 'uncertain') order by s.expect_at limit 1)
                    union all
                    (select r.deadline_at from orchestration_run r where r.ended_at is null and r.deadline_at is not null and r.deadline_at > now
                     order by r.deadline_at limit 1)
                    union all
                    (select r.expect_at from orchestration_run r where r.ended_at is null and r.overdue_at is null and r.expect_at is not null
                     and r.expect_at > now order by r.expect_at limit 1)
                    union all
                    (select q.woken_at from orchestration_limitqueue q where q.woken_at > now order by q.woken_at limit 1)) w),
        'deadline', (select extract(epoch from q.deadline_at - clock_timestamp()) from approvals_request q
                     where q.status = 'pending' and q.deadline_at is not null order by q.deadline_at limit 1),
        'neighbors', (select jsonb_agg(jsonb_build_array(w.id, w.pid)) from orchestration_worker w join orchestration_worker me on me.host = w.host
                      where me.id = worker and w.dead_at is null and w.id <> worker),
        'ready', engine_floors_v1(),
        'answers', exists (select from approvals_request q where q.status in ('decided', 'expired') and q.acknowledged_at is null),
        'untold', exists (select from orchestration_run r where r.told_at is null and r.parent_run_id > 0 and r.ended_at is not null),
        'untidy', exists (select from orchestration_run r where r.tidy),
        'overdue', exists (select from orchestration_run r where r.ended_at is null and r.deadline_at is not null and r.deadline_at <= now),
        'events', exists (select from orchestration_outsideevent e where e.matched_at is null),
        'limits', exists (select from orchestration_limitslot l where l.stirred_at is not null)
                  or exists (select from orchestration_limitqueue q where q.stirred_at is not null),
        'budgets', exists (select from orchestration_budget b where b.due),
        'evictions', exists (select from orchestration_limitqueue q where q.woken_at is null and q.evicts is not null),
        'flights', exists (select from orchestration_cacheentry c where c.fence is not null
                           and not engine_flies_v1(c.run_id, c.key, c.fence, c.promised)),
        'starts', exists (select from engine_turns_v1(1)),
        'bulk', exists (select from orchestration_bulk b where b.ended_at is null),
        'schedule', (select extract(epoch from s.next_at - clock_timestamp()) from orchestration_schedule s
                     where s.paused_at is null and s.dropped_at is null and s.next_at is not null order by s.next_at limit 1));
end $$;
