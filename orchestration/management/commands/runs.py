import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.core.serializers.json import DjangoJSONEncoder

from accounts.models import Member, Role
from orchestration.engine import pins
from orchestration.exceptions import OrchestrationError
from orchestration.models import Run
from orchestration.reasons import Reason


class Command(BaseCommand):
    help = "Say why a run is where it is; keep a run."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        explain = actions.add_parser("explain", help="say why a run is where it is")
        explain.add_argument("run", help="its public id")
        explain.add_argument("--json", action="store_true", help="one list of reasons")
        for verb, words in (("pin", "keep a run however old it gets"), ("unpin", "do not keep it any more")):
            act = actions.add_parser(verb, help=words)
            act.add_argument("run", help="its public id")
            act.add_argument("--as", required=True, metavar="MEMBER", dest="by", help="who does it")
            act.add_argument("--reason", required=True)

    def handle(self, *, action: str, run: str, **given: Any) -> None:
        found = named_run(run)
        if action == "explain":
            why = found.explain()
            self.stdout.write(as_json(why) if given["json"] else "\n".join(reason.sentence for reason in why))
            return
        if not given["reason"].strip():
            raise CommandError("The reason is missing.")
        try:
            pins.VERBS[action](found, by=operator_of(found, given["by"]), reason=given["reason"])
        except OrchestrationError as exc:
            raise CommandError(str(exc)) from exc


def named_run(public_id: str) -> Run:
    run = Run.objects.for_list().without_values().filter(public_id=public_id).first()
    if run is None:
        raise CommandError(f"No run is called {public_id!r}.")
    return run


def operator_of(run: Run, name: str) -> Member:
    """A member of the run's organization who may do this."""
    found = Member.objects.active().filter(organization_id=run.organization_id, user__username=name).first()
    if found is None or not found.has_role(Role.OPERATOR):
        raise CommandError(f"{name} is no operator of the run's organization.")
    return found


def as_json(found: list[Reason]) -> str:
    return json.dumps([reason.as_json() for reason in found], indent=2, cls=DjangoJSONEncoder)
