"""What differs between two payloads, in words."""

import contextlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from approvals.difference import difference
from approvals.editing import NoSuchPlace, is_at_or_below, tokens_of, value_at
from approvals.headings import number_in_words, place_in_words
from approvals.models import Decision, Request

MOST_CHANGES = 100
LONGEST_TEXT = 1000


@dataclass(frozen=True)
class Change:
    """One place: `word` is changed, added or removed. `follows`: from another that was changed."""

    place: str
    word: str
    before: str = ""
    after: str = ""
    follows: bool = False


@dataclass(frozen=True)
class Given:
    """An answer that somebody gave, late ones too."""

    decision: Decision
    choice: str
    changes: Sequence[Change]
    left: int


def changes_of(places: Iterable[Mapping[str, Any]], schema: Any, before: Any, after: Any) -> list[Change]:
    """A difference as people read it."""
    return [_change(place, schema, before if "after" not in place else after) for place in places]


def changes_between(before: Any, after: Any, schema: Any) -> tuple[list[Change], int]:
    """The first hundred changes, and how many more there are."""
    places = difference(before, after)
    return changes_of(places[:MOST_CHANGES], schema, before, after), max(0, len(places) - MOST_CHANGES)


def changes_decided(row: Request) -> tuple[list[Change], int]:
    """What differs between the payload and its answer, those that the edits do not name as what follows from them."""
    places = difference(row.payload, row.answer)
    taken = row.decisions.filter(late=False).values_list("edits", flat=True).first() or {}
    edits = [tokens_of(pointer) for pointer in taken]
    changes = changes_of(places[:MOST_CHANGES], row.payload_schema, row.payload, row.answer)
    told = [
        replace(change, follows=not _is_named(tokens_of(place["pointer"]), edits))
        for change, place in zip(changes, places, strict=False)
    ]
    return told, max(0, len(places) - MOST_CHANGES)


def _is_named(tokens: Sequence[str], edits: Iterable[Sequence[str]]) -> bool:
    """Whether an edit is of this place, of what holds it, or of what it holds."""
    return any(is_at_or_below(tokens, edit) or is_at_or_below(edit, tokens) for edit in edits)


def given_of(row: Request) -> list[Given]:
    """Every answer to a question. What stood there before is told of the places of this round."""
    return [
        Given(decision, row.word_of(decision.choice), *edits_of(row, decision))
        for decision in row.decisions.select_related("member__user")
    ]


def edits_of(row: Request, decision: Decision) -> tuple[list[Change], int]:
    """The first hundred that came with an answer, and how many more there are."""
    edits = list(decision.edits.items())
    is_of_this_round = decision.digest_seen == row.digest
    changes = []
    for pointer, value in edits[:MOST_CHANGES]:
        place: dict[str, Any] = {"pointer": pointer, "after": value}
        if is_of_this_round:
            with contextlib.suppress(NoSuchPlace):
                place["before"] = value_at(row.payload, tokens_of(pointer))
        changes.append(_change(place, row.payload_schema, row.payload))
    return changes, len(edits) - len(changes)


def _change(place: Mapping[str, Any], schema: Any, payload: Any) -> Change:
    pointer = place["pointer"]
    word = "added" if "before" not in place else "removed" if "after" not in place else "changed"
    before, after = (_short(place[key], schema, pointer) if key in place else "" for key in ("before", "after"))
    return Change(place_in_words(payload, schema, pointer), word, before, after)


def _short(value: Any, schema: Any, pointer: str) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return number_in_words(value, schema, tokens_of(pointer))
        except NoSuchPlace:
            return json.dumps(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…"
