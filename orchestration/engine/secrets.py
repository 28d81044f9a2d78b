"""Takes secrets out of what is written for people to read: those of the settings, and what looks like a token."""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any
from urllib.parse import unquote, urlsplit

from django.conf import settings

SHORTEST = 8  # shorter ones would blot out words
NAMES = re.compile(r"(?:^|_)(?:KEY|KEYS|SECRET|TOKEN|PASSWORD|PASSWD|CREDENTIALS?)$", re.IGNORECASE)
SIGNS = r"[A-Za-z0-9._~+/=-]"
LOOKS_SECRET = (
    r"\b(?:cs|sk|pk|ghp|gho|xox[abp])[_-][A-Za-z0-9_-]{12,}"
    rf"|(?<=\bBearer ){SIGNS}{{8,}}"
    rf"|(?<=\bBasic ){SIGNS}{{8,}}"
    r"|(?<=://)[^\s/:@]*:[^\s/@]+(?=@)"
)
BLOT = "***"


def masked(text: str) -> str:
    return _pattern(tuple(_secrets())).sub(BLOT, text)


@lru_cache(maxsize=8)
def _pattern(secrets: tuple[str, ...]) -> re.Pattern[str]:
    longest_first = sorted({re.escape(secret) for secret in secrets}, key=len, reverse=True)
    return re.compile("|".join([*longest_first, LOOKS_SECRET]), re.IGNORECASE)


def _secrets() -> Iterator[str]:
    for name in _names():
        yield from _texts(getattr(settings, name, ""))
    for key in settings.SECRET_KEY_FALLBACKS:
        yield from _texts(key)
    for service in settings.OIDC_PROVIDERS.values():
        yield from _texts(service.get("secret"))
    for database in settings.DATABASES.values():
        yield from _texts(database.get("PASSWORD"))
    for url in (settings.REDIS_URL, *settings.AGENT_DATABASES.values()):
        yield from _texts(unquote(urlsplit(url).password or ""))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str) and len(value) >= SHORTEST:
        yield value


@lru_cache(maxsize=1)
def _names() -> tuple[str, ...]:
    return tuple(name for name in dir(settings) if name.isupper() and NAMES.search(name))
