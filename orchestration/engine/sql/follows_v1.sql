-- What follows from a failure with this error, by its class: fail, continue, or other, a step that is done for it.
create function engine_follows_v1(on_failure jsonb, error jsonb) returns text language sql immutable as $$
    select coalesce(on_failure ->> (error ->> 'class'), on_failure ->> 'else')
$$;
