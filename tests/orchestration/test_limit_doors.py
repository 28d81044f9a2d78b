"""Limits at their doors: the API, the command, the pages."""

import io

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse

from accounts.models import AuditEntry
from orchestration.models import Limit, LimitSlot
from tests.factories import OrganizationFactory
from tests.orchestration.engine.test_slots import TEXT, Bench

URL = "/api/v1/limits/"


@pytest.fixture
def bench(save, organization, members):
    return Bench(save(TEXT), organization, members.operator)


@pytest.fixture
def full(bench):
    """A limit of one, which one holds and two wait for."""
    steps = [bench.step() for _ in range(3)]
    for step in steps:
        bench.ask(step)
    return steps


@pytest.fixture
def browser(client, members):
    client.force_login(members.operator.user)
    return client


def test_the_api_says_who_holds_a_limit_and_who_waits(full, viewer):
    (listed,) = viewer.get(URL).data["results"]
    assert {name: listed[name] for name in ("kind", "key", "max", "per", "taken", "waiting")} == {
        "kind": "steps",
        "key": "k",
        "max": 1,
        "per": None,
        "taken": 1,
        "waiting": 2,
    }
    shown = viewer.get(f"{URL}{listed['id']}/").data
    assert [one["step"] for one in shown["holders"]] == ["a"]
    assert len(shown["line"]) == 2
    assert viewer.get(f"{URL}?key=other").data["results"] == []


def test_raising_a_limit_calls_up_as_many_as_there_is_room_for(bench, full, operator):
    limit = Limit.objects.get()
    assert operator.patch(f"{URL}{limit.public_id}/", {"max": 3, "reason": "r"}, format="json").data["max"] == 3
    assert len(bench.woken()) == 2
    entry = AuditEntry.objects.get(action="limit.change")
    assert entry.data == {
        "key": "k",
        "kind": "steps",
        "from": {"max": None, "per": None},
        "to": {"max": 3, "per": None},
        "reason": "r",
    }


def test_lowering_a_limit_takes_nothing_away_and_lets_nobody_in_until_there_is_room(bench, full, operator):
    url = f"{URL}{Limit.objects.get().public_id}/"
    operator.patch(url, {"max": 3, "reason": "r"}, format="json")
    second, third = bench.woken()
    assert bench.ask(second) is None
    operator.patch(url, {"max": 1, "reason": "r"}, format="json")
    assert LimitSlot.objects.count() == 2
    assert bench.ask(third)["key"] == "k"  # it had been called up
    bench.end(full[0])
    assert bench.woken() == []
    bench.end(second)
    (third,) = bench.woken()
    assert bench.ask(third) is None


def test_what_a_person_said_stands_until_it_is_taken_back(bench, full, operator):
    url = f"{URL}{Limit.objects.get().public_id}/"
    operator.patch(url, {"max": 2, "reason": "r"}, format="json")
    (second,) = bench.woken()
    assert bench.ask(second) is None
    assert operator.patch(url, {"max": None, "reason": "r"}, format="json").data["max"] == 1
    bench.end(second)
    assert bench.woken() == []


def test_a_rate_that_is_raised_lets_in_at_once_who_waits(bench, operator):
    wanted = [{"kind": "rate", "key": "r", "max": 1, "per": 3600.0}]
    assert bench.ask(bench.step(), wanted) is None
    assert "until" in bench.ask(bench.step(), wanted)
    bench.ask(bench.step(), wanted)
    limit = Limit.objects.get()
    assert bench.woken() == []
    assert operator.patch(f"{URL}{limit.public_id}/", {"max": 3, "reason": "r"}, format="json").status_code == 200
    again = bench.woken()
    assert [bench.ask(step, wanted) for step in again] == [None, None]


@pytest.mark.parametrize(
    "words", [{"max": 0, "reason": "r"}, {"max": 2}, {"max": 2, "reason": ""}, {"max": 2, "per": 5, "reason": "r"}]
)
def test_a_change_without_sense_or_reason_is_refused(full, operator, words):
    url = f"{URL}{Limit.objects.get().public_id}/"
    assert operator.patch(url, words, format="json").status_code == 400
    assert Limit.objects.get().max_override is None
    assert not AuditEntry.objects.filter(action="limit.change").exists()


def test_only_operators_change_limits_and_only_those_of_their_organization(full, viewer, operator):
    limit = Limit.objects.get()
    assert viewer.patch(f"{URL}{limit.public_id}/", {"max": 2, "reason": "r"}, format="json").status_code == 403
    Limit.objects.update(organization=OrganizationFactory())
    assert operator.patch(f"{URL}{limit.public_id}/", {"max": 2, "reason": "r"}, format="json").status_code == 404
    assert operator.get(URL).data["results"] == []


def test_the_command_lists_shows_and_changes(full):
    limit = Limit.objects.get()
    assert "1 of 1" in told("list")
    assert told("show", limit.public_id).count("waits") == 2
    assert "1 of 3" in told("change", limit.public_id, "--max", "3", "--reason", "r")
    with pytest.raises(CommandError, match="at work at once"):
        told("change", limit.public_id, "--per", "3", "--reason", "r")
    with pytest.raises(CommandError, match="No limit"):
        told("show", "lim_none")


def told(*words):
    out = io.StringIO()
    call_command("limits", *words, stdout=out)
    return out.getvalue()


def test_a_person_sees_who_waits_and_changes_it(full, browser, members):
    limit = Limit.objects.get()
    url = reverse("pages:limit", args=[limit.public_id])
    assert url in browser.get(reverse("pages:limits")).content.decode()
    page = browser.get(url).content.decode()
    assert "1 of 1 taken; 2 in line" in page
    browser.post(reverse("pages:limit-change", args=[limit.public_id]), {"max": "2", "reason": "r"})
    limit.refresh_from_db()
    assert (limit.max_override, limit.changed_by) == (2, members.operator)
    refused = browser.post(reverse("pages:limit-change", args=[limit.public_id]), {"max": "5"}, follow=True)
    assert "Nothing was changed" in refused.content.decode()
    browser.force_login(members.viewer.user)
    assert "Change it" not in browser.get(url).content.decode()
    assert (
        browser.post(reverse("pages:limit-change", args=[limit.public_id]), {"max": "2", "reason": "r"}).status_code
        == 403
    )


def test_many_limits_cost_no_more_queries_than_one(full, browser, django_assert_max_num_queries, organization):
    Limit.objects.bulk_create(Limit(organization=organization, kind="steps", key=f"k{n}", max=1) for n in range(50))
    with django_assert_max_num_queries(15):
        browser.get(reverse("pages:limits"))
