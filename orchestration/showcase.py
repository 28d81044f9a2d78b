"""Sample data for the components of runs on `/styleguide/`. Nothing of it is ever saved."""

import datetime
from types import SimpleNamespace
from typing import Any

from django.utils import timezone

from orchestration.dashboard import FIRST_STEPS, GROUPS, HOURS, HOURS_A_BAR, STEP_KEYS, Figures, bar_of
from orchestration.engine.bulk import LEVERS
from orchestration.graph import lay_out
from orchestration.models import LogHead, Run, Step
from orchestration.models.logs import SHOWN_SIGNS
from orchestration.step_lines import Line, took
from orchestration.timeline import Span, draw
from orchestration.views.log import drawn_line
from ui.statuses import look_of

NEEDS = {"figures": [], "rates": [], "check": ["figures", "rates"], "summary": ["check"]}
MOMENTS = {"figures": (0, 4), "rates": (1, 9), "check": (9, None), "summary": (None, None)}
STATES = {
    "figures": ("completed", ""),
    "rates": ("failed", ""),
    "check": ("waiting", "approval"),
    "summary": ("blocked", ""),
}
LOG = (
    ("debug", "batch 1/40: 25 rows imported in 33 ms"),
    (
        "info",
        "\x1b[36mcheckpoint\x1b[0m after 50 rows, \x1b[32m0 duplicates\x1b[0m \x1b[35mm \x1b[34mb \x1b[1;37mw \x1b[2mf",
    ),
    ("warning", "\x1b[33mslow\x1b[0m: 489 ms"),
    ("error", "\x1b[31mrefused\x1b[0m: row 7 has no account"),
    ("info", "wide " * (SHOWN_SIGNS // 5) + "and more"),
)


def sample() -> dict[str, Any]:
    now = timezone.now()
    start = now - datetime.timedelta(seconds=20)
    graph = lay_out(NEEDS)
    lines = [_line(number, name, start) for number, name in enumerate(NEEDS)]
    spans = {line.step.key: _spans(line.step, line.step.started_at) for line in lines if line.step.started_at}
    timeline = draw(spans, start=start, end=now)
    for line, node in zip(lines, graph.nodes, strict=True):
        line.node, line.bars = node, timeline.bars.get(line.step.key, ())
    hours = range(0, HOURS, HOURS_A_BAR)
    since = now - datetime.timedelta(hours=HOURS)
    return {
        "run": Run(public_id="run_sample", created_at=start),
        "figures": Figures([3, 2, 1], start, now + datetime.timedelta(hours=2), 1, 4, 2, 0, workers=2),
        "bars": [
            bar_of(
                since + datetime.timedelta(hours=hour),
                {group: (3 * hour + 5 * place) % 7 for place, group in enumerate(GROUPS)},
                35,
            )
            for hour in hours
        ],
        "first_steps": [
            {**dict(zip(STEP_KEYS, step, strict=True)), "is_done": n == 0, "is_yours": n < 3}
            for n, step in enumerate(FIRST_STEPS)
        ],
        "status": "waiting",
        "waits_for": "approval",
        "sentence": "Waiting 12 min for an approver (finance-sign-off) to approve “KPI figures for 2026-10”.",
        "graph": graph,
        "lines": lines,
        "timeline": timeline,
        "asked": SimpleNamespace(words="rows"),
        "bulk_levers": list(LEVERS.values()),
        "matching": "1,204",
        "shown": 1,
        "head": LogHead(number=len(LOG), errors=1),
        "error_url": "#L4",
        "blocks": [[drawn_line(_said(n, level, text, now), "figures") for n, (level, text) in enumerate(LOG, 1)]],
    }


def _line(number: int, name: str, start: datetime.datetime) -> Line:
    status, waits_for = STATES[name]
    began, ended = (None if at is None else start + datetime.timedelta(seconds=at) for at in MOMENTS[name])
    step = Step(name=name, key=number + 1, position=number, status=status, started_at=began, ended_at=ended, round=1)
    look = look_of(status, waits_for)
    since = began if ended is None else None
    return Line(
        step=step,
        place=str(number),
        look=look,
        word=look.word,
        since=since,
        took=took(step),
        tries="2 of 3" if status == "failed" else "",
        agent="echo",
        error="",
        is_selected=name == "check",
    )


def _spans(step: Step, began: datetime.datetime) -> list[Span]:
    queued = Span("queued", began - datetime.timedelta(seconds=1), began)
    return [queued, Span("waited" if step.ended_at is None else "ran", began, step.ended_at, 1, step.status)]


def _said(number: int, level: str, text: str, at: datetime.datetime) -> SimpleNamespace:
    shown = text[:SHOWN_SIGNS]
    return SimpleNamespace(number=number, level=level, at=at, attempt=1, shown=shown, length=len(text))
