"""The functions that expressions know: CEL's own, and those of its library that cannot fill a worker's memory."""

from collections.abc import Callable
from typing import Any

from cel.stdlib import STDLIB_FUNCTIONS

CORE_FUNCTIONS = frozenset(
    [
        "has",
        "all",
        "exists",
        "exists_one",
        "map",
        "filter",
        "size",
        "contains",
        "startsWith",
        "endsWith",
        "matches",
        "int",
        "uint",
        "double",
        "string",
        "bytes",
        "timestamp",
        "duration",
        "type",
        "dyn",
        "optional.of",
        "optional.none",
        "optional.ofNonZeroValue",
        "hasValue",
        "value",
        "or",
        "orValue",
        "getFullYear",
        "getMonth",
        "getDayOfYear",
        "getDayOfMonth",
        "getDate",
        "getDayOfWeek",
        "getHours",
        "getMinutes",
        "getSeconds",
        "getMilliseconds",
    ]
)
# lists.range could fill the memory of a worker with one short expression; contains is CEL's own
EXTRA_FUNCTIONS: dict[str, Callable[..., Any]] = {
    name: function for name, function in STDLIB_FUNCTIONS.items() if name not in {"lists.range", "contains"}
}
FUNCTIONS = CORE_FUNCTIONS | EXTRA_FUNCTIONS.keys()
