-- What becomes of a step that waits for others, once so many of them are open and so many ended badly: ready, skipped, or what
-- it was. `slack` says how many may end badly or stay open (null: none may, unless it is `tolerant`). One that is waiting is a
-- head: it waits for its items, and goes on when all have ended, or when more ended badly than it can bear.
create function engine_judge_v1(was text, open int, bad int, slack int, bearable int, tolerant boolean) returns text
language sql immutable as $$
    select case
        when was = 'waiting' then case when open > 0 and bad <= coalesce(bearable, 2147483647) then was else 'ready' end
        when slack is not null then case when bad > slack then 'skipped' when open + bad > slack then was else 'ready' end
        when open > 0 then was
        when bad > 0 and not tolerant then 'skipped'
        else 'ready' end
$$;

-- Whether steps of a run may start: while it takes back what was done, also one that is canceling.
create function engine_goes_v1(status text, undoing boolean) returns boolean language sql immutable as $$
    select status in ('running', 'waiting') or status = 'canceling' and undoing
$$;
