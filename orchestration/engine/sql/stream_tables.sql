-- What steps hand out while they run, value by value, for programs to read. Partitioned as the log's lines are.
create table orchestration_streamvalue (
    run_id bigint not null,
    name text not null,
    number int not null,
    key int not null,
    at timestamptz not null,
    value jsonb not null,
    primary key (run_id, name, number)
) partition by range (run_id);

-- One row for each name under which a run has values: how many.
create table orchestration_streamhead (
    run_id bigint not null,
    name text not null,
    number int not null,
    primary key (run_id, name)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);
