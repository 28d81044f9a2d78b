"""What a step does when its turn has come, a module for each kind."""

from orchestration.engine.kinds import agent, approval, output, run, wait
from orchestration.engine.kinds.kind import Kind

# Those of the language: considered first, by `if` and by the gates before them.
KINDS = {
    "agent": Kind(agent.begin),
    "approval": Kind(approval.begin),
    "run": Kind(run.begin),
    "wait": Kind(wait.begin),
}
# Rows that no step of a definition stands for.
INNER = {
    "output": Kind(output.begin),
}
