"""Plays that are written down."""

import pytest

from orchestration.testkit.exceptions import NotPlayable
from orchestration.testkit.files import scripts_in

GREET = "name: greet\nsteps:\n  hello: {agent: echo, with: {value: 1}}\noutput: ${{ steps.hello.output.value }}\n"


@pytest.fixture
def script(tmp_path, db):
    def script(content):
        (tmp_path / "greet.yaml").write_text(GREET)
        (tmp_path / "greet.play.yaml").write_text(content)
        (found,) = scripts_in(tmp_path)
        return found

    return script


def test_each_thing_that_is_not_as_the_file_says_is_said(script):
    with pytest.raises(AssertionError) as said:
        script("{status: failed, output: 2, statuses: {hello: failed}, calls: {echo: 1}}").perform()
    assert str(said.value).splitlines() == [
        "greet.play.yaml, the end:",
        "status is 'completed', not 'failed'",
        "output is 1, not 2",
        "statuses is {'hello': 'completed'}, not {'hello': 'failed'}",
        "<completed: hello completed>",
    ]


def test_a_date_is_a_text_as_in_definitions(script):
    assert script("{status: completed, input: {day: 2026-12-01}}").content["input"] == {"day": "2026-12-01"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{input: {}}", "status"),
        ("{status: completed, agent: {}}", "agent"),
        ("{status: completed, agents: {echo: [{fails: sometimes}]}}", "/agents/echo/0"),
        ("{status: completed, then: [{dance: now}]}", "dance is no act"),
        ("{status: completed", "play.yaml:1:"),
    ],
)
def test_a_file_that_is_no_play_is_refused(script, content, words):
    with pytest.raises(NotPlayable, match=words):
        script(content).perform()
