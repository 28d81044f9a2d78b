-- What another release's worker relies on: the engine's functions as it calls them, and the tables' columns.
select jsonb_pretty(jsonb_build_object(
    'functions', (select jsonb_object_agg(p.proname, jsonb_build_object('arguments', pg_get_function_arguments(p.oid),
                                                                       'gives', pg_get_function_result(p.oid)))
                  from pg_proc p join pg_namespace n on n.oid = p.pronamespace where n.nspname = 'public' and p.proname like 'engine\_%'),
    'columns', (select jsonb_object_agg(t.name, t.columns) from (
                    select c.relname as name, jsonb_object_agg(a.attname, format_type(a.atttypid, a.atttypmod)
                           || case when a.attnotnull and not a.atthasdef and a.attidentity = '' then ' required' else '' end) as columns
                    from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_attribute a on a.attrelid = c.oid
                    where n.nspname = 'public' and c.relkind in ('r', 'p') and not c.relispartition and a.attnum > 0 and not a.attisdropped
                      and c.relname ~ '^(accounts|agents|approvals|orchestration)_'
                    group by 1) t)))
