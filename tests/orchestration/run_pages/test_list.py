"""The list of runs: its rows, its filters, and what it costs."""

import re
from datetime import timedelta

from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from orchestration.engine import starts
from orchestration.models import Run
from tests.factories import MemberFactory
from tests.orchestration.run_pages.looks import CHAIN, end, fail, put_question, text_of


def test_an_empty_list_says_what_to_do_to_those_who_may(operator, members):
    page = text_of(operator, "/runs/")
    assert "Nothing has run yet" in page
    assert page.count('href="/runs/new/"') == 2
    operator.force_login(members.viewer.user)
    page = text_of(operator, "/runs/")
    assert "An operator starts one" in page
    assert 'href="/runs/new/"' not in page


def test_a_row_tells_status_step_and_cost(viewer, begin, members):
    run = begin(CHAIN)
    usage = {"model": "m", "input_tokens": 1, "output_tokens": 1, "cost_usd": 0.25, "simulated": True}
    end(run, "figures", fields={"usage": usage})
    put_question(run, "check")
    page = text_of(viewer, "/runs/")
    row = re.search(rf'<tr[^>]*id="row-{run.public_id}".*?</tr>', page, re.DOTALL)[0]
    assert f'href="/runs/{run.public_id}/"' in row
    for words in ("Waiting for approval", "<bdi>check</bdi>", "$0.2500", "Simulated", members.operator.name, "@1"):
        assert words in row


def shown(page):
    return re.findall(r'id="row-(run_\w+)"', page)


def test_filters_are_in_the_address(viewer, begin, members):
    failed, waiting, unknown, plain = (begin("  figures: {agent: echo}\n") for _ in range(4))
    fail(failed, "figures")
    end(waiting, "figures", "waiting", fields={"waits_for": "retry"})
    end(unknown, "figures", "uncertain")
    mine = starts.start(
        organization=plain.organization, definition="test-4", given={"customer": "Zoë"}, by=members.viewer
    )
    of = {name: run.public_id for name, run in locals().items() if isinstance(run, Run)}
    yesterday = (timezone.localtime() - timedelta(days=1)).date().isoformat()
    for query, wanted in (
        ("", {"failed", "waiting", "unknown", "plain", "mine"}),
        ("status=failed", {"failed"}),
        ("status=failed&status=waiting", {"failed", "waiting", "unknown"}),
        ("status=failed,rejected", {"failed"}),
        ("status=uncertain", {"unknown"}),
        ("status=open", {"waiting", "unknown", "plain", "mine"}),
        ("definition=test-4", {"plain", "mine"}),
        ("mine=1", {"mine"}),
        ("time=24h&status=failed", {"failed"}),
        ("time=today", {"failed", "waiting", "unknown", "plain", "mine"}),
        (f"to={yesterday}", set()),
        (f"from={yesterday}&status=failed", {"failed"}),
        ("from=2126-01-01", set()),
        ("q=zoë", {"mine"}),
        ("q=TEST-1", {"failed"}),
        (f"q={plain.public_id}", {"plain"}),
        (f"q={plain.public_id[:12]}", {"plain"}),
        (f"q={plain.public_id[-4:]}&status=running", {"plain"}),
        ("q=nowhere", set()),
    ):
        assert set(shown(text_of(viewer, f"/runs/?{query}"))) == {of[name] for name in wanted}, query


def test_the_choice_of_statuses_keeps_what_the_address_says(viewer, begin):
    begin(CHAIN)
    for query, option in (
        ("status=failed&status=rejected", '<option value="failed,rejected" selected>Failed or rejected</option>'),
        ("status=failed&status=waiting", '<option value="failed,waiting" selected>failed or waiting</option>'),
        ("", '<option value="" selected>Any status</option>'),
    ):
        assert option in text_of(viewer, f"/runs/?{query}")


def test_nonsense_in_the_address_is_left_out_in_words(viewer, begin):
    begin(CHAIN)
    page = text_of(viewer, "/runs/?status=<b>&time=never&from=yesterday&to=2026-13-45&mine=x")
    assert "No run has the status “&lt;b&gt;”" in page
    assert "“never” is no time" in page
    assert "“yesterday” is no time" in page
    assert "“2026-13-45” is no time" in page
    assert len(shown(page)) == 1
    assert viewer.get("/runs/?older=run_nonsense").status_code == 404
    assert viewer.get("/runs/?to=9999-12-31").status_code == 200


def test_older_goes_on_by_key_while_new_runs_come(viewer, begin):
    runs = [begin("  figures: {agent: echo}\n") for _ in range(53)]
    newest_first = [run.public_id for run in reversed(runs)]
    first = text_of(viewer, "/runs/")
    assert shown(first) == newest_first[:50]
    begin("  figures: {agent: echo}\n")
    older = re.search(r'href="(/runs/\?[^"]*older=[^"]+)"', first)[1].replace("&amp;", "&")
    assert shown(text_of(viewer, older)) == newest_first[50:]


def test_new_runs_are_announced_and_rows_shown_change_in_place(viewer, begin):
    first = begin("  figures: {agent: echo}\n")
    page = text_of(viewer, "/runs/?status=open")
    part = re.search(r'data-part="([^"]+)"', page)[1].replace("&amp;", "&")
    assert "new</a>" not in text_of(viewer, part)
    for _ in range(3):
        begin("  figures: {agent: echo}\n")
    fail(first, "figures")
    answer = text_of(viewer, part)
    assert shown(answer) == [first.public_id]  # it has no place among those not ended, but its row does not go away
    assert "Failed" in answer
    assert "3 new</a>" in answer
    assert "<html" not in answer


def test_ids_of_another_organization_give_nothing(viewer, begin, client):
    run = begin(CHAIN)
    client.force_login(MemberFactory(roles=["admin"]).user)
    assert run.public_id not in text_of(client, "/runs/")
    assert shown(text_of(client, f"/runs/part/?ids={run.public_id}")) == []
    assert " new</a>" not in text_of(client, f"/runs/part/?known=&ids={run.public_id}")


def test_many_rows_cost_as_many_queries_as_few(viewer, begin):
    counts = []
    for count in (2, 20):
        for _ in range(count):
            end(begin(CHAIN), "figures")
        with CaptureQueriesContext(connection) as seen:
            text_of(viewer, "/runs/?q=1")
        counts.append(len(seen))
    assert counts[0] == counts[1] <= 10, counts
