"""What the asker of a question can tell about it: words and links of an app that approvals knows nothing of."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from django.utils.module_loading import import_string

if TYPE_CHECKING:
    from accounts.models import Member
    from approvals.models import Request


@dataclass(frozen=True)
class Step:
    """Something that waits behind the question. `doer` is who does it."""

    name: str
    doer: str = ""
    doer_url: str = ""
    status: str = ""
    waits_for: str | None = None


@dataclass(frozen=True)
class Result:
    title: str
    url: str


@dataclass(frozen=True)
class Surroundings:
    """`title`, `url`, `status` and `sentence` are the run's; `again`: steps that the choice retry runs again;
    `is_simulated`: a stand-in took part; `topic`, `seq`: what a page listens to, for news of it."""

    title: str = ""
    url: str = ""
    status: str = ""
    sentence: str = ""
    has_ended: bool = False
    behind: list[Step] = field(default_factory=list)
    again: list[str] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    is_simulated: bool = False
    topic: str = ""
    seq: int = 0


_tellers: dict[str, str] = {}
_families: list[str] = []


def register(teller: str, simulated: str, family: str) -> None:
    """Called from an app's `ready()`, with the dotted names of three functions. The first, of a request and a member,
    gives Surroundings, or None about questions that its app did not ask. The second gives the keys of those of many
    requests in which a stand-in took part; the third, of a run's name and a member, the names of all that it started,
    and its own. By name, as apps are read before their models."""
    _tellers[teller] = simulated
    _families[:] = [family]


def family_of(run: str, member: Member) -> list[str]:
    """The run and all that it started, at any depth, as questions name them."""
    return [name for dotted in _families for name in import_string(dotted)(run, member)]


def simulated_among(rows: Collection[Request]) -> set[int]:
    """The keys of those in which a stand-in took part, as their askers say."""
    return {pk for name in _tellers.values() for pk in import_string(name)(rows)} if rows else set()


def surroundings_of(row: Request, member: Member) -> Surroundings:
    """Of the first teller who knows; else what the question itself says."""
    for name in _tellers:
        teller: Callable[[Request, Member], Surroundings | None] = import_string(name)
        found = teller(row, member)
        if found is not None:
            return found
    behind = [Step(name) for name, _ in row.digest_parts.get("steps", [])]
    url = str(row.url or "")
    safe = url if url.startswith(("https://", "http://")) or (url.startswith("/") and url[1:2] != "/") else ""
    return Surroundings(title=str(row.context.get("definition", "") or "where it was asked"), url=safe, behind=behind)
