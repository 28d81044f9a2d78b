"""The reference page of the language, made from its JSON Schema: `manage.py definitions reference`."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ui.schema_words import words_of

from .schema import SCHEMA, STEP_KEYS

HEAD = """\
# Reference of the definition language

Every key, from the JSON Schema at `/schema/definition.json` by which definitions are checked;
`manage.py definitions reference` prints this page. How the keys work together: [language.md](language.md).
"""
CALLED = {
    "duration": "a duration, such as 30s",
    "slug": "lower-case letters, digits and single hyphens",
    "step": "a step",
}
PLAIN = re.compile(r"[A-Za-z_/][\w/. -]*")
WORDS = frozenset({"null", "true", "false", "yes", "no"})

Row = tuple[str, str, str]


def reference() -> str:
    top = {key: piece for key, piece in SCHEMA["properties"].items() if key != "steps"}
    required = SCHEMA["required"]
    parts = [HEAD, "## In a definition\n", *(_section(key, piece, key in required) for key, piece in top.items())]
    parts += ["## In `steps`\n", _described(SCHEMA["properties"]["steps"]) + "\n"]
    return "\n".join([*parts, *(_section(key, piece, False) for key, piece in STEP_KEYS.items())])


def _section(key: str, piece: Mapping[str, Any], is_required: bool) -> str:
    said = [f"### `{key}`\n", f"{_described(piece)} {_shape(piece, is_required)}\n"]
    examples = "\n".join(f"{key}: {flow(example)}" for example in piece["examples"])
    said.append(f"```yaml\n{examples}\n```\n")
    if rows := list(_rows(piece, f"{key}.")):
        said += ["| | | |", "|---|---|---|", *(f"| `{path}` | {kind} | {words} |" for path, kind, words in rows), ""]
    return "\n".join(said)


def _described(piece: Mapping[str, Any]) -> str:
    return str(piece.get("description", "")).replace("${{ }}", "`${{ }}`").replace("|", "\\|")


def _shape(piece: Mapping[str, Any], is_required: bool) -> str:
    kinds = [f"`{kind}`" for kind in piece.get("x-kinds", ())]
    said = [f"{_kind(piece)[0].upper()}{_kind(piece)[1:]}{', required' if is_required else ''}."]
    if "x-kind" in piece:
        said.append("It is what makes the step's kind.")
    if kinds:
        said.append(f"In steps of the kinds {', '.join(kinds)}.")
    return " ".join(said)


def _kind(piece: Mapping[str, Any]) -> str:
    if (name := str(piece.get("$ref", "")).rpartition("/")[2]) in CALLED:
        return CALLED[name] + (f", otherwise {flow(piece['default'])}" if "default" in piece else "")
    piece = _resolved(piece)
    if forms := piece.get("anyOf") or piece.get("oneOf"):
        return " or ".join(dict.fromkeys(_kind(form) for form in forms))
    return words_of({key: value for key, value in piece.items() if key not in ("examples", "pattern", "description")})


def _rows(piece: Mapping[str, Any], above: str) -> Iterator[Row]:
    """The keys below it, with those below them."""
    if str(piece.get("$ref", "")).endswith("/step"):
        return
    piece = _resolved(piece)
    for key, below in piece.get("properties", {}).items():
        words = ", required" if key in piece.get("required", ()) else ""
        yield f"{above}{key}", f"{_kind(below)}{words}", _described(_resolved(below))
        yield from _rows(below, f"{above}{key}.")
    if isinstance(items := piece.get("items"), Mapping):
        yield from _rows(items, f"{above[:-1]}[].")
    if isinstance(others := piece.get("additionalProperties"), Mapping):
        yield from _rows(others, f"{above}NAME.")
    seen: set[str] = set()
    for form in [*piece.get("anyOf", ()), *piece.get("oneOf", ())]:
        for row in _rows(form, above):
            if row[0] not in seen:
                seen.add(row[0])
                yield row


def _resolved(piece: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" not in piece:
        return piece
    target: Any = SCHEMA
    for name in piece["$ref"].split("/")[1:]:
        target = target[name]
    return {**_resolved(target), **{key: value for key, value in piece.items() if key != "$ref"}}


def flow(value: Any) -> str:
    """As one line of YAML, with as few quotes as people write."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{flow(key)}: {flow(below)}" for key, below in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(flow, value))}]"
    if (
        isinstance(value, str)
        and (PLAIN.fullmatch(value) or re.fullmatch(r"[\d.]+[a-z]+", value))
        and value not in WORDS
    ):
        return value.strip() if value == value.strip() else json.dumps(value)
    return json.dumps(value, ensure_ascii=False)
