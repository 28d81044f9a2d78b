"""Definitions as files: checked, saved and written by the command, and the same over the API."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from orchestration import sources
from orchestration.models import Definition, DefinitionVersion

GOOD = "name: good\nsteps:\n  a: {agent: echo, with: {value: 1}}\n"
BAD = "name: bad\nsteps:\n  a: {agent: ecko, tiemout: 1s}\n"
KEYS = {"file", "line", "column", "rule", "message", "fix"}
API = "/api/v1/definition"


@pytest.fixture
def command(organization, agents, policies):
    def command(action, path, **options):
        """Its standard output, and whether it exits with 1."""
        out = StringIO()
        try:
            call_command("definitions", action, str(path), organization=organization.slug, stdout=out, **options)
        except SystemExit as exc:
            return out.getvalue(), exc.code == 1
        return out.getvalue(), False

    return command


@pytest.fixture
def builder(client_of, members, agents, policies):
    return client_of(members.builder)


def test_a_check_prints_the_list_alone_and_exits_with_1_if_there_is_one(command, tmp_path):
    (tmp_path / "good.yaml").write_text(GOOD)
    assert command("check", tmp_path, json=True) == ("[]\n", False)
    (tmp_path / "bad.yml").write_text(BAD)
    out, failed = command("check", tmp_path, json=True)
    found = json.loads(out)
    assert failed
    assert [(one["line"], one["column"], one["rule"]) for one in found] == [
        (3, 14, "unknown-agent"),
        (3, 20, "unknown-key"),
    ]
    assert all(one["file"] == str(tmp_path / "bad.yml") and one.keys() >= KEYS and one["fix"] for one in found)
    assert not Definition.objects.exists()


def test_a_check_in_words_says_so_too(command, tmp_path):
    (tmp_path / "bad.yaml").write_text(BAD)
    out, failed = command("check", tmp_path / "bad.yaml")
    assert failed
    assert f"{tmp_path}/bad.yaml:3:14: There is no agent ecko. Did you mean echo? [unknown-agent]" in out
    (tmp_path / "bad.yaml").write_text(GOOD)
    assert command("check", tmp_path) == ("Nothing is wrong with the definition.\n", False)


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (b"name: d\nsteps:\n  a: {agent: echo, with: {v: 'caf\xe9'}}\n", (3, 34)),
        (GOOD.encode("utf-16"), (1, 1)),
        (b"\x80", (1, 1)),
        (b"name: d\ndescription: \xed\xa0\x80\n", (2, 14)),
    ],
)
def test_what_is_not_utf_8_is_a_finding_at_its_place(command, tmp_path, content, place):
    (tmp_path / "d.yaml").write_bytes(content)
    out, failed = command("check", tmp_path, json=True)
    (one,) = json.loads(out)
    assert (failed, one["rule"], (one["line"], one["column"])) == (True, "encoding", place)
    with pytest.raises(CommandError, match="UTF-8"):
        command("apply", tmp_path)
    assert not Definition.objects.exists()


def test_a_byte_order_mark_is_no_part_of_the_text(command, tmp_path):
    (tmp_path / "d.yaml").write_bytes(GOOD.encode("utf-8-sig"))
    assert command("apply", tmp_path) == (f"good: version 1, digest {version_of('good').digest[:12]}\n", False)


def version_of(slug):
    return DefinitionVersion.objects.filter(definition__slug=slug).latest("number")


def test_of_a_set_with_an_error_nothing_is_saved(command, tmp_path):
    (tmp_path / "a.yaml").write_text(GOOD)
    (tmp_path / "b.yaml").write_text(BAD)
    with pytest.raises(CommandError, match="There is no agent ecko"):
        command("apply", tmp_path)
    assert not Definition.objects.exists()


def test_two_texts_of_a_set_cannot_be_the_same_definition(command, tmp_path):
    (tmp_path / "a.yaml").write_text(GOOD)
    (tmp_path / "b.json").write_text('{"steps": {"x": {"agent": "echo"}},\n "name": "good"}')
    (one,) = json.loads(command("check", tmp_path, json=True)[0])
    assert (one["file"], one["line"], one["column"], one["rule"]) == (str(tmp_path / "b.json"), 2, 10, "twice")


def test_what_is_exported_is_saved_again_without_a_new_version(command, tmp_path, save):
    save(GOOD + "# a remark\n")
    save('{"name": "other", "steps": {"a": {"agent": "echo"}}}')
    out, _ = command("export", tmp_path / "kept")
    assert out.split() == [str(tmp_path / "kept" / name) for name in ("good.yaml", "other.json")]
    assert (tmp_path / "kept" / "good.yaml").read_text() == GOOD + "# a remark\n"
    command("apply", tmp_path / "kept")
    assert DefinitionVersion.objects.count() == 2
    command("export", tmp_path / "one", name=["good"])
    assert [file.name for file in (tmp_path / "one").iterdir()] == ["good.yaml"]
    with pytest.raises(CommandError, match="No definition is called gone"):
        command("export", tmp_path / "one", name=["gone"])


@pytest.mark.parametrize("path", ["gone.yaml", "empty"])
def test_a_path_without_definitions_is_an_error_of_the_command(command, tmp_path, path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(CommandError):
        command("check", tmp_path / path, json=True)


def test_a_set_is_checked_and_saved_over_the_api(builder, viewer):
    two = {"sources": [{"file": "a.yaml", "text": GOOD}, {"file": "b.yaml", "text": BAD}]}
    checked = builder.post(f"{API}-set/check/", two, format="json").json()
    assert (checked["valid"], {one["file"] for one in checked["findings"]}) == (False, {"b.yaml"})
    refused = builder.post(f"{API}-set/", two, format="json")
    assert (refused.status_code, len(refused.json()["errors"])) == (400, 2)
    assert not Definition.objects.exists()
    two["sources"][1]["text"] = GOOD.replace("good", "other")
    assert builder.post(f"{API}-set/check/", two, format="json").json() == {"valid": True, "findings": []}
    saved = builder.post(f"{API}-set/", two, format="json")
    assert saved.status_code == 201
    assert [(one["slug"], one["version"]) for one in saved.json()["definitions"]] == [("good", 1), ("other", 1)]
    kept = builder.get(f"{API}-set/").json()
    assert [one["file"] for one in kept["sources"]] == ["good.yaml", "other.yaml"]
    assert builder.post(f"{API}-set/", kept, format="json").status_code == 201
    assert DefinitionVersion.objects.count() == 2
    assert viewer.post(f"{API}-set/", kept, format="json").status_code == 403
    for body in ({}, {"sources": []}, {"sources": [{}]}, {"sources": "x"}, {**kept, "more": 1}):
        assert builder.post(f"{API}-set/", body, format="json").status_code == 400


@pytest.mark.parametrize("body", ['{"text": "name: d\\nx: \\ud800"}', b'{"text": "\xff"}'])
def test_what_is_not_utf_8_is_refused_over_the_api(builder, body):
    assert builder.post(f"{API}s/", body, content_type="application/json").status_code == 400
    assert not Definition.objects.exists()


def test_versions_are_exported_and_compared_over_the_api(viewer, save):
    save(GOOD)
    save(GOOD.replace("value: 1", "value: 2"))
    newest = viewer.get(f"{API}s/good/export/")
    assert (newest.content.decode(), newest["Content-Type"]) == (
        GOOD.replace("value: 1", "value: 2"),
        "application/yaml; charset=utf-8",
    )
    assert viewer.get(f"{API}s/good/export/", {"version": 1}).content.decode() == GOOD
    compared = viewer.get(f"{API}s/good/difference/", {"before": 1, "after": 2}).json()
    assert (compared["added"], compared["removed"], compared["too_long"]) == (1, 1, False)
    assert {"sign": "+", "text": "  a: {agent: echo, with: {value: 2}}", "before": None, "after": 3} in compared[
        "lines"
    ]
    assert viewer.get(f"{API}s/good/difference/", {"before": 1, "after": 1}).json()["lines"] == []
    assert viewer.get(f"{API}s/good/difference/", {"before": 1, "after": 9}).status_code == 404
    assert viewer.get(f"{API}s/good/difference/", {"before": "x"}).status_code == 400
    assert viewer.get(f"{API}s/good/export/", {"version": 9}).status_code == 404
    assert viewer.get(f"{API}s/gone/export/").status_code == 404


def test_a_file_is_read_as_its_bytes_say(tmp_path):
    (tmp_path / "d.yaml").write_bytes("name: é\r\n".encode())
    assert sources.Source.read(tmp_path / "d.yaml").text == "name: é\r\n"
