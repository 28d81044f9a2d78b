"""Where the definitions that come with Countersign lie, and which of them are examples of the language."""

from functools import cache
from pathlib import Path

LIBRARY = Path(__file__).resolve().parent / "library"
EXAMPLES = LIBRARY / "examples"
PLAY = ".play.yaml"  # how the name of a file ends that says how a definition is tested: see docs/testing.md


def texts_in(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.glob("*.yaml")) if not path.name.endswith(PLAY)]


@cache
def example_slugs() -> tuple[str, ...]:
    return tuple(f"example-{path.stem}" for path in texts_in(EXAMPLES))
