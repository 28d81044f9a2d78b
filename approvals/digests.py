"""The digest a decision names: what exactly was seen."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

from accounts.json_values import canonical


def digest_of(payload: Any, choices: Sequence[str], definition_digest: str, steps: Iterable[Sequence[str]]) -> str:
    """64 hex digits: SHA-256 of the RFC 8785 JSON of {payload, choices, definition, steps}.

    `steps`: (name, digest of its agent version) of each step behind the gate, in any order. A payload has the same
    digest before and after it was stored: whole numbers from 2**53 on, which RFC 8785 has no exact text for, are
    taken as strings of a zero character and their digits. Raises rfc8785.CanonicalizationError for what is no JSON.
    """
    parts = {
        "payload": payload,
        "choices": list(choices),
        "definition": definition_digest,
        "steps": sorted(list(step) for step in steps),
    }
    return hashlib.sha256(canonical(parts)).hexdigest()
