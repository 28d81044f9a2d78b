"""Starting a run from a form, from JSON, or again."""

import json
import re

from orchestration.engine import starts
from orchestration.models import Run
from orchestration.shipped import EXAMPLES
from tests.factories import MemberFactory
from tests.orchestration.run_pages.looks import text_of

MONTHLY = "name: monthly\ndescription: Once a month\n"
MONTHLY += "input: {type: object, required: [month, key], properties: {month: {type: string, pattern: '^[0-9-]+$'},"
MONTHLY += " key: {type: integer}}}\nsteps:\n  figures: {agent: echo}\n"


def test_a_run_is_started_from_the_form_that_the_input_schema_draws(operator, save, members):
    save(MONTHLY)
    assert "Once a month" in text_of(operator, "/runs/new/")
    page = text_of(operator, "/runs/new/monthly/")
    assert 'name="input-month"' in page
    assert 'name="input-key"' in page
    key = re.search(r'name="key" value="([^"]+)"', page)[1]
    answer = operator.post("/runs/new/monthly/", {"input-month": "2026-10", "input-key": "7", "key": key})
    run = Run.objects.get()
    assert answer.headers["Location"] == f"/runs/{run.public_id}/"
    assert (run.input, run.started_by) == ({"month": "2026-10", "key": 7}, members.operator)


def test_the_houses_own_definitions_come_before_the_examples(operator, save):
    hello = (EXAMPLES / "hello.yaml").read_text()
    for text in (hello, hello.replace("name: example-hello", "name: zebra"), MONTHLY):
        save(text)
    page = text_of(operator, "/runs/new/")
    places = [page.index(f'href="/runs/new/{slug}/"') for slug in ("monthly", "zebra", "example-hello")]
    assert places == sorted(places)
    assert places[1] < page.index("<b>Examples</b>") < places[2]
    found = text_of(operator, "/runs/new/?q=hello")
    assert '<details class="examples">' in page
    assert '<details class="examples" open>' in found
    assert "/runs/new/monthly/" not in found
    listed = re.findall(r'href="/runs/new/([a-z-]+)/"', text_of(operator, "/go/actions/"))
    assert listed == ["monthly", "zebra", "example-hello"]


def test_a_field_says_beside_its_name_whether_it_is_required(operator, save):
    save(
        MONTHLY.replace("required: [month, key]", "required: [month]").replace(
            "{type: integer}", "{type: integer, examples: [7]}"
        )
    )
    page = text_of(operator, "/runs/new/monthly/")
    month, key = (
        re.search(rf'<label for="id_input-{name}">(.*?)</label>\s*(<\w+[^>]*>)', page).groups()
        for name in ("month", "key")
    )
    assert ("(required)" in month[0], " required" in month[1]) == (True, True)
    assert ("(optional)" in key[0], " required" in key[1]) == (True, False)
    assert "placeholder" not in key[1]
    assert "For example 7" in page


def test_a_form_sent_twice_starts_one_run(operator, save):
    save(MONTHLY)
    sent = {"input-month": "2026-10", "input-key": "7", "key": "once"}
    places = {operator.post("/runs/new/monthly/", sent).headers["Location"] for _ in range(2)}
    assert len(places) == Run.objects.count() == 1
    answer = operator.post("/runs/new/monthly/", sent | {"input-month": "2026-11"})
    assert answer.status_code == 409
    assert "has started a run before" in answer.content.decode()
    new = re.search(r'name="key" value="([^"]+)"', answer.content.decode())[1]
    assert new != "once"
    assert operator.post("/runs/new/monthly/", sent | {"input-month": "2026-11", "key": new}).status_code == 302
    assert Run.objects.count() == 2


def test_what_does_not_fit_is_shown_again_with_the_error_at_its_field(operator, save):
    save(MONTHLY)
    answer = operator.post("/runs/new/monthly/", {"input-month": "October", "input-key": "7", "key": "k"})
    page = answer.content.decode()
    assert answer.status_code == 400
    assert 'value="October"' in page
    assert 'name="key" value="k"' in page
    assert re.search(r'id="id_input-month_error"[^>]*><p>This does not have the form that is asked for\.</p>', page)
    assert "The exact form" in page
    assert Run.objects.count() == 0


def test_the_input_may_be_given_as_json(operator, save):
    save(MONTHLY)
    answer = operator.post("/runs/new/monthly/", {"as": "raw", "raw": '{"month": 1}', "key": "k"})
    assert answer.status_code == 400
    assert "/month" in answer.content.decode()
    answer = operator.post("/runs/new/monthly/", {"as": "raw", "raw": "{", "key": "k"})
    assert "is no JSON" in answer.content.decode()
    answer = operator.post("/runs/new/monthly/", {"as": "raw", "raw": '{"month": "\\u0000", "key": 1}', "key": "k"})
    assert answer.status_code == 400
    given = {"month": "2026-10", "key": 7, "more": [1]}
    assert operator.post("/runs/new/monthly/", {"as": "raw", "raw": json.dumps(given), "key": "k"}).status_code == 302
    assert Run.objects.get().input == given


def test_a_definition_without_a_schema_takes_any_json(operator, save):
    save("name: any\nsteps:\n  figures: {agent: echo}\n")
    assert "input-value" in text_of(operator, "/runs/new/any/")
    assert operator.post("/runs/new/any/", {"input-value": '{"a": [1]}', "key": "k"}).status_code == 302
    assert Run.objects.get().input == {"a": [1]}


def test_run_again_fills_in_what_was_given(operator, save, client, members, organization):
    save(MONTHLY)
    given = {"month": "2026-10", "key": 7}
    run = starts.start(organization=organization, definition="monthly", given=given, by=members.operator)
    page = text_of(operator, f"/runs/{run.public_id}/")
    again = re.search(rf'href="(/runs/new/monthly/\?from={run.public_id})"', page)[1]
    assert 'value="2026-10"' in text_of(operator, again)
    other = MemberFactory(roles=["operator"])
    client.force_login(other.user)
    assert client.get(again).status_code == 404


def test_only_operators_start_and_others_read_why(viewer, save):
    save(MONTHLY)
    for path in ("/runs/new/", "/runs/new/monthly/"):
        page = text_of(viewer, path)
        assert "needs the role operator" in page
    assert "<input" not in page.partition("<main")[2].partition("</main>")[0]
    assert viewer.post("/runs/new/monthly/", {"input-month": "2026-10", "key": "k"}).status_code == 403
    assert viewer.get("/runs/new/nowhere/").status_code == 404
    assert Run.objects.count() == 0
