import json
import sys
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts.models import Organization
from orchestration.doctor import Finding, examine
from orchestration.models import Run


class Command(BaseCommand):
    help = "Look at the rows alone and say what cannot be, and what to do. Exits with 1 if it finds any."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--run", help="its public id; without it, all runs")
        parser.add_argument("--organization", help="its slug; without it, all organizations")
        parser.add_argument(
            "--settled", action="store_true", help="nothing is supposed to move now: say what is left over, too"
        )
        parser.add_argument("--json", action="store_true", help="one list of findings")

    def handle(self, *, run: str | None, organization: str | None, settled: bool, json: bool, **_: Any) -> None:
        found = examine(named_run(run), organization=named_organization(organization), settled=settled)
        self.stdout.write(as_json(found) if json else as_words(found))
        if found:
            sys.exit(1)


def named_run(public_id: str | None) -> list[int] | None:
    if public_id is None:
        return None
    found = list(Run.objects.filter(public_id=public_id).values_list("pk", flat=True))
    if not found:
        raise CommandError(f"No run is called {public_id!r}.")
    return found


def named_organization(slug: str | None) -> Organization | None:
    if slug is None:
        return None
    found = Organization.objects.filter(slug=slug).first()
    if found is None:
        raise CommandError(f"No organization is called {slug!r}.")
    return found


def as_json(found: list[Finding]) -> str:
    return json.dumps([{**asdict(finding), "cure": finding.cure} for finding in found], indent=2)


def as_words(found: list[Finding]) -> str:
    """Each finding, and below those of one kind what to do."""
    if not found:
        return "Nothing is wrong."
    words = []
    for kind in dict.fromkeys(finding.kind for finding in found):
        same = [finding for finding in found if finding.kind == kind]
        words += [str(finding) for finding in same]
        if same[0].found > len(same):
            words.append(f"… and {same[0].found - len(same)} more")
        words.append(f"  What to do: {same[0].cure}\n")
    return "\n".join(words)
