-- Before items with something rare move: what they become instead, and the locks of what they wait for.
--
-- A call that may have happened, and may not be repeated, makes its step uncertain. What belongs to a head that has ended (its
-- map is over) is held open no more. Keys of outside events are locked here, before any step.
create function engine_given_v1(items jsonb) returns jsonb language plpgsql as $$
begin
    if jsonb_path_exists(items, '$[*].more.hears') then
        perform engine_listen_v1(items);
    end if;
    return (
        select jsonb_agg(i.item || case
            when i.item ->> 'outcome' in ('waiting', 'ready', 'uncertain') and h.status in ('completed', 'failed', 'skipped', 'canceled')
            then '{"instead": "canceled"}'::jsonb
            when (i.item -> 'more' -> 'begun')::boolean and i.item ->> 'outcome' = 'ready' and not s.repeatable then '{"instead": "uncertain"}'
            else '{}' end order by i.ord)
        from jsonb_array_elements(items) with ordinality as i(item, ord)
        left join lateral (
            select s.* from orchestration_step s where s.run_id = (i.item ->> 'run')::bigint and s.key = (i.item ->> 'key')::int offset 0) s on true
        left join lateral (
            select h.status from orchestration_step h where h.run_id = s.run_id and h.key = s.head offset 0) h on true);
end $$;
