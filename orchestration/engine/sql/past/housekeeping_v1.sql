-- What nobody needs any more: worker rows dead for a week that own nothing, idempotency keys of a day ago, and payloads that no step or run names and
-- nobody stored again for a day. A payload that is stored again at this moment has a new used_at: the delete waits for
-- its row, looks at the condition again and lets it be.
create index step_input_digest on orchestration_step (input_digest) where input_digest is not null;
create index step_output_digest on orchestration_step (output_digest) where output_digest is not null;
create index run_output_digest on orchestration_run (output_digest) where output_digest is not null;

create function engine_housekeeping_v1(most int default 1000) returns int language plpgsql as $$
declare
    collected int;
begin
    perform engine_partitions_v1();
    delete from orchestration_worker w where w.dead_at < clock_timestamp() - interval '7 days'
        and not exists (select from orchestration_step s where s.status = 'running' and s.owner = w.id);
    delete from orchestration_startkey k where k.created_at < clock_timestamp() - interval '1 day';
    with unused as (
        select p.digest from orchestration_payload p where p.used_at < clock_timestamp() - interval '1 day'
            and not exists (select from orchestration_step s where s.input_digest = p.digest)
            and not exists (select from orchestration_step s where s.output_digest = p.digest)
            and not exists (select from orchestration_run r where r.output_digest = p.digest)
        order by p.used_at limit most
    )
    delete from orchestration_payload p using unused u where p.digest = u.digest and p.used_at < clock_timestamp() - interval '1 day';
    get diagnostics collected = row_count;
    return collected;
end $$;
