"""Agents of kind `tool`: a registered Python tool, or declared operations on a database."""

import re
import time
from collections.abc import Mapping
from typing import Any

from django.conf import settings

from agents import tools
from agents.calls import Call, Result
from agents.exceptions import Permanent
from agents.gateways import database
from agents.schemas import Finding, schema_findings, value_findings

PLACEHOLDER = re.compile(r"%(?:%|\((\w+)\)s|.|$)", re.DOTALL)
OPERATION = {
    "type": "object",
    "required": ["sql", "parameters"],
    "additionalProperties": False,
    "properties": {
        "description": {"type": "string"},
        "sql": {"type": "string", "minLength": 1},
        "parameters": {"type": "object", "required": ["type"], "properties": {"type": {"const": "object"}}},
        "output": {"type": "object"},
        "statement_timeout_seconds": {"type": "number", "exclusiveMinimum": 0, "maximum": 600},
        "max_rows": {"type": "integer", "minimum": 1, "maximum": 100_000},
        "empty": {"enum": ["allow", "refuse"]},
    },
}
CONFIGURATION = {
    "oneOf": [
        {
            "type": "object",
            "required": ["tool"],
            "additionalProperties": False,
            "properties": {"tool": {"type": "string"}, "operations": False},
        },
        {
            "type": "object",
            "required": ["connection", "operations"],
            "additionalProperties": False,
            "properties": {
                "connection": {"type": "string"},
                "operations": {
                    "type": "object",
                    "minProperties": 1,
                    "propertyNames": {"pattern": "^[a-z][a-z0-9_]*$"},
                    "additionalProperties": OPERATION,
                },
            },
        },
    ]
}


def run(call: Call) -> Result:
    configuration = call.configuration
    if "tool" in configuration:
        return tools.operation_for(configuration["tool"], call.input)(call)
    return _query(call)


def _query(call: Call) -> Result:
    name, operation = _operation(call)
    parameters = {key: value for key, value in call.input.items() if key != "operation"}
    _obeys(parameters, operation["parameters"], f"Operation {name}: invalid parameters")
    declared = operation["parameters"].get("properties", {})
    since = time.monotonic()
    rows = database.query(
        database.Query(
            operation=name,
            connection=call.configuration["connection"],
            sql=operation["sql"],
            parameters={key: parameters.get(key) for key in declared},
            statement_timeout_seconds=operation.get("statement_timeout_seconds", 10.0),
            max_rows=operation.get("max_rows", 1000),
        ),
        deadline_seconds=call.deadline_seconds,
        canceled=call.canceled,
    )
    connection = call.configuration["connection"]
    call.log(f"{name} on {connection}: {len(rows)} rows in {(time.monotonic() - since) * 1000:.0f} ms")
    if not rows and operation.get("empty") == "refuse":
        asked = ", ".join(f"{key}={value}" for key, value in parameters.items()) or "no parameters"
        raise Permanent(f"Operation {name} found nothing for {asked}.")
    output = {**parameters, "rows": rows}
    if "output" in operation:
        _obeys(output, operation["output"], f"Operation {name}: the database answered outside the declared output")
    return Result(output)


def _operation(call: Call) -> tuple[str, Mapping[str, Any]]:
    operations = call.configuration["operations"]
    asked = call.input.get("operation") if isinstance(call.input, Mapping) else None
    if not isinstance(asked, str) or asked not in operations:
        raise Permanent(f"No operation {asked!r}; this agent has: {', '.join(sorted(operations))}.")
    return asked, operations[asked]


def _obeys(value: Any, schema: Mapping[str, Any], prefix: str) -> None:
    if found := value_findings(value, schema):
        raise Permanent(f"{prefix}: " + "; ".join(f"{each.pointer or '/'} {each.message}" for each in found[:5]))


def check(configuration: Mapping[str, Any]) -> list[Finding]:
    if found := value_findings(configuration, CONFIGURATION):
        return found
    if "tool" in configuration:
        return [] if configuration["tool"] in tools.names() else [_unknown("tool", configuration, tools.names())]
    if configuration["connection"] not in settings.AGENT_DATABASES:
        return [_unknown("connection", configuration, sorted(settings.AGENT_DATABASES))]
    return [
        finding.below(f"/operations/{name}")
        for name, operation in configuration["operations"].items()
        for finding in _operation_findings(operation)
    ]


def _unknown(key: str, configuration: Mapping[str, Any], known: list[str]) -> Finding:
    return Finding(f"/{key}", f"Unknown {key} {configuration[key]!r}; known: {', '.join(known)}.")


def _operation_findings(operation: Mapping[str, Any]) -> list[Finding]:
    found = [
        finding.below(f"/{part}")
        for part in ("parameters", "output")
        if part in operation
        for finding in schema_findings(operation[part])
    ]
    if found:
        return found
    declared = operation["parameters"].get("properties", {})
    if operation["parameters"].get("additionalProperties") is not False:
        found.append(Finding("/parameters", "Say additionalProperties: false, so that no other field gets in."))
    found += [
        Finding(f"/parameters/properties/{name}", f"{name} is taken: it is a field of the call or of its output.")
        for name in ("operation", "rows")
        if name in declared
    ]
    return found or _sql_findings(operation["sql"], set(declared))


def _sql_findings(sql: str, declared: set[str]) -> list[Finding]:
    found = []
    for match in PLACEHOLDER.finditer(sql):
        if match[0] == "%%":
            continue
        if match[1] is None:
            found.append(Finding("/sql", f"{match[0]!r}: write %(name)s for a parameter and %% for a percent sign."))
        elif match[1] not in declared:
            found.append(Finding("/sql", f"%({match[1]})s is not declared under parameters.properties."))
    if ";" in sql.strip().rstrip(";"):
        found.append(Finding("/sql", "One statement an operation: no semicolon inside."))
    return found
