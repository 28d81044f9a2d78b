import pytest

from agents import runners
from agents.exceptions import Canceled, Permanent, Temporary, TimedOut

ECHO = {"tool": "echo"}


def test_echo_returns_its_value(call):
    assert runners.runner_for("tool")(call(configuration=ECHO, input={"value": [1, None]})).output == {
        "value": [1, None]
    }


def test_echo_fails_as_told_and_then_no_more(call):
    asked = {"value": 1, "fail": {"times": 2, "kind": "temporary"}}
    run = runners.runner_for("tool")

    for attempt in (1, 2):
        with pytest.raises(Temporary):
            run(call(configuration=ECHO, input=asked, attempt=attempt))
    assert run(call(configuration=ECHO, input=asked, attempt=3)).output == {"value": 1}


def test_echo_fails_for_good_as_told(call):
    with pytest.raises(Permanent):
        runners.runner_for("tool")(call(configuration=ECHO, input={"fail": {"kind": "permanent"}}))


def test_a_waiting_echo_can_be_stopped_and_obeys_its_deadline(call):
    run = runners.runner_for("tool")

    with pytest.raises(Canceled):
        run(call(configuration=ECHO, input={"seconds": 60}, canceled=lambda: True))
    with pytest.raises(TimedOut):
        run(call(configuration=ECHO, input={"seconds": 60}, deadline_seconds=0.01))


def test_an_unknown_kind_and_tool_are_told_with_what_is_known(call):
    with pytest.raises(Permanent, match="known: context"):
        runners.runner_for("magic")
    with pytest.raises(Permanent, match="known: echo"):
        runners.runner_for("tool")(call(configuration={"tool": "magic"}))
