from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts.models import Organization
from orchestration import sources
from orchestration.exceptions import InvalidDefinition
from orchestration.seeding import PLAY


class Command(BaseCommand):
    help = "Check and save definitions: a file, or a folder as one set."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        apply = actions.add_parser("apply", help="check all, then save all or none")
        apply.add_argument("path", type=Path, help="a file, or a folder whose *.yaml, *.yml and *.json are taken")
        apply.add_argument("--organization", default="global")

    def handle(self, *, path: Path, organization: str, **_: Any) -> None:
        found = Organization.objects.filter(slug=organization).first()
        if found is None:
            raise CommandError(f"No organization is called {organization!r}.")
        try:
            versions = sources.apply(sources_at(path), organization=found, by=None)
        except InvalidDefinition as exc:
            raise CommandError("\n".join(str(finding) for finding in exc.findings)) from exc
        for version in versions:
            self.stdout.write(f"{version.definition.slug}: version {version.number}, digest {version.digest[:12]}")


def sources_at(path: Path) -> list[sources.Source]:
    """Raises CommandError for a path that cannot be read as text, or a folder without definitions."""
    files = [path]
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix in {".yaml", ".yml", ".json"})
        files = [file for file in files if not file.name.endswith(PLAY)]
        if not files:
            raise CommandError(f"{path} holds no .yaml, .yml or .json file.")
    try:
        return [sources.Source(str(file), file.read_text()) for file in files]
    except (OSError, UnicodeDecodeError) as exc:
        raise CommandError(f"{exc.__class__.__name__}: {exc}") from exc
