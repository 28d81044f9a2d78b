-- What a person says of a limit, whatever its definitions say: how many, and for a rate in how many seconds; null: as they say.
-- Whom there is room for then is called up at once. Who has a slot keeps it: with fewer than that, nobody comes until there is room.
create function engine_limit_v1(of_limit bigint, most int, span float8, by_member bigint) returns void language plpgsql as $$
begin
    perform from orchestration_limit l where l.id = of_limit for no key update;
    with early as (  -- when their turn comes is to be reckoned anew
        update orchestration_limitqueue q set woken_at = null where q.limit_id = of_limit and q.woken_at > clock_timestamp() returning q.units
    )
    update orchestration_limit l set max_override = most, per_override = span, changed_by_id = by_member, changed_at = clock_timestamp(),
        promised = l.promised - coalesce((select sum(e.units) from early e), 0)::int
    where l.id = of_limit;
    perform engine_tend_v1(array[of_limit]);
end $$;
