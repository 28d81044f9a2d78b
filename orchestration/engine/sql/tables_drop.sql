drop table orchestration_event, orchestration_step;
drop index if exists run_output_digest;
alter table orchestration_run drop constraint run_status_known, drop constraint run_ended_has_its_time;
