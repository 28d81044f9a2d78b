-- Steps and events lie in partitions by range of the run's id, which grows with time. PostgreSQL cannot partition by
-- time under the key (run, seq). fillfactor leaves room for the three or four updates a step's row gets.
create table orchestration_step (
    run_id bigint not null,
    key int not null,
    position int not null,
    name text not null,
    round int not null default 1,
    index int,
    kind text not null,
    queue text not null,
    status text not null,
    waits_for text,
    fence bigint not null default 0,
    attempt int not null default 0,
    lost int not null default 0,
    owner bigint,
    open_needs int not null,
    failed_needs int not null default 0,
    dependants int[] not null,
    reads int[] not null,
    tolerant boolean not null,
    repeatable boolean not null,
    agent_version_id bigint,
    priority smallint not null default 0,
    rank bigint not null default 0,
    wake_at timestamptz,
    started_at timestamptz,
    ended_at timestamptz,
    input jsonb,
    input_digest bytea,
    output jsonb,
    output_digest bytea,
    error jsonb,
    decision jsonb,
    feedback jsonb,
    usage jsonb,
    child_run_id bigint,
    primary key (run_id, key),
    constraint step_status_known check (status in ('blocked', 'ready', 'running', 'waiting', 'uncertain', 'completed', 'failed', 'skipped', 'canceled')),
    constraint step_running_is_owned check ((status = 'running') = (owner is not null))
) partition by range (run_id);

-- A claim is one range scan; each repair of the sweep reads just what is to repair.
create index step_ready on orchestration_step (queue, priority desc, rank, run_id, key) where status = 'ready';
create index step_owned on orchestration_step (owner) where status = 'running';
create index step_due on orchestration_step (wake_at) where status = 'waiting' and wake_at is not null;
create index step_uncertain on orchestration_step (run_id) where status = 'uncertain';  -- for the first page

create table orchestration_event (
    run_id bigint not null,
    seq int not null,
    at timestamptz not null default clock_timestamp(),
    type text not null,
    key int,
    data jsonb,
    primary key (run_id, seq)
) partition by range (run_id);

alter table orchestration_run set (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);
alter table orchestration_worker set (fillfactor = 50);
alter table orchestration_run add constraint run_status_known
    check (status in ('planning', 'running', 'waiting', 'paused', 'canceling', 'completed', 'failed', 'canceled', 'rejected'));
alter table orchestration_run add constraint run_ended_has_its_time
    check ((status in ('completed', 'failed', 'canceled', 'rejected')) = (ended_at is not null));
