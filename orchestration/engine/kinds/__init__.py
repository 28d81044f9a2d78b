"""What a step does when its turn has come, a module for each kind."""

from orchestration.engine.kinds import agent, approval, choose, output, repeat, run, undo, wait
from orchestration.engine.kinds import map as map_kind
from orchestration.engine.kinds.kind import Kind

# Those of the language: considered first, by `if` and by the gates before them.
KINDS = {
    "agent": Kind(agent.begin),
    "approval": Kind(approval.begin),
    "run": Kind(run.begin),
    "wait": Kind(wait.begin),
    "choose": Kind(choose.begin),
}
# Around those of the language: the rows of their items and passes are of the kind within.
AROUND = {
    "map": Kind(map_kind.begin, map_kind.gather),
    "repeat": Kind(repeat.begin, repeat.gather),
}
# Rows that no step of a definition stands for.
INNER = {
    "output": Kind(output.begin),
    "undo": Kind(undo.begin),
}
ROWS = {**KINDS, **AROUND, **INNER}
