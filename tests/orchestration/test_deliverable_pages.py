"""Deliverables as pages: found, read, compared, printed and taken away."""

import re
from html import unescape
from urllib.parse import unquote

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.clock import database_clock
from orchestration.engine.connection import rows
from orchestration.made import recognized
from orchestration.models import Deliverable
from orchestration.views.deliverables import PAGE_SIZE
from tests.factories import MemberFactory, PolicyFactory, ask

LONG = "Ünïcode 🎉 שלום עולם " * 10
STEPS = """
  figures: {agent: echo}
  check: {needs: [figures], approval: {title: Good?}}
  summary: {agent: echo, needs: [check]}
  aside: {agent: echo}
"""


@pytest.fixture
def signed_in(client, members):
    client.force_login(members.viewer.user)
    return client


@pytest.fixture
def make(begin):
    """Deliverables of one run: `make(content, …)`; the run is `make.run`."""

    def make(content="# Hello", **given):
        words = {"name": "kpi-report", "title": "KPI report", "version": 1, "key": 3} | given
        run = words.pop("run", None) or make.run
        public_id = f"dlv_{Deliverable.objects.count()}"
        return Deliverable.objects.create(public_id=public_id, run=run, content=content, **words)

    make.run = begin(STEPS)
    return make


def read(client, path):
    answer = client.get(path)
    assert answer.status_code == 200, path
    return answer.content.decode()


def test_an_empty_list_says_what_will_be_there(signed_in):
    page = read(signed_in, "/deliverables/")
    assert "Nothing has been made yet" in page
    assert 'href="/definitions/"' in page


def test_the_list_is_narrowed_by_the_address(signed_in, make, begin):
    first, other = make(), make(name="letter", title="A letter", run=begin("  s: {agent: echo}\n"))
    slug = other.run.definition_version.definition.slug
    for words, shown in {
        "": [other, first],
        "q=LETTER": [other],
        "q=kpi": [first],
        "name=letter": [other],
        f"definition={slug}": [other],
        f"run={make.run.public_id}": [first],
        "q=nothing-like-it": [],
    }.items():
        page = read(signed_in, f"/deliverables/?{words}")
        assert re.findall(r'class="row" href="/deliverables/(\w+)/"', page) == [each.public_id for each in shown], words
    assert "Nothing fits" in page


def row_of(page, made):
    return re.search(rf'<tr class="row-link" id="{made.public_id}">.*?</tr>', page, re.DOTALL)[0]


def test_the_list_tells_apart_what_one_workflow_made(signed_in, make, begin, members, organization, save):
    policy = PolicyFactory(organization=organization)
    text = f"name: monthly\nsteps:\n{STEPS}"
    months = [begin(text, {"month": month, "final": True, "rows": [1]}) for month in ("2026-09", "2026-10")]
    for number, run in enumerate(months):
        context = {"run": run.public_id, "definition": "d", "step": "check", "url": "/"}
        asked = ask(policy, subject=f"run:{run.pk}:check", context=context)
        if number == 0:
            asked.decide(by=members.approver, choice="continue", digest=asked.digest)
    rows("update orchestration_run set status = 'completed', ended_at = now() where id = %s", [months[0].pk])
    first, second = (make(run=run, version=2) for run in months)
    beside = make(run=months[0], name="aside", key=4)
    labeled = make(run=begin(text, {"month": "2026-11"}))
    rows('update orchestration_run set labels = \'{"customer": "acme"}\' where id = %s', [labeled.run_id])
    for path in ("/deliverables/", part_of(signed_in)):
        page = read(signed_in, path)
        told = row_of(page, first)
        assert "<bdi>Month: 2026-09</bdi>, <bdi>Final: yes</bdi><span" in told
        assert f'data-label="Approved"><bdi>{members.approver.name}</bdi> <span' in told
        assert "<bdi>monthly</bdi> @1" in told
        assert 'data-label="Version">2<' in told
        assert "data-status" not in told
        assert '<td data-label="Approved"></td>' in row_of(page, beside)  # no checkpoint comes before that step
        other = row_of(page, second)
        assert "<bdi>Month: 2026-10</bdi>" in other
        assert '<td data-label="Approved"></td>' in other
        assert 'data-status="running"' in other
        assert "<bdi>Customer: acme</bdi><span" in row_of(page, labeled)


def part_of(client):
    return unescape(re.search(r'data-part="([^"]*)"', read(client, "/deliverables/"))[1])


@pytest.mark.parametrize(
    ("labels", "given", "words"),
    [
        (None, "", []),
        (None, "null", []),
        (None, '"March"', ["March"]),
        (None, '{"a": 1, "b": [2], "c_d": false, "e": "", "f": 1.5, "g": 4}', ["A: 1", "C d: no", "F: 1.5"]),
        (None, '{"final": true, "month": "2026-09"}', ["Month: 2026-09", "Final: yes"]),
        ({"customer": "acme"}, '{"a": 1}', ["Customer: acme"]),
        (None, '{"text": "' + "x" * 99 + '"}', [f"Text: {'x' * 59}…"]),
    ],
)
def test_a_run_is_recognized_by_its_labels_or_what_its_input_says_plainly(labels, given, words):
    assert recognized(labels, given) == words


def test_older_ones_follow_without_gaps_or_repeats_while_new_ones_come(signed_in, make):
    made = [make(version=number) for number in range(1, 2 * PAGE_SIZE + 2)]
    seen, path = [], "/deliverables/?name=kpi-report"
    while path:
        page = read(signed_in, path)
        seen += re.findall(r'class="row" href="/deliverables/(\w+)/"', page)
        older = re.search(r'href="(\?[^"]+)" rel="next"', page)
        path = f"/deliverables/{older[1].replace('&amp;', '&')}" if older else None
        make(name="late", version=len(seen))
    assert seen == [each.public_id for each in reversed(made)]


def test_a_report_is_a_page_to_read_with_where_it_came_from(signed_in, make, members, organization):
    policy = PolicyFactory(organization=organization)
    context = {"run": make.run.public_id, "definition": "d", "step": "check", "url": "/"}
    request = ask(policy, subject=f"run:{make.run.pk}:check", context=context)
    request.decide(by=members.approver, choice="continue", digest=request.digest, note="Looks right")
    found = make("# Figures\n\n| kpi | value |\n|---|---|\n| revenue | 12 |\n")
    page = read(signed_in, f"/deliverables/{found.public_id}/")
    assert "<h2>Figures</h2>" in page
    assert "<td>revenue</td>" in page
    assert f'href="/runs/{make.run.public_id}/"' in page
    assert ">summary</bdi>" in page
    assert members.approver.name in page
    assert "Looks right" in page
    aside = make(name="aside", key=4)
    assert "No checkpoint comes before this step" in read(signed_in, f"/deliverables/{aside.public_id}/")


@pytest.mark.parametrize(
    "hostile",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[go](javascript:alert(1))",
        "<style>*{display:none}</style>",
        "</article></main><h1>Approved</h1>",
        "![x](https://tracker.example/x.png)",
        "<form action='/accounts/logout/' method=post><button>OK</button></form>",
    ],
)
def test_what_an_agent_wrote_can_do_nothing(signed_in, make, hostile):
    found = make(hostile, title=hostile, name=hostile[:100])
    for path in ("/deliverables/", f"/deliverables/{found.public_id}/"):
        page = read(signed_in, path).lower()
        for danger in ("<script>alert", "<img", 'href="javascript', "<style>*", "<h1>approved", "<form action="):
            assert danger not in page


def test_what_is_too_long_to_draw_is_shown_as_text(signed_in, make):
    found = make("# <b>\n" + "x " * 600_000)
    page = read(signed_in, f"/deliverables/{found.public_id}/")
    assert "too long to be drawn" in page
    assert '<pre class="plain-text"># &lt;b&gt;' in page


def test_versions_are_rounds_and_two_of_them_are_compared(signed_in, make):
    first, second = make("a\nb\nc\n"), make("a\nB\nc\nd\n", version=2)
    page = read(signed_in, f"/deliverables/{first.public_id}/")
    assert "is the newest" in page
    page = read(signed_in, f"/deliverables/{second.public_id}/?from=1&to=2")
    assert "2 lines added, 1 removed" in page
    assert re.findall(r"([+-])<span class=\"sr\"> (\w+)</span></td><td><bdi>(\w+)", page) == [
        ("-", "removed", "b"),
        ("+", "added", "B"),
        ("+", "added", "d"),
    ]
    for odd in ("from=1&to=3", "from=x&to=1", "from=1", f"from=1&to={'9' * 30}"):
        assert 'id="difference"' not in read(signed_in, f"/deliverables/{second.public_id}/?{odd}")


def test_a_stand_in_is_marked(signed_in, make):
    found = make()
    assert "Simulated" not in read(signed_in, "/deliverables/")
    rows("update orchestration_step set usage = '{\"simulated\": true}' where run_id = %s and key = 3", [make.run.pk])
    for path in ("/deliverables/", f"/deliverables/{found.public_id}/"):
        assert '<span class="badge"' in read(signed_in, path)


def test_it_says_what_reviewers_changed_and_who(signed_in, make, members):
    found = make("# KPI report\n\nAll is well")
    policy = PolicyFactory(organization=make.run.organization)
    asked = {"payload": {"rows": [{"name": "Revenue", "amount": 222548}, {"name": "Costs", "amount": 7}]}}
    context = {"run": make.run.public_id, "step": "check"}
    row = ask(policy, **asked, payload_schema=None, editable=["/rows"], context=context)
    path = f"/deliverables/{found.public_id}/"
    assert "Changed by people" not in read(signed_in, path)
    row.decide(by=members.approver, choice="continue", digest=row.digest, edits={"/rows/0/amount": 250000})
    Deliverable.objects.filter(pk=found.pk).update(created_at=database_clock())  # the answer came before it
    page = read(signed_in, path)
    told = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", page))
    name = members.approver.name
    assert f"Amount of Revenue 222,548 → 250,000, changed by {name} at the checkpoint check" in told
    assert "Costs" not in told
    assert page.count("KPI report</") == 1  # the heading of the page, not once more in the text


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("kpi-report", "kpi-report-v1.md"),
        ("../../etc/passwd", "etc-passwd-v1.md"),
        ('a"; filename="evil.exe', "a-filename-evil.exe-v1.md"),
        ("x\r\nSet-Cookie: a=b", "x-Set-Cookie-a-b-v1.md"),
        ("\u202egpj.exe", "gpj.exe-v1.md"),
        ("...", "deliverable-v1.md"),
        ("Größe 🎉", "Größe-v1.md"),
    ],
)
def test_the_file_taken_away_has_a_safe_name(signed_in, make, name, file):
    found = make("# Hello\n<b>", name=name)
    answer = signed_in.get(f"/deliverables/{found.public_id}/download/")
    disposition = answer.headers["Content-Disposition"]
    assert disposition.startswith("attachment; filename")
    told = re.fullmatch(r"attachment; filename(?:=\"(?P<plain>[^\"]+)\"|\*=utf-8''(?P<coded>.+))", disposition)
    assert (told["plain"] or unquote(told["coded"])) == file
    assert answer.headers["Content-Type"] == "text/markdown; charset=utf-8"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.content.decode() == "# Hello\n<b>"


def test_the_raw_text_is_text(signed_in, make):
    found = make("<script>alert(1)</script>")
    answer = signed_in.get(f"/deliverables/{found.public_id}/raw/")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.content == b"<script>alert(1)</script>"


def test_another_organization_finds_none_of_it(client, make):
    found = make()
    client.force_login(MemberFactory(roles=["admin"]).user)
    assert found.public_id not in read(client, "/deliverables/")
    for path in ("", "download/", "raw/"):
        assert client.get(f"/deliverables/{found.public_id}/{path}").status_code == 404


def test_looking_changes_nothing_and_nothing_else_is_possible(signed_in, make):
    found = make()
    for path in ("/deliverables/", f"/deliverables/{found.public_id}/"):
        assert signed_in.post(path).status_code == 405


def test_long_names_in_any_script_are_whole(signed_in, make):
    found = make(LONG, name=LONG[:100], title=LONG)
    for path in ("/deliverables/", f"/deliverables/{found.public_id}/"):
        assert f"<bdi>{LONG[:100]}" in read(signed_in, path)


def test_many_cost_as_many_queries_as_few(signed_in, make):
    read(signed_in, f"/deliverables/{make().public_id}/")  # the first that a member opens is noted
    counts = []
    for count in (2, 20):
        for number in range(count):
            found = make(version=count + number)
        per_page = []
        for path in ("/deliverables/?q=kpi", f"/deliverables/{found.public_id}/?from=2&to=3"):
            with CaptureQueriesContext(connection) as seen:
                read(signed_in, path)
            per_page.append(len(seen))
        counts.append(per_page)
    assert counts[0] == counts[1]
    assert max(counts[0]) <= 15
