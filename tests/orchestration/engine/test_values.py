"""Values that are large, deep, or cannot be stored."""

import pytest
from django.db import connection

from orchestration.exceptions import InvalidInput
from orchestration.models import Payload, Run, Step
from tests.harness import assert_sound, until
from tests.orchestration.engine.looks import decide, nested, statuses, step


@pytest.mark.parametrize(
    ("number", "edit"), [(1234567890123456789, None), (2**60, 1e16), (9e16, 2**63 - 1), (1, 2.5e17)]
)
def test_numbers_beyond_doubles_are_asked_edited_and_go_on(begin, engine, finished, members, number, edit):
    run = begin(
        """
  a: {agent: echo, with: {value: "${{ input.n }}"}}
  check: {needs: [a], approval: {title: t, show: "${{ steps.a.output }}", editable: /value}}
  after: {agent: echo, needs: [check], with: {value: "${{ steps.check.output.value }}"}}
""",
        {"n": number},
    )
    engine.look()
    decide(run, members.approver, edits={} if edit is None else {"/value": edit})
    engine.look()
    run = finished(run)
    assert run.status == "completed", run.error
    assert step(run, "check").round == 1
    assert step(run, "after").output == {"value": number if edit is None else edit}


def test_a_deadline_decides_on_a_number_beyond_doubles(begin, engine, finished):
    text = "name: big\ninput: {type: object, properties: {n: {type: number}}}\nsteps:\n"
    run = begin(
        text + '  a: {approval: {title: t, show: "${{ input.n }}", deadline: {after: 50ms, then: abort}}}\n',
        {"n": 90_000_000_000_000_000},
    )
    engine.look()
    assert finished(run).status == "rejected"


def test_an_input_nested_too_deep_starts_nothing(begin, committed):
    with pytest.raises(InvalidInput) as refused:
        begin("  a: {agent: echo}\n", {"x": nested(100)})
    assert refused.value.errors == [{"pointer": "", "message": "This is nested deeper than 100."}]
    assert Run.objects.count() == 0


def test_a_claim_that_cannot_be_decoded_fails_its_step_alone(begin, engine_later, finished):
    run = begin("  a: {agent: echo}\n  b: {agent: echo}\n")
    with connection.cursor() as cursor:
        deep = "(repeat('[', 5000) || repeat(']', 5000))::jsonb"
        cursor.execute(f"update orchestration_step set feedback = {deep} where name = 'a'")  # noqa: S608
    engine_later()
    until(lambda: Run.objects.filter(pk=run.pk, status="failed", ended_at__isnull=False).exists())
    ends = dict(Step.objects.filter(run_id=run.pk).values_list("name", "status"))
    assert (ends["a"], ends["b"]) == ("failed", "completed")


def test_large_values_lie_by_their_digest_and_are_read_again(begin, engine, finished):
    run = begin(
        """
  a: {agent: echo, with: {value: "${{ input.text }}"}}
  b: {agent: echo, needs: [a], with: {value: "${{ steps.a.output.value }}"}}
  c: {agent: echo, needs: [b], with: {value: "${{ size(steps.b.output.value) }}"}}
output: {text: "${{ steps.b.output.value }}"}
""",
        {"text": "y" * 5000},
    )
    engine.look()
    run = finished(run)
    assert (step(run, "a").output, step(run, "c").output, run.output) == (None, {"value": 5000}, None)
    assert bytes(step(run, "a").output_digest) == bytes(step(run, "b").output_digest)
    assert Payload.objects.get(digest=run.output_digest).body == {"text": "y" * 5000}


@pytest.mark.parametrize(
    "output",
    [
        {"x": ["a\0b"]},
        {"x": float("nan")},
        {"x": "\ud800"},
        {"x": {1, 2}},
        "\0",
        {"x": "\\u0000", "y": "\0"},
        nested(101),
        nested(980),
        nested(5000),
    ],
)
def test_a_result_that_cannot_be_stored_fails_its_step_alone(begin, engine, finished, hold, output):
    hold.go.set()
    hold.output = output
    run = begin("  a: {agent: hold}\n  b: {agent: echo}\n")
    engine.look()
    run = finished(run)
    assert (run.status, run.error["class"]) == ("failed", "permanent")
    assert statuses(run) == {"a": "failed", "b": "completed"}


def test_an_output_against_its_schema_fails_the_run(begin, engine, finished):
    text = 'name: checked\nsteps: {a: {agent: echo, with: {value: "${{ input.n }}"}}}\n'
    text += 'output: {n: "${{ steps.a.output.value }}"}\noutput_schema: {properties: {n: {maximum: 5}}}\n'
    good, bad = begin(text, {"n": 5}), begin(text, {"n": 6})
    engine.look()
    assert finished(good).output == {"n": 5}
    bad = finished(bad)
    assert (bad.status, bad.output, bad.error["class"]) == ("failed", None, "permanent")
    assert "/output/n" in bad.error["message"]
    assert_sound(bad.pk)


def test_backslashes_before_a_zero_are_only_text(begin, engine, finished, hold):
    hold.go.set()
    hold.output = {"x": "\\u0000"}
    run = begin("  a: {agent: hold}\n")
    engine.look()
    assert step(finished(run), "a").output == {"x": "\\u0000"}


@pytest.mark.parametrize("made", ["x" * 50_000_000, [7] * 25_000_000, {"rows": [{"text": "é" * 1_000}] * 10_000}])
def test_an_output_of_50_mb_fails_its_step_and_nothing_of_it_is_kept(begin, engine, hold, finished, made):
    hold.output = made
    hold.go.set()
    run = begin("  a: {agent: hold, retry: {attempts: 3}}\n  b: {agent: echo, needs: [a]}\n")
    other = begin("  a: {agent: echo, with: {value: 1}}\n")
    engine.look()
    run = finished(run)
    assert (run.error["class"], statuses(run)) == ("permanent", {"a": "failed", "b": "skipped"})
    assert "at most 20,000,000 are kept (setting OUTPUT_MOST_BYTES)" in run.error["message"]
    assert len(hold.calls) == 1
    assert not Payload.objects.exists()
    assert finished(other).status == "completed"
    assert_sound(run.pk)
