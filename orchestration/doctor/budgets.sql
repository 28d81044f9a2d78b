-- A budget has spent what the events of its runs tell.
select 'budget' as finding, b.run_id, null::int as key,
       format('it has spent $%s, %s tokens and %s runs, and its runs tell of $%s, %s and %s', b.spent_usd, b.spent_tokens, b.spent_runs,
              t.usd, t.tokens, t.runs) as words
from r join orchestration_budget b on b.run_id = r.id
cross join lateral (
    select coalesce(sum(u.usd), 0) as usd, coalesce(sum(u.tokens), 0) as tokens, count(*) - 1 as runs
    from orchestration_run m
    cross join lateral (
        select sum(round((v.data -> 'usage' ->> 'cost_usd')::numeric, 8)) as usd,
               sum(coalesce((v.data -> 'usage' ->> 'input_tokens')::bigint, 0) + coalesce((v.data -> 'usage' ->> 'output_tokens')::bigint, 0)) as tokens
        from orchestration_event v where v.run_id = m.id and v.data ? 'usage') u
    where (m.id = coalesce(r.root_run_id, r.id) or m.root_run_id = coalesce(r.root_run_id, r.id)) and m.budgets @> array[r.id]) t
where (b.spent_usd, b.spent_tokens, b.spent_runs) <> (t.usd, t.tokens, t.runs)
union all
select 'budget', r.id, null, format('it spends the budgets of runs %s, and its parent those of %s', r.budgets, p.budgets)
from r join orchestration_run p on p.id = r.parent_run_id where r.budgets is distinct from p.budgets and r.budgets is distinct from r.id || p.budgets
