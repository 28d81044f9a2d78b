from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts.models import Organization
from orchestration.engine import cache
from orchestration.models import CacheEntry, Run


class Command(BaseCommand):
    help = "Look at the answers that steps keep for each other, and forget them."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        for name, words in (("list", "what is kept, and until when"), ("purge", "forget answers")):
            action = actions.add_parser(name, help=words)
            action.add_argument("--agent", help="of this agent alone")
            action.add_argument("--organization", default="global", help="its slug")
            if name == "purge":
                action.add_argument("--run", help="those that this run asked for alone")
                action.add_argument("--reason", required=True, help="for the audit trail")

    def handle(self, *, action: str, agent: str | None, organization: str, **given: Any) -> None:
        found = Organization.objects.filter(slug=organization).first()
        if found is None:
            raise CommandError(f"No organization is called {organization!r}.")
        if action == "list":
            return self._list(found, agent)
        run = Run.objects.filter(organization=found, public_id=given["run"]).first() if given["run"] else None
        if given["run"] and run is None:
            raise CommandError(f"No run is called {given['run']!r}.")
        self.stdout.write(f"{cache.purge(found, by=None, reason=given['reason'], agent=agent, run=run)} answers")

    def _list(self, organization: Organization, agent: str | None) -> None:
        for found in CacheEntry.objects.kept(organization).by_agent():
            if agent in (None, found["agent"]):
                until = found["until"].isoformat(timespec="seconds")
                self.stdout.write(f"{found['agent']}  {found['answers']}  until {until}")
