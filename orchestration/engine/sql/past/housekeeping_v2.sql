-- As engine_housekeeping_v1, with the partitions of the log's lines. Lines are kept as long as the events of their run.
create function engine_housekeeping_v2(most int default 1000) returns int language plpgsql as $$
begin
    perform engine_partitions_v2();
    return engine_housekeeping_v1(most);
end $$;
