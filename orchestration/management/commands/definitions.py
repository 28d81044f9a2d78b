import json
import sys
from argparse import ArgumentParser
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts.models import Organization
from orchestration import sources
from orchestration.engine.levers import dropping
from orchestration.exceptions import InvalidDefinition, InvalidInput, Refused
from orchestration.language.reference import reference
from orchestration.models import Definition

SUFFIXES = frozenset({".yaml", ".yml", ".json"})


class Command(BaseCommand):
    help = "Check, save and write definitions as files: one, or a folder as a set."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        check = actions.add_parser("check", help="say all that is wrong, save nothing; exits with 1 if anything is")
        check.add_argument("--json", action="store_true", help="the list of findings alone")
        apply = actions.add_parser("apply", help="check all, then save all or none")
        for action in (check, apply):
            action.add_argument("path", type=Path, help="a file, or a folder whose *.yaml, *.yml and *.json are taken")
        export = actions.add_parser("export", help="write the current versions, as they were saved")
        export.add_argument("path", type=Path, help="a folder, made if it is not there")
        export.add_argument("--name", action="append", default=[], help="only this definition; may be given often")
        actions.add_parser("reference", help="print the reference of the language, docs/reference.md")
        for verb, words in (
            ("archive", "put one away: it is in no list and starts nothing"),
            ("restore", "bring it back"),
        ):
            keep = actions.add_parser(verb, help=words)
            keep.add_argument("definition", metavar="NAME")
            keep.add_argument("--reason", required=True)
            keep.add_argument("--organization", default="global", help="its slug")
        delete = actions.add_parser("delete", help="say what would go with it, and what stands against it; then do it")
        delete.add_argument("definition", metavar="NAME")
        delete.add_argument("--reason", required=True)
        delete.add_argument("--yes", metavar="DIGEST", help="delete what was shown")
        delete.add_argument("--organization", default="global", help="its slug")
        rollout = actions.add_parser("rollout", help="let a share of new runs begin with the newest version")
        rollout.add_argument("definition", metavar="NAME")
        rollout.add_argument("--percent", type=int, choices=range(101), required=True, metavar="0..100")
        rollout.add_argument("--rest", type=int, help="the older version that all others begin with")
        rollout.add_argument("--reason", required=True)
        rollout.add_argument("--organization", default="global", help="its slug")
        for action in (check, apply, export):
            action.add_argument("--organization", default="global", help="its slug")

    def handle(self, *, action: str, **options: Any) -> None:
        if action == "reference":
            self.stdout.write(reference(), ending="")
        else:
            self.act(action, **options)

    def act(self, action: str, *, organization: str, **options: Any) -> None:
        found = Organization.objects.filter(slug=organization).first()
        if found is None:
            raise CommandError(f"No organization is called {organization!r}.")
        if "path" in options:
            self.act_on_files(action, found, **options)
        else:
            self.keep(action, found, **options)

    def keep(
        self,
        action: str,
        organization: Organization,
        *,
        definition: str,
        reason: str,
        percent: int | None = None,
        rest: int | None = None,
        yes: str | None = None,
        **options: Any,
    ) -> None:
        found = Definition.objects.filter(organization=organization, slug=definition).written().first()
        if found is None:
            raise CommandError(f"No definition is called {definition!r} here.")
        if not reason.strip():
            raise CommandError("The reason is missing.")
        try:
            if action == "delete":
                self.delete(found, reason, yes)
            elif percent is not None:
                found.roll_out(by=None, reason=reason, percent=percent, rest=rest)
            else:
                getattr(found, action)(by=None, reason=reason)
        except InvalidInput as exc:
            raise CommandError(exc.errors[0]["message"]) from exc
        except Refused as exc:
            raise CommandError(str(exc)) from exc

    def delete(self, found: Definition, reason: str, digest: str | None) -> None:
        if digest is not None:
            dropping.drop(found, by=None, reason=reason, digest=digest)
            return
        seen = dropping.drop_of(found)
        if seen.refusals:
            raise CommandError("\n".join(seen.refusals))
        takes = [f"{what.capitalize()}: {count}." for what, count in seen.takes.items()]
        self.stdout.write("\n".join([*takes, *seen.notes, f"To delete it for good: --yes {seen.digest}"]))

    def act_on_files(self, action: str, found: Organization, *, path: Path, **options: Any) -> None:
        try:
            if action == "check":
                self.check_path(path, found, as_json=options["json"])
            elif action == "apply":
                self.apply(path, found)
            else:
                self.export(path, found, options["name"])
        except OSError as exc:
            raise CommandError(f"{exc.__class__.__name__}: {exc}") from exc

    def check_path(self, path: Path, organization: Organization, *, as_json: bool) -> None:
        given = sources_at(path)
        findings = [
            finding for compiled in sources.check_set(given, organization=organization) for finding in compiled.findings
        ]
        if as_json:
            self.stdout.write(json.dumps([asdict(finding) for finding in findings], indent=2))
        else:
            words = "\n".join(str(finding) for finding in findings)
            self.stdout.write(words or f"Nothing is wrong with {counted(len(given))}.")
        if findings:
            sys.exit(1)

    def apply(self, path: Path, organization: Organization) -> None:
        try:
            versions = sources.apply(sources_at(path), organization=organization, by=None)
        except InvalidDefinition as exc:
            raise CommandError("\n".join(str(finding) for finding in exc.findings)) from exc
        for version in versions:
            self.stdout.write(f"{version.definition.slug}: version {version.number}, digest {version.digest[:12]}")

    def export(self, path: Path, organization: Organization, names: list[str]) -> None:
        """What a file says already is left as it is."""
        written = sources.of_organization(organization, names)
        missing = set(names) - {Path(source.file).stem for source in written}
        if missing:
            raise CommandError(f"No definition is called {', '.join(sorted(missing))} here.")
        path.mkdir(parents=True, exist_ok=True)
        for source in written:
            file = path / source.file
            if not file.exists() or file.read_bytes() != source.text.encode():
                file.write_bytes(source.text.encode())
            self.stdout.write(str(file))


def sources_at(path: Path) -> list[sources.Source]:
    """Raises CommandError for a folder without definitions. What a test kit plays (*.play.yaml) is none."""
    files = [path]
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix in SUFFIXES and ".play." not in file.name)
        if not files:
            raise CommandError(f"{path} holds no .yaml, .yml or .json file.")
    return [sources.Source.read(file) for file in files]


def counted(number: int) -> str:
    return "the definition" if number == 1 else f"these {number} definitions"
