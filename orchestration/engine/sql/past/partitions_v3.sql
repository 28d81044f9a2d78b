-- As engine_partitions_v2, for the values of streams too.
create function engine_partitions_v3(ahead bigint default 250000) returns int language plpgsql as $$
declare
    width constant bigint := 1000000;
    upto bigint := (select coalesce(max(id), 0) + ahead from orchestration_run);
    made int := engine_partitions_v2(ahead);
begin
    for part in 0 .. upto / width loop
        if to_regclass('orchestration_streamvalue_' || part) is null then
            execute format('create table orchestration_streamvalue_%s (like orchestration_streamvalue including all)', part);
            execute format('alter table orchestration_streamvalue attach partition orchestration_streamvalue_%s for values from (%s) to (%s)',
                           part, part * width, (part + 1) * width);
            made := made + 1;
        end if;
    end loop;
    return made;
end $$;
