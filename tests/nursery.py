"""Forks processes for tests: a worker's engine that is there at once, because Django has been loaded before.

`python -m tests.nursery` reads one line of JSON for each process and answers with its pid. tests/harness.py starts it.
"""

import json
import os
import signal
import sys
from datetime import timedelta

import django

django.setup()

from django.conf import settings  # noqa: E402

from accounts.models import Member, Organization  # noqa: E402
from approvals.models import Request  # noqa: E402
from config.chaos.askew import set_askew  # noqa: E402
from orchestration.engine import answers, mail, messages, process, retention  # noqa: E402
from orchestration.models import Run, Step  # noqa: E402
from tests import failures  # noqa: E402


def work(clock=0.0):
    """As a worker does, without Celery. `clock`: by how many seconds its own is wrong."""
    set_askew(lambda: clock)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    process.start_process()
    signal.sigwait({signal.SIGTERM})
    process.stop_process()


def cancel(run, by):
    answers.cancel(Run.objects.get(pk=run), by=Member.objects.get(pk=by), reason="test")


def decide(request, by, choice):
    row = Request.objects.get(pk=request)
    row.decide(by=Member.objects.get(pk=by), choice=choice, digest=row.digest)


def resolve(step, by):
    row = Step.objects.select_related("run").get(pk=step)
    answers.resolve(row.run, row, by=Member.objects.get(pk=by), outcome="again", output=None, reason="test")


def retain():
    retention.retain(older=timedelta(days=90), every=timedelta(days=30))


def deliver(organization, name, data):
    to = Organization.objects.get(pk=organization)
    mail.deliver(organization=to, name=name, key="", data=data, sender_id="s", by=None)


def send(run, name, data, by):
    by = Member.objects.get(pk=by)
    messages.send(Run.objects.get(pk=run), name=name, data=data, sender_id="s", by=by)


DEEDS = {
    "work": work,
    "cancel": cancel,
    "decide": decide,
    "resolve": resolve,
    "retain": retain,
    "deliver": deliver,
    "send": send,
}


def grow_up(wish):
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    output = os.open(wish["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(output, stream)
    for name, given in wish["settings"].items():
        setattr(settings, name, given)
    settings.DATABASES["default"].update(wish["database"])
    if wish["plan"]:
        failures.plan = failures.Plan(**wish["plan"])
    DEEDS[wish["deed"]](**wish["given"])


def main():
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # those that die leave nothing behind, as under any init
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                grow_up(json.loads(line))
                status = 0
            finally:
                os._exit(status)
        os.write(1, b"%d\n" % pid)


if __name__ == "__main__":
    main()
