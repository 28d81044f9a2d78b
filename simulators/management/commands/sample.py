from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts.models import Member, Organization, Role
from simulators import sample


class Command(BaseCommand):
    help = "Fill the tables with runs and requests, for figures: copies of a few that are really made."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--runs", type=int, default=10_000)
        parser.add_argument("--requests", type=int, default=1_000, help="how many of the runs wait for an answer")
        parser.add_argument("--log-lines", type=int, default=5_000, help="of one run of 200 steps")
        parser.add_argument("--organization", default="global")

    def handle(self, *, runs: int, requests: int, log_lines: int, organization: str, **_: Any) -> None:
        if not 0 <= requests <= runs:
            raise CommandError("--requests must be at most --runs.")
        found = Organization.objects.filter(slug=organization).first()
        if found is None:
            raise CommandError(f"No organization is called {organization!r}; manage.py seed_demo makes one.")
        for role in (Role.OPERATOR, Role.APPROVER):
            if not Member.objects.filter(organization=found, roles__contains=[role]).exists():
                raise CommandError(f"{found.name} has no {role}.")
        made = sample.make(found, runs=runs, requests=requests, log_lines=log_lines)
        self.stdout.write(
            f"{made.runs} runs, {made.requests} of which wait for an answer, in {made.seconds:.1f} s."
            f" A run of 200 steps: {made.large_run}"
        )
