-- What the release before calls: the moves are engine_settle_v3's.
create or replace function engine_settle_v2(worker bigint, items jsonb, follow jsonb, moves jsonb, queues text[],
    out v_n int[], out v_verdict text[], out v_runs bigint[], out v_keys int[], out c_runs bigint[], out c_keys int[])
language plpgsql as $$
begin
    if items @> '[{"begun": true}]' then
        select jsonb_agg(i || jsonb_build_object('more', jsonb_build_object('begun', coalesce(i -> 'begun', 'false')))) into items from jsonb_array_elements(items) i;
    end if;
    select * into v_n, v_verdict, v_runs, v_keys, c_runs, c_keys from engine_settle_v3(worker, items, follow, moves, queues);
end $$;
