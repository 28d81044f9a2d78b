-- As engine_cancel_v1, but a run that was still to be tidied up stays so: a step's time may have been over a moment before,
-- and its child goes on until somebody cancels it.
create function engine_cancel_v2(target bigint, ends_as text, note jsonb, gate jsonb default null) returns text language plpgsql as $$
declare
    untidy boolean;
    result text;
begin
    select r.tidy into untidy from orchestration_run r where r.id = target for no key update;
    result := engine_cancel_v1(target, ends_as, note, gate);
    if untidy and result is not null then
        update orchestration_run r set tidy = true where r.id = target;
    end if;
    return result;
end $$;
