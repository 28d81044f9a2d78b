-- Makes partitions ahead, and removes what nobody needs any more: worker rows dead for a week that own nothing, idempotency
-- keys of a day ago, events from outside and schedules' planned times of a month ago, cached outputs whose time is over, limits that
-- nobody asked for in a day, and payloads that nothing names and nobody stored again for a day.
--
-- Payloads are looked at in the order of their digests, `most` of them behind `after`: each call costs the same however many
-- there are. Returns the digest to go on behind, an empty one after the last; null if another process is at it, for whom nobody
-- waits. A payload that is stored again at this moment has a new used_at: the delete waits for its row, looks at the condition again
-- and lets it be.
create function engine_housekeeping_v4(after bytea, most int default 5000) returns bytea language plpgsql as $$
declare
    now constant timestamptz := clock_timestamp();
    last bytea;
begin
    if not pg_try_advisory_xact_lock(hashtext('engine_partitions')) then  -- the same that making partitions waits for
        return null;
    end if;
    perform engine_partitions_v3();
    delete from orchestration_worker w where w.dead_at < now - interval '7 days'
        and not exists (select from orchestration_step s where s.status = 'running' and s.owner = w.id);
    delete from orchestration_startkey k where k.created_at < now - interval '1 day';
    delete from orchestration_schedulefire f where f.at < now - interval '30 days';
    delete from orchestration_cacheentry c where (c.organization_id, c.digest) in (
        select o.organization_id, o.digest from orchestration_cacheentry o where o.expires_at < now for update skip locked);
    delete from orchestration_cacheplace p where not exists (  -- of steps that gave up waiting for an answer
        select from orchestration_step s where s.run_id = p.run_id and s.key = p.key and s.fence = p.fence and s.status in ('running', 'waiting'));
    delete from orchestration_outsideevent e where e.received_at < now - interval '30 days' and e.matched_at is not null and e.id in (
        select o.id from orchestration_outsideevent o where o.run_id is null order by o.id limit most);
    delete from orchestration_debounce d where d.first_at < now - interval '1 day'
        and not exists (select from orchestration_step s where s.run_id = d.run_id and s.key = 0 and s.status = 'waiting');
    delete from orchestration_ratehit h using orchestration_limit l
        where l.id = h.limit_id and h.at < now - interval '1 hour' - make_interval(secs => coalesce(l.per_override, l.per));
    delete from orchestration_limit l where l.used_at < now - interval '1 day' and l.taken = 0 and l.promised = 0
        and l.max_override is null and l.per_override is null
        and not exists (select from orchestration_limitslot s where s.limit_id = l.id)
        and not exists (select from orchestration_limitqueue q where q.limit_id = l.id)
        and not exists (select from orchestration_ratehit h where h.limit_id = l.id);
    with seen as materialized (
        select p.digest, p.used_at from orchestration_payload p where p.digest > after order by p.digest limit most
    ), unused as (
        select p.digest from seen p where p.used_at < now - interval '1 day'
            and not exists (select from orchestration_step s where s.input_digest = p.digest)
            and not exists (select from orchestration_step s where s.output_digest = p.digest)
            and not exists (select from orchestration_step s where s.item_digest = p.digest)
            and not exists (select from orchestration_step s where s.undo_digest = p.digest)
            and not exists (select from orchestration_run r where r.output_digest = p.digest)
            and not exists (select from orchestration_outsideevent e where e.data_digest = p.digest)
            and not exists (select from orchestration_cacheentry c where c.output_digest = p.digest)
    ), gone as (
        delete from orchestration_payload p using unused u where p.digest = u.digest and p.used_at < clock_timestamp() - interval '1 day'
    )
    select digest into last from seen order by digest offset most - 1;
    return coalesce(last, '');
end $$;
