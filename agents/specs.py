"""The spec of an agent, as YAML or JSON: {name, kind, title, description, input, output, configuration, repeatable}."""

import difflib
import io
import json
import re
from collections.abc import Mapping
from typing import Any

import rfc8785
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.scalarstring import LiteralScalarString

from agents import runners
from agents.exceptions import InvalidSpec
from agents.schemas import Finding, schema_findings, value_findings

SPEC = {
    "type": "object",
    "required": ["name", "kind"],
    "properties": {
        "name": {
            "type": "string",
            "pattern": "^[a-z0-9]+(-[a-z0-9]+)*$",
            "maxLength": 64,
            "description": "lower-case letters, digits and single hyphens",
        },
        "kind": {"type": "string"},
        "title": {"type": "string", "minLength": 1, "maxLength": 200},
        "description": {"type": "string"},
        "input": {"type": ["object", "null"]},
        "output": {"type": ["object", "null"]},
        "configuration": {"type": "object"},
        "repeatable": {"type": "boolean"},
    },
}

TAKEN_NAMES = {"new": "No agent can be called new, for /agents/new/ is another page. Choose another name."}
SHORT = 80  # signs of a list that stands in one line
MOST_VALUES, DEEPEST = 20_000, 50
TOO_LARGE = f"At most {MOST_VALUES} values, nested {DEEPEST} deep; aliases count as often as they stand."
ORDER = [*SPEC["properties"], "type", "required", "additionalProperties", "enum", "minimum", "maximum", "pattern"]
ORDER += [
    "format",
    "items",
    "examples",
    "connection",
    "tool",
    "model",
    "instructions",
    "parameters",
    "sql",
    "properties",
]
BLOCK = re.compile(r"[^\s](?:[^\r\t\v\f\x00-\x08\x0e-\x1f\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff]*[^\s])?\n?")


def read(text: str) -> Any:
    """One YAML 1.2 document (JSON is YAML). Raises InvalidSpec with line and column."""
    try:
        spec = YAML(typ="safe", pure=True).load(io.StringIO(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise InvalidSpec([Finding("", f"Not YAML: {where}{error.problem}")]) from error
    except YAMLError as error:
        raise InvalidSpec([Finding("", f"Not YAML: {error}")]) from error
    except RecursionError as error:
        raise InvalidSpec([Finding("", TOO_LARGE)]) from error
    if _is_too_large(spec):
        raise InvalidSpec([Finding("", TOO_LARGE)])
    return spec


def _is_too_large(spec: Any) -> bool:
    """With aliases counted as often as they stand: they may refer to what they stand in."""
    count, left = 0, [(spec, 0)]
    while left:
        value, depth = left.pop()
        count += 1
        if count > MOST_VALUES or depth > DEEPEST:
            return True
        if isinstance(value, Mapping | list):
            left += [(inner, depth + 1) for inner in (value.values() if isinstance(value, Mapping) else value)]
    return False


def check(spec: Any) -> dict[str, Any]:
    """The spec with its defaults filled in. Raises InvalidSpec with every finding."""
    if found := findings(spec):
        raise InvalidSpec(found)
    configuration = spec.get("configuration") or {}
    return {
        "name": spec["name"],
        "kind": spec["kind"],
        "title": spec.get("title", spec["name"]),
        "description": spec.get("description", ""),
        "input": spec.get("input") or _input_of(configuration),
        "output": spec.get("output"),
        "configuration": configuration,
        "repeatable": spec.get("repeatable", True),
    }


def findings(spec: Any) -> list[Finding]:
    """What is wrong with `spec`; pointers are into it."""
    if found := _not_json(spec) or value_findings(spec, SPEC):
        return found
    found = [_unknown_key(key) for key in spec if key not in SPEC["properties"]]
    if spec["name"] in TAKEN_NAMES:
        found.append(Finding("/name", TAKEN_NAMES[spec["name"]]))
    for part in ("input", "output"):
        found += [each.below(f"/{part}") for each in schema_findings(spec.get(part) or {})]
    if spec["kind"] not in runners.kinds():
        known = ", ".join(runners.kinds())
        return [*found, Finding("/kind", f"Unknown kind {spec['kind']!r}; known: {known}.")]
    configuration = runners.configuration_findings(spec["kind"], spec.get("configuration") or {})
    return found + [each.below("/configuration") for each in configuration]


def _not_json(spec: Any) -> list[Finding]:
    if isinstance(spec, Mapping):
        odd = [key for key in spec if not isinstance(key, str)]
        if odd:
            return [Finding("", f"Keys must be text; put quotes around {odd[0]!r}.")]
        return [each.below(f"/{key}") for key, value in spec.items() for each in _not_json(value)]
    if isinstance(spec, list):
        return [each.below(f"/{index}") for index, value in enumerate(spec) for each in _not_json(value)]
    try:
        rfc8785.dumps(spec)
    except rfc8785.CanonicalizationError:
        return [Finding("", f"{json.dumps(spec, default=str)} has no place in JSON; put quotes around it.")]
    return []


def _unknown_key(key: str) -> Finding:
    near = difflib.get_close_matches(key, SPEC["properties"], n=1)
    hint = f" Did you mean {near[0]}?" if near else f" Known: {', '.join(SPEC['properties'])}."
    return Finding(f"/{key}", f"Unknown key {key}.{hint}")


def _input_of(configuration: Mapping[str, Any]) -> dict[str, Any] | None:
    """For operations: `operation` chooses, and then that operation's own parameters are asked for."""
    operations = configuration.get("operations")
    if not operations:
        return None
    return {
        "type": "object",
        "required": ["operation"],
        "properties": {"operation": {"enum": sorted(operations), "title": "Operation"}},
        "allOf": [
            {
                "if": {"properties": {"operation": {"const": name}}},
                "then": {
                    **operation["parameters"],
                    "properties": {"operation": True, **operation["parameters"].get("properties", {})},
                },
            }
            for name, operation in sorted(operations.items())
        ],
    }


def write(spec: Mapping[str, Any]) -> str:
    """YAML that `read` makes `spec` of again: known keys in their usual order, texts of several lines as blocks."""
    yaml = YAML()
    yaml.width = 110
    yaml.indent(mapping=2, sequence=4, offset=2)
    text = io.StringIO()
    yaml.dump(_written(spec), text)
    return text.getvalue()


def _written(value: Any) -> Any:
    if isinstance(value, Mapping):
        known = {key: place for place, key in enumerate(ORDER)}
        keys = sorted(value, key=lambda key: known.get(key, len(known)))
        return {key: _written(value[key]) for key in keys}
    if isinstance(value, list):
        items = CommentedSeq(_written(item) for item in value)
        is_plain = not any(isinstance(item, Mapping | list | LiteralScalarString) for item in items)
        if is_plain and len(str(value)) < SHORT:
            items.fa.set_flow_style()  # [month, rows], as people write it
        return items
    if isinstance(value, str) and "\n" in value and BLOCK.fullmatch(value):
        return LiteralScalarString(value)
    return value
