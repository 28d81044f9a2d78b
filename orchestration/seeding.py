from pathlib import Path
from typing import Any

from accounts.models import Member, Organization
from orchestration import sources
from orchestration.engine import starts
from orchestration.language import read
from orchestration.models import Run
from orchestration.shipped import EXAMPLES, LIBRARY, PLAY, texts_in


def read_play(path: Path) -> Any:
    """By the YAML of definitions, to which a date is a text. Raises Unreadable."""
    return read(path.read_text(encoding="utf-8"), str(path))[0].value


def seed_definitions(organization: Organization) -> None:
    """The definitions that are shipped; again and again without harm."""
    _apply(LIBRARY, organization)


def seed_examples(organization: Organization) -> None:
    """One for each thing that a definition may say."""
    _apply(EXAMPLES, organization)


def _apply(folder: Path, organization: Organization) -> None:
    files = [sources.Source(path.name, path.read_text(encoding="utf-8")) for path in texts_in(folder)]
    sources.apply(files, organization=organization, by=None)


def start_examples(by: Member) -> None:
    """A run of each example that was never started here, with the input of its test."""
    for path in sorted(EXAMPLES.glob(f"*{PLAY}")):
        slug = f"example-{path.name.removesuffix(PLAY)}"
        of_it = Run.objects.filter(definition_version__definition__slug=slug, organization=by.organization_id)
        if not of_it.exists():
            given = read_play(path).get("input")
            starts.start(organization=by.organization, definition=slug, given=given or {}, by=by)
