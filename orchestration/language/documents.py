"""YAML text to nodes that know their place, by the YAML 1.2 core schema: `yes` and `12:30` are text. JSON is read too.

ruamel.yaml gives the events of a YAML 1.2 parser; the nodes are made here, because its own constructors resolve
timestamps, merge keys and tags that the core schema has not, and expand aliases without a limit.
"""

import math
import re
from typing import Any, NoReturn

from django.conf import settings
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from .expressions.typing import LARGEST_INT, SMALLEST_INT
from .findings import Finding, Findings, at_most, place_in
from .nodes import Node

INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
NOT_JSON = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
WORDS = {"": None, "~": None} | {
    form: value
    for word, value in (("null", None), ("true", True), ("false", False))
    for form in (word, word.capitalize(), word.upper())
}
NOT_UTF_8 = re.compile("[\ud800-\udfff]")  # as bytes that are none are decoded, and half a character of JSON
CORE = "tag:yaml.org,2002:"
TEXT_TAGS = frozenset({"!", f"{CORE}str"})
PLAIN_TAGS = frozenset({f"{CORE}{name}" for name in ("null", "bool", "int", "float", "map", "seq")})


class Unreadable(Exception):
    """The text is no document; the finding says why."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.message)
        self.finding = finding


def read(text: str, file: str) -> tuple[Node, Findings]:
    """The document and what is wrong in it short of being unreadable. Raises Unreadable."""
    if len(text) > settings.DEFINITION_MOST_CHARACTERS:
        message = f"The text has {len(text):,} characters."
        raise Unreadable(Finding(file, 1, 1, "too-large", message, at_most("DEFINITION_MOST_CHARACTERS")))
    if broken := NOT_UTF_8.search(text):
        place = place_in(text, broken.start())
        raise Unreadable(
            Finding(file, *place, "encoding", "This is no character of UTF-8.", "Write the text in UTF-8.")
        )
    findings = Findings(file, text)
    if text.lstrip().startswith("{"):
        # JSON may be indented with tabs, YAML may not
        text = re.sub(r"^[ \t]+", lambda blank: " " * len(blank.group()), text, flags=re.MULTILINE)
    try:
        return _Reader(text, findings).document(), findings
    except MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise Unreadable(Finding(file, line, column, "syntax", f"{_sentence(exc.problem)}", _syntax_fix(text))) from exc
    except (YAMLError, ValueError, RecursionError) as exc:
        message = _sentence(str(exc).splitlines()[0] if str(exc) else type(exc).__name__)
        raise Unreadable(Finding(file, 1, 1, "syntax", message, "Write YAML 1.2 or JSON.")) from exc


def _sentence(problem: str | None) -> str:
    words = (problem or "not readable").strip().rstrip(".")
    return f"This is not YAML: {words}."


def _syntax_fix(text: str) -> str:
    if re.search(r"[{,\[]\s*(\w+:\s*)?\$\{\{", text):
        return "Inside { } and [ ] put quotes around ${{ }}."
    return "Check the indentation, the quotes and the brackets before this place."


class _Reader:
    def __init__(self, text: str, findings: Findings) -> None:
        self.findings = findings
        self.anchors: dict[str, Node | None] = {}
        self.events = iter(YAML(typ="safe", pure=True).parse(text))
        self.nodes = 0
        self.top = ""  # under which key of the document

    def document(self) -> Node:
        root: Node | None = None
        for event in self.events:
            if isinstance(event, DocumentStartEvent):
                if root is not None:
                    self.refuse(
                        event, "syntax", "There is a second document in this text.", "Keep one; take `---` out."
                    )
                root = self.node(next(self.events), 0)
        if root is None:
            raise Unreadable(
                Finding(self.findings.file, 1, 1, "syntax", "The text is empty.", "Write name: and steps: at least.")
            )
        return root

    def node(self, event: Event, depth: int) -> Node:
        self.nodes += 1
        if depth > settings.DEFINITION_DEEPEST:
            self.refuse(event, "too-large", "The document nests too deeply.", at_most("DEFINITION_DEEPEST"))
        if isinstance(event, AliasEvent):
            return self.alias(event)
        anchor: str | None = getattr(event, "anchor", None)
        if anchor:
            self.anchors[anchor] = None
        self.check_tag(event)
        if isinstance(event, ScalarEvent):
            node = self.scalar(event)
        elif isinstance(event, SequenceStartEvent):
            node = self.sequence(event, depth)
        else:
            node = self.mapping(event, depth)
        if anchor:
            self.anchors[anchor] = node
        self.check_values(event, max(node.size, self.nodes))
        return node

    def alias(self, event: AliasEvent) -> Node:
        node = self.anchors.get(event.anchor)
        if node is None:
            message = f"The alias *{event.anchor} has no finished anchor before it."
            self.refuse(event, "syntax", message, f"Write &{event.anchor} at an earlier value.")
        self.nodes += node.size
        self.check_values(event, self.nodes)
        mark = event.start_mark
        return Node(
            node.value, mark.line + 1, mark.column + 1, mark.index, event.end_mark.index, node.size, node.keys,
            node.fields, node.items,
        )  # fmt: skip

    def sequence(self, event: Event, depth: int) -> Node:
        node = _placed(event, [])
        while not isinstance(following := next(self.events), SequenceEndEvent):
            item = self.node(following, depth + 1)
            node.items.append(item)
            node.value.append(item.value)
            node.size += item.size
        node.end = following.end_mark.index
        return node

    def mapping(self, event: Event, depth: int) -> Node:
        node = _placed(event, {})
        while not isinstance(following := next(self.events), MappingEndEvent):
            key = self.node(following, depth + 1)
            if not isinstance(following, ScalarEvent | AliasEvent) or isinstance(key.value, list | dict):
                self.find(key, "syntax", "A key must be text.", "Give it a name; quote it if it begins with a bracket.")
                name = f"?{key.start}"
            else:
                name = key.value if isinstance(key.value, str) else str(getattr(following, "value", key.value))
            if depth == 0:
                self.top = name
            value = self.node(next(self.events), depth + 1)
            node.size += key.size + value.size
            if name in node.fields:
                first = node.keys[name]
                message = f"The key {name} is here twice, first in line {first.line}."
                self.find(key, "duplicate-key", message, "Keep one of them.")
                continue
            node.keys[name] = key
            node.fields[name] = value
            node.value[name] = value.value
            if self.top == "steps" and depth < 2:
                self.check_steps(following, len(node.fields if depth else value.fields))
        node.end = following.end_mark.index
        return node

    def scalar(self, event: ScalarEvent) -> Node:
        node = _placed(event, event.value)
        text: str = event.value
        if event.style is None and event.tag not in TEXT_TAGS:
            node.value = self.plain(text, node)
        if isinstance(node.value, str) and not node.value.isascii():  # two halves that YAML's escapes wrote
            node.value = node.value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        if isinstance(node.value, str) and "\0" in node.value:
            self.find(node, "text", "The text holds a zero character, which cannot be stored.", "Take \\0 out.")
        return node

    def plain(self, text: str, node: Node) -> Any:
        if text in WORDS:
            return WORDS[text]
        if INT.fullmatch(text):
            number = self.integer(text)
            if number is None or not SMALLEST_INT <= number <= LARGEST_INT:
                self.find(node, "number-range", "This number does not fit into 64 bits.", "Put it in quotes, as text.")
                return 0
            return number
        if FLOAT.fullmatch(text):
            value = float(text)
            if not math.isfinite(value):
                self.find(node, "number-range", "This number is too large for a double.", "Put it in quotes, as text.")
                return 0.0
            return value
        if NOT_JSON.fullmatch(text):
            self.find(node, "number-range", f"{text} is not a number JSON knows.", "Put it in quotes, as text.")
            return 0.0
        return text

    def integer(self, text: str) -> int | None:
        if len(text) > 25:
            return None
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))

    def check_tag(self, event: Event) -> None:
        tag = getattr(event, "tag", None)
        if tag is None or tag in TEXT_TAGS or tag in PLAIN_TAGS:
            return
        place = _placed(event, None)
        self.find(place, "syntax", f"The tag {tag} is not known.", "Only the tags of YAML's core schema are.")

    def check_values(self, event: Event, values: int) -> None:
        if values > settings.DEFINITION_MOST_VALUES:
            message = "There are too many values; an alias counts as often as it stands."
            self.refuse(event, "too-large", message, at_most("DEFINITION_MOST_VALUES"))

    def check_steps(self, event: Event, steps: int) -> None:
        """As soon as there are too many: reading all of them would take long."""
        if steps > settings.DEFINITION_MOST_STEPS:
            self.refuse(event, "too-large", "There are too many steps.", at_most("DEFINITION_MOST_STEPS"))

    def find(self, node: Node, rule: str, message: str, fix: str) -> None:
        self.findings.at(node, rule, message, fix)

    def refuse(self, event: Event, rule: str, message: str, fix: str) -> NoReturn:
        mark = event.start_mark
        raise Unreadable(Finding(self.findings.file, mark.line + 1, mark.column + 1, rule, message, fix))


def _placed(event: Event, value: Any) -> Node:
    mark = event.start_mark
    return Node(value, mark.line + 1, mark.column + 1, mark.index, event.end_mark.index)
