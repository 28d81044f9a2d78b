"""What is in a run is seen by the roles that its definition names, at every door."""

import json
from contextlib import suppress
from itertools import product

import pytest
from django.urls import NoReverseMatch, get_resolver, reverse

from approvals.models import Request
from orchestration.engine import budgets, bulk, messages
from orchestration.engine.connection import rows
from orchestration.engine.levers import pausing
from orchestration.engine.levers.forking import fork
from orchestration.engine.lines import EMIT, WRITE
from orchestration.models import Deliverable, Event, LogLine, OutsideEvent, Run, Step, without_payload
from tests.factories import MemberFactory
from tests.harness import claim, end, make_worker, until

MARK = "Zwetschgenkuchen"
SECRET = """name: secret
visible_to: [builder]
input: {type: object, properties: {word: {type: string}}}
messages: {note: {reply: "${{ message }}"}}
steps:
  a:
    agent: echo
    with: {value: "${{ input.word }}"}
    deliverable: {name: report, title: "${{ output.value }}", content: "${{ output.value }}"}
  bad: {agent: echo, needs: [a], with: {value: "${{ {'x': 1}[input.word] }}"}, on_failure: continue}
  hears: {wait: {event: paid, key: "${{ input.word }}"}}
  check: {needs: [a], approval: {title: "${{ input.word }}", show: {word: "${{ input.word }}"}, choices: [continue]}}
  check2: {needs: [check], approval: {title: "${{ input.word }}", show: {word: "${{ input.word }}"}}}
"""

UNDO = {"reversible": False, "agent": "echo"}
OF_STEPS = [{}, {"step": "a"}, {"step": "bad"}, {"step": "check"}, {"view": "table"}]
QUERIES = {
    "pages:run": OF_STEPS,
    "pages:run-part": [*OF_STEPS, *({"tab": tab} for tab in ("events", "payload", "related", "messages", "log"))],
    "pages:run-raw": [{}, {"step": "a"}],
    "pages:run-start": [{}, {"from": "RUN"}],
    "pages:runs-act": [{"ids": "RUN"}],
    "pages:approvals": [{"tab": "all"}, {"tab": "done"}],
}


@pytest.fixture
def run(committed, engine, begin, members, save):
    """A run with the word in all that it has, and a question that is open."""
    run = begin(SECRET, {"word": MARK})
    engine.look()
    first = until(lambda: Request.objects.pending().filter(context__step="check").first())
    first.decide(by=members.approver, choice="continue", digest=first.digest, note=MARK)
    until(lambda: Request.objects.pending().filter(context__step="check2").exists())
    until(lambda: Step.objects.filter(run_id=run.pk, name="bad", status="failed").exists())
    messages.send(run, name="note", data=MARK, sender_id=None, by=members.builder)
    rows(WRITE, [[run.pk], [1], [1], [0.0], ["info"], [MARK]])
    rows(EMIT, [[run.pk], [1], [1], [0.0], ["said"], [json.dumps(MARK)]])
    until(lambda: Step.objects.filter(run_id=run.pk, name="hears", status="waiting").exists())
    Step.objects.filter(run_id=run.pk, name="a").update(undo={**UNDO, "why": MARK, "input": MARK})
    assert MARK in Step.objects.get(run_id=run.pk, name="bad").error["message"]
    return run


def addresses(run):
    """Each address that a GET may be sent to, with its name; those of one thing for each such thing there is."""
    things = {
        "runs/": [run.public_id],
        "approvals/": list(Request.objects.values_list("public_id", flat=True)),
        "deliverables/": list(Deliverable.objects.values_list("public_id", flat=True)),
    }
    said = LogLine.objects.filter(run_id=run.pk, text=MARK).values_list("number", flat=True).first() or 1
    words = {"slug": "secret", "number": said, "what": "output"}
    labeled = {"run-stream": ["said"], "pages:runs-act": ["pause", "retry"]}
    for name, names in named(get_resolver()):
        of_all = next((ids for kind, ids in things.items() if kind in address_of(name, names, "x")), ["x"])
        steps = labeled.get(name, ["a", "bad", "check2"])
        for public_id, step in product(of_all if "public_id" in names else ["x"], steps if "name" in names else [""]):
            given = {**words, "public_id": public_id, "name": step}
            with suppress(KeyError, NoReverseMatch):
                yield name, reverse(name, kwargs={each: given[each] for each in names})


def address_of(name, names, word):
    with suppress(NoReverseMatch):
        return reverse(name, kwargs={each: 1 if each == "number" else word for each in names})
    return ""


def named(resolver, prefix=""):
    for pattern in resolver.url_patterns:
        if hasattr(pattern, "url_patterns"):
            below = f"{prefix}{pattern.namespace}:" if pattern.namespace else prefix
            yield from named(pattern, below)
        elif pattern.name:
            yield prefix + pattern.name, tuple(pattern.pattern.regex.groupindex)


def told(client, url, query):
    response = client.get(url, query)
    body = b"".join(response.streaming_content) if response.streaming else response.content
    return body.decode(errors="replace")


def doors_that_tell(client, run, *, api):
    """The names of those at which the word is read."""
    found = set()
    for name, url in sorted(set(addresses(run))):
        if name.startswith("admin:") or "logout" in name or url.startswith("/api/") is not api:
            continue
        for query in QUERIES.get(name, [{}]):
            query = {each: run.public_id if value == "RUN" else value for each, value in query.items()}
            if MARK in told(client, url, query):
                found.add(name)
    return found


def test_no_door_tells_what_is_in_a_run_to_who_may_not_see_it(client, client_of, members, run):
    client.force_login(members.admin.user)
    seen = doors_that_tell(client, run, api=False) | doors_that_tell(client_of(members.admin), run, api=True)
    assert seen >= {
        *("run", "events", "run-logs", "run-messages", "run-stream", "deliverables", "deliverable", "approvals"),
        *("approval", "pages:outside-events"),
        *("pages:run", "pages:run-events", "pages:run-log", "pages:run-payload", "pages:run-related", "pages:run-raw"),
        *("pages:deliverables", "pages:deliverable", "pages:approvals", "pages:approval", "pages:run-messages"),
        *("pages:run-part", "pages:run-log-line", "pages:run-log-part", "pages:approval-payload", "pages:run-start"),
    }
    for member in (members.operator, members.viewer):
        client.force_login(member.user)
        assert doors_that_tell(client, run, api=False) == set(), member
        assert doors_that_tell(client_of(member), run, api=True) == set(), member


def test_states_and_times_are_seen_by_all(client, client_of, members, run):
    detail = client_of(members.viewer).get(f"/api/v1/runs/{run.public_id}/").json()
    assert (detail["status"], detail["input"], detail["output"], detail["why"]) == ("waiting", None, None, [])
    assert {step["name"]: step["status"] for step in detail["steps"]}["bad"] == "failed"
    assert next(step["error"] for step in detail["steps"] if step["name"] == "bad") == {"class": "expression"}
    events = client_of(members.viewer).get(f"/api/v1/runs/{run.public_id}/events/").json()["results"]
    assert [event["type"] for event in events] == list(
        Event.objects.filter(run=run).order_by("seq").values_list("type", flat=True)
    )
    client.force_login(members.viewer.user)
    page = client.get(f"/runs/{run.public_id}/").content.decode()
    assert "for the role builder" in page
    assert 'data-step="bad"' in page


def test_what_is_searched_for_is_not_found_by_it(client, client_of, members, run):
    for member, found in ((members.builder, True), (members.operator, False)):
        client.force_login(member.user)
        for path in ("/runs/", "/approvals/?tab=all&", "/deliverables/"):
            page = client.get(path, {"q": MARK, "tab": "all"}).content.decode()
            assert (run.public_id in page or "row-link" in page) is found, (member, path)
    asked = {"action": "pause", "filter": {"q": MARK}}
    for member, found in ((members.admin, 1), (members.operator, 0)):
        assert client_of(member).post("/api/v1/runs/actions/", asked, format="json").json()["total"] == found


def test_who_may_be_asked_sees_the_question_alone(client, members, run):
    asked = Request.objects.pending().get()
    client.force_login(members.approver.user)
    assert MARK in client.get(f"/approvals/{asked.public_id}/").content.decode()
    assert client.get(f"/runs/{run.public_id}/payload/").status_code == 403
    assert client.get(f"/runs/{run.public_id}/raw/input/").status_code == 403
    assert Deliverable.objects.visible_to(members.approver).count() == 0
    client.force_login(members.viewer.user)
    assert client.get(f"/approvals/{asked.public_id}/").status_code == 404


def test_a_message_is_sent_by_who_does_not_see_it(client_of, members, run):
    api = f"/api/v1/runs/{run.public_id}/messages/"
    assert client_of(members.operator).get(api).status_code == 403
    made = client_of(members.operator).post(api, {"name": "note", "data": "other"}, format="json")
    assert (made.status_code, made.json()["reply"]) == (201, "other")
    assert OutsideEvent.objects.filter(run=run).count() == 2


def test_streams_of_values_are_refused_as_pages_and_as_they_come(client_of, members, run):
    door = f"/api/v1/runs/{run.public_id}/streams/"
    for member in (members.operator, members.viewer):
        for path, headers in ((door, {}), (f"{door}said/", {}), (f"{door}said/", {"accept": "text/event-stream"})):
            assert client_of(member).get(path, headers=headers).status_code == 403
    assert client_of(members.builder).get(door).json()["results"] == [{"name": "said", "values": 1}]


def test_levers_are_pulled_by_who_does_not_see_what_is_in_the_run(client, client_of, members, run):
    """And answer with states and times; what is given to them is not what was there."""
    operator, door = client_of(members.operator), f"/api/v1/runs/{run.public_id}/"
    forked = operator.post(f"{door}steps/check/fork/", {"reason": "so"}, format="json")
    assert (forked.status_code, MARK in forked.content.decode()) == (201, False)
    new = Run.objects.get(public_id=forked.json()["id"])
    assert (new.input, new.payload_visible_to(members.operator)) == ({"word": MARK}, False)
    until(lambda: Request.objects.pending().filter(context__run=new.public_id).exists())
    assert doors_that_tell(operator, new, api=True) == set()
    set_by_hand = operator.post(f"{door}steps/hears/output/", {"reason": "so", "output": 5}, format="json")
    assert (set_by_hand.status_code, MARK in set_by_hand.content.decode()) == (200, False)
    client.force_login(members.operator.user)
    page = client.get(f"/runs/{run.public_id}/?step=a").content.decode()
    offered = [words in page for words in ("Pause", "Run again", "Start it again")]
    assert offered == [True, False, False]
    client.force_login(members.admin.user)
    assert "Start it again" in client.get(f"/runs/{run.public_id}/?step=a").content.decode()


def test_why_a_run_cannot_be_moved_is_told_without_what_is_in_it(client_of, members, begin, save, organization):
    run = begin(SECRET, {"word": "w", MARK: 1})
    pausing.pause(run, by=None, reason="so")
    save(SECRET.replace("input: {", "input: {additionalProperties: false, "))
    both = MemberFactory(organization=organization, roles=["builder", "operator"])
    door = f"/api/v1/runs/{run.public_id}/"
    checks = [
        client_of(member).get(f"{door}move-check/").content.decode() for member in (members.admin, members.viewer)
    ]
    assert [MARK in told for told in checks] == [True, False]
    assert "does not fit" in checks[1]
    lever, chosen = bulk.LEVERS["move"], bulk.Chosen(ids=[run.public_id])
    digest = bulk.look(lever, chosen, {}, by=both).digest
    act = bulk.begin(lever, chosen, {}, reason="so", digest=digest, by=both)
    assert bulk.work() == 1
    told = {
        member: client_of(member).get(f"/api/v1/runs/actions/{act.public_id}/").json()["results"][0]
        for member in (both, members.admin, members.viewer)
    }
    assert {one["status"] for one in told.values()} == {"refused"}
    assert [MARK in one["words"] for one in told.values()] == [True, True, False]


def test_a_run_is_not_moved_by_who_does_not_see_what_is_in_it(begin, client_of, members, save):
    run = begin(SECRET.replace("[builder]", "[approver]"), {"word": MARK})
    before = run.definition_version_id
    pausing.pause(run, by=None, reason="so")
    save(SECRET)
    refused = client_of(members.builder).post(f"/api/v1/runs/{run.public_id}/move/", {"reason": "so"}, format="json")
    assert (refused.status_code, "for the role approver" in refused.json()["detail"]) == (403, True)
    assert Run.objects.get(pk=run.pk).definition_version_id == before
    moved = client_of(members.admin).post(f"/api/v1/runs/{run.public_id}/move/", {"reason": "so"}, format="json")
    assert moved.status_code == 200


def test_the_question_of_a_budget_is_seen_by_who_may_answer_it(begin, client_of, members):
    steps = "{a: {agent: echo}, b: {agent: echo, needs: [a]}}"
    run = begin(f"name: spends\nvisible_to: [builder]\nbudget: {{tokens: 100}}\nsteps: {steps}")
    worker = make_worker()
    (place,) = claim(worker)
    usage = {"input_tokens": 90, "output_tokens": 20, "cost_usd": None, "model": "m", "simulated": True}
    end(worker, place, output=1, usage=usage, more={"budgets": {"usd": None, "tokens": 110}})
    budgets.look_after()
    seen = {member.roles[0]: listed(client_of(member), run) for member in (members.builder, members.approver)}
    title = "The budget of spends is used up: 110 of 100 tokens"
    assert seen == {"builder": [title], "approver": [title]}
    assert listed(client_of(members.viewer), run) == []
    told = [client_of(one).get(f"/api/v1/runs/{run.public_id}/").json() for one in (members.builder, members.viewer)]
    assert [len(each["budgets"]) for each in told] == [1, 0]


def test_what_is_asked_before_an_effect_is_repeated_is_seen_by_who_may_answer_it(
    engine, begin, hold, client_of, members, finished
):
    hold.go.set()
    steps = 'a: {agent: hold}, b: {agent: once, needs: [a], with: {value: "${{ input.word }}"}}'
    source = finished(begin(f"name: effect\nvisible_to: [builder]\nsteps: {{{steps}}}", {"word": MARK}))
    new = fork(source, source.steps.get(name="a"), by=members.operator, reason="x")
    until(lambda: Request.objects.pending().filter(context__run=new.public_id).exists())
    assert len(listed(client_of(members.approver), new)) == 1
    assert listed(client_of(members.viewer), new) == []


def test_a_question_below_is_told_without_its_words(engine, begin, save, client, client_of, members):
    save("name: below\nvisible_to: [builder]\nsteps: {ask: {approval: {title: \"${{ 'Zwetschgen' + 'kuchen' }}\"}}}")
    run = begin("  child: {run: below}\n")
    asked = until(lambda: Request.objects.pending().first())
    assert asked.title == MARK
    assert "“ask”" in client_of(members.viewer).get(f"/api/v1/runs/{run.public_id}/").json()["why"][0]["sentence"]
    client.force_login(members.viewer.user)
    assert doors_that_tell(client, run, api=False) | doors_that_tell(client_of(members.viewer), run, api=True) == set()
    assert "approval" in doors_that_tell(client_of(members.builder), run, api=True)


def listed(client, run):
    found = client.get("/api/v1/approvals/", {"run": run.public_id, "status": "pending"}).json()["results"]
    return [asked["title"] for asked in found]


def test_what_is_left_of_an_event():
    event = {
        "seq": 1,
        "type": "step.failed",
        "at": "t",
        "step": "a",
        "round": 1,
        "error": {"message": MARK},
        "by": MARK,
    }
    assert without_payload(event) == {"seq": 1, "type": "step.failed", "at": "t", "step": "a", "round": 1}


@pytest.mark.parametrize(
    ("roles", "rules"),
    [("[operator, approver]", []), ("[]", ["shape"]), ("[boss]", ["shape"]), ("operator", ["shape"])],
)
def test_what_is_no_role_is_found(check, roles, rules):
    assert [one["rule"] for one in check(f"name: d\nvisible_to: {roles}\nsteps: {{a: {{agent: echo}}}}")] == rules


@pytest.fixture
def check(client_of, members, agents):
    def check(text):
        answer = client_of(members.builder).post("/api/v1/definitions/check/", {"text": text}, format="json")
        return answer.json().get("findings", answer.json().get("errors", []))

    return check


def test_a_version_keeps_its_roles_and_the_next_has_its_own(save, begin, members, committed):
    old = begin(SECRET, {"word": "w"})
    save(SECRET.replace("[builder]", "[viewer]"))
    new = begin(SECRET.replace("[builder]", "[viewer]"), {"word": "w"})
    sees = {run.pk: run.payload_visible_to(members.viewer) for run in Run.objects.filter(pk__in=[old.pk, new.pk])}
    assert sees == {old.pk: False, new.pk: True}
    assert all(run.payload_visible_to(members.admin) for run in Run.objects.all())
