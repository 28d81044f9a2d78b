-- Lays the child runs of steps that begin to wait for one: more {launch: {version, public, input, facts}}. engine_rare calls it.
--
-- A child has of its parent who started it, its labels, its budgets, and its turn among others; `facts` are as engine_lay takes
-- them, and go first. A tree's runs are counted on a row of its own, locked after the steps: the parents' locks are held by
-- who calls, the root's may be another's. Gives what became ready.
create function engine_launch_v1(moved engine_moved_v1[]) returns engine_ready_v1[] language plpgsql as $$
declare
    ready engine_ready_v1[];
    m record;
    laid record;
begin
    insert into orchestration_tree as t (root_run_id, runs)
    select coalesce(r.root_run_id, r.id), count(*) from unnest(moved) a join orchestration_run r on r.id = a.run
    where a.becomes = 'waiting' and a.more ? 'launch' group by 1 order by 1
    on conflict (root_run_id) do update set runs = t.runs + excluded.runs;

    for m in
        select a.run, a.key, a.more -> 'launch' as launch, r.organization_id, r.started_by_id, r.depth,
               jsonb_strip_nulls(jsonb_build_object('root', coalesce(r.root_run_id, r.id), 'priority', r.priority, 'labels', r.labels,
                   'budgets', to_jsonb(r.budgets), 'fair_by', nullif(substr(r.fair_key, length(r.organization_id::text) + 2), ''))) as inherited
        from unnest(moved) a join orchestration_run r on r.id = a.run
        where a.becomes = 'waiting' and a.more ? 'launch' order by a.run, a.key
    loop
        select * into laid from engine_lay_v1((m.launch ->> 'version')::bigint, m.organization_id, array[m.launch ->> 'public'],
            array[m.launch -> 'input'], m.started_by_id, m.run, m.key, m.depth + 1, array[m.inherited || coalesce(m.launch -> 'facts', '{}')]);
        update orchestration_step s set child_run_id = laid.runs[1] where s.run_id = m.run and s.key = m.key;
        ready := ready || (
            select array_agg(row (l.queue, l.key, l.rank)::engine_ready_v1)
            from unnest(laid.queues, laid.keys, laid.ready, laid.ranks) as l(queue, key, n, rank) cross join generate_series(1, l.n));
    end loop;
    return ready;
end $$;
