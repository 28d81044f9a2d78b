-- Events from outside and the steps that wait for them meet here. Who delivers an event and who begins to wait for it both take
-- the lock of its key first. So either the wait is committed before the event has its lock, and then matching, which comes after
-- the event's commit, sees it; or the event is committed before the wait has its lock, and then looking back sees it. An event
-- is for every wait of its organization; in each round of a step only once, however often a loop opens it.
--
-- A message is for one run. Who sends it and who begins to wait for it both hold that run's lock, and it is taken by one wait,
-- which takes one: there is never both a message that nobody has and an open wait for one of its name. What waits for a message
-- is of no organization (0), so no event meets it.

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
        on conflict (organization_id, sender_id) where sender_id is not null and run_id is null do nothing
        returning e.public_id::text, true;
    if not found then
        return query select e.public_id::text, false from orchestration_outsideevent e
            where e.organization_id = organization and e.sender_id = sender and e.run_id is null;
    end if;
end $$;

-- Before steps begin to wait for events: the locks of the keys.
create function engine_listen_v1(items jsonb) returns void language plpgsql as $$
declare
    box bigint;
begin
    for box in
        select distinct engine_mailbox_v1((i -> 'more' ->> 'organization')::bigint, h ->> 'name', h ->> 'key')
        from jsonb_array_elements(items) i cross join jsonb_array_elements(i -> 'more' -> 'hears') h
        where not h ? 'message' order by 1
    loop
        perform pg_advisory_xact_lock(box);
    end loop;
end $$;

-- Whether a step, in this round, has been ended by this event: another pass of a loop around it is not.
create function engine_heard_v1(run bigint, place int, in_round int, event bigint) returns boolean language sql stable as $$
    select exists (select from orchestration_step s where s.run_id = run and s.position = place and s.round = in_round and s.event_id = event)
$$;

-- Steps that wait now: what for, and whether it came already.
create function engine_hear_v1(moved engine_moved_v1[]) returns void language plpgsql as $$
declare
    x record;
begin
    insert into orchestration_eventwait (run_id, key, number, organization_id, name, event_key, fence, since, event_id, becomes)
    select m.run, m.key, h.number, case when h.box ? 'message' then 0 else r.organization_id end, h.box ->> 'name', h.box ->> 'key', s.fence,
           r.created_at, e.id, m.more ->> 'becomes'
    from unnest(moved) m
    cross join lateral (select r.organization_id, r.created_at from orchestration_run r where r.id = m.run offset 0) r
    cross join lateral (
        select s.fence, s.position, s.round from orchestration_step s where s.run_id = m.run and s.key = m.key offset 0) s
    cross join lateral jsonb_array_elements(m.more -> 'hears') with ordinality as h(box, number)
    left join lateral (
        select e.id from orchestration_outsideevent e
        where not h.box ? 'message' and e.organization_id = r.organization_id and e.name = h.box ->> 'name' and e.key = h.box ->> 'key'
            and e.run_id is null and e.received_at >= greatest(r.created_at, clock_timestamp() - make_interval(hours => (m.more ->> 'look_back')::int))
            and not engine_heard_v1(m.run, s.position, s.round, e.id)
        order by e.id limit 1) e on true
    where m.becomes = 'waiting' and m.more ? 'hears';

    for x in
        select m.run, m.key, h.number, h.box ->> 'name' as name from unnest(moved) m
        cross join lateral jsonb_array_elements(m.more -> 'hears') with ordinality as h(box, number)
        where m.becomes = 'waiting' and m.more ? 'hears' and h.box ? 'message' order by m.run, m.key, h.number
    loop
        continue when exists (select from orchestration_eventwait w where w.run_id = x.run and w.key = x.key and w.event_id is not null);
        with letter as (
            update orchestration_outsideevent e set taken_key = x.key where e.id = (
                select o.id from orchestration_outsideevent o where o.run_id = x.run and o.name = x.name and o.taken_key is null order by o.id limit 1)
            returning e.id
        )
        update orchestration_eventwait w set event_id = l.id from letter l where w.run_id = x.run and w.key = x.key and w.number = x.number;
    end loop;
end $$;

-- Gives a message that nobody has to the wait for one of its name that is first in its run, if there is one. The caller holds
-- the run's lock.
create function engine_hand_v1(letter bigint) returns void language sql as $$
    with taker as (
        select w.run_id, w.key, w.number from orchestration_outsideevent e join orchestration_eventwait w on w.run_id = e.run_id and w.name = e.name
        where e.id = letter and w.organization_id = 0 and not exists (
            select from orchestration_eventwait o where o.run_id = w.run_id and o.key = w.key and o.event_id is not null)
        order by w.key, w.number limit 1
    ), met as (
        update orchestration_eventwait w set event_id = letter from taker t where w.run_id = t.run_id and w.key = t.key and w.number = t.number
    )
    update orchestration_outsideevent e set taken_key = t.key from taker t where e.id = letter
$$;

-- Steps that wait no more. A message that one of them was to have, and has not, is for the next.
create function engine_deaf_v1(moved engine_moved_v1[]) returns void language plpgsql as $$
declare
    letter bigint;
begin
    for letter in
        with gone as (
            delete from orchestration_eventwait w using unnest(moved) m
            where w.run_id = m.run and w.key = m.key and m.kind = 'wait' and m.was = 'waiting' and m.becomes <> 'waiting'
            returning w.run_id, w.key, w.event_id, (m.more ->> 'event')::bigint as heard
        ), back as (
            update orchestration_outsideevent e set taken_key = null from gone g
            where e.id = g.event_id and e.run_id = g.run_id and e.taken_key = g.key and g.heard is distinct from e.id
            returning e.id
        )
        select id from back order by id
    loop
        perform engine_hand_v1(letter);
    end loop;
end $$;

-- Keeps a message to a run, if all that it was judged by is so still: `seen` has [name, key, status] of the steps that were read.
-- Verdict: kept; again (under the same `sender` it counts once); moved; or ended (or about to).
create function engine_message_v1(target bigint, seen jsonb, public text, called text, content jsonb, digest bytea, told_back jsonb, sender text,
    by_member bigint, told jsonb)
returns table (verdict text, public_id text) language plpgsql as $$
#variable_conflict use_column
declare
    r record;
    letter bigint;
begin
    select o.organization_id, o.status, o.ended_at into strict r from orchestration_run o where o.id = target for no key update;
    return query select 'again', e.public_id::text from orchestration_outsideevent e where e.run_id = target and e.sender_id = sender;
    if found then
        return;
    elsif r.ended_at is not null or r.status = 'canceling' then
        return query select 'ended', null;
        return;
    elsif exists (
        select from jsonb_array_elements(seen) o left join lateral (
            select s.key, s.status from orchestration_step s
            where s.run_id = target and s.name = o ->> 0 and s.head is null and s.undoes is null order by s.key desc limit 1) n on true
        where jsonb_build_array(o -> 0, n.key, n.status) <> o)
    then
        return query select 'moved', null;
        return;
    end if;
    insert into orchestration_outsideevent as e (public_id, organization_id, run_id, name, key, data, data_digest, reply, sender_id, by_id, received_at,
        matched_at)
    values (public, r.organization_id, target, called, '', content, digest, told_back, sender, by_member, clock_timestamp(), clock_timestamp())
    returning e.id into letter;
    perform engine_hand_v1(letter);
    perform engine_settle_v3(null, '[]', '{}', jsonb_build_array(jsonb_build_object('run', target, 'type', 'message.received', 'data', told)), '{}');
    return query select 'kept', public;
end $$;

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
