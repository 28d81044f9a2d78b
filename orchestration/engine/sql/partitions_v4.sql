-- Makes the partitions that runs from the newest one on lie in, up to `ahead` beyond it; calling it again does nothing. Those
-- before it are not made again: retention has dropped them. The newest is what the sequence says where that is ahead of the rows:
-- retention moves it on to begin a partition. A table is made first and attached then: that takes a lock which lets rows be read
-- and written, `create table … partition of` does not.
create function engine_partitions_v4(ahead bigint default 250000) returns int language plpgsql as $$
declare
    width constant bigint := 1000000;
    newest bigint;
    parent text;
    made int := 0;
begin
    perform pg_advisory_xact_lock(hashtext('engine_partitions'));
    newest := greatest((select max(id) from orchestration_run), (select last_value from orchestration_run_id_seq));
    foreach parent in array array['orchestration_step', 'orchestration_event', 'orchestration_logline', 'orchestration_streamvalue'] loop
        for part in newest / width .. (newest + ahead) / width loop
            if to_regclass(parent || '_' || part) is null then
                execute format('create table %I (like %I including all)%s', parent || '_' || part, parent,
                               case when parent = 'orchestration_step' then ' with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02)' else '' end);
                execute format('alter table %I attach partition %I for values from (%s) to (%s)',
                               parent, parent || '_' || part, part * width, (part + 1) * width);
                made := made + 1;
            end if;
        end loop;
    end loop;
    return made;
end $$;
