-- What the release before calls, by the starts of today.
create or replace function engine_start_v2(version bigint, organization bigint, publics text[], inputs jsonb[], by_member bigint,
    parent bigint default null, parent_step int default null, nesting int default 0)
returns table (runs bigint[], queues text[], ready int[]) language sql as $$
    select * from engine_start_v3(version, organization, publics, inputs, by_member, parent, parent_step, nesting)
$$;
