"""Old runs go with their partitions, and what is to stay stays as it was."""

from io import StringIO

import psycopg
import pytest
from django.core.management import CommandError, call_command

from accounts.models import AuditEntry
from orchestration.engine import parts, pins
from orchestration.engine.connection import rows, value
from orchestration.models import Deliverable, LogHead, Run
from tests.harness import assert_all_sound, claim, database_url, end, make_worker
from tests.orchestration.old import STEPS, age, leftovers, let_go, rows_of, speak, there

API = "/api/v1/runs/"
MADE = {"id": "dlv_{}", "name": "d", "title": "t", "content": "c"}


@pytest.fixture
def old(partitions, begin):
    """Runs that began 100 days ago; the first `ended` of them ended then, the others wait for their second step."""

    def old(ended, still_open=0):
        worker, runs = make_worker(), []
        for number in range(ended + still_open):
            run = begin(STEPS)
            (step,) = claim(worker)
            end(worker, step, output={"value": 1}, deliverable={**MADE, "id": f"dlv_{run.pk}"})
            if number < ended:
                (step,) = claim(worker)
                end(worker, step, output={"value": 2})
            else:
                rows("update orchestration_step set priority = -9 where run_id = %s", [run.pk])
            speak(run)
            runs.append(Run.objects.get(pk=run.pk))
        age(*runs)
        return runs

    return old


def pinned(run):
    Run.objects.filter(pk=run.pk).update(pinned_at=run.created_at)


def test_old_runs_go_and_their_disk_is_free(old, begin):
    runs = old(3)
    speak(runs[0], 20_000)
    lo, hi = parts.parts()[0][1], parts.parts()[-1][2]
    before = parts.size_of(lo, hi)
    done = let_go()
    assert (done.gone, done.busy, done.lag_seconds) == (3, "", 0)
    assert done.freed_bytes > 10_000_000
    assert before - parts.size_of(0, hi) > 8_000_000  # the next partition has empty tables of its own
    assert not there(*runs)
    assert not Deliverable.objects.exists()
    assert not LogHead.objects.exists()
    assert leftovers() == []
    new = begin(STEPS)
    assert new.pk >= done.began
    assert_all_sound([new.pk])
    again = let_go()
    assert (again.began, again.gone, again.freed_bytes) == (None, 0, 0)
    assert value("select engine_partitions_v2()") == 0  # what went is not made again


def test_what_is_open_pinned_or_young_stays_with_its_family_and_goes_on(old):
    gone, kept, child, first, younger, still = old(5, 1)
    pinned(kept)
    Run.objects.filter(pk=child.pk).update(root_run_id=kept.pk, parent_run_id=kept.pk, told_at=child.ended_at)
    Run.objects.filter(pk=younger.pk).update(root_run_id=first.pk, parent_run_id=first.pk, told_at=first.ended_at)
    age(younger, days=-80)
    stays = [kept, child, first, younger, still]
    before = {run.pk: rows_of(run) for run in stays}
    assert let_go().gone == 1
    assert there(gone, *stays) == {run.pk for run in stays}
    assert {run.pk: rows_of(run) for run in stays} == before
    assert leftovers() == []
    assert len(parts.parts(hi=still.pk // 1_000_000 * 1_000_000 + 1_000_000)) == 1
    worker = make_worker()
    (step,) = claim(worker)
    end(worker, step, output={"value": 2})
    speak(still)
    assert assert_all_sound([still.pk])[0].status == "completed"
    age(still)
    rows("update orchestration_run set pinned_at = null")
    age(younger)
    assert let_go().gone == 5
    assert leftovers() == []


def test_partitions_that_keep_runs_become_one(old):
    (first,) = old(1)
    pinned(first)
    let_go()
    (second,) = old(1)
    pinned(second)
    assert second.pk // 1_000_000 > first.pk // 1_000_000
    let_go()
    ((_, lo, hi, _),) = parts.parts(hi=second.pk + 1_000_000)[:1]
    assert lo <= first.pk < second.pk < hi
    assert_all_sound([first.pk, second.pk], besides=("layout",))


def test_who_holds_the_tables_is_told_and_nothing_is_half_done(old, monkeypatch):
    runs = old(2)
    monkeypatch.setattr(parts, "TURNS", 1)
    with psycopg.connect(database_url()) as other:
        other.execute("select count(*) from orchestration_event")
        holder = other.info.backend_pid
        other.execute("select pg_sleep(1.1)")
        done = let_go()
        assert f"process {holder} since" in done.busy
        assert there(*runs) == {run.pk for run in runs}
        assert leftovers() == []
        words, problem = StringIO(), StringIO()
        with pytest.raises(SystemExit):
            call_command("retention", "--older", "90d", stdout=words, stderr=problem)
        assert "Others hold the tables" in problem.getvalue()
    assert let_go().gone == 2


def test_another_retention_is_told(old):
    old(1)
    with psycopg.connect(database_url()) as other:
        other.execute("select pg_advisory_lock(hashtext('engine_retention'))")
        assert let_go().busy == "Another retention is at work."


def test_the_command_tells_what_would_go_what_went_and_the_lag(old, settings):
    runs = old(2)

    def said(*given):
        words = StringIO()
        call_command("retention", *given, stdout=words)
        return words.getvalue()

    assert said() == "RETENTION_DAYS is 0: every run is kept.\n"
    settings.RETENTION_DAYS = 90
    assert said("--dry-run") == "No partition is old enough.\nLag: 10 d.\n"
    parts.next_part(parts.CALM)
    assert f"2 runs of those from {runs[0].pk // 1_000_000 * 1_000_000} to" in said("--dry-run")
    assert there(*runs)
    assert "Lag: none." in said()
    assert not there(*runs)


def test_the_lag_is_a_metric(client, old, settings):
    old(1)

    def lag():
        text = client.get("/metrics").content.decode()
        (line,) = (line for line in text.splitlines() if line.startswith("countersign_retention_lag_seconds "))
        return float(line.split()[1])

    assert lag() == 0
    settings.RETENTION_DAYS = 90
    assert 10 * 86_400 <= lag() < 10 * 86_400 + 3_600
    let_go()
    assert lag() == 0


@pytest.mark.parametrize("door", ["api", "page", "command"])
def test_an_operator_pins_and_unpins_with_a_reason(client, client_of, begin, members, door):
    run = begin(STEPS)
    api = client_of(members.operator)
    client.force_login(members.operator.user)

    def act(verb, reason):
        if door == "api":
            return api.post(f"{API}{run.public_id}/{verb}/", {"reason": reason}, format="json").status_code
        if door == "page":
            return client.post(f"/runs/{run.public_id}/{verb}/", {"reason": reason}).status_code
        try:
            call_command("runs", verb, run.public_id, "--as", members.operator.name, "--reason", reason)
        except CommandError as exc:
            return str(exc)

    assert act("pin", "an audit asks for it") in (200, 302, None)
    assert api.get(f"{API}{run.public_id}/").json()["pinned_at"]
    assert act("pin", "again") in (409, "The run is pinned already.")
    assert "Pinned" in client.get(f"/runs/{run.public_id}/").content.decode()
    assert act("unpin", "") in (400, "The reason is missing.")
    assert act("unpin", "the audit is over") in (200, 302, None)
    assert act("unpin", "again") in (409, "The run is not pinned.")
    done = AuditEntry.objects.filter(action__in=("run.pin", "run.unpin")).order_by("pk")
    assert [(entry.action, entry.data["reason"]) for entry in done] == [
        ("run.pin", "an audit asks for it"),
        ("run.unpin", "the audit is over"),
    ]


def test_a_viewer_pins_nothing(client, client_of, begin, members):
    run = begin(STEPS)
    client.force_login(members.viewer.user)
    assert client_of(members.viewer).post(f"{API}{run.public_id}/pin/", {"reason": "r"}).status_code == 403
    assert client.post(f"/runs/{run.public_id}/pin/", {"reason": "r"}).status_code == 403
    with pytest.raises(CommandError, match="is no operator"):
        call_command("runs", "pin", run.public_id, "--as", members.viewer.name, "--reason", "r")
    assert Run.objects.get(pk=run.pk).pinned_at is None


def test_a_run_that_is_pinned_while_others_go_stays(old, members):
    first, second = old(2)
    pins.pin(second, by=members.operator, reason="r")
    let_go()
    assert there(first, second) == {second.pk}
