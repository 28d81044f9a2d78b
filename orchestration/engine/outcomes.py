import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from django.conf import settings

from accounts.json_values import DEEPEST_JSON, is_too_deep
from orchestration.engine.connection import decoded, returned_connection, rows, value
from orchestration.models import subject_of

ZERO = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")  # in JSON's text; after an even number of backslashes it is one
UNDO = "undo"  # the kind of a row that takes back what another did; its name is that one's with this behind it
INLINE_BYTES = 4_096  # a larger value lies in a row of its own, by its digest


@lru_cache(maxsize=512)
def _more(text: str | None) -> dict[str, Any]:
    """It is asked for again and again while a step is done."""
    return decoded(text) or {}


@dataclass(slots=True, eq=False)  # not frozen: making it would take 2.6 instead of 0.4 us of the recorder's
class Claim:
    """A step that this process owns under `fence`. Never changed."""

    run: int
    key: int
    fence: int
    attempt: int
    position: int
    name: str
    round: int
    index: int | None
    kind: str
    agent_version: int | None
    feedback_text: str | None
    reads_text: str | None
    definition_version: int
    public_id: str
    organization: int
    started_by: int | None
    depth: int
    input: str | None
    failed: bool
    more_text: str | None = None

    @classmethod
    def of(cls, row: tuple[Any, ...]) -> "Claim":
        """From a row of `engine_flush` of verdict claimed."""
        return cls(*row[2:])

    @property
    def feedback(self) -> Any:
        """Decoded when its walker asks: what cannot be decoded fails this step, not the recorder."""
        return decoded(self.feedback_text)

    @property
    def reads(self) -> list[dict[str, Any]]:
        return decoded(self.reads_text) or []

    @property
    def more(self) -> dict[str, Any]:
        """What steps have that are not plain: head, pass, phase, item, …"""
        return _more(self.more_text)

    @property
    def phase(self) -> int:
        """1: of a head whose items are laid."""
        return int(self.more.get("phase", 0))

    @property
    def head(self) -> int | None:
        """The key of the row whose item or pass this is."""
        return self.more.get("head")

    @property
    def pass_number(self) -> int | None:
        return self.more.get("pass")

    @property
    def has_item(self) -> bool:
        return "item" in self.more or "item_digest" in self.more

    @property
    def item(self) -> Any:
        digest = self.more.get("item_digest")
        if digest is None:
            return self.more["item"]
        with returned_connection():
            return load_payload(bytes.fromhex(digest))

    @property
    def is_to_be_confirmed(self) -> bool:
        """A person is asked before it is done: the run that this one was forked from did it, or may have."""
        return bool(self.more.get("confirm"))

    @property
    def place(self) -> tuple[int, int, int]:
        return (self.run, self.key, self.fence)

    @property
    def subject(self) -> str:
        """By which its question is known in approvals."""
        return subject_of(self.run, self.name, self.index)

    @property
    def idempotency_key(self) -> str:
        """The same in every try of the step, another in its next round."""
        places = (self.round, self.index, self.pass_number, "undo" if self.kind == UNDO else None)
        name = self.name.removesuffix(f":{UNDO}")
        return ":".join([self.public_id, name, *(str(place) for place in places if place is not None)])


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a claimed or waiting step.

    `becomes` is completed, failed, skipped, canceled, uncertain, ready or waiting. `fields` are those of an item of
    `engine_settle`: error, waits_for, wake (seconds), decision, usage, child, deliverable, note, unlost, more (what is
    rare: see `engine_settle`).
    `prepare` makes rows that belong to the outcome in its transaction (a question, a child) and returns more fields.
    """

    becomes: str
    output: Any = None
    input: Any = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    prepare: Callable[[], Mapping[str, Any]] | None = None


def failed(error_class: str, message: str, *, given: Any = None, **fields: Any) -> Outcome:
    """Error classes are those of the definition language: temporary, permanent, timeout, expression, child_failed, …"""
    return Outcome(
        "failed", input=given, fields={"error": {"class": error_class, "message": message[:2_000]}, **fields}
    )


class NotRecordable(ValueError):
    """A value that cannot be kept: a zero character, NaN, nested too deep, too large, or what is no JSON at all."""


class NotPrepared(Exception):
    """The rows that belong to an outcome cannot be made."""


@dataclass(frozen=True, slots=True)
class Item:
    """An outcome as `engine_settle` takes it, `text`, without its number; and the large values, by digest."""

    text: str
    payloads: tuple[tuple[bytes, str], ...]


def encode(step: tuple[int, int, int], was: str, outcome: Outcome, **more: Any) -> Item:
    """`step` is (run, key, fence). Raises NotRecordable."""
    run, key, fence = step
    parts = [f'"run":{run},"key":{key},"fence":{fence},"was":"{was}","outcome":"{outcome.becomes}"']
    if rest := {**outcome.fields, **more}:
        parts.append(dump(rest)[1:-1])
    payloads: list[tuple[bytes, str]] = []
    for name, content in (("input", outcome.input), ("output", outcome.output)):
        if content is None:
            continue
        text = dump(content)
        if len(text) <= INLINE_BYTES:
            parts.append(f'"{name}":{text}')
        else:
            digest = hashlib.sha256(text.encode()).digest()
            payloads.append((digest, text))
            parts.append(f'"{name}_digest":"{digest.hex()}"')
    return Item(",".join(parts), tuple(payloads))


# Made once: `json.dumps` with any option makes a new one each time.
ENCODER = json.JSONEncoder(allow_nan=False, separators=(",", ":"))


def dump(content: Any) -> str:
    try:
        text = ENCODER.encode(content)
    except (TypeError, ValueError, RecursionError) as exc:
        raise NotRecordable(f"This is no JSON: {exc}") from exc
    if len(text) > settings.OUTPUT_MOST_BYTES:
        most = f"at most {settings.OUTPUT_MOST_BYTES:,} are kept (setting OUTPUT_MOST_BYTES)"
        raise NotRecordable(f"This has {len(text):,} bytes as JSON; {most}.")
    if text.count("[") + text.count("{") > DEEPEST_JSON and is_too_deep(content):  # mostly, counting tells enough
        raise NotRecordable(f"This is nested deeper than {DEEPEST_JSON}.")
    if "\\u0000" in text and ZERO.search(text):
        raise NotRecordable("This holds a zero character, which the database cannot store.")
    if "\\ud" in text:
        try:
            json.dumps(content, ensure_ascii=False).encode()
        except UnicodeEncodeError as exc:
            raise NotRecordable(
                "This holds half a character (a lone surrogate), which the database cannot store."
            ) from exc
    return text


def store_payloads(payloads: list[tuple[bytes, str]]) -> None:
    """Before the batch that names them, ordered by digest: two batches never wait for each other in a circle."""
    ordered = sorted(dict(payloads).items())
    rows(
        "insert into orchestration_payload as p (digest, body, size, used_at)"
        " select d, b::jsonb, length(b), clock_timestamp() from unnest(%s::bytea[], %s::text[]) as given(d, b)"
        " on conflict (digest) do update set used_at = excluded.used_at"
        " where p.used_at < clock_timestamp() - interval '1 hour'",
        [[digest for digest, _ in ordered], [text for _, text in ordered]],
    )


def payload_text(digest: bytes) -> str:
    return str(value("select body from orchestration_payload where digest = %s", [digest]))


def payload_texts(digests: list[str]) -> dict[str, str]:
    """Of several, by their digests in hex."""
    wanted = [bytes.fromhex(digest) for digest in digests]
    found = rows("select encode(digest, 'hex'), body from orchestration_payload where digest = any(%s)", [wanted])
    return dict(found)


def load_payload(digest: bytes) -> Any:
    return decoded(payload_text(digest))
