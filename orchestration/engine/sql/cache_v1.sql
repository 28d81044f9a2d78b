-- Answers that are kept for steps that would ask the same again, and the one step that asks for all of them.
--
-- An entry with a `fence` has no answer yet: it is a flight. Step (run_id, key) is at it under that fence; or it is `promised` the
-- next turn, and its fence is that of its wait. Whoever wants the same meanwhile waits as a row, with a place in its line, and is
-- made ready by a sweep when it is woken: all of them when the answer is there, the next one when its step is at it no more.
--
-- Who joins a line, who passes it on and who brings the answer hold the entry's row, and read what they go by in a statement
-- of its own behind that lock.

-- Whether somebody is at it, or will be. A run that is held up loses its turn.
create function engine_flies_v1(flown bigint, by_key int, under bigint, by_promise boolean) returns boolean language sql stable as $$
    select exists (
        select from orchestration_step s join orchestration_run r on r.id = s.run_id
        where s.run_id = flown and s.key = by_key and case when by_promise
            then s.fence in (under, under + 1) and s.status in ('waiting', 'ready', 'running') and engine_goes_v1(r.status, r.undoing)
            else s.fence = under and s.status = 'running' end)
$$;

-- For a step that is about to ask. kept: there is an answer; asks: it is this step that asks; waits: another does, and this one
-- has a place in its line. `made`: the run and step that it comes from, or that ask.
create function engine_look_v1(whose bigint, wanted bytea, asked text, by_run bigint, by_key int, under bigint,
    out verdict text, out output jsonb, out output_digest text, out made jsonb) language plpgsql as $$
declare
    e orchestration_cacheentry;
begin
    delete from orchestration_cacheplace p where p.run_id = by_run and p.key = by_key;
    select * into e from orchestration_cacheentry c
    where c.organization_id = whose and c.digest = wanted and c.fence is null and c.expires_at > clock_timestamp();
    while e is null loop
        insert into orchestration_cacheentry (organization_id, digest, agent, run_id, key, fence, expires_at)
        values (whose, wanted, asked, by_run, by_key, under, 'infinity') on conflict do nothing;
        if found then
            verdict := 'asks';
            return;
        end if;
        select * into e from orchestration_cacheentry c where c.organization_id = whose and c.digest = wanted for update;  -- or it has gone
    end loop;
    if e.fence is null and e.expires_at > clock_timestamp() then
        verdict := 'kept'; output := e.output; output_digest := encode(e.output_digest, 'hex');
    elsif e.fence is null or (e.run_id, e.key) = (by_run, by_key) or not engine_flies_v1(e.run_id, e.key, e.fence, e.promised) then
        update orchestration_cacheentry c set run_id = by_run, key = by_key, fence = under, promised = false, output = null, output_digest = null,
            expires_at = 'infinity'
        where c.organization_id = whose and c.digest = wanted;
        verdict := 'asks';
        return;
    else
        insert into orchestration_cacheplace (organization_id, digest, run_id, key, fence, priority)
        select whose, wanted, by_run, by_key, under, s.priority from orchestration_step s where s.run_id = by_run and s.key = by_key;
        verdict := 'waits';
    end if;
    select jsonb_strip_nulls(jsonb_build_object('run', r.public_id, 'step', s.name, 'index', s.index, 'at', case when verdict = 'kept' then e.made_at end)) into made
    from (select) one left join orchestration_run r on r.id = e.run_id left join orchestration_step s on s.run_id = e.run_id and s.key = e.key;
end $$;

-- Keeps the outputs of the steps whose `more` has {cache: {digest, agent, seconds}}, and wakes who waits for them.
create function engine_cache_v1(moved engine_moved_v1[]) returns void language plpgsql as $$
declare
    kept record;
begin
    for kept in  -- in the order in which all lock them
        select distinct on (r.organization_id, x.digest) r.organization_id, decode(x.digest, 'hex') as digest, x.agent, x.seconds, m.run, m.key, s.output, s.output_digest
        from unnest(moved) m
        cross join lateral jsonb_to_record(m.more -> 'cache') as x(digest text, agent text, seconds float8)
        cross join lateral (select r.organization_id from orchestration_run r where r.id = m.run offset 0) r
        cross join lateral (select s.output, s.output_digest from orchestration_step s where s.run_id = m.run and s.key = m.key offset 0) s
        where m.becomes = 'completed' and m.more ? 'cache' order by 1, x.digest
    loop
        insert into orchestration_cacheentry as c (organization_id, digest, agent, run_id, key, output, output_digest, expires_at)
        values (kept.organization_id, kept.digest, kept.agent, kept.run, kept.key, kept.output, kept.output_digest,
                clock_timestamp() + make_interval(secs => kept.seconds))
        on conflict (organization_id, digest) do update set run_id = excluded.run_id, key = excluded.key, fence = null, promised = false,
            output = excluded.output, output_digest = excluded.output_digest, made_at = clock_timestamp(), expires_at = excluded.expires_at;
        update orchestration_cacheplace p set woken_at = clock_timestamp()
        where p.organization_id = kept.organization_id and p.digest = kept.digest and p.woken_at is null;
    end loop;
end $$;

-- Flights whose step is at it no more go to the next in line; how many. If none of those that wait may go on at this moment, all
-- are woken, and whoever comes first asks.
create function engine_pass_on_v1(most int) returns int language plpgsql as $$
declare
    e orchestration_cacheentry;
    next orchestration_cacheplace;
    passed int := 0;
begin
    for e in
        select c.* from orchestration_cacheentry c where c.fence is not null and not engine_flies_v1(c.run_id, c.key, c.fence, c.promised)
        order by c.organization_id, c.digest limit most for update skip locked
    loop
        continue when engine_flies_v1(e.run_id, e.key, e.fence, e.promised);
        select p.* into next from orchestration_cacheplace p join orchestration_step s on s.run_id = p.run_id and s.key = p.key
        join orchestration_run r on r.id = p.run_id
        where p.organization_id = e.organization_id and p.digest = e.digest and p.woken_at is null
            and s.status = 'waiting' and s.fence = p.fence and engine_goes_v1(r.status, r.undoing)
        order by p.priority desc, p.id limit 1;
        if found then
            update orchestration_cacheentry c set run_id = next.run_id, key = next.key, fence = next.fence, promised = true
            where c.organization_id = e.organization_id and c.digest = e.digest;
        else
            delete from orchestration_cacheentry c where c.organization_id = e.organization_id and c.digest = e.digest;
        end if;
        update orchestration_cacheplace p set woken_at = clock_timestamp()
        where p.organization_id = e.organization_id and p.digest = e.digest and p.woken_at is null and (next.id is null or p.id = next.id);
        passed := passed + 1;
    end loop;
    return passed;
end $$;
