-- Makes the partitions for the runs up to `ahead` beyond the newest; calling it again does nothing.
create function engine_partitions_v1(ahead bigint default 1000000) returns int language plpgsql as $$
declare
    width constant bigint := 1000000;
    upto bigint := (select coalesce(max(id), 0) + ahead from orchestration_run);
    made int := 0;
begin
    perform pg_advisory_xact_lock(hashtext('engine_partitions'));
    for part in 0 .. upto / width loop
        if to_regclass('orchestration_step_' || part) is null then
            execute format('create table orchestration_step_%s partition of orchestration_step for values from (%s) to (%s) '
                           'with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02)', part, part * width, (part + 1) * width);
            execute format('create table orchestration_event_%s partition of orchestration_event for values from (%s) to (%s)',
                           part, part * width, (part + 1) * width);
            made := made + 1;
        end if;
    end loop;
    return made;
end $$;
