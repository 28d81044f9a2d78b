"""The pages that belong to no app: the components on show, and the reader's preferences."""

import datetime

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from ui.statuses import LOOKS, WAITS

REPORT = """# A report

With **weight**, a [link](https://example.com) and a table:

| kpi | value |
|---|---|
| revenue | 12 |
"""


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
            "markdown": REPORT,
            "tabs": [
                {"label": "Overview", "url": "#tabs", "is_here": True},
                {"label": "Log", "url": "#tabs", "count": 3},
            ],
        },
    )
