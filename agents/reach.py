"""What an agent's version may reach, in words, and whether the settings for it are there. Never their values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings


@dataclass(frozen=True, slots=True)
class Reach:
    """`setting` is the environment's name of the secret that is needed, "" for none; `is_set` whether it is there;
    `otherwise` what is done without it, "" if calls fail then."""

    what: str
    detail: str = ""
    setting: str = ""
    is_set: bool = True
    otherwise: str = ""


def reach_of(kind: str, configuration: Mapping[str, Any]) -> list[Reach]:
    """What calls of it may reach; kinds that are not known here reach what their runner says, so nothing is told."""
    if kind == "context":
        host = urlsplit(settings.OPENAI_BASE_URL).netloc
        model = configuration.get("model") or settings.OPENAI_MODEL
        return [Reach("the model provider", f"{model} at {host}", "OPENAI_API_KEY", bool(settings.OPENAI_API_KEY))]
    if kind == "tool" and "connection" in configuration:
        name = configuration["connection"]
        detail = f"connection {name}, {len(configuration.get('operations', {}))} declared operations"
        is_set = bool(settings.AGENT_DATABASES.get(name))
        return [Reach("a database", detail, f"{name}_DB_URL".upper(), is_set, "the demo's own figures are read")]
    if kind == "tool":
        return [Reach("code of this product", f"tool {configuration.get('tool')}")]
    if kind == "orchestrator":
        return [Reach("definitions", ", ".join(configuration.get("definitions", [])))]
    return []
