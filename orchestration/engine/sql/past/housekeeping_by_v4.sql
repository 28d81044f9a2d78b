-- What releases before call, by the housekeeping of today: theirs would take payloads for unused that only new columns name.
create or replace function engine_housekeeping_v3(after bytea, most int default 5000) returns bytea language sql as $$
    select engine_housekeeping_v4(after, most)
$$;

create or replace function engine_housekeeping_v1(most int default 1000) returns int language plpgsql as $$
begin
    perform engine_housekeeping_v4(sha256(random()::text::bytea), most);
    return 0;
end $$;

create or replace function engine_housekeeping_v2(most int default 1000) returns int language plpgsql as $$
begin
    return engine_housekeeping_v1(most);
end $$;
