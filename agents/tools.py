"""Registered Python tools: trusted code of this repository that an agent of kind `tool` names.

`echo` is for the benchmark, examples and tests; it costs microseconds and must stay so.
"""

import time
from collections.abc import Callable, Mapping

from agents.calls import Call, Result
from agents.exceptions import Canceled, Permanent, Temporary, TimedOut

Operation = Callable[[Call], Result]
CANCEL_CHECK_SECONDS = 0.05

_tools: dict[str, Mapping[str, Operation]] = {}


def register(name: str, operations: Mapping[str, Operation]) -> None:
    """With one operation the input needs no `operation`; with several, `input.operation` chooses."""
    _tools[name] = operations


def names() -> list[str]:
    return sorted(_tools)


def operation_for(name: str, call_input: object) -> Operation:
    """Raises Permanent for a tool or an operation that is not registered."""
    operations = _tools.get(name)
    if operations is None:
        raise Permanent(f"No registered tool {name!r}; known: {', '.join(names())}.")
    if len(operations) == 1:
        return next(iter(operations.values()))
    asked = call_input.get("operation") if isinstance(call_input, Mapping) else None
    if not isinstance(asked, str) or asked not in operations:
        raise Permanent(f"The tool {name} has no operation {asked!r}; known: {', '.join(sorted(operations))}.")
    return operations[asked]


def echo(call: Call) -> Result:
    """Return {value}, after `seconds`; fail in the first `fail.times` attempts, as `fail.kind` says."""
    asked = call.input
    if not isinstance(asked, Mapping):
        raise Permanent("echo takes an object: {value, seconds, fail: {times, kind}}.")
    if seconds := asked.get("seconds"):
        _wait(seconds, call)
    fail = asked.get("fail")
    if fail and call.attempt <= fail.get("times", 1):
        kind = Permanent if fail.get("kind") == "permanent" else Temporary
        raise kind(f"echo fails as told, attempt {call.attempt} of {fail.get('times', 1)}.")
    return Result({"value": asked.get("value")})


def _wait(seconds: float, call: Call) -> None:
    start = time.monotonic()
    limit = call.deadline_seconds
    while (passed := time.monotonic() - start) < seconds:
        if call.canceled():
            raise Canceled("echo was asked to stop.")
        if limit is not None and passed >= limit:
            raise TimedOut(f"echo was to wait {seconds:g} s, its deadline was {limit:g} s.")
        time.sleep(min(CANCEL_CHECK_SECONDS, seconds - passed))


register("echo", {"echo": echo})
