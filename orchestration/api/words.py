"""What the doors of orchestration take in: nothing unknown, nothing that the database or an expression cannot hold."""

from typing import Any

from rest_framework import serializers

from accounts.json_values import unstorable


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
    """Any JSON value that can be kept: its texts, its numbers, and not nested too deep."""

    def to_internal_value(self, data: Any) -> Any:
        problem = unstorable(data)
        if problem:
            raise serializers.ValidationError(problem)
        return data
