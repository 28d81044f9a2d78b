"""The spec of an agent, as YAML or JSON: {name, kind, title, description, input, output, configuration, repeatable}."""

import difflib
import io
import json
from collections.abc import Mapping
from typing import Any

import rfc8785
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from agents import runners
from agents.exceptions import InvalidSpec
from agents.schemas import Finding, schema_findings, value_findings

SPEC = {
    "type": "object",
    "required": ["name", "kind"],
    "properties": {
        "name": {"type": "string", "pattern": "^[a-z0-9]+(-[a-z0-9]+)*$", "maxLength": 64},
        "kind": {"type": "string"},
        "title": {"type": "string", "minLength": 1, "maxLength": 200},
        "description": {"type": "string"},
        "input": {"type": ["object", "null"]},
        "output": {"type": ["object", "null"]},
        "configuration": {"type": "object"},
        "repeatable": {"type": "boolean"},
    },
}


def read(text: str) -> Any:
    """One YAML 1.2 document (JSON is YAML). Raises InvalidSpec with line and column."""
    try:
        return YAML(typ="safe", pure=True).load(io.StringIO(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise InvalidSpec([Finding("", f"Not YAML: {where}{error.problem}")]) from error
    except YAMLError as error:
        raise InvalidSpec([Finding("", f"Not YAML: {error}")]) from error


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
