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
from approvals.editing import NoSuchPlace, holds_covered, is_covered, tokens_of, value_at
from approvals.exceptions import Finding
from approvals.forms import NAME, field_at
from approvals.headings import ROW_NAMES, amount_at, heading_of, in_order, name_of
from approvals.models import Request
from ui.reading import number_text
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


@dataclass
class Place:
    """One value. `html` is its field, "" where it may not be edited; `was` what it is called before the edit.

    `mark` tells what the answer did there: changed (`before` is what stood there) or added. `follows`: it is worked out
    from others, and so changes while one types.
    """

    pointer: str
    label: str
    key: str = ""
    text: str = ""
    kind: str = "text"
    tree: Any = None
    left: int = 0  # signs not shown
    html: SafeString | str = ""
    was: str = ""
    now: str = ""
    errors: list[str] = field(default_factory=list)
    id: str = ""
    amount: bool | None = None  # of a number, see ui.reading
    mark: str = ""
    before: str = ""
    follows: bool = False

    @property
    def is_number(self) -> bool:
        return self.kind == "number"

    @property
    def said(self) -> str:
        return self.in_words(self.now) if self.html else self.text

    @property
    def in_short(self) -> str:
        return "none" if self.kind == "null" else self.text

    @property
    def amount_in_words(self) -> str:
        """What is in the field, if it reads better with its thousands parted: a field for numbers cannot show them."""
        words = self.in_words(self.now)
        return words if "," in words and self.is_number else ""

    @property
    def needs_a_look(self) -> bool:
        return bool(self.errors or self.mark) or self.now != self.was

    @property
    def change(self) -> tuple[str, str] | None:
        """What was typed over what."""
        return None if self.now == self.was else (self.in_words(self.was), self.in_words(self.now))

    def in_words(self, typed: str) -> str:
        """What is in the field, as it is said elsewhere."""
        if not self.is_number:
            return typed
        try:
            return number_text(json.loads(typed), self.amount)
        except (ValueError, TypeError):
            return typed


@dataclass(frozen=True)
class Line:
    """A row of a table. On a phone it is folded to its name and first figures, unless it is open."""

    number: int
    cells: list[tuple[str, Place | None]]
    is_open: bool

    @property
    def name(self) -> str:
        found = {place.key: place.said for _, place in self.cells if place and place.said and not place.is_number}
        return next((found[name] for name in ROW_NAMES if name in found), next(iter(found.values()), ""))[:80]

    @property
    def figures(self) -> list[Place]:
        return [place for _, place in self.cells if place and place.is_number and place.said][:ROW_FIGURES]


@dataclass
class Block:
    """`kind`: pairs (places), table (columns, by their headings, and rows), tree (value)."""

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
    """`typed`: what someone typed, by pointer; `errors`: what is wrong with it. Both stay where their places are.

    Of a question that was answered it shows the answer, what was changed with it marked; else, where places follow from
    others, how they would stand in `after`, the answer with what was typed.
    """

    def __init__(
        self,
        row: Request,
        *,
        may_edit: bool = True,
        typed: Mapping[str, str] | None = None,
        errors: Iterable[Finding] = (),
        after: Any = None,
    ) -> None:
        derivation = row.derivation if may_edit else None
        self.derived = [tokens_of(pattern) for pattern in derivation.patterns] if derivation else []
        self.after = after
        self.follow: list[Place] = []
        self.roots = [tokens_of(pointer) for pointer in row.editable if _is_pointer(pointer)] if may_edit else []
        self.schema = row.payload_schema
        self.typed = typed or {}
        self.errors: dict[str, list[str]] = {}
        for error in errors:
            self.errors.setdefault(error["pointer"], []).append(error["message"])
        self.fields = 0
        self.is_cut = False
        self.drawn: dict[str, Place] = {}
        self.blocks: list[Block] = []
        shown = row.answer if row.answer_digest else row.payload
        if row.answer_digest:
            places = difference(row.payload, row.answer)
        else:
            places = [] if after is None else difference(row.payload, after)
        self.changed = {place["pointer"]: place for place in places}
        self._add("", shown, [], 0)

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
        elif isinstance(value, list) and value and self._holds_fields(tokens) and not any(map(_is_deep, value)):
            self._add_items(label, value, tokens)
        elif isinstance(value, dict | list) and not self._is_editable(tokens):
            self.is_cut |= self._holds_fields(tokens)
            self.blocks.append(Block("tree", label, value=value))
        else:
            self.blocks.append(Block("pairs", label="", places=[self._place(label or "Value", value, tokens)]))

    def _add_object(self, label: str, value: dict[str, Any], tokens: list[str], depth: int) -> None:
        members = [(name, value[name]) for name in in_order(value, self.schema, tokens)]
        shown = members[:MOST_MEMBERS]
        self.is_cut |= len(members) > len(shown)
        plain = [
            self._place(self._heading([*tokens, name]), inner, [*tokens, name])
            for name, inner in shown
            if not _is_deep(inner)
        ]
        if plain or len(members) > len(shown):
            self.blocks.append(Block("pairs", label, places=plain, left=len(members) - len(shown)))
        for name, inner in shown:
            if _is_deep(inner):
                heading = self._heading([*tokens, name])
                self._add(f"{label} › {heading}" if label else heading, inner, [*tokens, name], depth + 1)

    def _add_items(self, label: str, items: list[Any], tokens: list[str]) -> None:
        shown = items[:MOST_MEMBERS]
        self.is_cut |= len(items) > len(shown)
        places = [self._place(f"{label} {n}".strip(), item, [*tokens, str(n - 1)]) for n, item in enumerate(shown, 1)]
        self.blocks.append(Block("pairs", places=places, left=len(items) - len(shown)))

    def _add_table(self, label: str, items: list[dict[str, Any]], tokens: list[str]) -> None:
        shown = items[:MOST_ROWS]
        names = in_order(dict.fromkeys(name for item in shown for name in item), self.schema, [*tokens, "0"])
        columns = names[:MOST_COLUMNS]
        self.is_cut |= len(items) > len(shown) or len(names) > len(columns)
        headings = {name: self._heading([*tokens, "0", name]) for name in columns}
        rows = []
        for index, item in enumerate(shown):
            called = ", ".join(filter(None, [name_of(item, index), f"row {index + 1}"]))
            rows.append(
                [
                    self._place(headings[name], item[name], [*tokens, str(index), name], called)
                    if name in item
                    else None
                    for name in columns
                ]
            )
        numbers = [all(row[n] is None or row[n].is_number for row in rows) for n in range(len(columns))]  # type: ignore[union-attr]
        self.blocks.append(
            Block(
                "table",
                label,
                columns=list(headings.values()),
                rows=rows,
                numbers=numbers,
                left=len(items) - len(shown),
                columns_left=len(names) - len(columns),
            )
        )

    # --- places

    def _is_editable(self, tokens: Sequence[str]) -> bool:
        return any(is_covered(tokens, root) for root in self.roots)

    def _follows(self, tokens: Sequence[str]) -> bool:
        return any(len(tokens) == len(pattern) and is_covered(tokens, pattern) for pattern in self.derived)

    def _holds_fields(self, tokens: Sequence[str]) -> bool:
        return any(holds_covered(tokens, root) for root in self.roots)

    def _heading(self, tokens: Sequence[str]) -> str:
        return heading_of(self.schema, tokens)

    def _place(self, label: str, value: Any, tokens: list[str], of: str = "") -> Place:
        pointer = "".join(f"/{escape(token)}" for token in tokens)
        follows = self._follows(tokens)
        if follows and self.after is not None:
            value = value_at(self.after, tokens)
        place = Place(pointer, label, key=tokens[-1] if tokens else "", kind=_kind(value), follows=follows)
        if place.is_number:
            place.amount = amount_at(self.schema, tokens)
            if place.amount is None and isinstance(value, float):
                place.amount = True
        if self._is_editable(tokens) and pointer.isprintable():
            if self._draw_field(place, value, tokens, f"{label} of {of}" if of else label):
                return place
            self.is_cut = True
        self.is_cut |= _is_deep(value) and self._holds_fields(tokens)
        self._draw_text(place, value)
        self._mark(place, tokens)
        if follows:
            self.follow.append(place)
            self.drawn[pointer] = place
            place.id = f"follows-{len(self.follow)}"
            place.errors = self.errors.get(pointer, [])
        return place

    def _mark(self, place: Place, tokens: Sequence[str]) -> None:
        """By the change of this very place, or of what it lies in."""
        above = ("".join(f"/{escape(token)}" for token in tokens[:depth]) for depth in range(len(tokens) + 1))
        found = next((self.changed[pointer] for pointer in above if pointer in self.changed), None)
        if found is None:
            return
        place.mark = "changed" if "before" in found and found["pointer"] == place.pointer else "added"
        if place.mark == "changed":
            before = Place(place.pointer, place.label, kind=_kind(found["before"]), amount=place.amount)
            self._draw_text(before, found["before"])
            place.before = "none" if before.kind == "null" else before.text or "something else"

    def _draw_text(self, place: Place, value: Any) -> None:
        if isinstance(value, dict | list):
            small = _small(value)
            if small is None:
                place.kind, place.tree = "tree", value
            else:
                place.kind, place.text = "json", small
            return
        if place.is_number:
            place.text = number_text(value, place.amount)
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
    if place.is_number and place.amount is not False:
        attrs["data-thousands"] = "always" if place.amount else "from 10000"
    if place.errors:
        attrs["aria-invalid"] = "true"
    return attrs


def _is_pointer(pointer: str) -> bool:
    try:
        tokens_of(pointer)
    except NoSuchPlace:
        return False
    return True


def _is_deep(value: Any) -> bool:
    return isinstance(value, dict | list)


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
