"""Definitions as pages: found, read, compared, and written by builders who lose nothing they typed."""

import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from orchestration.engine.connection import rows
from orchestration.models import Definition, Run
from tests.factories import MemberFactory

TEXT = """\
name: greet
description: Says hello
input:
  type: object
  required: [who]
  properties:
    who: {type: string, maxLength: 20, title: Who, examples: [Ada]}
    times: {type: integer, minimum: 1}
steps:
  hello: {agent: echo, with: {value: "${{ input.who }}"}}
"""
WRONG = TEXT.replace("agent: echo", "agent: ecko").replace("input.who", "input.whom")


@pytest.fixture
def viewer(client, members):
    client.force_login(members.viewer.user)
    return client


@pytest.fixture
def builder(client, members, agents, policies):
    client.force_login(members.builder.user)
    return client


def read(client, path, status=200):
    answer = client.get(path)
    assert answer.status_code == status, path
    return answer.content.decode()


def send(client, path, status, **given):
    answer = client.post(path, given)
    assert answer.status_code == status, answer.content.decode()[:2000]
    return answer.content.decode()


def numbers(slug="greet"):
    return list(Definition.objects.get(slug=slug).versions.order_by("number").values_list("number", flat=True))


# --- reading


def test_an_empty_list_says_what_a_definition_is(viewer):
    page = read(viewer, "/definitions/")
    assert "There are no definitions yet" in page
    assert "/definitions/new/" not in page


def test_the_list_tells_of_the_last_run_and_of_seven_days(viewer, save, begin, members):
    save(TEXT)
    page = read(viewer, "/definitions/")
    assert "never" in page
    assert "none ended" in page
    runs = [begin(TEXT, {"who": "Ada"}, by=members.operator) for _ in range(5)]
    ended = "update orchestration_run set status = %s, ended_at = now() where id = %s"
    for run, status in zip(runs, ["completed", "completed", "completed", "failed"], strict=False):
        rows(ended, [status, run.pk])
    page = read(viewer, "/definitions/")
    assert "Last 7 days: 3 of 4 runs completed" in page
    assert "75 %" in page
    assert f'href="/runs/{runs[-1].public_id}/"' in page


def test_the_list_is_narrowed_and_goes_on_by_name(viewer, save):
    for number in range(60):
        save(f"name: d-{number:02}\ndescription: number {number}\nsteps: {{s: {{agent: echo}}}}\n")
    first = re.findall(r'class="row" href="/definitions/([\w-]+)/"', read(viewer, "/definitions/"))
    assert first == [f"d-{number:02}" for number in range(50)]
    rest = re.findall(r'class="row" href="/definitions/([\w-]+)/"', read(viewer, "/definitions/?after=d-49"))
    assert rest == [f"d-{number:02}" for number in range(50, 60)]
    assert "d-07" in read(viewer, "/definitions/?q=Number 7")
    assert "Nothing fits" in read(viewer, "/definitions/?q=Zebra")


def names_in(page):
    return re.findall(r'class="row" href="/definitions/([\w-]+)/"', page)


def test_the_houses_own_come_first_and_the_examples_behind_the_last_of_them(viewer, save):
    save("name: zebra\nsteps: {s: {agent: echo}}\n")
    save("name: example-hello\nsteps: {s: {agent: echo}}\n")
    page = read(viewer, "/definitions/")
    own, examples = page.split('<details class="examples">')
    assert (names_in(own), names_in(examples)) == (["zebra"], ["example-hello"])
    assert '<details class="examples" open>' in read(viewer, "/definitions/?q=hello")
    for number in range(50):
        save(f"name: d-{number:02}\nsteps: {{s: {{agent: echo}}}}\n")
    assert "examples" not in read(viewer, "/definitions/").partition("<main")[2]
    assert names_in(read(viewer, "/definitions/?after=d-49")) == ["zebra", "example-hello"]


@pytest.mark.parametrize("path", ["/runs/", "/deliverables/"])
def test_a_filter_offers_the_houses_own_before_the_examples(viewer, save, path):
    for name in ("zebra", "example-hello", "able"):
        save(f"name: {name}\nsteps: {{s: {{agent: echo}}}}\n")
    choice = re.search(
        r'<select name="definition">(.*?)</select>', read(viewer, f"{path}?definition=zebra"), re.DOTALL
    )[1]
    own, examples = choice.split('<optgroup label="Examples">')
    assert re.findall(r"<option( selected)?>([\w-]+)<", own) == [("", "able"), (" selected", "zebra")]
    assert re.findall(r"<option>([\w-]+)<", examples) == ["example-hello"]


def test_a_definition_is_its_text_line_by_line_and_its_input_in_words(viewer, save):
    save(TEXT)
    page = read(viewer, "/definitions/greet/")
    assert re.search(r'<li id="L10"><a href="#L10" aria-label="Line 10">10</a><code>  hello: \{agent: echo', page)
    assert 'id="L11"' not in page
    assert "text, at most 20 signs, for example Ada" in page
    assert "whole number, at least 1" in page
    assert "/edit/" not in page


def test_an_operator_may_start_and_a_builder_may_edit(client, save, members):
    save(TEXT)
    for role, start, edit in [("viewer", False, False), ("operator", True, False), ("builder", False, True)]:
        client.force_login(getattr(members, role).user)
        page = read(client, "/definitions/greet/")
        assert ('href="/runs/new/greet/"' in page, 'href="/definitions/greet/edit/"' in page) == (start, edit)


def test_old_versions_stay_and_two_are_compared(viewer, save):
    save(TEXT)
    save(TEXT.replace("Says hello", "Says hello kindly"))
    page = read(viewer, "/definitions/greet/1/")
    assert "Version 1 of 2" in page
    assert "Says hello kindly" not in page
    page = read(viewer, "/definitions/greet/?from=1&to=2")
    assert "1 line added, 1 removed" in page
    assert '<span class="sr"> removed</span></td><td><bdi>description: Says hello</bdi>' in page
    read(viewer, "/definitions/greet/3/", 404)
    for odd in ("from=1&to=9", "from=a&to=b", f"from=1&to={'9' * 40}"):
        assert 'id="difference"' not in read(viewer, f"/definitions/greet/?{odd}")


def test_an_earlier_version_is_restored_by_saving_its_text_anew(builder, save):
    save(TEXT)
    save(TEXT.replace("Says hello", "Says hello kindly"))
    assert "/definitions/greet/edit/?version=1" in read(builder, "/definitions/greet/1/")
    page = read(builder, "/definitions/greet/edit/?version=1")
    assert "This is the text of version 1" in page
    assert "kindly" not in page
    assert 'name="base" value="2"' in page
    assert numbers() == [1, 2]
    send(builder, "/definitions/greet/edit/?version=1", 302, text=TEXT, base="2", do="save")
    assert Definition.objects.get(slug="greet").current_version.number == 3
    for odd in ("version=9", "version=x", "version="):
        assert "This is the text of" not in read(builder, f"/definitions/greet/edit/?{odd}")


def test_one_called_new_from_before_stays_reachable(builder, save):
    save(TEXT)
    Definition.objects.filter(slug="greet").update(slug="new")
    assert '/definitions/new/1/">Open it' in read(builder, "/definitions/new/")
    assert "Says hello" in read(builder, "/definitions/new/1/")
    send(builder, "/definitions/new/", 400, text=TEXT.replace("name: greet", "name: new"), do="save")


def test_another_organization_finds_none_of_it(client, save):
    save(TEXT)
    client.force_login(MemberFactory(roles=["admin"]).user)
    assert "greet" not in read(client, "/definitions/")
    for path in ("", "1/", "edit/"):
        read(client, f"/definitions/greet/{path}", 404)


def test_many_cost_as_many_queries_as_few(viewer, begin, save):
    counts = []
    for count in (2, 20):
        for number in range(count):
            begin(f"name: d-{count}-{number}\nsteps: {{s: {{agent: echo}}}}\n")
            begin(TEXT.replace("Says hello", f"Says {count} {number}"), {"who": "Ada"})
        per_page = []
        for path in ("/definitions/", "/definitions/greet/?from=1&to=2"):
            with CaptureQueriesContext(connection) as seen:
                read(viewer, path)
            per_page.append(len(seen))
        counts.append(per_page)
    assert counts[0] == counts[1]
    assert max(counts[0]) <= 15


# --- writing


def test_only_builders_write(client, members, save):
    save(TEXT)
    for role in ("viewer", "operator", "approver"):
        client.force_login(getattr(members, role).user)
        for path in ("/definitions/new/", "/definitions/greet/edit/"):
            assert client.get(path).status_code == 403
            assert client.post(path, {"text": TEXT.replace("hello", "hi"), "do": "save"}).status_code == 403
        assert client.post("/definitions/new/check/", {"text": TEXT}).status_code == 403
    assert numbers() == [1]


def test_the_text_to_begin_with_can_be_saved(builder):
    page = read(builder, "/definitions/new/")
    text = re.search(r"<textarea[^>]*>\n(.*?)</textarea>", page, re.DOTALL)[1].replace("&quot;", '"')
    send(builder, "/definitions/new/", 302, text=text, base="0", do="save")
    assert numbers("my-first") == [1]


def test_all_findings_come_at_once_and_nothing_typed_is_lost(builder):
    page = send(builder, "/definitions/new/", 400, text=WRONG.replace("\n", "\r\n"), base="0", do="save")
    assert 'data-line="10" data-column="18">Line 10, column 18</a>' in page
    assert "There is no agent ecko." in page
    assert "Did you mean echo?" in page
    assert "whom: input" in page
    assert "<code" in page
    assert '<li id="L10" class="has-finding">' in page
    assert WRONG.splitlines()[9].replace('"', "&quot;") in page
    assert not Definition.objects.filter(slug="greet").exists()


def test_check_saves_nothing(builder):
    page = send(builder, "/definitions/new/", 200, text=TEXT, base="0", do="check")
    assert "Checked: it can be saved." in page
    assert not Definition.objects.filter(slug="greet").exists()


def test_the_editor_asks_for_findings_while_one_types(builder):
    answer = builder.post("/definitions/new/check/", {"text": WRONG}).json()
    assert [(each["line"], each["rule"], each["severity"]) for each in answer["findings"]] == [
        (10, "unknown-agent", "error"),
        (10, "unknown-field", "error"),
    ]
    assert "Did you mean echo?" in answer["html"]
    assert builder.post("/definitions/new/check/", {"text": TEXT}).json()["findings"] == []


def test_saving_makes_the_next_version_and_the_same_text_says_so(builder, save, members):
    save(TEXT)
    changed = TEXT.replace("Says hello", "Says hello kindly")
    send(builder, "/definitions/greet/edit/", 302, text=changed.replace("\n", "\r\n"), base="1", do="save")
    assert "Saved as version 2 of greet." in read(builder, "/definitions/greet/")
    newest = Definition.objects.get(slug="greet").current_version
    assert (newest.text, newest.created_by) == (changed, members.builder)
    send(builder, "/definitions/greet/edit/", 302, text=changed, base="2", do="save")
    assert "Version 2 of greet says just this already" in read(builder, "/definitions/greet/")
    assert numbers() == [1, 2]


def test_a_newer_version_is_shown_and_not_saved_over_unasked(builder, save):
    save(TEXT)
    save(TEXT.replace("Says hello", "Someone else's words"))
    mine = TEXT.replace("Says hello", "My words")
    page = send(builder, "/definitions/greet/edit/", 409, text=mine, base="1", do="save")
    assert "Version 2 was saved meanwhile" in page
    assert "Someone else&#x27;s words" in page
    assert '<input type="hidden" name="base" value="1">' in page
    assert "My words" in page
    assert numbers() == [1, 2]
    send(builder, "/definitions/greet/edit/", 302, text=mine, base="1", agreed="greet:2")
    assert numbers() == [1, 2, 3]
    # agreed to what is old by now
    send(builder, "/definitions/greet/edit/", 409, text=TEXT, base="1", agreed="greet:2")
    assert numbers() == [1, 2, 3]


def test_another_name_is_another_definition_and_is_asked_about(builder, save):
    save(TEXT)
    renamed = TEXT.replace("name: greet", "name: greet-two")
    page = send(builder, "/definitions/greet/edit/", 409, text=renamed, base="1", do="save")
    assert "This is another name" in page
    send(builder, "/definitions/greet/edit/", 302, text=renamed, base="1", agreed="greet-two:0")
    assert (numbers("greet"), numbers("greet-two")) == ([1], [1])
    page = send(builder, "/definitions/new/", 409, text=TEXT.replace("hello", "hi"), base="0", do="save")
    assert "There is a definition" in page
    assert numbers("greet") == [1]


@pytest.mark.parametrize("text", ["", "{", "a: [", "\t", "name: x\nsteps: {}\n", "- 1\n", "a" * 300_000, "x: \udcff"])
def test_whatever_is_typed_comes_back_with_a_finding(builder, text):
    text = text.encode("utf-8", "replace").decode()
    page = send(builder, "/definitions/new/", 400, text=text, base="nonsense", do="save")
    assert "data-line=" in page
    assert not Run.objects.exists()


def test_hostile_text_stays_text(builder):
    text = TEXT.replace("Says hello", "</textarea><script>alert(1)</script>")
    assert "<script>alert" not in send(builder, "/definitions/new/", 200, text=text, base="0", do="check")
    send(builder, "/definitions/new/", 302, text=text, base="0", do="save")
    for path in ("/definitions/", "/definitions/greet/", "/definitions/greet/edit/"):
        assert "<script>alert" not in read(builder, path)
