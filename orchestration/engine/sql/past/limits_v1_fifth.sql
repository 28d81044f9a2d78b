-- Limits: how many at once (kinds steps and starts, of slots), and how many in a time (rate and start_rate, of hits), under a key.
--
-- Who holds a limit's row decides: it alone changes `taken`, `promised` and `total`, who has a slot, and who is called up. A move of a
-- step takes no such lock: it marks its slots and its place (`stirred_at`), in its own transaction, and who has the limit
-- next looks what became of them (engine_tend). So nobody's flush waits for a limit, and no end of a step is lost.
--
-- Who finds a limit full has one place in a line, and keeps it as it goes from one line to another: first come, first served,
-- the more urgent before. Whom there is room for is called up (`woken_at`, which for a rate may lie ahead): the room is promised
-- to it, and nobody who comes later takes it. It asks again then, for all that it wants at once. Key 0 is a run's start.

-- Locks the limits wanted of an organization, and `others`, in order of id; makes those that are missing.
-- wanted: [{kind, key, max, per}], each kind and key once; the last who asks says how many.
create function engine_limits_v1(organization bigint, wanted jsonb, others bigint[] default '{}') returns bigint[] language plpgsql as $$
declare
    found bigint[];
begin
    loop
        insert into orchestration_limit (organization_id, kind, key)
        select organization, w.kind, w.key from jsonb_to_recordset(wanted) as w(kind text, key text)
        where not exists (select from orchestration_limit l where l.organization_id = organization and l.kind = w.kind and l.key = w.key)
        order by w.kind, w.key on conflict do nothing;
        select array_agg(k.id) into found from (
            select l.id from orchestration_limit l where l.id in (
                select unnest(others) union
                select o.id from jsonb_to_recordset(wanted) as w(kind text, key text) cross join lateral (
                    select o.id from orchestration_limit o where o.organization_id = organization and o.kind = w.kind and o.key = w.key offset 0) o)
            order by l.id for no key update) k;
        exit when (select count(*) from orchestration_limit l join jsonb_to_recordset(wanted) as w(kind text, key text)
                   on l.kind = w.kind and l.key = w.key where l.id = any (found)) = jsonb_array_length(wanted);  -- else housekeeping was quicker
    end loop;
    update orchestration_limit l set max = w.max, per = w.per, used_at = clock_timestamp()
    from jsonb_to_recordset(wanted) as w(kind text, key text, max int, per float8)
    where l.id = any (found) and l.kind = w.kind and l.key = w.key;
    return found;
end $$;

-- When the unit of this number has left a rate's window: its hit is `per` seconds old. It may have been never, or long ago.
create function engine_room_at_v1(of_limit bigint, unit bigint, per float8) returns timestamptz language sql as $$
    select coalesce(max(h.at + make_interval(secs => per)), '-infinity') from (
        select h.at, h.upto - h.units as before from orchestration_ratehit h
        where h.limit_id = of_limit and h.upto >= unit order by h.upto limit 1) h
    where h.before < unit and unit > 0
$$;

-- Calls up those in line for whom there is room. The caller holds the limits' rows. Returns how many.
create function engine_call_v1(limits bigint[]) returns int language plpgsql as $$
declare
    l orchestration_limit;
    next orchestration_limitqueue;
    most int;
    called int := 0;
begin
    for l in select * from orchestration_limit where id = any (limits) order by id loop
        most := coalesce(l.max_override, l.max);
        loop
            exit when l.kind in ('steps', 'starts') and l.taken + l.promised >= most or l.kind = 'budget';
            select q.* into next from orchestration_limitqueue q
            where q.limit_id = l.id and q.woken_at is null and q.priority > -32768 order by q.priority desc, q.id limit 1 for update skip locked;
            exit when not found or l.kind in ('rate', 'start_rate') and l.promised > 0 and l.promised + next.units > most;
            update orchestration_limitqueue q set woken_at = case when l.kind in ('rate', 'start_rate') then greatest(clock_timestamp(),
                       engine_room_at_v1(l.id, l.total + l.promised + next.units - most, coalesce(l.per_override, l.per))) else clock_timestamp() end
            where q.id = next.id;
            l.promised := l.promised + next.units;
            update orchestration_limit set promised = l.promised where id = l.id;
            called := called + 1;
        end loop;
    end loop;
    return called;
end $$;

-- Looks after what was stirred under these limits, whose rows the caller holds: slots of those who have left, places of those who wait
-- no more, or whose runs were paused (they are passed over) or go on. Then calls up who is next. Returns how many it called.
create function engine_tend_v1(limits bigint[]) returns int language plpgsql as $$
declare
    places bigint[];
    l_limits bigint[]; l_runs bigint[]; l_keys int[];
begin
    -- Locked first, read in the next statement: who moves one of these steps from now on stirs them again.
    select array_agg(k.limit_id), array_agg(k.run_id), array_agg(k.key) into l_limits, l_runs, l_keys from (
        select l.* from orchestration_limitslot l where l.limit_id = any (limits) and l.stirred_at is not null for update skip locked) k;
    if l_limits is not null then
        with stirred as materialized (
            select l.limit_id, l.run_id, l.key, case when l.key = 0 then r.ended_at is null
                   else s.fence = l.fence and (s.status = 'running' or s.status = 'waiting' and s.waits_for = 'child') end as held
            from unnest(l_limits, l_runs, l_keys) as g(limit_id, run, key)
            join orchestration_limitslot l on l.limit_id = g.limit_id and l.run_id = g.run and l.key = g.key
            left join orchestration_run r on r.id = l.run_id left join orchestration_step s on s.run_id = l.run_id and s.key = l.key
        ), kept as (
            update orchestration_limitslot l set stirred_at = null from stirred t
            where t.held and l.limit_id = t.limit_id and l.run_id = t.run_id and l.key = t.key
        ), gone as (
            delete from orchestration_limitslot l using stirred t
            where t.held is not true and l.limit_id = t.limit_id and l.run_id = t.run_id and l.key = t.key returning l.limit_id
        )
        update orchestration_limit l set taken = l.taken - g.n from (select limit_id, count(*)::int as n from gone group by 1) g where l.id = g.limit_id;
    end if;
    select array_agg(k.id) into places from (
        select q.id from orchestration_limitqueue q where q.limit_id = any (limits) and q.stirred_at is not null for update skip locked) k;
    if places is not null then
        with stirred as materialized (
            select q.id, q.limit_id, case when q.woken_at is not null then q.units else 0 end as promised, r.priority,
                   r.status = 'paused' as parks,
                   s.status in ('ready', 'running') or s.status = 'waiting' and s.waits_for = 'limit' as stands
            from orchestration_limitqueue q
            left join orchestration_run r on r.id = q.run_id left join orchestration_step s on s.run_id = q.run_id and s.key = q.key
            where q.id = any (places)
        ), kept as (
            update orchestration_limitqueue q set stirred_at = null, priority = case when t.parks then -32768 else t.priority end,
                woken_at = case when not t.parks then q.woken_at end
            from stirred t where t.stands and q.id = t.id
        ), gone as (
            delete from orchestration_limitqueue q using stirred t where t.stands is not true and q.id = t.id
        )
        update orchestration_limit l set promised = l.promised - g.n
        from (select limit_id, sum(t.promised)::int as n from stirred t where t.parks or t.stands is not true group by 1) g where l.id = g.limit_id and g.n > 0;
    end if;
    return engine_call_v1(limits);
end $$;

-- What was stirred under limits that nobody has locked. Returns how many were called up.
create function engine_stirred_v1() returns int language plpgsql as $$
declare
    limits bigint[];
begin
    select array_agg(k.id) into limits from (
        select l.id from orchestration_limit l where l.id in (
            select s.limit_id from orchestration_limitslot s where s.stirred_at is not null
            union select q.limit_id from orchestration_limitqueue q where q.stirred_at is not null)
        order by l.id for no key update skip locked) k;
    return case when limits is null then 0 else engine_tend_v1(limits) end;
end $$;

-- Slots and places of steps that moved; with key 0 of a run's start. The caller holds their runs' locks, and has moved them.
create function engine_release_v1(runs bigint[], keys int[]) returns void language plpgsql as $$
begin
    update orchestration_limitslot l set stirred_at = clock_timestamp() from unnest(runs, keys) as g(run, key) where l.run_id = g.run and l.key = g.key;
    update orchestration_limitqueue q set stirred_at = clock_timestamp() from unnest(runs, keys) as g(run, key) where q.run_id = g.run and q.key = g.key;
end $$;

-- Asks for slots and units, all or none, for a step that is about to call; with key 0 for a run that is about to start.
-- wanted: [{kind, key, max, per, units}], each kind and key once.
--
-- Gives null if it has them all; else {limit, kind, key, until}: it has a place in the line of that limit (a rate says until when), or
-- {most, kind, key}: it wants more units than may be had at once, or {lost}: the step is another's by now.
create function engine_acquire_v1(organization bigint, target bigint, step int, held bigint, wanted jsonb) returns jsonb language plpgsql as $$
declare
    limits bigint[];
    mine orchestration_limitqueue;
    urgency smallint;
    l record;
    full_id bigint;
begin
    if step > 0 then
        perform from orchestration_step s where s.run_id = target and s.key = step and s.fence = held and s.status = 'running' for share;
        if not found then
            return '{"lost": true}';
        end if;
    end if;
    limits := engine_limits_v1(organization, wanted, array(
        select q.limit_id from orchestration_limitqueue q where q.run_id = target and q.key = step));
    perform engine_tend_v1(limits);
    select q.* into mine from orchestration_limitqueue q where q.run_id = target and q.key = step;
    select case when r.status = 'paused' then -32768 else r.priority end into urgency from orchestration_run r where r.id = target;

    for l in
        select k.*, coalesce(k.max_override, k.max) as most, coalesce(k.per_override, k.per) as span, w.units as wants,
               k.id = mine.limit_id and mine.woken_at is not null as called
        from orchestration_limit k join jsonb_to_recordset(wanted) as w(kind text, key text, units int) on k.kind = w.kind and k.key = w.key
        where k.id = any (limits) order by k.id
    loop
        if l.kind in ('rate', 'start_rate') and l.wants > l.most then
            return jsonb_build_object('most', l.most, 'kind', l.kind, 'key', l.key);
        end if;
        if full_id is null and (
            l.called is not true and exists (
                select from orchestration_limitqueue q where q.limit_id = l.id and q.woken_at is null and q.priority > -32768 and q.id is distinct from mine.id
                    and (q.priority, -q.id) > (urgency, -coalesce(mine.id, 9223372036854775807)))
            or l.kind not in ('rate', 'start_rate') and l.taken + l.promised - coalesce(l.called, false)::int >= l.most
            or l.kind in ('rate', 'start_rate') and l.called is not true and l.promised + l.wants > l.most
            or l.kind in ('rate', 'start_rate') and clock_timestamp() < engine_room_at_v1(
                l.id, l.total + case when l.called then 0 else l.promised end + l.wants - l.most, l.span)) then
            full_id := l.id;
        end if;
    end loop;

    if mine.woken_at is not null then  -- what was promised to it is given, or goes back
        update orchestration_limit k set promised = k.promised - mine.units where k.id = mine.limit_id;
    end if;
    if full_id is null then
        delete from orchestration_limitqueue q where q.id = mine.id;
        insert into orchestration_limitslot (limit_id, run_id, key, fence)
        select k.id, target, step, held from orchestration_limit k join jsonb_to_recordset(wanted) as w(kind text, key text) on k.kind = w.kind and k.key = w.key
        where k.id = any (limits) and k.kind not in ('rate', 'start_rate');
        insert into orchestration_ratehit (limit_id, upto, units, at, run_id, key)
        select k.id, k.total + w.units, w.units, clock_timestamp(), target, step
        from orchestration_limit k join jsonb_to_recordset(wanted) as w(kind text, key text, units int) on k.kind = w.kind and k.key = w.key
        where k.id = any (limits) and k.kind in ('rate', 'start_rate');
        update orchestration_limit k set taken = k.taken + (k.kind not in ('rate', 'start_rate'))::int, total = k.total + case when k.kind in ('rate', 'start_rate') then w.units else 0 end
        from jsonb_to_recordset(wanted) as w(kind text, key text, units int) where k.id = any (limits) and k.kind = w.kind and k.key = w.key;
    else
        insert into orchestration_limitqueue (id, limit_id, run_id, key, fence, priority, units)
        select coalesce(mine.id, nextval(pg_get_serial_sequence('orchestration_limitqueue', 'id'))), k.id, target, step, held, urgency,
               case when k.kind in ('rate', 'start_rate') then w.units else 1 end
        from orchestration_limit k join jsonb_to_recordset(wanted) as w(kind text, key text, units int) on k.kind = w.kind and k.key = w.key
        where k.id = full_id
        on conflict (id) do update set limit_id = excluded.limit_id, fence = excluded.fence, units = excluded.units, woken_at = null;
    end if;
    if full_id is not null or mine.id is not null then
        perform engine_call_v1(limits);
    end if;
    return (select jsonb_strip_nulls(jsonb_build_object('limit', k.public_id, 'kind', k.kind, 'key', k.key, 'until', q.woken_at))
            from orchestration_limit k join orchestration_limitqueue q on q.limit_id = k.id where k.id = full_id and q.run_id = target and q.key = step);
end $$;
