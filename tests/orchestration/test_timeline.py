"""From events to bars."""

from datetime import UTC, datetime, timedelta

from orchestration.timeline import FOLD, Span, draw, spans_of

START = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)


def after(seconds):
    return START + timedelta(seconds=seconds)


def drawn(events, end, ready=None):
    spans = spans_of(
        [(key, kind, after(at)) for key, kind, at in events], {k: after(at) for k, at in (ready or {}).items()}
    )
    return draw(spans, start=START, end=after(end))


def test_attempts_the_pauses_between_them_and_the_queue_before_are_bars_of_their_own():
    events = [(1, "step.started", 2), (1, "step.retrying", 4), (1, "step.started", 6), (1, "step.completed", 10)]
    bars = drawn(events, 10, ready={1: 0}).bars[1]
    assert [(bar.kind, bar.x, bar.width, bar.how) for bar in bars] == [
        ("queued", 0.0, 20.0, "started"),
        ("ran", 20.0, 20.0, "retrying"),
        ("waited", 40.0, 20.0, "started"),
        ("ran", 60.0, 40.0, "completed"),
    ]
    assert bars[1].title == "Attempt 1: 2.0 s, retrying"


def test_what_still_lasts_reaches_to_the_end():
    bars = drawn([(1, "step.started", 0), (1, "checkpoint.requested", 1)], 2).bars[1]
    assert [(bar.kind, bar.x + bar.width) for bar in bars] == [("ran", 50.0), ("waited", 100.0)]


def test_a_night_in_which_nothing_ran_is_folded_and_the_rest_keeps_its_proportions():
    events = [(1, "step.started", 0), (1, "checkpoint.requested", 10), (1, "step.completed", 36_010)]
    events += [(2, "step.started", 36_010), (2, "step.completed", 36_040)]
    timeline = drawn(events, 36_040)
    assert [(fold.x, fold.width, fold.seconds) for fold in timeline.folds] == [(22.0, FOLD, 36_000.0)]
    ran, waited = timeline.bars[1]
    assert (ran.x, ran.width, waited.x, waited.width) == (0.0, 22.0, 22.0, FOLD)
    assert (timeline.bars[2][0].x, timeline.bars[2][0].width) == (34.0, 66.0)


def test_a_long_call_is_not_folded_though_another_step_waits():
    events = [(1, "step.started", 0), (1, "step.completed", 1000), (2, "checkpoint.requested", 0)]
    assert drawn(events, 1010).folds == []


def test_no_time_at_all_is_drawn_too():
    timeline = drawn([(1, "step.started", 0), (1, "step.completed", 0)], 0, ready={1: 0})
    assert [bar.kind for bar in timeline.bars[1]] == ["ran"]
    assert timeline.bars[1][0].width > 0


def test_spans_never_end_before_they_start():
    """`ready` is worked out of other steps' ends, which may be a little later than this step's start."""
    spans = spans_of([(1, "step.started", after(1)), (1, "step.completed", after(2))], {1: after(1.5)})
    assert spans[1] == [Span("ran", after(1), after(2), 1, "completed")]
