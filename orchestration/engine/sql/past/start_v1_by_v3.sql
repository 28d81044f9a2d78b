-- What the release before calls, by the starts of today.
create or replace function engine_start_v1(version bigint, organization bigint, public text, given jsonb, by_member bigint,
    parent bigint default null, parent_step int default null, nesting int default 0)
returns table (run bigint, queues text[]) language sql as $$
    select s.runs[1], s.queues from engine_start_v3(version, organization, array[public], array[given], by_member, parent, parent_step, nesting) s
$$;
