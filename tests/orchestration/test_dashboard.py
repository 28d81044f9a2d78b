"""The first page."""

import datetime
import re
from html import unescape

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import Member
from approvals.models import Request
from orchestration import dashboard
from orchestration.engine.connection import rows
from orchestration.models import Deliverable, Run, Worker
from tests.factories import MemberFactory, PolicyFactory, ask


@pytest.fixture
def policy(organization):
    return PolicyFactory(organization=organization, not_the_requester=True)


def figures(member):
    return dashboard.figures(member, timezone.now())


def test_it_counts_what_needs_the_reader_and_nobody_else(members, policy):
    own = ask(policy, subject="run:1:check", requested_by=members.approver)
    other = ask(policy, subject="run:2:check", requested_by=members.operator)
    elsewhere = MemberFactory(roles=["approver"])

    assert [figures(who).needs_you for who in (members.approver, members.viewer, members.admin, elsewhere)] == [
        1,
        0,
        2,
        0,
    ]
    assert figures(members.approver).oldest_at == other.created_at
    assert own in Request.objects.decidable_by(members.admin)


def test_what_may_be_decided_is_what_the_verb_lets_through(members, policy):
    requests = [
        ask(policy, subject=f"run:{n}:check", requested_by=by) for n, by in enumerate([None, *vars(members).values()])
    ]
    now = timezone.now()
    for member in vars(members).values():
        allowed = {request.pk for request in requests if request.can_be_decided_by(member, at=now)}
        assert set(Request.objects.decidable_by(member).values_list("pk", flat=True)) == allowed


def test_runs_are_counted_by_what_becomes_of_them(members, begin):
    runs = [begin("  s: {agent: echo}\n") for _ in range(4)]
    rows("update orchestration_run set status = 'failed', ended_at = now() where id = %s", [runs[0].pk])
    rows("update orchestration_run set status = 'waiting' where id = %s", [runs[1].pk])
    rows("update orchestration_step set status = 'uncertain' where run_id = %s", [runs[2].pk])

    seen = figures(members.viewer)
    assert (seen.failed, seen.moving, seen.waiting, seen.uncertain) == (1, 2, 1, 1)
    assert seen.workers == 0


def test_the_bars_hold_every_run_of_a_day_in_their_two_hours(members, begin):
    runs = [begin("  s: {agent: echo}\n") for _ in range(3)]
    rows("update orchestration_run set created_at = now() - interval '3 hours' where id = %s", [runs[0].pk])
    rows("update orchestration_run set created_at = now() - interval '3 days' where id = %s", [runs[1].pk])

    bars = dashboard.bars(members.viewer, timezone.now())
    assert len(bars) == 12
    assert sum(bar["total"] for bar in bars) == 2
    assert all(bar["until"] - bar["at"] == datetime.timedelta(hours=2) for bar in bars)
    assert all(part["y"] >= 0 and part["y"] + part["height"] <= 100.1 for bar in bars for part in bar["parts"])


def test_the_first_run_is_guided_until_it_is_done(client, members, begin):
    client.force_login(members.operator.user)
    page = client.get("/").content.decode()
    assert "Your first run, in four steps" in page
    assert "This takes the role approver" in page
    begin("  s: {agent: echo}\n")
    assert "Done" in client.get("/").content.decode()
    client.post("/first-steps/hide/")
    assert "Your first run" not in client.get("/").content.decode()


def steps_done(client):
    page = client.get("/").content.decode()
    return re.findall(r'<li class="is-done"><div><b>([^<]+)</b>', page)


def test_the_report_is_read_when_this_member_opened_one(client, members, begin):
    run = begin("  s: {agent: echo}\n")
    made = {"run": run, "key": 1, "name": "report", "version": 1, "title": "A report", "content": "# Good"}
    Deliverable.objects.create(public_id="dlv_1", **made)
    elsewhere = MemberFactory(roles=["viewer"])
    for who in (members.viewer, members.operator):
        client.force_login(who.user)
        assert steps_done(client) == ["Start a run"]
    assert client.head("/deliverables/dlv_1/").status_code == 200
    assert client.get("/deliverables/").status_code == 200
    assert steps_done(client) == ["Start a run"]
    assert client.get("/deliverables/dlv_1/").status_code == 200
    assert steps_done(client) == ["Start a run", "Read the report"]
    first = Member.objects.get(pk=members.operator.pk).first_read_at
    assert client.get("/deliverables/dlv_1/").status_code == 200
    assert Member.objects.get(pk=members.operator.pk).first_read_at == first
    client.force_login(members.viewer.user)
    assert steps_done(client) == ["Start a run"]
    client.force_login(elsewhere.user)
    assert client.get("/deliverables/dlv_1/").status_code == 404
    assert Member.objects.get(pk=elsewhere.pk).first_read_at is None


def test_the_page_and_its_part_show_the_same(client, members, policy, begin):
    client.force_login(members.approver.user)
    run = begin("  s: {agent: echo}\n")
    ask(policy, title="Is <this> right?")
    for path in ("/", part_of(client)):
        page = client.get(path).content.decode()
        assert f'href="/runs/{run.public_id}/"' in page
        assert "Is &lt;this&gt; right?" in page
    assert "<html" not in client.get(part_of(client)).content.decode()


def part_of(client):
    return unescape(re.search(r'data-part="([^"]*)"', client.get("/").content.decode())[1])


def test_what_came_is_told_and_what_is_there_changes_where_it_is(client, members, policy, begin):
    client.force_login(members.approver.user)
    run, asked = begin("  s: {agent: echo}\n"), ask(policy, title="The first")
    part = part_of(client)
    assert " new</a>" not in client.get(part).content.decode()
    begin("  s: {agent: echo}\n")
    for number in range(2):
        ask(policy, subject=f"run:{number}:check", title="Later")
    rows("update orchestration_run set status = 'completed', ended_at = now() where id = %s", [run.pk])
    asked.decide(by=members.admin, choice="continue", digest=asked.digest)
    page = client.get(part).content.decode()
    assert re.findall(r'id="([a-z]+)-news"[^>]*><a [^>]*><span[^>]*></span>(\d+) new</a>', page) == [
        ("questions", "2"),
        ("runs", "1"),
    ]
    assert "Later" not in page
    assert re.findall(r'<tr class="(row-link[^"]*)" id="(\w+)"', page) == [
        ("row-link is-over", asked.public_id),
        ("row-link", run.public_id),
    ]
    assert f"by <bdi>{members.admin.name}</bdi>" in page
    assert 'data-status="completed"' in page


def test_a_stand_in_is_marked_wherever_its_run_is_told_of(client, members, policy, begin):
    client.force_login(members.approver.user)
    run = begin("  s: {agent: echo}\n")
    asked = ask(policy, context={"run": run.public_id, "step": "check"})
    places = ["/", "/approvals/", f"/approvals/{asked.public_id}/"]

    def marks():
        return ["Simulated" in client.get(path).content.decode() for path in [*places, part_of(client)]]

    assert not any(marks())
    rows("update orchestration_step set usage = '{\"simulated\": true}' where run_id = %s and key = 1", [run.pk])
    assert all(marks())
    assert client.get("/").content.decode().count("Simulated") == 2


def test_whether_workers_live_is_told_in_one_place(client, members):
    client.force_login(members.viewer.user)
    for path in ("/", "/part/"):
        assert "No worker is alive" in client.get(path).content.decode()
    Worker.objects.create(host="here", pid=1, lease_until=timezone.now() + datetime.timedelta(hours=1))
    for path in ("/", "/part/"):
        page = client.get(path).content.decode()
        assert "1 worker alive" in page
        assert page.count('id="workers"') == 1


def test_an_empty_house_says_so(client, members):
    client.force_login(members.viewer.user)
    page = client.get("/").content.decode()
    assert "Nothing has run yet" in page
    assert "Nothing waits for you" in page


def test_it_costs_as_many_queries_with_many_rows(client, members, policy, begin):
    client.force_login(members.approver.user)
    client.get("/")
    counts = []
    for total in (1, 9):
        for number in range(total):
            begin("  s: {agent: echo}\n")
            ask(policy, subject=f"run:{total}-{number}:check")
        with CaptureQueriesContext(connection) as seen:
            client.get("/")
        counts.append(len(seen))
    assert counts[0] == counts[1] <= 15, counts


@pytest.mark.parametrize(
    ("role", "offered"), [("viewer", []), ("operator", ["runs"]), ("builder", ["agents", "definitions"])]
)
def test_the_palette_offers_what_the_member_may_begin(client, members, save, role, offered):
    save("name: greet\nsteps: {hello: {agent: echo}}\n")
    client.force_login(getattr(members, role).user)
    page = client.get("/go/actions/").content.decode()
    addresses = {"runs": "/runs/new/greet/", "agents": "/agents/new/", "definitions": "/definitions/new/"}
    assert sorted(name for name, address in addresses.items() if f'href="{address}"' in page) == offered


@pytest.mark.parametrize(
    ("words", "place"),
    [
        ("run_01abc", "/runs/run_01abc/"),
        ("req_01abc", "/approvals/req_01abc/"),
        ("dlv_01abc", "/deliverables/dlv_01abc/"),
        ("run_/../x", "/runs/?q=run_%2F..%2Fx"),
        ("kpi & more", "/runs/?q=kpi+%26+more"),
    ],
)
def test_the_palette_goes_to_ids_and_searches_for_the_rest(client, members, words, place):
    client.force_login(members.viewer.user)
    assert client.get("/go/", {"q": words}).headers["Location"] == place
    assert Run.objects.count() == 0
