"""Runs by their labels: `label.NAME=VALUE` in an address, and how many there are of each value."""

from django.db.models import Count, Q, QuerySet
from django.db.models.fields.json import KT
from django.http import QueryDict

from orchestration.models import Run

PREFIX = "label."
COUNTED = 10_000  # runs, the newest of those that the filters leave
SHOWN_VALUES = 50


def labels_of(query: QueryDict) -> dict[str, str]:
    """By name, as an address says; `label=NAME=VALUE` is what a form's one field sends."""
    found = {key.removeprefix(PREFIX): str(value) for key, value in query.items() if key.startswith(PREFIX)}
    for words in query.getlist("label"):
        name, _, value = words.partition("=")
        found[name.strip()] = value.strip()
    return {name.replace("\0", ""): value.replace("\0", "") for name, value in found.items() if name and value}


def having(labels: dict[str, str]) -> Q:
    """All of these."""
    return Q(labels__contains=labels) if labels else Q()


def counts_of(runs: QuerySet[Run], name: str) -> list[tuple[str, int]]:
    """(value, how many runs) of a label among the newest COUNTED of these, the most frequent first."""
    newest = runs.filter(labels__has_key=name).select_related(None).defer(None).values("pk")[:COUNTED]
    found = Run.objects.filter(pk__in=newest).values_list(KT(f"labels__{name}")).annotate(runs=Count("pk"))
    return list(found.order_by("-runs", KT(f"labels__{name}"))[:SHOWN_VALUES])
