"""What the doors of orchestration take in: nothing unknown, nothing that the database or an expression cannot hold."""

from typing import Any

from rest_framework import serializers

LARGEST_INT = 2**63


class Strict(serializers.Serializer[Any]):
    """Refuses fields that it does not know: a slip in a name would else be ignored in silence."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict):
            known = ", ".join(name for name, field in self.fields.items() if not field.read_only)
            unknown = {name: [f"There is no such field. Known here: {known}."] for name in data.keys() - self.fields}
            if unknown:
                raise serializers.ValidationError(unknown)
        return super().to_internal_value(data)


class AnyJSON(serializers.JSONField):
    """Any JSON value whose texts PostgreSQL can store and whose whole numbers fit into 64 bits."""

    def to_internal_value(self, data: Any) -> Any:
        problem = unstorable(data)
        if problem:
            raise serializers.ValidationError(problem)
        return data


def unstorable(content: Any) -> str:
    """Why this JSON value cannot be kept, or ""."""
    waiting = [content]
    while waiting:
        inner = waiting.pop()
        if isinstance(inner, dict):
            waiting += inner.keys()
            waiting += inner.values()
        elif isinstance(inner, list):
            waiting += inner
        elif isinstance(inner, str):
            if "\0" in inner or (not inner.isascii() and any("\ud800" <= sign <= "\udfff" for sign in inner)):
                return "Text may hold no zero character and no half of a surrogate pair."
        elif isinstance(inner, int) and not -LARGEST_INT <= inner < LARGEST_INT:
            return "Whole numbers must fit into 64 bits."
    return ""
