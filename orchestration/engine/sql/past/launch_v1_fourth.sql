-- Lays the child runs of steps that begin to wait for one: more {launch: {version, public, input, facts, most, full}}. engine_rare calls it.
--
-- A child has of its parent who started it, its labels, its budgets, and its turn among others; `facts` are as engine_lay takes
-- them, and go first; of labels each. One whose parent is paused is paused for the same reason. Gives what became ready.
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
        select a.run, a.key, a.more -> 'launch' as launch, coalesce(a.more -> 'launch' -> 'facts', '{}') as facts, r.organization_id, r.started_by_id, r.depth,
               r.status = 'paused' as parks,
               jsonb_strip_nulls(jsonb_build_object('root', coalesce(r.root_run_id, r.id), 'priority', r.priority, 'labels', r.labels,
                   'budgets', to_jsonb(r.budgets), 'fair_by', nullif(substr(r.fair_key, length(r.organization_id::text) + 2), ''))) as inherited
        from unnest(moved) a join orchestration_run r on r.id = a.run
        where a.becomes = 'waiting' and a.more ? 'launch' order by a.run, a.key
    loop
        select * into laid from engine_lay_v1((m.launch ->> 'version')::bigint, m.organization_id, array[m.launch ->> 'public'],
            array[m.launch -> 'input'], m.started_by_id, m.run, m.key, m.depth + 1, array[m.inherited || m.facts || case when m.inherited ? 'labels' and m.facts ? 'labels'
                then jsonb_build_object('labels', m.inherited -> 'labels' || (m.facts -> 'labels')) else '{}' end]);
        update orchestration_step s set child_run_id = laid.runs[1] where s.run_id = m.run and s.key = m.key;
        if m.parks then
            perform engine_pause_v1(laid.runs[1], (
                select e.data from orchestration_event e where e.run_id = m.run and e.type = 'run.paused' order by e.seq desc limit 1));
        else
            ready := ready || (
                select array_agg(row (l.queue, l.key, l.rank)::engine_ready_v1)
                from unnest(laid.queues, laid.keys, laid.ready, laid.ranks) as l(queue, key, n, rank) cross join generate_series(1, l.n));
        end if;
    end loop;
    return ready;
end $$;

-- A step that would start more than `most` runs below the first of its tree fails with the error `full` instead. The runs of a tree are
-- counted on a row of its own, which is locked here, before any step: the parents' locks are held by who calls, the root's may be
-- another's. engine_given calls it.
create function engine_room_v1(items jsonb) returns jsonb language sql as $$
    with item as (
        select i.item, i.ord, i.item -> 'more' -> 'launch' as launch from jsonb_array_elements(items) with ordinality as i(item, ord)
    ), launches as (
        select i.ord, i.launch, coalesce(r.root_run_id, r.id) as root, row_number() over (partition by coalesce(r.root_run_id, r.id) order by i.ord) as nth
        from item i join orchestration_run r on r.id = (i.item ->> 'run')::bigint where i.launch is not null and not i.item ? 'instead'
    ), trees as (
        insert into orchestration_tree as t (root_run_id, runs) select l.root, 0 from launches l group by 1 order by 1
        on conflict (root_run_id) do update set runs = t.runs returning t.root_run_id, t.runs
    )
    select jsonb_agg(case when t.runs + l.nth > (l.launch ->> 'most')::int
                     then i.item || jsonb_build_object('instead', 'failed', 'error', l.launch -> 'full', 'note', null) else i.item end order by i.ord)
    from item i left join launches l on l.ord = i.ord left join trees t on t.root_run_id = l.root
$$;
