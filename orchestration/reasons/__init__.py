"""Why a run is where it is, as plain data: sentences whose parts a page may draw as names, links, times that go on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from django.utils.module_loading import import_string

if TYPE_CHECKING:
    from orchestration.models.runs import Run


class Part(NamedTuple):
    """`kind` is "", or name, quote, link (`value` is its address), since or until (`value` is the time, ISO 8601)."""

    text: str
    kind: str = ""
    value: str = ""

    def __str__(self) -> str:
        return f"“{self.text}”" if self.kind == "quote" else self.text


Words = tuple[Part, ...]


def phrase(template: str, *given: str | Part | Words) -> Words:
    """Each {} of the template becomes what is given for it."""
    first, *rest = template.split("{}")
    parts = [Part(first)]
    for each, text in zip(given, rest, strict=True):
        parts += [Part(each)] if isinstance(each, str) else [each] if isinstance(each, Part) else each
        parts.append(Part(text))
    return tuple(part for part in parts if part.text)


@dataclass(frozen=True, slots=True)
class Reason:
    """`step` is the step of this run that it is about, `url` the page where something can be done or seen."""

    kind: str
    words: Words
    step: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    url: str | None = None

    @property
    def sentence(self) -> str:
        return "".join(map(str, self.words))

    def as_json(self) -> dict[str, Any]:
        names = ("kind", "sentence", "step", "since", "until", "url")
        return {name: getattr(self, name) for name in names}


_explainers: list[str] = []


def register(explain: str) -> None:
    """The dotted name of what gives a run's reasons: it reads models, and apps are read before their models."""
    _explainers[:] = [explain]


def reasons_of(run: Run) -> list[Reason]:
    (name,) = _explainers
    found: list[Reason] = import_string(name)(run)
    return found
