-- Events from outside and the steps that wait for them meet here. Who delivers an event and who begins to wait for it both take
-- the lock of its key first. So either the wait is committed before the event has its lock, and then matching, which comes after
-- the event's commit, sees it; or the event is committed before the wait has its lock, and then looking back sees it. An event
-- is for every wait of its organization; in each round of a step only once, however often a loop opens it.

-- The lock of a key of events. All that a settle needs are taken at its beginning, in the order of these numbers.
create function engine_mailbox_v1(organization bigint, name text, key text) returns bigint language sql immutable as $$
    select hashtextextended(organization::text || chr(1) || name || chr(1) || key, 0)
$$;

-- Delivers an event. `sender` is its sender's own name for it: under the same one it counts once. Gives its public id, and
-- whether it is new.
create function engine_deliver_v1(public text, organization bigint, called text, of_key text, content jsonb, digest bytea, sender text, by_member bigint)
returns table (public_id text, is_new boolean) language plpgsql as $$
#variable_conflict use_column
begin
    perform pg_advisory_xact_lock(engine_mailbox_v1(organization, called, of_key));
    return query
        insert into orchestration_outsideevent as e (public_id, organization_id, name, key, data, data_digest, sender_id, by_id, received_at)
        values (public, organization, called, of_key, content, digest, sender, by_member, clock_timestamp())
        on conflict (organization_id, sender_id) where sender_id is not null do nothing
        returning e.public_id::text, true;
    if not found then
        return query select e.public_id::text, false from orchestration_outsideevent e where e.organization_id = organization and e.sender_id = sender;
    end if;
end $$;

-- Before steps begin to wait for events: the locks of the keys.
create function engine_listen_v1(items jsonb) returns void language plpgsql as $$
declare
    box bigint;
begin
    for box in
        select distinct engine_mailbox_v1((i -> 'more' ->> 'organization')::bigint, h ->> 'name', h ->> 'key')
        from jsonb_array_elements(items) i cross join jsonb_array_elements(i -> 'more' -> 'hears') h order by 1
    loop
        perform pg_advisory_xact_lock(box);
    end loop;
end $$;

-- Whether a step, in this round, has been ended by this event: another pass of a loop around it is not.
create function engine_heard_v1(run bigint, place int, in_round int, event bigint) returns boolean language sql stable as $$
    select exists (select from orchestration_step s where s.run_id = run and s.position = place and s.round = in_round and s.event_id = event)
$$;

-- Steps that wait now: what for, and whether it came already.
create function engine_hear_v1(moved engine_moved_v1[]) returns void language sql as $$
    insert into orchestration_eventwait (run_id, key, number, organization_id, name, event_key, fence, since, event_id, becomes)
    select m.run, m.key, h.number, r.organization_id, h.box ->> 'name', h.box ->> 'key', s.fence, r.created_at, e.id, m.more ->> 'becomes'
    from unnest(moved) m
    cross join lateral (select r.organization_id, r.created_at from orchestration_run r where r.id = m.run offset 0) r
    cross join lateral (
        select s.fence, s.position, s.round from orchestration_step s where s.run_id = m.run and s.key = m.key offset 0) s
    cross join lateral jsonb_array_elements(m.more -> 'hears') with ordinality as h(box, number)
    left join lateral (
        select e.id from orchestration_outsideevent e
        where e.organization_id = r.organization_id and e.name = h.box ->> 'name' and e.key = h.box ->> 'key' and e.run_id is null
            and e.received_at >= greatest(r.created_at, clock_timestamp() - make_interval(hours => (m.more ->> 'look_back')::int))
            and not engine_heard_v1(m.run, s.position, s.round, e.id)
        order by e.id limit 1) e on true
    where m.becomes = 'waiting' and m.more ? 'hears'
$$;

-- Steps that wait no more.
create function engine_deaf_v1(moved engine_moved_v1[]) returns void language sql as $$
    delete from orchestration_eventwait w using unnest(moved) m
    where w.run_id = m.run and w.key = m.key and m.kind = 'wait' and m.was = 'waiting' and m.becomes <> 'waiting'
$$;

-- Brings events that nobody has looked at to the waits that are open, the oldest at the front; the sweep then moves the steps.
-- Gives how many events.
create function engine_match_v1(most int) returns int language plpgsql as $$
declare
    pending bigint[];
begin
    select array_agg(e.id) into pending from (
        select e.id from orchestration_outsideevent e where e.matched_at is null order by e.id limit most for update skip locked) e;
    if pending is null then
        return 0;
    end if;
    with met as (
        select w.run_id, w.key, w.number, min(e.id) as event
        from orchestration_outsideevent e
        cross join lateral (
            select w.run_id, w.key, w.number from orchestration_eventwait w
            where w.organization_id = e.organization_id and w.name = e.name and w.event_key = e.key and w.event_id is null and w.since <= e.received_at
            offset 0) w
        join orchestration_step s on s.run_id = w.run_id and s.key = w.key
        where e.id = any (pending) and e.run_id is null and not engine_heard_v1(w.run_id, s.position, s.round, e.id)
        group by w.run_id, w.key, w.number
    ), held as materialized (
        select w.run_id, w.key, w.number from orchestration_eventwait w join met on met.run_id = w.run_id and met.key = w.key and met.number = w.number
        order by w.run_id, w.key, w.number for update of w
    )
    update orchestration_eventwait w set event_id = met.event from held h join met on met.run_id = h.run_id and met.key = h.key and met.number = h.number
    where w.run_id = h.run_id and w.key = h.key and w.number = h.number and w.event_id is null;
    update orchestration_outsideevent e set matched_at = clock_timestamp() where e.id = any (pending);
    return cardinality(pending);
end $$;
