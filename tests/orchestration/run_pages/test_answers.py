"""What a language model has written so far, in the panel of its step."""

import json

import pytest

from orchestration.engine.connection import rows
from orchestration.engine.lines import EMIT
from tests.orchestration.run_pages.looks import claim, end, text_of


@pytest.fixture
def writes(save_agent, begin, client, members):
    save_agent(name="writer", kind="context", configuration={"instructions": "Write."})
    client.force_login(members.operator.user)
    return begin("  a: {agent: writer, with: {text: x}}\n  b: {agent: echo}\n")


def emit(run, key, *said, attempt=1):
    count = len(said)
    texts = [json.dumps({"answer": number, "text": text}) for number, text in said]
    rows(EMIT, [[run.pk] * count, [key] * count, [attempt] * count, [0.0] * count, ["answer"] * count, texts])


def test_the_panel_shows_the_answer_of_this_try_as_far_as_it_is_written(writes, client):
    page = f"/runs/{writes.public_id}/?step=a"
    assert "The answer so far" not in text_of(client, page)
    claim(writes, "a")
    assert "Nothing yet." in text_of(client, page)
    key = writes.steps.get(name="a").key
    emit(writes, key, (1, "of an earlier try"), attempt=0)
    emit(writes, key, (1, "Dear "), (1, "<reader>"))
    emit(writes, 99, (1, "of another step"))
    shown = text_of(client, page)
    assert "<bdi>Dear &lt;reader&gt;</bdi>" in shown
    assert 'data-after="4"' in shown
    emit(writes, key, (2, "Once "), (2, "more"))
    assert "<bdi>Once more</bdi>" in text_of(client, page)


def test_what_asks_no_model_and_what_has_ended_has_no_answer_under_way(writes, client):
    claim(writes, "b")
    assert "The answer so far" not in text_of(client, f"/runs/{writes.public_id}/?step=b")
    end(writes, "a", output={"text": "done"})
    assert "The answer so far" not in text_of(client, f"/runs/{writes.public_id}/?step=a")
