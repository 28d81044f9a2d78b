-- Starts a run of a version for each of the inputs, as engine_lay_v1 lays them, and lets their steps take their turn.
-- Returns the runs in that order, and how many steps are ready in which queues.
create function engine_start_v3(version bigint, organization bigint, publics text[], inputs jsonb[], by_member bigint,
    parent bigint default null, parent_step int default null, nesting int default 0, facts jsonb[] default null)
returns table (runs bigint[], queues text[], ready int[]) language plpgsql as $$
#variable_conflict use_column
declare
    laid record;
begin
    laid := engine_lay_v1(version, organization, publics, inputs, by_member, parent, parent_step, nesting, facts);
    if laid.queues is not null then
        perform engine_share_v1(laid.queues, laid.keys, laid.ranks);
    end if;
    return query select laid.runs, array_agg(q.queue), array_agg(q.ready)
        from (select z.queue, sum(z.ready)::int as ready from unnest(laid.queues, laid.ready) z(queue, ready) group by 1) q;
end $$;
