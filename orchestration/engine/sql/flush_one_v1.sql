-- engine_flush for what a process has when it has little else to do: one step that completed, with whose run a thread goes on, and
-- nothing to claim beside. If it has one dependant that waits for nothing else, that one is begun, as engine_chain does it for many;
-- but short statements about one row each, all of them, cost less than to begin one that is about many. If nothing else of the run is
-- open it ends with that step, as engine_settle would end it. What is not so plain is left to engine_flush, which would write the same
-- rows.
--
-- given: an item of engine_settle, of the run `target`. Returns what engine_flush returns.
create function engine_flush_one_v1(worker bigint, target bigint, given jsonb, queues text[], understands int)
returns table (n int, verdict text, run bigint, key int, fence bigint, attempt int, "position" int, name text, round int, index int, kind text,
    agent_version bigint, feedback jsonb, reads jsonb, definition_version bigint, public_id text, organization bigint, started_by bigint,
    depth int, input jsonb, failed boolean, more jsonb)
language plpgsql as $$
#variable_conflict use_column
declare
    ended record;  -- the step that completed; the columns that are returned are those of the next
    its_pass int; its_reads int[];
    last int;      -- the number of the event that tells its end
    ends boolean;  -- the run does, with this step
begin
    if given @> '{"was": "running", "outcome": "completed"}' and not given ?| '{child,decision,deliverable,more}' then
        -- Locks 1 and 2 are those of engine_flush.
        perform from orchestration_worker w where w.id = worker and w.dead_at is null for key share;
        if found then
            select r.id, r.definition_version_id, r.public_id, r.organization_id, r.started_by_id, r.depth,
                   case when pg_column_size(r.input) < 4096 then r.input end, r.error is not null,
                   r.open_steps = 1 and r.error is null and not r.reversible
            into run, definition_version, public_id, organization, started_by, depth, input, failed, ends
            from orchestration_run r
            where r.id = target and r.status in ('running', 'waiting') and r.budgets is null and not r.limited for no key update skip locked;
        end if;
    end if;

    if run is not null then
        if ends then
            update orchestration_step s set
                status = 'completed', owner = null, waits_for = null, wake_at = null, due_as = null, first_at = coalesce(s.first_at, s.started_at), lost = 0,
                ended_at = clock_timestamp(), input = coalesce(given -> 'input', s.input), input_digest = coalesce(decode(given ->> 'input_digest', 'hex'), s.input_digest),
                output = given -> 'output', output_digest = decode(given ->> 'output_digest', 'hex'), error = null, usage = coalesce(given -> 'usage', s.usage)
            where s.run_id = run and s.key = (given -> 'key')::int and s.fence = (given -> 'fence')::bigint and s.status = 'running'
                  and s.dependants = '{}' and s.kind not in ('start', 'wait') and not s.limited and not s.windowed and s.item_count is null and s.head is null
                  -- the newest output of its run is the run's: this one's, or none
                  and coalesce((select o.key from orchestration_step o where o.run_id = s.run_id and o.kind = 'output' order by o.key desc limit 1), s.key) = s.key
            returning s.key, null::int as next, s.kind, s.name, s.round, s.index, s.pass, nullif(s.attempt, 0) as attempt, s.position, s.decision into ended;
        else
            update orchestration_step s set
                status = 'completed', owner = null, waits_for = null, wake_at = null, due_as = null, first_at = coalesce(s.first_at, s.started_at), lost = 0,
                ended_at = clock_timestamp(), input = coalesce(given -> 'input', s.input), input_digest = coalesce(decode(given ->> 'input_digest', 'hex'), s.input_digest),
                output = given -> 'output', output_digest = decode(given ->> 'output_digest', 'hex'), error = null, usage = coalesce(given -> 'usage', s.usage)
            where s.run_id = run and s.key = (given -> 'key')::int and s.fence = (given -> 'fence')::bigint and s.status = 'running'
                  and cardinality(s.dependants) = 1 and s.kind not in ('start', 'output', 'wait') and not s.limited and not s.windowed and s.item_count is null
                  and (select d.status = 'blocked' and d.open_needs = 1 and d.failed_needs = 0 and d.queue = any (queues)
                              and coalesce(d.total_seconds, d.queue_seconds, d.expect_seconds) is null
                              -- what engine_claims would tell of it in `more`
                              and d.attempt = 0 and d.phase = 0 and not d.limited and not d.confirm and coalesce(d.head, d.undoes, d.event_id) is null
                       from orchestration_step d where d.run_id = s.run_id and d.key = abs(s.dependants[1]))
            returning s.key, abs(s.dependants[1]) as next, s.kind, s.name, s.round, s.index, s.pass, nullif(s.attempt, 0) as attempt, s.position, s.decision into ended;
        end if;
        if found then
            if ends then
                update orchestration_run r set
                    seq = r.seq + 1 + (ended.kind <> 'output')::int, open_steps = 0, moving_steps = r.moving_steps - 1, status = 'completed', ended_at = clock_timestamp(),
                    output = case when ended.kind = 'output' then given -> 'output' end,
                    output_digest = case when ended.kind = 'output' then decode(given ->> 'output_digest', 'hex') end
                where r.id = run returning r.seq - 1 into last;
            else
                update orchestration_step s set status = 'running', open_needs = 0, owner = worker, fence = s.fence + 1, attempt = 1, started_at = clock_timestamp()
                where s.run_id = run and s.key = ended.next
                returning s.key, s.fence, s.attempt, s.position, s.name, s.round, s.index, s.kind, s.agent_version_id, s.feedback, s.pass, s.reads
                into key, fence, attempt, position, name, round, index, kind, agent_version, feedback, its_pass, its_reads;
                if its_reads = array[ended.key] then
                    reads := jsonb_build_array(jsonb_build_object('k', ended.key, 'p', ended.position, 's', 'completed', 'o', given -> 'output',
                        'x', given ->> 'output_digest', 'd', ended.decision));
                elsif its_reads <> '{}' then
                    select jsonb_agg(jsonb_build_object('k', o.key, 'p', o.position, 's', o.status, 'o', o.output, 'x', encode(o.output_digest, 'hex'), 'd', o.decision))
                    into reads from unnest(its_reads) as k(key) cross join lateral (
                        select o.key, o.position, o.status, o.output, o.output_digest, o.decision from orchestration_step o
                        where o.run_id = run and o.key = k.key offset 0) o;
                end if;
                update orchestration_run r set seq = r.seq + 1 + (kind <> 'output')::int, open_steps = r.open_steps - 1, status = 'running'
                where r.id = run returning r.seq - (kind <> 'output')::int into last;
            end if;

            if ended.kind <> 'output' then
                insert into orchestration_event (run_id, seq, type, key, data) values (run, last, 'step.completed', ended.key,
                    jsonb_strip_nulls(jsonb_build_object('step', ended.name, 'round', ended.round, 'index', ended.index, 'pass', ended.pass,
                        'attempt', ended.attempt, 'usage', given -> 'usage')) || coalesce(given -> 'note', '{}'));
            end if;
            if ends then
                insert into orchestration_event (run_id, seq, type, data) values (run, last + 1, 'run.completed', '{}');
                return;
            elsif kind <> 'output' then
                insert into orchestration_event (run_id, seq, type, key, data) values (run, last + 1, 'step.started', key,
                    jsonb_strip_nulls(jsonb_build_object('step', name, 'round', round, 'index', index, 'pass', its_pass, 'attempt', attempt)));
            end if;
            verdict := 'claimed';
            return next;
            return;
        end if;
    end if;

    return query select * from engine_flush_v6(worker, array[target], jsonb_build_array(given), jsonb_build_object(target, 1), 0, queues, false, understands);
end $$;
