"""The components, and the files they are made of."""

import hashlib
import json
import re
from datetime import timedelta

import pytest
from django.template import Context, Template
from django.utils import timezone

from approvals.models import Status
from orchestration.models import Run, Step
from tests.harness import ROOT
from ui import markdown
from ui.management.commands.icons import TARGET, stylesheet
from ui.statuses import LOOKS, WAITS
from ui.templatetags.ui import duration, relative

LOCK = json.loads((ROOT / "static/vendor/vendor.lock").read_text())


def draw(source, **values):
    return Template("{% load ui %}" + source).render(Context(values))


def test_every_status_has_its_look():
    assert {*Run.Status.values, *Step.Status.values, *Status.values} <= set(LOOKS)


def test_every_look_has_its_drawing():
    drawings = {file.stem for file in (ROOT / "static/vendor/lucide").glob("*.svg")}
    assert {look.icon for look in (*LOOKS.values(), *WAITS.values())} <= drawings


def test_the_icons_are_made_from_the_drawings():
    assert TARGET.read_text() == stylesheet()


def test_vendored_files_are_those_of_the_lock():
    found = {str(file.relative_to(ROOT)) for file in (ROOT / "static/vendor").rglob("*.*")}
    found -= {"static/vendor/vendor.lock", "static/vendor/README.md"}
    assert found <= set(LOCK)
    for path, entry in LOCK.items():
        assert hashlib.sha256((ROOT / path).read_bytes()).hexdigest() == entry["sha256"], path


@pytest.mark.parametrize(
    "hostile",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[go](javascript:alert(1))",
        "[go](data:text/html;base64,PHNjcmlwdD4=)",
        "![picture](http://evil.example/x.png)",
        "<a href='https://x' onclick='y'>z</a>",
    ],
)
def test_markdown_from_agents_can_do_nothing(hostile):
    html = markdown.render(hostile).lower()
    for danger in ("<script", "<img", 'href="javascript', 'href="data', "<a href='https://x' onclick"):
        assert danger not in html


def test_markdown_is_drawn_below_the_pages_own_heading():
    html = markdown.render("# Report\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n[x](https://example.com)")
    assert "<h2>Report</h2>" in html
    assert "<td>1</td>" in html
    assert 'rel="noopener noreferrer nofollow"' in html


def test_a_table_scrolls_by_itself_with_its_numbers_at_the_end():
    html = markdown.render("| a | b |\n|---|--:|\n| 1 | 2 |\n\nNo `<table>` of ours: <table>")
    assert html.count('<div class="scroll" role="region" tabindex="0" aria-label="Table"><table>') == 1
    assert html.count("</table></div>") == 1
    assert '<th class="number">b</th>' in html
    assert '<td class="number">2</td>' in html
    assert "style" not in html


@pytest.mark.parametrize(
    ("text", "said"), [("1.5 %", "1.5&nbsp;%"), ("2,000 EUR", "2,000&nbsp;EUR"), ("5 points", "5 points")]
)
def test_no_line_breaks_between_a_number_and_its_unit(text, said):
    assert markdown.render(f"Now {text}") == f"<p>Now {said}</p>\n"
    assert text in markdown.render(f"`{text}`")


def test_a_heading_that_says_what_stands_above_it_is_left_out():
    assert markdown.render("# A  report\n\nText", title="A report") == "<p>Text</p>\n"
    assert "<h2>Another</h2>" in markdown.render("# Another\n\nText", title="A report")
    assert "<h2>A report</h2>" in markdown.render("Text\n\n# A report", title="A report")


def test_markdown_too_long_to_draw_is_shown_as_text():
    long = "<b>" + "x" * markdown.LARGEST
    assert markdown.render(long) is None
    assert "&lt;b&gt;" in draw("{{ text|markdown }}", text=long)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "<1 ms"),
        (0.012, "12 ms"),
        (0.0996, "0.1 s"),
        (0.42, "0.4 s"),
        (75, "1 min 15 s"),
        (7500, "2 h 5 min"),
        (360_000, "4 d 4 h"),
        (None, ""),
    ],
)
def test_durations_read_as_people_say_them(seconds, words):
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-2, "just now"),
        (-9.9, "9 s ago"),
        (-200, "3 min ago"),
        (7200, "in 2 h"),
        (7265, "in 2 h 1 min"),
        (86400 + 59, "in 1 d"),
        (259_199, "in 2 d 23 h"),
    ],
)
def test_times_are_told_from_now(seconds, words):
    assert relative(seconds) == words


def test_a_payload_of_any_size_and_depth_is_drawn_in_part():
    deep = value = {}
    for _ in range(200):
        value["a"] = value = {}
    assert "more, not shown" in draw("{% json_tree value %}", value=deep)
    wide = draw("{% json_tree value %}", value=list(range(5000)))
    assert wide.count("<li") < 250
    assert "&lt;script&gt;" in draw("{% json_tree value %}", value={"<script>": "<script>"})


def test_the_styleguide_shows_every_status(client, db):
    page = client.get("/styleguide/").content.decode()
    for name in LOOKS:
        assert f'data-status="{name}"' in page


def test_no_rule_makes_the_browser_look_through_a_whole_page():
    rules = (ROOT / "static/countersign.css").read_text()
    assert re.findall(r"(?:html|body|main|:root|\.log)(?:\.[\w-]+)?:has\(.*", rules) == []


def test_a_wait_whose_end_is_known_says_when():
    soon = timezone.now() + timedelta(seconds=40)
    assert "Retry 2 of 5 in <span data-until=" in draw(
        '{% status "waiting" "retry" until=t attempt=1 most=5 %}', t=soon
    )
    assert re.search(
        r">Waiting for time, <span [^>]+>(39|40) s</span> left<", draw('{% status "waiting" "time" until=t %}', t=soon)
    )
    assert ">Waiting to retry<" in draw('{% status "waiting" "retry" attempt=1 most=5 %}')
    assert "data-until" not in draw('{% status "completed" until=t %}', t=soon)
