"""What addresses and forms say, which may be anything."""

LARGEST_KEY = 2**63 - 1  # of a row


def whole_number(text: str, *, largest: int = 2**31 - 1) -> int | None:
    """Of digits alone, up to what a column holds; None for all else."""
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else largest + 1
    return number if number <= largest else None
