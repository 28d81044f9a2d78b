"""Ids that people and machines outside see: a prefix that says of what, and 128 random bits."""

import secrets
import string

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
LENGTH = 22  # the base62 digits of 128 bits


def new_public_id(prefix: str) -> str:
    """E.g. `run_0pX…`: the prefix, an underscore and 22 characters of base62."""
    number = secrets.randbits(128)
    digits = []
    for _ in range(LENGTH):
        number, digit = divmod(number, 62)
        digits.append(ALPHABET[digit])
    return f"{prefix}_{''.join(reversed(digits))}"


def new_token_id() -> str:
    return new_public_id("tok")
