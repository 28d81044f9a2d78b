-- Starts that follow each other closely come together: the first lays a run whose start waits, those that follow change its input and
-- move its time on. The key's row in `debounce` is locked before the run, by starts alone; the run's lock says whether it still waits.
--
-- content: the input; asks: what the run's start asks for from now on: {debounce: {for, at_most, gather}, limits, when_full}.

-- Joins the run that waits under this key: its id, or null if there is none that does; then the caller lays one, and says so by
-- engine_debounced.
create function engine_debounce_v1(organization bigint, version bigint, of_key text, content jsonb, asks jsonb, labeled jsonb) returns bigint
language plpgsql as $$
declare
    of_definition bigint;
    place orchestration_debounce;
    how record;
    joined jsonb;
begin
    select v.definition_id into of_definition from orchestration_definitionversion v where v.id = version;
    loop
        insert into orchestration_debounce (organization_id, definition_id, key, run_id, first_at, starts)
        values (organization, of_definition, of_key, 0, clock_timestamp(), 0) on conflict do nothing;
        select d.* into place from orchestration_debounce d where d.definition_id = of_definition and d.key = of_key for update;
        exit when found;  -- else housekeeping was quicker
    end loop;
    perform from orchestration_run r where r.id = place.run_id for no key update;
    select d.* into how from jsonb_to_record(asks -> 'debounce') as d("for" float8, at_most float8, gather int);
    select case when how.gather is null then content
                else content || jsonb_build_object('items', r.input -> 'items' || (content -> 'items')) end into joined
    from orchestration_run r join orchestration_step s on s.run_id = r.id and s.key = 0
    where r.id = place.run_id and r.definition_version_id = version and r.status in ('waiting', 'paused')
        and s.status = 'waiting' and s.input ? 'debounce' and jsonb_array_length(coalesce(r.input -> 'items', '[]')) < coalesce(how.gather, 2147483647);
    if not found then
        return null;
    end if;
    update orchestration_run r set input = joined, labels = labeled where r.id = place.run_id;
    perform engine_debounced_v1(of_definition, of_key, place.run_id, place.first_at, place.starts + 1, asks);
    return place.run_id;
end $$;

-- This run is the one that waits under the key: when it begins, and what its start asks for.
create function engine_debounced_v1(of_definition bigint, of_key text, target bigint, first timestamptz, count int, asks jsonb) returns void
language plpgsql as $$
declare
    how record;
    items int;
begin
    select d.* into how from jsonb_to_record(asks -> 'debounce') as d("for" float8, at_most float8, gather int);
    select case when how.gather is not null then jsonb_array_length(r.input -> 'items') else 0 end into items from orchestration_run r where r.id = target;
    update orchestration_debounce d set run_id = target, first_at = first, starts = count where d.definition_id = of_definition and d.key = of_key;
    update orchestration_step s set input = asks, waits_for = 'time', wake_at = case when items >= how.gather then clock_timestamp()
        else least(clock_timestamp() + make_interval(secs => how."for"), first + make_interval(secs => how.at_most)) end
    where s.run_id = target and s.key = 0;
end $$;
