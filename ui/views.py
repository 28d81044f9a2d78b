"""The pages that belong to no app: the components on show, and the reader's preferences."""

import datetime
from types import SimpleNamespace

from django.contrib import messages
from django.contrib.messages.storage.base import Message
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from ui import showcase
from ui.differences import difference
from ui.schema_forms import SchemaForm
from ui.schema_words import fields_of
from ui.sources import source_lines
from ui.statuses import LOOKS, WAITS

REPORT = """# A report

With **weight**, a [link](https://example.com) and a table:

| kpi | value |
|---|---|
| revenue | 12 |
"""

SCHEMA = {
    "type": "object",
    "required": ["month"],
    "properties": {
        "month": {"type": "string", "pattern": "^\\d{4}-\\d{2}$", "title": "Month", "examples": ["2026-10"]},
        "count": {"type": "integer", "minimum": 1, "description": "How many, at least one.", "default": 3},
        "size": {"enum": ["small", "large"]},
        "urgent": {"type": "boolean", "title": "Before all others"},
        "recipients": {"type": "array", "items": {"type": "string", "format": "email"}},
        "text": {"type": "string", "description": "Any words."},
        "rows": {"type": "array", "items": {"type": "object"}},
    },
}
TEXT = "name: greet\nsteps:\n  hello: {agent: ecko}\n"
FINDING = {"line": 3, "column": 18, "rule": "unknown-agent", "message": "There is no agent ecko.", "severity": "error"}
WARNING = {"line": 1, "column": 1, "rule": "description", "message": "It has no description.", "severity": "warning"}
FINDINGS = [SimpleNamespace(**FINDING, fix="Did you mean echo?"), SimpleNamespace(**WARNING, fix="Add one.")]
TOASTS = (messages.INFO, messages.SUCCESS, messages.WARNING, messages.ERROR)
DAYS = [(3, 0), (5, 1), (0, 0), (0, 0), (8, 0), (2, 2), (4, 0)]
REFUSED = {"refused-month": "October", "refused-count": "0", "refused-rows": "["}


@require_safe
def styleguide(request: HttpRequest) -> HttpResponse:
    """Every component, in every state. Open to all: there is nothing of anyone's on it."""
    now = timezone.now()
    return render(
        request,
        "ui/styleguide.html",
        {
            "shown": showcase.drawn(request),
            "toasts": [Message(level, "What happened.") for level in TOASTS],
            "draft": SimpleNamespace(text=TEXT, base="", findings=FINDINGS, is_checked=True),
            "statuses": list(LOOKS),
            "waits": list(WAITS),
            "soon": now + datetime.timedelta(seconds=40),
            "tones": ["good", "busy", "wait", "bad", "idle", "info"],
            "moments": [now - datetime.timedelta(seconds=n) for n in (1, 70, 7300, 200_000)],
            "payload": {"name": "Zoë", "rows": [{"kpi": "revenue", "amount": 12.5, "final": True, "note": None}]},
            "schema_form": SchemaForm(SCHEMA),
            "refused_form": SchemaForm(SCHEMA, REFUSED, prefix="refused"),
            "markdown": REPORT,
            "difference": difference(TEXT, TEXT.replace("ecko", "echo")),
            "lines": source_lines(TEXT, FINDINGS),
            "findings": FINDINGS,
            "schema_fields": fields_of(SCHEMA),
            "success": SimpleNamespace(bars=[bar(*day) for day in enumerate(DAYS)], good=22, ended=25),
            "saved": {
                "tabs": [{"label": "Failed this week", "url": "#saved-views", "is_here": True}],
                "here": "Failed this week",
                "may_drop": True,
                "may_share": True,
                "query": "status=failed",
                "save_url": "#saved-views",
                "drop_url": "#saved-views",
            },
            "tabs": [
                {"label": "Overview", "url": "#tabs", "is_here": True},
                {"label": "Log", "url": "#tabs", "count": 3},
            ],
        },
    )


def bar(place: int, day: tuple[int, int]) -> SimpleNamespace:
    """As `orchestration.recent.Bar`, two pixels a run."""
    good, bad = (2 * count for count in day)
    return SimpleNamespace(x=8 * place, good_height=good, bad_height=bad, good_y=20 - good, bad_y=20 - good - bad)
