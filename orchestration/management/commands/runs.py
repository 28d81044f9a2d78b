import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.core.serializers.json import DjangoJSONEncoder

from orchestration.models import Run
from orchestration.reasons import Reason


class Command(BaseCommand):
    help = "Look at runs."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        explain = actions.add_parser("explain", help="say why a run is where it is")
        explain.add_argument("run", help="its public id")
        explain.add_argument("--json", action="store_true", help="one list of reasons")

    def handle(self, *, run: str, json: bool, **_: Any) -> None:
        found = named_run(run).explain()
        self.stdout.write(as_json(found) if json else "\n".join(reason.sentence for reason in found))


def named_run(public_id: str) -> Run:
    run = Run.objects.for_list().without_values().filter(public_id=public_id).first()
    if run is None:
        raise CommandError(f"No run is called {public_id!r}.")
    return run


def as_json(found: list[Reason]) -> str:
    return json.dumps([reason.as_json() for reason in found], indent=2, cls=DjangoJSONEncoder)
