-- Makes partitions ahead, and removes what nobody needs any more: worker rows dead for a week that own nothing, idempotency
-- keys of a day ago, and payloads that no step and no run names and nobody stored again for a day.
--
-- Payloads are looked at in the order of their digests, `most` of them behind `after`: each call costs the same however many
-- there are. Returns the digest to go on behind, an empty one after the last; null if another process is at it, for whom nobody
-- waits. A payload that is stored again at this moment has a new used_at: the delete waits for its row, looks at the condition again
-- and lets it be.
create function engine_housekeeping_v3(after bytea, most int default 5000) returns bytea language plpgsql as $$
declare
    last bytea;
begin
    if not pg_try_advisory_xact_lock(hashtext('engine_partitions')) then  -- the same that making partitions waits for
        return null;
    end if;
    perform engine_partitions_v2();
    delete from orchestration_worker w where w.dead_at < clock_timestamp() - interval '7 days'
        and not exists (select from orchestration_step s where s.status = 'running' and s.owner = w.id);
    delete from orchestration_startkey k where k.created_at < clock_timestamp() - interval '1 day';
    with seen as materialized (
        select p.digest, p.used_at from orchestration_payload p where p.digest > after order by p.digest limit most
    ), unused as (
        select p.digest from seen p where p.used_at < clock_timestamp() - interval '1 day'
            and not exists (select from orchestration_step s where s.input_digest = p.digest)
            and not exists (select from orchestration_step s where s.output_digest = p.digest)
            and not exists (select from orchestration_run r where r.output_digest = p.digest)
    ), gone as (
        delete from orchestration_payload p using unused u where p.digest = u.digest and p.used_at < clock_timestamp() - interval '1 day'
    )
    select digest into last from seen order by digest offset most - 1;
    return coalesce(last, '');
end $$;
