"""The pages that belong to no app: the components on show, and the reader's preferences."""

import datetime

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from ui.schema_forms import SchemaForm
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
REFUSED = {"refused-month": "October", "refused-count": "0", "refused-rows": "["}


@require_safe
def styleguide(request: HttpRequest) -> HttpResponse:
    """Every component, in every state. Open to all: there is nothing of anyone's on it."""
    now = timezone.now()
    return render(
        request,
        "ui/styleguide.html",
        {
            "statuses": list(LOOKS),
            "waits": list(WAITS),
            "tones": ["good", "busy", "wait", "bad", "idle", "info"],
            "moments": [now - datetime.timedelta(seconds=n) for n in (1, 70, 7300, 200_000)],
            "payload": {"name": "Zoë", "rows": [{"kpi": "revenue", "amount": 12.5, "final": True, "note": None}]},
            "schema_form": SchemaForm(SCHEMA),
            "refused_form": SchemaForm(SCHEMA, REFUSED, prefix="refused"),
            "markdown": REPORT,
            "tabs": [
                {"label": "Overview", "url": "#tabs", "is_here": True},
                {"label": "Log", "url": "#tabs", "count": 3},
            ],
        },
    )
