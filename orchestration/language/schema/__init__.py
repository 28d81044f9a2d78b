"""The language's JSON Schema: the one source of its keys, put together from a piece a key.

`definition.json` and `step.json` are what there is around the keys, `top/KEY.json` and `step/KEY.json` the keys. Of
ours beside JSON Schema: `x-rule` and `x-fix` for the finding of what is refused; `x-later`, keys that a later version
has; in a key of a step `x-kind`, what a step of this kind is called, or `x-kinds`, the kinds it may stand beside
(absent: all), and `x-instead`, what to write instead in a step of another.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def _read(file: str) -> dict[str, Any]:
    piece: dict[str, Any] = json.loads((HERE / file).read_text(encoding="utf-8"))
    return piece


def _with_keys(frame: str, folder: str) -> dict[str, Any]:
    schema = _read(frame)
    schema["properties"] = {
        path.stem: _read(f"{folder}/{path.name}") for path in sorted((HERE / folder).glob("*.json"))
    }
    schema["x-later"] = [key for key in schema["x-later"] if key not in schema["properties"]]
    return schema


def _whole() -> dict[str, Any]:
    step = _with_keys("step.json", "step")
    step["x-one-of"] = [key for key, piece in step["properties"].items() if "x-kind" in piece]
    step["oneOf"] = [{"required": [kind]} for kind in step["x-one-of"]]
    schema = _with_keys("definition.json", "top")
    schema["$defs"]["step"] = step
    return schema


def _names(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        yield from schema.get("properties", ())
        for key, below in schema.items():
            if key not in ("examples", "default"):
                yield from _names(below)


SCHEMA = _whole()
KEYS = frozenset(_names(SCHEMA))  # of every place
STEP_KEYS: dict[str, Any] = SCHEMA["$defs"]["step"]["properties"]
KINDS: tuple[str, ...] = tuple(SCHEMA["$defs"]["step"]["x-one-of"])
