"""Moves steps: start, claim, execute, finish, wait, sweep. `docs/engine.md` draws the protocol.

One idea a file: `connection` is what the engine's threads talk to PostgreSQL with; `starts` makes a run; `plans` keeps
what versions say, compiled, `checks` their schemas; `hands` is what the walkers are at work on; `walker` does a claimed
step: one `execution` of it, and `retries` say whether another follows; `outcomes` is what came of it; `recorder` ends
steps in batches and claims the next, `recovery` is what it does when its commit fails, `patient` waits for what cannot
be written at once; `lease` keeps the process alive, in one life or several; `answers` takes up what people and
children said; `sweeper` repairs; `hints` tells others, and is allowed to fail, and `listener` hears it; `lines` writes
what steps say, `secrets` keeps keys out of it; `process` owns the threads of one worker process, `vital` are those that
it cannot be without; `failpoints` names where tests kill it. `sql/` has the functions that move rows.
"""
