"""A user's definition, run by the real engine, with canned agents and a clock that jumps."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from accounts.models import Member, Organization, Role, User
from agents import seeding
from agents.calls import Call
from agents.models import Agent
from agents.specs import read
from approvals.models import Policy
from approvals.seeding import seed_policies
from orchestration import sources
from orchestration.engine import starts
from orchestration.engine.connection import value
from orchestration.exceptions import InvalidDefinition
from orchestration.language.durations import seconds_in
from orchestration.models import Run
from orchestration.testkit import replay, single
from orchestration.testkit.canned import Answer, Company
from orchestration.testkit.clock import Clock
from orchestration.testkit.exceptions import EngineFailed, NotPlayable
from orchestration.testkit.played import PlayedRun
from orchestration.testkit.worker import Worker

PATIENCE = 3  # sweeps that find something to do, of which no event tells
CHANGES = "select coalesce(sum(seq), 0) from orchestration_run"


class Play:
    """`definitions`: texts, or paths of files; the first is the one that is started, the others those that it starts.

    `agents`: answers by the agent's name, `steps`: by the step's, which goes first. An answer is a value, an exception
    of `agents.exceptions`, a function of the call (`agents.calls.Call`) that gives or raises one, or `in_turn` of such.
    `specs`: files or folders of agents' own specs, whose schemas count; an agent without one takes and gives anything.
    `policies`: more names than those every organization has. `at`: what time it is at first, else as outside.

    It lives in the transaction of a test, and with it all is gone. Raises NotPlayable with every finding.
    """

    def __init__(
        self,
        *definitions: str | Path,
        agents: Mapping[str, Answer] | None = None,
        steps: Mapping[str, Answer] | None = None,
        specs: Iterable[str | Path] = (),
        policies: Iterable[str] = (),
        at: datetime | None = None,
    ) -> None:
        self.clock = Clock(at)
        self.company = Company(agents or {}, steps or {})
        self.lines: list[str] = []  # what agents said into the runs' logs
        number = Organization.objects.filter(slug__startswith="play").count()
        self.organization = Organization.objects.create(slug=f"play-{number + 1}", name="Play")
        self.people = People(self.organization)
        seed_policies(self.organization)
        for slug in policies:
            Policy.objects.create(organization=self.organization, slug=slug, roles=[Role.APPROVER.value])
        texts = [source_of(definition) for definition in definitions]
        self._engage(specs, "\n".join(source.text for source in texts))
        try:
            self.versions = sources.apply(texts, organization=self.organization, by=None)
        except InvalidDefinition as exc:
            raise NotPlayable("\n".join(str(finding) for finding in exc.findings)) from exc
        self.worker = Worker()

    @property
    def calls(self) -> dict[str, list[Call]]:
        """What came to each agent, by its name."""
        return self.company.calls

    @property
    def runs(self) -> list[PlayedRun]:
        """All runs of the first definition, the oldest first: those too that a schedule began."""
        of_it = Run.objects.filter(definition_version__definition=self.versions[0].definition_id).order_by("pk")
        return [PlayedRun(self, key) for key in of_it.values_list("pk", flat=True)]

    # --- verbs

    def start(self, given: Any = None, *, by: str = "operator") -> PlayedRun:
        """Start a run with this input, and do all that can be done without time passing. Raises InvalidInput."""
        run = starts.start(
            organization=self.organization,
            definition=self.versions[0].definition.slug,
            given={} if given is None else given,
            by=self.people[by],
        )
        self.go()
        return PlayedRun(self, run.pk)

    def go(self) -> None:
        """Do all that can be done without time passing. What changes outside (a row by your own hand) needs it."""
        idle = 0
        while idle < PATIENCE:
            before = value(CHANGES)
            hands = self.worker.look()
            for hand in hands:
                self.worker.do(hand, self._say)
            found = self.worker.sweep()
            if found["failed"]:
                raise EngineFailed(f"The engine could not repair its rows: {found['failed']}")
            if hands or value(CHANGES) != before:
                idle = 0
            elif any(done for done in found.values() if isinstance(done, int)):
                idle += 1
            else:
                return

    def pass_time(self, time: str | timedelta) -> None:
        """Let so much time pass, `"3w"` or a timedelta: whatever is due meanwhile happens when it is due."""
        left = seconds_of(time)
        self.go()
        while (seconds := self._next_timer()) is not None and seconds <= left:
            self.clock.pass_time(seconds)
            left -= seconds
            self.go()
        self.clock.pass_time(left)
        self.go()

    def pass_to_next_timer(self) -> bool:
        """Let time pass until something is due. False if nothing waits for a time."""
        seconds = self._next_timer()
        if seconds is not None:
            self.pass_time(timedelta(seconds=seconds))
        return seconds is not None

    def step(self, name: str, given: Any = None, **surroundings: Any) -> single.Tried:
        """One step alone: see `single.run`."""
        return single.run(self, name, given, **surroundings)

    def replay(self, history: Mapping[str, Any] | str | Path) -> list[replay.Difference]:
        """A stored run on this text: see `replay.run`."""
        return replay.run(self, history)

    # --- privates

    def _engage(self, paths: Iterable[str | Path], texts: str) -> None:
        """The agents that the texts may name."""
        known = {spec["name"]: spec for path in (seeding.LIBRARY, *paths) for spec in specs_at(Path(path))}
        for slug in known.keys() | self.company.agents.keys():
            if slug in texts:
                spec = known.get(slug, {"name": slug, "kind": "tool", "configuration": {"tool": "echo"}})
                self.company.engage(Agent.save_version(organization=self.organization, spec=spec, by=None))

    def _next_timer(self) -> float | None:
        """In how many seconds something is due: what a sweep has found to do is a number or a truth, its timers are
        fractions."""
        found = self.worker.sweep().values()
        return min((seconds for seconds in found if isinstance(seconds, float) and seconds > 0), default=None)

    def _say(self, text: str, level: str = "info") -> None:
        self.lines.append(text)


class People(dict[str, Member]):
    """A member of each role, by its name; each comes when first asked for."""

    def __init__(self, organization: Organization) -> None:
        super().__init__()
        self.organization = organization

    def __missing__(self, role: str) -> Member:
        if role not in Role.values:
            raise NotPlayable(f"{role} is no role: there are {', '.join(Role.values)}.")
        user, _ = User.objects.get_or_create(username=role)
        self[role] = Member.objects.create(user=user, organization=self.organization, roles=[role])
        return self[role]


@cache
def specs_at(path: Path) -> list[Mapping[str, Any]]:
    return [read(file.read_text(encoding="utf-8")) for file in seeding.files_of(path)]


def source_of(definition: str | Path) -> sources.Source:
    if isinstance(definition, str) and "\n" in definition:
        return sources.Source("definition", definition)
    return sources.Source.read(Path(definition))


def seconds_of(time: str | timedelta) -> float:
    seconds = time.total_seconds() if isinstance(time, timedelta) else seconds_in({"time": time}, "time")
    if seconds is None:
        raise NotPlayable(f"{time!r} is no duration: write a number and ms, s, m, h, d or w, such as 3w.")
    return seconds
