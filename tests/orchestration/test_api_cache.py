"""The answers that steps keep, over the API and by the command."""

import io

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse

from accounts.models import AuditEntry
from orchestration.models import CacheEntry


@pytest.fixture
def kept(begin, engine, finished):
    """Two runs, of which the second took the first one's answer."""
    runs = []
    for _ in range(2):
        runs.append(begin("  a: {agent: echo, with: {value: 7}, cache: {ttl: 1h}}"))
        engine.look()
        finished(runs[-1])
    return runs


def command(*words):
    out = io.StringIO()
    call_command("cache", *words, stdout=out)
    return out.getvalue()


def purge(client, **given):
    return client.post(reverse("cache-purge"), given, format="json")


def test_a_step_says_whose_answer_it_took(kept, viewer):
    first, second = (viewer.get(reverse("run", args=[run.public_id])).json()["steps"][0] for run in kept)
    assert first["cached_from"] is None
    assert (second["cached_from"]["run"], second["cached_from"]["step"]) == (kept[0].public_id, "a")
    assert (second["output"], second["attempts"]) == (first["output"], 1)


def test_the_page_says_so_and_links_to_it(kept, client, members):
    client.force_login(members.viewer.user)
    page = client.get(reverse("pages:run", args=[kept[1].public_id]) + "?step=a").content.decode()
    assert "Nobody was asked" in page
    assert reverse("pages:run", args=[kept[0].public_id]) in page


def test_answers_are_counted_by_agent_and_purged_by_operators(kept, viewer, operator, members):
    (found,) = viewer.get(reverse("cache")).json()["results"]
    assert (found["agent"], found["answers"]) == ("echo", 1)
    assert purge(viewer, reason="no").status_code == 403
    assert purge(operator).status_code == 400
    assert purge(operator, reason=" ").status_code == 400
    assert purge(operator, reason="no", run="run_x").status_code == 404
    assert purge(operator, reason="no", agent="boss").json() == {"purged": 0}
    assert purge(operator, reason="no", run=kept[1].public_id).json() == {"purged": 0}
    assert purge(operator, reason="wrong", run=kept[0].public_id).json() == {"purged": 1}
    assert viewer.get(reverse("cache")).json() == {"results": []}
    told = AuditEntry.objects.filter(action="cache.purge").order_by("pk").last()
    assert told.data == {"agent": None, "run": kept[0].public_id, "answers": 1, "reason": "wrong"}
    assert told.actor == members.operator


def test_the_command_lists_and_purges(kept, organization):
    where = ["--organization", organization.slug]
    assert command("list", *where).startswith("echo  1  until ")
    assert command("list", "--agent", "boss", *where) == ""
    with pytest.raises(CommandError, match="No run"):
        command("purge", "--run", "run_x", "--reason", "r", *where)
    with pytest.raises(CommandError, match="No organization"):
        command("list", "--organization", "nobody")
    assert command("purge", "--run", kept[0].public_id, "--reason", "r", *where) == "1 answers\n"
    assert not CacheEntry.objects.exists()
