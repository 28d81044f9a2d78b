"""The OpenAPI document, from the code."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema


class TokenScheme(OpenApiAuthenticationExtension):
    target_class = "accounts.authentication.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        return {"type": "http", "scheme": "bearer"}


class Schema(AutoSchema):
    def get_serializer_name(self, serializer: Any, direction: Any) -> str:
        """`RunsView.Input` is called RunsInput: the nested names are the same in each view."""
        outer, _, inner = type(serializer).__qualname__.rpartition(".")
        if outer and "<" not in outer:
            return outer.removesuffix("View").replace(".", "") + inner
        return str(super().get_serializer_name(serializer, direction))
