"""A payload as people see it: pairs, tables of figures, trees; places that may be edited are fields right in it.

What is large is cut, never refused: the rest is in the download, and can be edited as JSON.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.forms.utils import flatatt
from django.utils.html import format_html
from django.utils.safestring import SafeString

from approvals.difference import difference, escape
from approvals.editing import NoSuchPlace, is_at_or_below, tokens_of
from approvals.exceptions import Finding
from approvals.forms import NAME, field_at
from approvals.models import Request
from ui.schema_forms import FlagField, JsonField

MOST_ROWS = 100
MOST_COLUMNS = 20
MOST_MEMBERS = 60
MOST_FIELDS = 400  # Django reads 1,000 fields of a form at most
MOST_BLOCKS = 40
LONGEST_FIELD = 20_000
LONGEST_CELL = 1000
LONGEST_SMALL = 120  # signs of JSON shown in one line
DEEPEST = 3
FEW_ROWS = 2  # are shown whole on a phone too
ROW_FIGURES = 3  # told of a row that is folded
ROW_NAMES = ("name", "title", "label", "kpi", "key", "id")
MOST_CHANGES = 100


@dataclass
class Place:
    """One value. `html` is its field, "" where it may not be edited; `was` what it is called before the edit."""

    pointer: str
    label: str
    text: str = ""
    kind: str = "text"
    tree: Any = None
    left: int = 0  # signs not shown
    html: SafeString | str = ""
    was: str = ""
    now: str = ""
    errors: list[str] = field(default_factory=list)
    id: str = ""

    @property
    def is_number(self) -> bool:
        return self.kind == "number"

    @property
    def said(self) -> str:
        return self.now if self.id else self.text

    @property
    def needs_a_look(self) -> bool:
        return bool(self.errors) or self.now != self.was


@dataclass(frozen=True)
class Line:
    """A row of a table. On a phone it is folded to its name and first figures, unless it is open."""

    number: int
    cells: list[tuple[str, Place | None]]
    is_open: bool

    @property
    def name(self) -> str:
        found = {name: place.said for name, place in self.cells if place and place.said and not place.is_number}
        return next((found[name] for name in ROW_NAMES if name in found), next(iter(found.values()), ""))[:80]

    @property
    def figures(self) -> list[Place]:
        return [place for _, place in self.cells if place and place.is_number and place.said][:ROW_FIGURES]


@dataclass
class Block:
    """`kind`: pairs (places), table (columns, rows), tree (value)."""

    kind: str
    label: str = ""
    places: list[Place] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    rows: list[list[Place | None]] = field(default_factory=list)
    numbers: list[bool] = field(default_factory=list)
    value: Any = None
    left: int = 0  # rows or members not shown
    columns_left: int = 0

    @property
    def heads(self) -> list[dict[str, Any]]:
        return [{"name": name, "is_number": number} for name, number in zip(self.columns, self.numbers, strict=True)]

    @property
    def lines(self) -> list[Line]:
        return [
            Line(
                n,
                list(zip(self.columns, row, strict=True)),
                len(self.rows) <= FEW_ROWS or any(place and place.needs_a_look for place in row),
            )
            for n, row in enumerate(self.rows, 1)
        ]


class Sheet:
    """`typed`: what someone typed, by pointer; `errors`: what is wrong with it. Both stay where their places are."""

    def __init__(
        self,
        row: Request,
        *,
        may_edit: bool = True,
        typed: Mapping[str, str] | None = None,
        errors: Iterable[Finding] = (),
    ) -> None:
        self.roots = [tokens_of(pointer) for pointer in row.editable if _is_pointer(pointer)] if may_edit else []
        self.schema = row.payload_schema if self.roots else None  # only fields need it; a list has not read it
        self.typed = typed or {}
        self.errors: dict[str, list[str]] = {}
        for error in errors:
            self.errors.setdefault(error["pointer"], []).append(error["message"])
        self.fields = 0
        self.is_cut = False
        self.drawn: dict[str, Place] = {}
        self.blocks: list[Block] = []
        self._add("", row.payload, [], 0)

    @property
    def wrong(self) -> list[Place]:
        """Fields with errors, to link to."""
        return [place for place in self.drawn.values() if place.errors]

    @property
    def errors_elsewhere(self) -> list[Finding]:
        """Those of no field that is drawn."""
        return [
            {"pointer": pointer, "message": message}
            for pointer, messages in self.errors.items()
            if pointer not in self.drawn
            for message in messages
        ]

    @property
    def typed_elsewhere(self) -> dict[str, str]:
        """What was typed at places that are no fields now."""
        return {pointer: text for pointer, text in self.typed.items() if pointer not in self.drawn}

    # --- blocks

    def _add(self, label: str, value: Any, tokens: list[str], depth: int) -> None:
        if len(self.blocks) >= MOST_BLOCKS:
            self.is_cut = True
        elif isinstance(value, dict) and value and depth < DEEPEST:
            self._add_object(label, value, tokens, depth)
        elif isinstance(value, list) and value and all(isinstance(item, dict) and item for item in value):
            self._add_table(label, value, tokens)
        elif isinstance(value, dict | list) and not self._is_editable(tokens):
            self.blocks.append(Block("tree", label, value=value))
        else:
            self.blocks.append(Block("pairs", label="", places=[self._place(label or "Value", value, tokens)]))

    def _add_object(self, label: str, value: dict[str, Any], tokens: list[str], depth: int) -> None:
        members = list(value.items())
        shown = members[:MOST_MEMBERS]
        self.is_cut |= len(members) > len(shown)
        plain = [
            self._place(name, inner, [*tokens, name]) for name, inner in shown if not isinstance(inner, dict | list)
        ]
        if plain or len(members) > len(shown):
            self.blocks.append(Block("pairs", label, places=plain, left=len(members) - len(shown)))
        for name, inner in shown:
            if isinstance(inner, dict | list):
                self._add(f"{label} › {name}" if label else name, inner, [*tokens, name], depth + 1)

    def _add_table(self, label: str, items: list[dict[str, Any]], tokens: list[str]) -> None:
        shown = items[:MOST_ROWS]
        names = list(dict.fromkeys(name for item in shown for name in item))
        columns = names[:MOST_COLUMNS]
        self.is_cut |= len(items) > len(shown) or len(names) > len(columns)
        rows = []
        for index, item in enumerate(shown):
            called = _name_of(item, index)
            rows.append(
                [
                    self._place(name, item[name], [*tokens, str(index), name], called) if name in item else None
                    for name in columns
                ]
            )
        numbers = [all(row[n] is None or row[n].is_number for row in rows) for n in range(len(columns))]  # type: ignore[union-attr]
        self.blocks.append(
            Block(
                "table",
                label,
                columns=columns,
                rows=rows,
                numbers=numbers,
                left=len(items) - len(shown),
                columns_left=len(names) - len(columns),
            )
        )

    # --- places

    def _is_editable(self, tokens: Sequence[str]) -> bool:
        return any(is_at_or_below(tokens, root) for root in self.roots)

    def _place(self, label: str, value: Any, tokens: list[str], of: str = "") -> Place:
        pointer = "".join(f"/{escape(token)}" for token in tokens)
        place = Place(pointer, label, kind=_kind(value))
        if self._is_editable(tokens) and pointer.isprintable():
            if self._draw_field(place, value, tokens, f"{label} of {of}" if of else label):
                return place
            self.is_cut = True
        self._draw_text(place, value)
        return place

    def _draw_text(self, place: Place, value: Any) -> None:
        if isinstance(value, dict | list):
            small = _small(value)
            if small is None:
                place.kind, place.tree = "tree", value
            else:
                place.kind, place.text = "json", small
            return
        text = value if isinstance(value, str) else json.dumps(value)
        longest = LONGEST_FIELD if not place.pointer.count("/") > 2 else LONGEST_CELL
        place.text, place.left = text[:longest], max(0, len(text) - longest)

    def _draw_field(self, place: Place, value: Any, tokens: list[str], label: str) -> bool:
        if self.fields >= MOST_FIELDS or _is_long(value):
            return False
        self.fields += 1
        self.drawn[place.pointer] = place
        place.id = f"place-{self.fields}"
        place.errors = self.errors.get(place.pointer, [])
        found = field_at(self.schema, tokens, value)
        place.was = str(found.prepare_value(value)) if not isinstance(found, FlagField) else _said(value)
        typed = self.typed.get(place.pointer)
        now = place.was if typed is None else typed
        if isinstance(found, FlagField):
            checked = value is True if typed is None else bool(typed)
            place.now = _said(checked)
            place.html = _checkbox(place, label, checked)
        else:
            place.now = now
            place.html = _widget(place, label, found, now)
        return True


def _checkbox(place: Place, label: str, checked: bool) -> SafeString:
    """The hidden one says that the place was there: a box that is not checked is not sent."""
    return format_html(
        '<input type="hidden" name="{}{}" value=""><input type="checkbox" name="{}{}" value="on"{}{}>',
        NAME,
        place.pointer,
        NAME,
        place.pointer,
        flatatt(_attributes(place, label)),
        " checked" if checked else "",
    )


def _widget(place: Place, label: str, found: JsonField, now: str) -> SafeString:
    attrs = {**_attributes(place, label), "autocomplete": "off"}
    html: SafeString = found.widget.render(NAME + place.pointer, now, attrs)
    return html


def _attributes(place: Place, label: str) -> dict[str, Any]:
    attrs: dict[str, Any] = {"id": place.id, "aria-label": label, "data-was": place.was}
    attrs["aria-describedby"] = f"{place.id}-more"
    if place.errors:
        attrs["aria-invalid"] = "true"
    return attrs


def _is_pointer(pointer: str) -> bool:
    try:
        tokens_of(pointer)
    except NoSuchPlace:
        return False
    return True


def _name_of(item: Mapping[str, Any], index: int) -> str:
    found = next((item[name] for name in ROW_NAMES if isinstance(item.get(name), str | int)), None)
    return f"row {index + 1}" if found is None else f"{str(found)[:80]}, row {index + 1}"


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "flag"
    if isinstance(value, int | float):
        return "number"
    return "null" if value is None else "text"


def _said(value: Any) -> str:
    return "yes" if value is True else "no"


def _is_long(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) > LONGEST_FIELD
    return isinstance(value, dict | list) and len(json.dumps(value)) > LONGEST_FIELD


def _small(value: Any) -> str | None:
    """Its JSON, if that is short."""
    if len(value) > LONGEST_SMALL:
        return None
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST_SMALL else None


# --- what changed


@dataclass(frozen=True)
class Change:
    """One place of a difference, in words: `word` is changed, added or removed."""

    pointer: str
    word: str
    before: str = ""
    after: str = ""


def changes_of(places: Iterable[Mapping[str, Any]]) -> list[Change]:
    """A difference as people read it."""
    found = []
    for place in places:
        word = "added" if "before" not in place else "removed" if "after" not in place else "changed"
        before, after = (_short(place[key]) if key in place else "" for key in ("before", "after"))
        found.append(Change(place["pointer"] or "all of it", word, before, after))
    return found


def changes_between(before: Any, after: Any) -> tuple[list[Change], int]:
    """The first hundred changes, and how many more there are."""
    places = difference(before, after)
    return changes_of(places[:MOST_CHANGES]), max(0, len(places) - MOST_CHANGES)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST_CELL else f"{text[:LONGEST_CELL]}…"
