"""The digest a decision names: what exactly was seen."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import rfc8785


def digest_of(payload: Any, choices: Sequence[str], definition_digest: str, steps: Iterable[Sequence[str]]) -> str:
    """64 hex digits: SHA-256 of the RFC 8785 JSON of {payload, choices, definition, steps}.

    `steps`: (name, digest of its agent version) of each step behind the gate, in any order. Raises
    rfc8785.CanonicalizationError for what JSON cannot hold exactly: integers beyond 2**53, NaN, lone surrogates.
    """
    parts = {
        "payload": payload,
        "choices": list(choices),
        "definition": definition_digest,
        "steps": sorted(list(step) for step in steps),
    }
    return hashlib.sha256(rfc8785.dumps(parts)).hexdigest()
