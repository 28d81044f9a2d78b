"""Agents from files: the shipped ones of `agents/library`, and a team's own."""

from pathlib import Path

from agents import specs
from agents.exceptions import InvalidSpec
from agents.models import Agent, AgentVersion
from agents.schemas import Finding

LIBRARY = Path(__file__).resolve().parent / "library"


def seed_agents(organization) -> list[AgentVersion]:
    """The shipped agents; again and again without harm."""
    return apply(LIBRARY, organization=organization)


def apply(path: Path, *, organization) -> list[AgentVersion]:
    """Save each spec of a file, or of a folder's *.yaml, *.yml and *.json. Raises InvalidSpec before saving any."""
    read = [(file, _read(file)) for file in files_of(path)]
    for file, spec in read:
        if found := specs.findings(spec):
            raise InvalidSpec([Finding(f"{file.name}#{each.pointer}", each.message) for each in found])
    return [Agent.save_version(organization=organization, spec=spec, by=None) for _, spec in read]


def files_of(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(file for file in path.iterdir() if file.suffix in (".yaml", ".yml", ".json"))
    return [path]


def _read(file: Path):
    try:
        return specs.read(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSpec([Finding(str(file), f"cannot be read: {error}")]) from error
    except InvalidSpec as error:
        raise InvalidSpec([Finding(file.name, each.message) for each in error.findings]) from error
