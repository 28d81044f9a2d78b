-- As engine_partitions_v1, for the log's lines too. Each table is looked at by itself: an older release at work beside
-- this one makes those of steps and events alone.
create function engine_partitions_v2(ahead bigint default 250000) returns int language plpgsql as $$
declare
    width constant bigint := 1000000;
    upto bigint := (select coalesce(max(id), 0) + ahead from orchestration_run);
    made int := engine_partitions_v1(ahead);
begin
    for part in 0 .. upto / width loop
        if to_regclass('orchestration_logline_' || part) is null then
            execute format('create table orchestration_logline_%s (like orchestration_logline including all)', part);
            execute format('alter table orchestration_logline attach partition orchestration_logline_%s for values from (%s) to (%s)',
                           part, part * width, (part + 1) * width);
            made := made + 1;
        end if;
    end loop;
    return made;
end $$;
