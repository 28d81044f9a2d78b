-- Cancels a run, or rejects it at a gate (`gate` is then the gate's own item), or lets it fail: with `ends_as` failed the note's
-- `error` is the run's. What runs may end; nothing starts, but what takes back what was done. Leaves end first: a step whose
-- child is open waits for its end, unless the child outlives its parent.
-- Returns the run's status afterwards, or null if it had ended before, or if the gate was answered before.
create function engine_cancel_v4(target bigint, ends_as text, note jsonb, gate jsonb default null) returns text language plpgsql as $$
declare
    found_status text;
    items jsonb;
    result text;
begin
    select r.status into found_status from orchestration_run r where r.id = target for no key update;
    if found_status is null or found_status in ('completed', 'failed', 'canceled', 'rejected') then
        return null;
    end if;
    if found_status = 'canceling' then
        return case when gate is null then found_status end;
    end if;
    if gate is not null then
        perform from orchestration_step s where s.run_id = target and s.key = (gate ->> 'key')::int and s.fence = (gate ->> 'fence')::bigint and s.status = 'waiting';
        if not found then
            return null;
        end if;
    end if;
    -- A run that is still to be tidied up stays so: a step's time may have been over a moment before, and its child goes on.
    update orchestration_run r set status = 'canceling', ending = ends_as,
        error = case when ends_as = 'failed' then coalesce(r.error, note -> 'error') else r.error end,
        tidy = r.tidy or exists (select from orchestration_step s where s.run_id = target and s.status = 'waiting' and s.waits_for in ('approval', 'child'))
    where r.id = target;
    select coalesce(jsonb_agg(case when s.key = (gate ->> 'key')::int then gate
                              else jsonb_build_object('n', s.key, 'run', target, 'key', s.key, 'fence', s.fence, 'was', s.status, 'outcome', 'canceled') end), '[]')
    into items from orchestration_step s
    where s.run_id = target and s.status in ('blocked', 'ready', 'waiting', 'uncertain') and s.undoes is null and not engine_kept_v1(target, s.child_run_id);
    perform engine_settle_v3(null, items, '{}', jsonb_build_array(jsonb_build_object('run', target, 'type', 'run.canceling', 'data', note)), null);
    select r.status into result from orchestration_run r where r.id = target;
    return result;
end $$;
