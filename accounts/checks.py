"""Settings that cannot work, told when the product starts."""

import re
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error

SLUG = re.compile(r"[-\w]+", re.ASCII)
NEEDED = ("server_url", "client_id")
HINT = 'Write OIDC_PROVIDERS={"corp": {"name": "Corp", "server_url": "https://…", "client_id": "…", "secret": "…"}}.'


def sign_in_services(app_configs: Any, **more: Any) -> list[CheckMessage]:
    """Each service of OIDC_PROVIDERS can be reached and asked."""
    found: list[CheckMessage] = []
    for key, given in settings.OIDC_PROVIDERS.items():
        missing = [name for name in NEEDED if not given.get(name)]
        if missing:
            found.append(
                Error(f"{key} of OIDC_PROVIDERS lacks {' and '.join(missing)}.", hint=HINT, id="accounts.E001")
            )
        if not SLUG.fullmatch(key):
            words = f"{key!r} of OIDC_PROVIDERS is part of an address: letters, digits, - and _ only."
            found.append(Error(words, hint=HINT, id="accounts.E002"))
    return found
