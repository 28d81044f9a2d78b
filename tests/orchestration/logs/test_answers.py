"""Answers of language models as streams of their runs, and the silence of one that writes nothing."""

import httpx2
import pytest

from orchestration.models import StreamValue


@pytest.fixture
def provider(simulators_process, settings):
    settings.OPENAI_BASE_URL, settings.OPENAI_API_KEY = f"{simulators_process}/v1", "any"

    def fault(kind, **more):
        asked = {"reset": True, "fault": kind, **more}
        httpx2.post(f"{simulators_process}/_control", json=asked).raise_for_status()

    return fault


@pytest.fixture
def writes(save_agent, engine, begin, finished):
    save_agent(name="writer", kind="context", configuration={"instructions": "Write."})

    def writes(how):
        run = begin(
            f"  a: {{agent: writer, with: {{text: 'One. Two. Three.'}}, {how}}}\noutput: ${{{{ steps.a.output }}}}\n"
        )
        engine.look()
        return finished(run)

    return writes


def test_an_answer_is_a_stream_of_its_run_and_its_pieces_break_the_silence(committed, provider, writes):
    provider("halting", seconds=1.5)
    run = writes("timeout: {attempt: 60s, silence: 5s}")  # all of it takes 9 s
    found = StreamValue.objects.filter(run_id=run.pk, name="answer").order_by("number")
    assert (run.status, len(found) > 2) == ("completed", True)
    assert "".join(each.value["text"] for each in found) == run.output["text"]


def test_pieces_without_text_break_the_silence(committed, provider, writes):
    provider("thinking", seconds=1.5)  # four of them
    run = writes("timeout: {attempt: 60s, silence: 4s}")
    assert run.status == "completed"


def test_a_model_that_writes_nothing_is_silent(committed, provider, writes):
    provider("slow", seconds=4)
    run = writes("timeout: {attempt: 20s, silence: 500ms}")
    assert (run.status, run.error["class"]) == ("failed", "timeout")
    assert not StreamValue.objects.filter(run_id=run.pk).exists()


def test_a_try_after_one_that_broke_off_writes_its_own(committed, provider, writes):
    provider("cut")
    run = writes("retry: {attempts: 2, backoff: 1ms}")
    found = StreamValue.objects.filter(run_id=run.pk, name="answer")
    said = {attempt: "".join(each.value["text"] for each in found.filter(attempt=attempt)) for attempt in (1, 2)}
    assert (run.status, said[2]) == ("completed", run.output["text"])
    assert run.output["text"].startswith(said[1])
