"""What tests of crashes look for, and do."""

from django.db import connections

from approvals.models import Request
from config.up.processes import kill_group
from config.up.services import wait_until_ready
from orchestration.models import Run, Step
from tests.harness import assert_sound, until

WRITER = {
    "kind": "context",
    "configuration": {"instructions": "Write."},
    "input": {"type": "object", "properties": {"text": {"type": "string"}}},
}


def running(run, name):
    return until(lambda: Step.objects.filter(run_id=run.pk, name=name, status="running").first(), 30)


def ended(run, seconds=30):
    until(lambda: Run.objects.filter(pk=run.pk, ended_at__isnull=False).exists(), seconds)
    return assert_sound(run.pk)


def pending(run):
    return until(lambda: Request.objects.pending().filter(context__run=run.public_id).first(), 30)


def owner_of(step, workers):
    (worker,) = [worker for worker in workers if worker.id == step.owner]
    return worker


def crash(service):
    """Kill -9; of PostgreSQL the postmaster, without which its other processes end at once."""
    kill_group(service.process)
    service.process.wait(timeout=10)
    connections.close_all()


def start_again(service):
    """As the supervisor does: PostgreSQL recovers what was committed, Valkey is empty."""
    service.start()
    wait_until_ready([service])
