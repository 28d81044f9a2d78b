-- What steps say while they run, line by line, for people to read. Partitioned as events are, without foreign keys.
create table orchestration_logline (
    run_id bigint not null,
    number int not null,
    at timestamptz not null,
    key int not null,
    attempt int not null,
    level text not null,
    text text not null,
    primary key (run_id, number),
    constraint logline_level_known check (level in ('debug', 'info', 'warning', 'error'))
) partition by range (run_id);
create index logline_errors on orchestration_logline (run_id, number) where level = 'error';

-- One row for each run that has lines: how many, and how many of them are errors.
create table orchestration_loghead (
    run_id bigint primary key,
    number int not null,
    errors int not null
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);
