"""What came to a list since its page was made: told, never moved in under the reader.

A row may be committed after rows with larger keys and later times. So what is new is what the page did not know, not
what is larger than all that it knew.
"""

import re
from collections.abc import Sequence
from typing import Any

from django.db.models import F, QuerySet, Subquery
from django.db.models.expressions import Combinable

MOST_KNOWN = 100  # no transaction that adds a row stays open while so many others add theirs
MOST_NEW = 99
KEYS = re.compile(r"[0-9]{1,18}(,[0-9]{1,18})*", re.ASCII)
KNOWN = re.compile(rf"(?P<keys>({KEYS.pattern})?)(?P<more>\+?)", re.ASCII)


def known_of(rows: QuerySet[Any], by: str | Combinable = "pk") -> str:
    """For the address of the part: the newest keys. Asked before the page reads its rows: what comes between the two is
    shown and told as new, rather than neither."""
    newest = list(rows.order_by(_expression(by).desc()).values_list("pk", flat=True)[: MOST_KNOWN + 1])
    return told(newest[:MOST_KNOWN], has_more=len(newest) > MOST_KNOWN)


def told(newest: Sequence[int], *, has_more: bool) -> str:
    """The same of keys that were read already, the newest first."""
    return ",".join(map(str, newest)) + "+" * has_more


def keys_of(ids: str) -> list[int]:
    """Of an address: keys with commas between; nonsense is none."""
    return [int(key) for key in ids.split(",")] if KEYS.fullmatch(ids) else []


def arrived(rows: QuerySet[Any], known: str, by: str | Combinable = "pk") -> int:
    """How many of `rows` the page that was given `known`, the newest by `by`, did not know; MOST_NEW + 1 for more than
    MOST_NEW. Nonsense is nothing new."""
    found = KNOWN.fullmatch(known)
    if found is None:
        return 0
    keys = keys_of(found["keys"])[:MOST_KNOWN]
    if found["more"] and keys:  # what is older than all these is new to the page, not to the list
        last = rows.model._default_manager.filter(pk=keys[-1]).annotate(came=_expression(by)).values("came")
        rows = rows.annotate(came=_expression(by)).filter(came__gt=Subquery(last))
    return rows.exclude(pk__in=keys).order_by()[: MOST_NEW + 1].count()


def _expression(by: str | Combinable) -> Any:
    return F(by) if isinstance(by, str) else by
