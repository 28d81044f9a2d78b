from pathlib import Path

from django.core.management.base import BaseCommand, CommandError

from accounts.models import Organization
from agents import seeding
from agents.exceptions import InvalidSpec


class Command(BaseCommand):
    help = "Save agents from a YAML file, or from every one in a folder."

    def add_arguments(self, parser):
        actions = parser.add_subparsers(dest="action", required=True)
        apply = actions.add_parser("apply")
        apply.add_argument("path", type=Path)
        apply.add_argument("--organization", default="global", help="slug (default: global)")

    def handle(self, *, path, organization, **options):
        try:
            owner = Organization.objects.get(slug=organization)
            versions = seeding.apply(path, organization=owner)
        except Organization.DoesNotExist as error:
            raise CommandError(f"No organization {organization!r}.") from error
        except InvalidSpec as error:
            raise CommandError("\n".join(f"{each.pointer}: {each.message}" for each in error.findings)) from error
        for version in versions:
            self.stdout.write(f"{version.agent.slug} version {version.number}")
