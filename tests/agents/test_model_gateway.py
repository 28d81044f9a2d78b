import json
import socket

import pytest

from agents import specs
from agents.calls import Message
from agents.exceptions import Canceled, Permanent, Temporary, TimedOut
from agents.runners import context
from agents.seeding import LIBRARY
from orchestration.engine.lines import value_text

SUMMARIZER = specs.check(specs.read((LIBRARY / "summarizer.yaml").read_text()))
FIGURES = {
    "month": "2026-10",
    "rows": [
        {
            "kpi": "revenue",
            "title": "Revenue",
            "amount": 121000.5,
            "unit": "EUR",
            "target": None,
            "change_percent": -2.5,
        }
    ],
}


@pytest.fixture
def summarize(call):
    def run(**fields):
        asked = {"input": {"text": FIGURES, "style": "executive"}, "output_schema": SUMMARIZER["output"], **fields}
        return context.run(call(**{"configuration": SUMMARIZER["configuration"]} | asked))

    return run


def fault(provider, kind, **more):
    provider.post("/_control", json={"fault": kind, **more}).raise_for_status()


def test_a_report_holds_the_given_figures_and_says_it_is_simulated(provider, summarize):
    result = summarize()

    assert result.output["title"] == "Summary 2026-10"
    assert result.output["highlights"] == ["Revenue: 121,000.5 EUR (change -2.5 %)"]
    assert "Simulated" in result.output["markdown"]
    assert "Revenue: 121,000.5 EUR" in result.output["markdown"]
    assert result.usage.simulated
    assert result.usage.model == "simulated-gpt-5-mini"
    assert result.usage.input_tokens > 0
    expected = (result.usage.input_tokens * 0.25 + result.usage.output_tokens * 2) / 1_000_000
    assert result.usage.cost_usd == pytest.approx(expected)


def test_the_conversation_follows_the_input(provider, summarize):
    talk = (Message("assistant", "A draft."), Message("user", "Please name the target."))
    result = summarize(conversation=talk)

    sent = provider.get("/_journal").json()["requests"][0]["messages"]
    assert [each["role"] for each in sent] == ["system", "user", "assistant", "user"]
    assert "Please name the target." in result.output["markdown"]


def test_without_a_schema_the_answer_is_text(provider, summarize):
    assert "Revenue" in summarize(output_schema=None).output["text"]


def test_every_try_of_a_step_carries_its_key(provider, summarize):
    summarize()
    summarize(attempt=2)

    assert provider.get("/_journal").json()["idempotency_keys"] == {"step-1": 2}


def test_a_busy_provider_says_when_to_come_back(provider, summarize):
    fault(provider, "429", seconds=7)

    with pytest.raises(Temporary) as caught:
        summarize()
    assert caught.value.retry_after == 7.0


@pytest.mark.parametrize("kind", ["500", "drop", "garbage"])
def test_a_broken_provider_is_temporary(provider, summarize, kind):
    fault(provider, kind)

    with pytest.raises(Temporary):
        summarize()
    assert summarize().output["title"]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("refuse", "refused"),
        ("filter", "content filter"),
        ("length", "max_output_tokens"),
        ("401", "Check OPENAI_API_KEY"),
        ("quota", "Add credit"),
    ],
)
def test_a_refusal_is_final_and_says_what_to_do(provider, summarize, kind, words):
    fault(provider, kind)

    with pytest.raises(Permanent, match=words):
        summarize()


@pytest.mark.parametrize("kind", ["slow", "trickle"])
def test_the_deadline_is_for_the_whole_call(provider, summarize, kind):
    fault(provider, kind, seconds=5)

    with pytest.raises(TimedOut):
        summarize(deadline_seconds=0.3)


def test_nonsense_is_repaired_once(provider, summarize):
    fault(provider, "nonsense")
    said = []
    result = summarize(log=lambda text, level="info": said.append((level, text)))

    assert result.output["title"]
    assert [level for level, _ in said] == ["info", "warning", "info"]
    assert f"{result.usage.input_tokens} tokens read" in said[-1][1]
    assert provider.get("/_journal").json()["idempotency_keys"] == {"step-1": 1, "step-1-repair": 1}


def test_nonsense_twice_is_temporary(provider, summarize):
    fault(provider, "nonsense", times=2)

    with pytest.raises(Temporary, match="nonsense twice"):
        summarize()


def test_a_provider_that_is_down_is_temporary(provider, summarize, settings):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        settings.OPENAI_BASE_URL = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
        with pytest.raises(Temporary, match="OPENAI_BASE_URL"):
            summarize()


def test_without_a_key_nothing_is_sent(provider, summarize, settings):
    settings.OPENAI_API_KEY = ""

    with pytest.raises(Permanent, match="OPENAI_API_KEY"):
        summarize()
    assert provider.get("/_journal").json()["requests"] == []


def test_a_stopped_call_is_not_sent(provider, summarize):
    with pytest.raises(Canceled):
        summarize(canceled=lambda: True)
    assert provider.get("/_journal").json()["requests"] == []


# --- as it is written


@pytest.fixture
def heard():
    return []


@pytest.fixture
def listen(summarize, heard):
    return lambda **fields: summarize(emit=lambda name, value: heard.append((name, value)), **fields)


def text_of(heard, answer=1):
    return "".join(value["text"] for name, value in heard if (name, value["answer"]) == ("answer", answer))


def test_an_answer_is_handed_out_as_it_is_written_and_ends_as_one_that_came_whole(provider, listen, heard, summarize):
    fault(provider, "halting", seconds=0.3)
    streamed = listen(output_schema=None)
    assert text_of(heard) == streamed.output["text"]
    assert len(heard) > 2
    whole = summarize(output_schema=None, configuration={**SUMMARIZER["configuration"], "stream": False})
    assert (streamed.output, streamed.usage) == (whole.output, whole.usage)
    assert [each["stream"] for each in provider.get("/_journal").json()["requests"]] == [True, False]


def test_json_is_handed_out_as_it_is_written_too(provider, listen, heard):
    result = listen()
    assert json.loads(text_of(heard)) == result.output


def test_a_provider_that_cannot_stream_answers_whole(provider, listen, heard):
    fault(provider, "whole")
    result = listen()
    assert (result.output["title"], result.usage.simulated, heard) == ("Summary 2026-10", True, [])


def test_the_answer_that_repairs_another_is_told_from_it(provider, listen, heard):
    fault(provider, "nonsense")
    result = listen()
    assert text_of(heard) == "Certainly! {bananas: yellow,"
    assert json.loads(text_of(heard, answer=2)) == result.output


def test_pieces_without_text_are_signs_of_life(provider, listen, heard):
    beats = []
    fault(provider, "thinking", seconds=0.3)
    result = listen(output_schema=None, heartbeat=lambda: beats.append(len(heard)))
    assert text_of(heard) == result.output["text"]
    assert beats.count(0) >= 6  # four thoughts, the beginning, and the first with text
    assert len(beats) > len(heard) + 6


def test_one_that_breaks_off_in_the_midst_is_temporary(provider, listen, heard):
    fault(provider, "cut")
    with pytest.raises(Temporary, match="broke off in the midst"):
        listen()
    assert text_of(heard) != ""


def test_the_deadline_is_for_all_of_a_stream(provider, listen):
    fault(provider, "halting", seconds=0.2)
    with pytest.raises(TimedOut):
        listen(deadline_seconds=0.5)


def test_a_call_is_stopped_in_the_midst_of_a_stream(provider, listen, heard):
    fault(provider, "halting", seconds=0.2)
    with pytest.raises(Canceled):
        listen(canceled=lambda: bool(heard))


@pytest.mark.parametrize("piece", ["x" * 100_000, "a\0b", "\ud83d"])
def test_what_a_stream_cannot_keep_is_cut_or_left_out(call, piece):
    said = []
    spoken = context.Spoken(call(emit=lambda name, value: said.append(value_text(name, value))), 1)
    spoken(piece)
    spoken.end()
    assert "".join(json.loads(each)["text"] for each in said) == {"a\0b": "ab", "\ud83d": "?"}.get(piece, piece)
