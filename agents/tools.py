"""Registered Python tools: trusted code of this repository that an agent of kind `tool` names.

`echo` is for the benchmark, examples and tests; it costs microseconds and must stay so.
"""

import time
from collections.abc import Callable, Mapping

from agents.calls import Call, Result
from agents.exceptions import Canceled, Permanent, Temporary, TimedOut

Operation = Callable[[Call], Result]
CANCEL_CHECK_SECONDS = 0.05
CHECKPOINT = 50  # batches of echo's import

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
    """Return {value}, after `seconds`; fail in the first `fail.times` attempts, as `fail.kind` says.

    It says `lines` lines meanwhile, evenly over the seconds: a made-up import, with a warning or an error now and then.
    How far it is it hands out in the stream `progress`, at each of its checkpoints.
    """
    asked = call.input
    if not isinstance(asked, Mapping):
        raise Permanent("echo takes an object: {value, seconds, lines, fail: {times, kind}}.")
    seconds, lines = asked.get("seconds") or 0, asked.get("lines") or 0
    if seconds or lines:
        _wait(seconds, lines, call)
    fail = asked.get("fail")
    if fail and call.attempt <= fail.get("times", 1):
        kind = Permanent if fail.get("kind") == "permanent" else Temporary
        raise kind(f"echo fails as told, attempt {call.attempt} of {fail.get('times', 1)}.")
    return Result({"value": asked.get("value")})


def _wait(seconds: float, lines: int, call: Call) -> None:
    start = time.monotonic()
    limit = call.deadline_seconds
    said = 0
    while True:
        passed = time.monotonic() - start
        due = lines if passed >= seconds else int(lines * passed / seconds)
        for number in range(said + 1, due + 1):
            call.log(*_line(number, lines))
            if number % CHECKPOINT == 0:
                call.emit("progress", {"batch": number, "of": lines, "rows": number * 25})
        said = due
        if passed >= seconds:
            return
        if call.canceled():
            raise Canceled("echo was asked to stop.")
        if limit is not None and passed >= limit:
            raise TimedOut(f"echo was to wait {seconds:g} s, its deadline was {limit:g} s.")
        time.sleep(min(CANCEL_CHECK_SECONDS, seconds - passed))


def _line(number: int, of: int) -> tuple[str, str]:
    """The text and level of one line; the same for the same number."""
    batch = f"batch {number}/{of}"
    if number % 997 == 0:
        return f"\033[31m{batch} refused\033[0m: row {number * 7} has no account; it is put aside", "error"
    if number % 89 == 0:
        return f"\033[33m{batch} slow\033[0m: {400 + number % 300} ms, the limit is 300 ms", "warning"
    if number % CHECKPOINT == 0:
        return f"\033[36mcheckpoint\033[0m after {batch}: {number * 25} rows, \033[32m0 duplicates\033[0m", "info"
    return f"{batch}: 25 rows imported in {20 + number * 13 % 80} ms", "debug" if number % 10 else "info"


register("echo", {"echo": echo})
