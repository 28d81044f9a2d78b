-- What a run and all below it may spend. `share` of a row is what is spent of the limit that is nearest; `due` asks the errand
-- `budgets` to look at it, for nothing here touches another run than the caller holds.

-- Charges what steps have spent: more {budgets: {usd, tokens, runs}}; runs count where the step began to wait for one. engine_rare
-- calls it. Rows are locked after steps, in the order of their runs.
create function engine_charge_v1(moved engine_moved_v1[]) returns void language plpgsql as $$
declare
    spenders bigint[];
begin
    select array_agg(distinct b) into spenders
    from unnest(moved) m cross join lateral (select r.budgets from orchestration_run r where r.id = m.run offset 0) r cross join unnest(r.budgets) b
    where m.more ? 'budgets';
    perform from orchestration_budget b where b.run_id = any (spenders) order by b.run_id for no key update;
    update orchestration_budget b set
        spent_usd = b.spent_usd + s.usd, spent_tokens = b.spent_tokens + s.tokens, spent_runs = b.spent_runs + s.runs
    from (
        select k.id, coalesce(sum(round(c.usd, 8)), 0) as usd, coalesce(sum(c.tokens), 0) as tokens,
               coalesce(sum(c.runs) filter (where m.becomes = 'waiting'), 0) as runs
        from unnest(moved) m cross join lateral (select r.budgets from orchestration_run r where r.id = m.run offset 0) r
        cross join unnest(r.budgets) as k(id) cross join lateral jsonb_to_record(m.more -> 'budgets') as c(usd numeric, tokens bigint, runs int)
        where m.more ? 'budgets' group by 1) s
    where b.run_id = s.id;
    update orchestration_budget b set due = true
    where b.run_id = any (spenders) and not b.due and (b.share > 1 and b.asked_at is null or b.share >= b.soft and b.warned_at is null);
end $$;

-- A run that is to wait for its budget has ended instead, or was canceled: nobody needs an answer any more. engine_settle calls it.
create function engine_unasked_v1(ends bigint[]) returns void language sql as $$
    update orchestration_budget b set due = true from (
        select b.run_id from orchestration_budget b
        where b.asked_at is not null and b.run_id in (select unnest(r.budgets) from orchestration_run r where r.id = any (ends))
        order by b.run_id for no key update) o
    where b.run_id = o.run_id
$$;

-- Sets the limits named, {usd, tokens, runs}; what was held for them goes on by the errand. With `asked` only if that is the question
-- still. Gives null, or why not: the run has ended or has no budget of its own, or another has answered.
create function engine_raise_v1(target bigint, limits jsonb, note jsonb, asked timestamptz default null) returns text language plpgsql as $$
declare
    x record;
    b orchestration_budget;
begin
    select r.status, r.ended_at is not null as has_ended into x from orchestration_run r where r.id = target for no key update;
    if x.has_ended and asked is null then
        return x.status;
    end if;
    select o.* into b from orchestration_budget o where o.run_id = target for no key update;
    if b.run_id is null then
        return 'unlimited';
    elsif asked is distinct from b.asked_at and asked is not null then
        return 'moved';
    end if;
    update orchestration_budget o set
        usd = coalesce((limits ->> 'usd')::numeric, o.usd), tokens = coalesce((limits ->> 'tokens')::bigint, o.tokens),
        runs = coalesce((limits ->> 'runs')::int, o.runs), asked_at = null, due = true
    where o.run_id = target;
    update orchestration_budget o set warned_at = null where o.run_id = target and o.share < o.soft;
    perform engine_settle_v3(null, '[]', '{}', jsonb_build_array(jsonb_build_object('run', target, 'type', 'run.changed', 'data', note || jsonb_build_object(
        'to', jsonb_build_object('budget', limits),
        'from', jsonb_build_object('budget', jsonb_strip_nulls(jsonb_build_object('usd', b.usd, 'tokens', b.tokens, 'runs', b.runs)))))), null);
    return null;
end $$;
