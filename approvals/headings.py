"""What the places of a payload are called for people: by the titles of its schema, else by their keys."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from approvals.editing import NoSuchPlace, tokens_of, value_at
from approvals.forms import schema_at
from ui.reading import humanized, is_amount, number_text
from ui.schema_forms import kind_of

ROW_NAMES = ("name", "title", "label", "kpi", "key", "id")
LONGEST_NAME = 80


def heading_of(schema: Any, tokens: Sequence[str]) -> str:
    """Of the member that `tokens` lead to."""
    title = schema_at(schema, tokens).get("title")
    return title.strip() if isinstance(title, str) and title.strip() else humanized(tokens[-1])


def in_order(names: Iterable[str], schema: Any, tokens: Sequence[str]) -> list[str]:
    """Members as the schema requires them, then the others: the database keeps the order of lists, not of members."""
    found = list(names)
    required = schema_at(schema, tokens).get("required")
    first = [name for name in (required if isinstance(required, list) else ()) if name in found]
    return [*first, *(name for name in found if name not in first)]


def place_in_words(payload: Any, schema: Any, pointer: str) -> str:
    """ "Amount of Revenue" for /rows/0/amount; the pointer itself, if it leads to nothing that is known."""
    try:
        tokens = tokens_of(pointer)
        value_at(payload, tokens[:-1])
    except NoSuchPlace:
        return pointer
    above: list[str] = []  # what the rows of the last list are in
    row = ""
    inner: list[str] = []
    value = payload
    for depth, token in enumerate(tokens):
        if isinstance(value, list):
            above += [row, *inner] if row else inner
            row, inner = _row_name(value, token), []
        else:
            inner.append(heading_of(schema, tokens[: depth + 1]))
        value = _below(value, token)
    if not row:
        return " › ".join(inner) or "All of it"
    words = f"{' › '.join(inner)} of {row}" if inner else row
    return words if _is_the_only_list(payload, tokens) else " › ".join([*above, words])


def name_of(item: Any, index: int) -> str:
    """What a row is called, without its number; "" if it has no name."""
    if not isinstance(item, Mapping):
        return ""
    found = next((item[name] for name in ROW_NAMES if isinstance(item.get(name), str | int)), None)
    return "" if found is None else str(found)[:LONGEST_NAME]


def number_in_words(value: float, schema: Any, tokens: Sequence[str]) -> str:
    return number_text(value, amount_at(schema, tokens))


def amount_at(schema: Any, tokens: Sequence[str]) -> bool | None:
    """Whether the number there counts something; see `ui.reading.is_amount`."""
    name = next((token for token in reversed(tokens) if not token.isdecimal()), "")
    return is_amount(name, is_number=kind_of(schema_at(schema, tokens))[0] == "number")


def _row_name(items: list[Any], token: str) -> str:
    index = int(token) if token.isdecimal() else len(items)
    name = name_of(items[index], index) if index < len(items) else ""
    if not name:
        return f"row {index + 1}"
    is_one_of_many = sum(name_of(item, index) == name for item in items) > 1
    return f"{name}, row {index + 1}" if is_one_of_many else name


def _below(value: Any, token: str) -> Any:
    try:
        return value_at(value, [token])
    except NoSuchPlace:
        return None


def _is_the_only_list(payload: Any, tokens: Sequence[str]) -> bool:
    """Whether a row's name alone tells where it is."""
    if isinstance(payload, list):
        return all(not token.isdecimal() for token in tokens[1:])
    holders = [value for value in payload.values() if isinstance(value, dict | list)]
    return len(holders) == 1 and isinstance(holders[0], list) and all(not token.isdecimal() for token in tokens[2:])
