"""What tests of the engine look for, and do."""

from approvals.models import Request
from orchestration.models import Event, Run, Step
from tests.harness import assert_sound, until

GATE = """
  figures:
    agent: echo
    with:
      value: {rows: [{amount: 1}], round: "${{ round }}", note: "${{ feedback == null ? '' : feedback.note }}"}
  side: {agent: echo, needs: [figures], with: {value: side}}
  check:
    needs: [figures]
    approval: {title: Figures, show: "${{ steps.figures.output.value }}", editable: /rows, retry: [figures]}
  after: {agent: echo, needs: [check], with: {value: "${{ steps.check.output.rows[0].amount }}"}}
output:
  amount: "${{ steps.after.output.value }}"
  by: "${{ steps.check.decision.by }}"
  round: "${{ steps.check.output.round }}"
"""
CHILD = """name: child
steps:
  a: {agent: echo, with: {value: "${{ input.n }}", fail: "${{ input.fail }}"}}
output: "${{ steps.a.output.value }}"
"""
PARENT = """
  call: {agent: boss, with: {n: 4, fail: "${{ input.fail }}"}}
  b: {agent: echo, needs: [call], with: {value: "${{ steps.call.output }}"}}
"""


def step(run, name):
    """The newest round's row; of a map or a repeat its own, not one of an item or a pass, which have its name."""
    return Step.objects.filter(run_id=run.pk, name=name).order_by("-round", "key").first()


def statuses(run):
    return {row.name: row.status for row in Step.objects.filter(run_id=run.pk).order_by("round") if row.name}


def nested(depth):
    """Lists in lists; not from JSON's text, which Python reads only so deep."""
    value = []
    for _ in range(depth - 1):
        value = [value]
    return value


def types(run):
    return list(Event.objects.filter(run_id=run.pk).order_by("seq").values_list("type", flat=True))


def pending(run, seconds=30):
    return until(lambda: Request.objects.pending().filter(context__run=run.public_id).first(), seconds)


def waiting(run, seconds=30):
    until(lambda: Run.objects.filter(pk=run.pk, status="waiting").exists(), seconds)
    return assert_sound(run.pk)


def decide(run, by, choice="continue", **words):
    request = pending(run)
    return request.decide(by=by, choice=choice, digest=request.digest, **words)
