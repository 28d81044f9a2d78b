-- How a run of a definition with limits of its starts begins. It is laid with a row of kind `start`, which its first steps need and
-- whose input says what it asks for: {limits: as engine_acquire takes them, when_full: queue, cancel_oldest or refuse}; `debounce`
-- in it says that others may still join it.

-- Gives such a run its turn: it asks for all of its limits at once, and begins, or has a place in a line. One that finds too many
-- running is refused, where its definition says so: with CS409 if that can be told (`tells`), else it is to be canceled itself. That it
-- stands in line is told once.
-- Gives how many steps became ready in which queues.
create function engine_admit_v1(target bigint, tells boolean) returns table (queue text, ready int) language plpgsql as $$
#variable_conflict use_column
declare
    asks record;
    found_full jsonb;
    line bigint;  -- the limit in whose line it stands
    settled record;
begin
    perform from orchestration_run r where r.id = target for no key update;
    select r.organization_id, s.fence, s.input into asks from orchestration_run r join orchestration_step s on s.run_id = r.id and s.key = 0
    where r.id = target and s.kind = 'start' and s.status = 'waiting';
    if not found then
        return;
    end if;
    if asks.input ? 'debounce' then  -- one that joins it now has moved its time on
        perform from orchestration_step s where s.run_id = target and s.key = 0 and s.wake_at > clock_timestamp();
        if found then
            return;
        end if;
        update orchestration_step s set input = s.input - 'debounce' where s.run_id = target and s.key = 0;
    end if;
    if asks.input ? 'limits' then
        found_full := engine_acquire_v1(asks.organization_id, target, 0, asks.fence, asks.input -> 'limits');
        update orchestration_run r set limited = true where r.id = target and not r.limited;
    end if;
    select q.limit_id into line from orchestration_limitqueue q where q.run_id = target and q.key = 0;
    if tells and found_full ->> 'kind' = 'starts' and asks.input ->> 'when_full' = 'refuse' then
        raise exception 'the limit % is full', found_full ->> 'key' using errcode = 'CS409', detail = jsonb_build_object(
            'key', found_full ->> 'key', 'runs', (
                select jsonb_agg(r.public_id order by r.id) from orchestration_limitslot l join orchestration_run r on r.id = l.run_id
                where l.limit_id = line and r.ended_at is null))::text;
    end if;
    if found_full is not null then
        if found_full ->> 'kind' = 'starts' and asks.input ->> 'when_full' <> 'queue' then
            perform engine_displace_v1(line, target, asks.input ->> 'when_full');
        end if;
        -- `most`: a person allows none at all at this moment
        update orchestration_step s set waits_for = case when found_full ? 'most' then 'time' else 'limit' end,
            wake_at = case when found_full ? 'most' then clock_timestamp() + interval '1 minute' end
        where s.run_id = target and s.key = 0;
        if not (found_full ->> 'kind' = 'starts' and asks.input ->> 'when_full' = 'refuse')
            and not exists (select from orchestration_event e where e.run_id = target and e.type = 'run.queued') then
            perform engine_settle_v3(null, '[]', '{}', jsonb_build_array(jsonb_build_object('run', target, 'type', 'run.queued', 'data',
                jsonb_strip_nulls(jsonb_build_object('waits_for', 'limit', 'kind', found_full -> 'kind', 'key', found_full -> 'key',
                    'until', found_full -> 'until') || (
                        select jsonb_build_object('max', coalesce(l.max_override, l.max), 'per', coalesce(l.per_override, l.per)) from orchestration_limit l
                        where l.organization_id = asks.organization_id and l.kind = found_full ->> 'kind' and l.key = found_full ->> 'key')))), null);
        end if;
        return;
    end if;
    select * into settled from engine_settle_v3(null, jsonb_build_array(jsonb_build_object(
        'n', 0, 'run', target, 'key', 0, 'fence', asks.fence, 'was', 'waiting', 'outcome', 'completed')), '{}', '[]', null);
    return query
        select substr(v.verdict, 7), v.n from unnest(settled.v_verdict, settled.v_n) as v(verdict, n) where v.verdict like 'ready:%';
end $$;

-- Says of a run's place in the line of a full limit, whose row the caller holds, which run is to be canceled: the oldest of those
-- that are to stay, if with this one there are more of them than may be; or this one itself, if it is refused.
create function engine_displace_v1(of_limit bigint, target bigint, when_full text) returns void language sql as $$
    with all_of_it as (
        select l.run_id from orchestration_limitslot l where l.limit_id = of_limit and l.key = 0
        union select q.run_id from orchestration_limitqueue q where q.limit_id = of_limit and q.key = 0
    ), staying as materialized (
        select a.run_id from all_of_it a join orchestration_run r on r.id = a.run_id
        where r.ended_at is null and r.status <> 'canceling'
            and not exists (select from orchestration_limitqueue e where e.limit_id = of_limit and e.evicts = a.run_id and e.run_id <> target)
    )
    update orchestration_limitqueue q set evicts = case when when_full = 'refuse' then target
        when (select count(*) from staying) > (select coalesce(l.max_override, l.max) from orchestration_limit l where l.id = of_limit)
        then (select min(s.run_id) from staying s where s.run_id <> target) end
    where q.limit_id = of_limit and q.run_id = target and q.key = 0
$$;

-- A run that had ended goes on: whether it has a place again among those that may go on at once, if its definition limits them. It
-- stands in no line for it.
create function engine_readmit_v1(target bigint) returns boolean language plpgsql as $$
declare
    asks record;
    found_full jsonb;
begin
    select r.organization_id, s.fence, (select jsonb_agg(l) from jsonb_array_elements(s.input -> 'limits') l where l ->> 'kind' = 'starts') as limits into asks
    from orchestration_run r join orchestration_step s on s.run_id = r.id and s.key = 0 where r.id = target and s.kind = 'start';
    if asks.limits is null then
        return true;
    end if;
    found_full := engine_acquire_v1(asks.organization_id, target, 0, asks.fence, asks.limits);
    delete from orchestration_limitqueue q where q.run_id = target and q.key = 0;
    return found_full is null;
end $$;

-- Runs whose start has its turn: it has come to the front of its line, or its time has come. The time is asked once, as the end of a range of
-- the index, and not for each row.
create function engine_turns_v1(most int) returns setof bigint language sql stable as $$
    (select s.run_id from orchestration_step s where s.status = 'waiting' and s.wake_at <= (select clock_timestamp()) and s.kind = 'start' order by s.wake_at limit most)
    union
    (select q.run_id from orchestration_limitqueue q
     cross join lateral (select s.status, s.kind from orchestration_step s where s.run_id = q.run_id and s.key = q.key offset 0) s
     where q.woken_at <= (select clock_timestamp()) and q.key = 0 and s.status = 'waiting' and s.kind = 'start' order by q.woken_at limit most)
$$;
