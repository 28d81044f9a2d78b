-- Makes the partitions for the runs up to `ahead` beyond the newest; calling it again does nothing. A table is made first
-- and attached then: that takes a lock which lets steps be read and written, `create table … partition of` does not.
create function engine_partitions_v1(ahead bigint default 250000) returns int language plpgsql as $$
declare
    width constant bigint := 1000000;
    upto bigint := (select coalesce(max(id), 0) + ahead from orchestration_run);
    made int := 0;
begin
    perform pg_advisory_xact_lock(hashtext('engine_partitions'));
    for part in 0 .. upto / width loop
        if to_regclass('orchestration_step_' || part) is null then
            execute format('create table orchestration_step_%s (like orchestration_step including all) '
                           'with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02)', part);
            execute format('alter table orchestration_step attach partition orchestration_step_%s for values from (%s) to (%s)',
                           part, part * width, (part + 1) * width);
            execute format('create table orchestration_event_%s (like orchestration_event including all)', part);
            execute format('alter table orchestration_event attach partition orchestration_event_%s for values from (%s) to (%s)',
                           part, part * width, (part + 1) * width);
            made := made + 1;
        end if;
    end loop;
    return made;
end $$;
