"""One drill: a site, a load, a plan of what goes wrong, and what was true at the end."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from config.chaos import audit, harm
from config.chaos.crowd import Crowd, Journal
from config.chaos.house import LEASE_SECONDS, TICK_SECONDS, House
from config.chaos.plan import plan_of

MEGABYTES, MEGABYTES_A_MINUTE = 512, 24  # of PostgreSQL's disk
STILL_SECONDS = 120.0  # nothing moves for so long: what is open then waits for ever
PROGRESS = "select count(*) filter (where ended_at is null), coalesce(sum(seq), 0) from orchestration_run"
STUCK = """
select r.public_id, r.status, s.name, s.status, s.waits_for, s.lost from orchestration_run r
left join orchestration_step s on s.run_id = r.id and s.status in ('ready', 'running', 'waiting', 'uncertain')
where r.ended_at is null limit 20
"""
UNTIDY = """
select count(*) from orchestration_run where ended_at is null or tidy or (parent_run_id > 0 and told_at is null)
"""


@dataclass
class Report:
    seed: int
    minutes: float
    workers: int
    acts: dict[str, int] = field(default_factory=dict)
    people: dict[str, int] = field(default_factory=dict)
    ends: dict[str, int] = field(default_factory=dict)
    effects: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0


class Drill:
    def __init__(
        self, minutes: float, seed: int, workers: int, data: Path, say: Callable[[str], None], *, keep: bool
    ) -> None:
        self.seconds = minutes * 60
        self.say = say
        self.plan = plan_of(seed, self.seconds, workers, LEASE_SECONDS)
        self.report = Report(seed, minutes, workers)
        self.keep = keep
        self.house = House(data, workers, megabytes=MEGABYTES + int(MEGABYTES_A_MINUTE * minutes))

    def run(self) -> Report:
        """Raises Refused if the site does not start."""
        began = time.monotonic()
        house = self.house
        try:
            house.start()
            if house.disk is None:
                self.say("NOT DONE: fill disk. It needs the right to mount one.")
            crowd = Crowd(house, self.report.seed)
            self.say(f"The site runs at {house.url}, with {len(house.crew)} workers; the plan begins.")
            crowd.start()
            self._carry_out()
            crowd.full.set()
            self.say("All is healed, and nothing more is started. Waiting until every run has ended.")
            self._settle()
            crowd.stop()
            self.say("Every run has ended. Looking at what is true.")
            house.drain()
            self._audit(crowd)
        finally:
            house.stop(keep=self.keep)
        self.report.seconds = round(time.monotonic() - began, 1)
        return self.report

    def _carry_out(self) -> None:
        """Act by act, at its time; several may be under way at once."""
        began = time.monotonic()
        left = list(self.plan)
        doing: list[tuple[float, harm.Doing]] = []
        while left or doing or time.monotonic() - began < self.seconds:
            now = time.monotonic() - began
            while left and left[0].at <= now:
                act = left.pop(0)
                self.say(str(act))
                doing.append((now, harm.do(self.house, act)))
            for due, steps in [each for each in doing if each[0] <= now]:
                doing.remove((due, steps))
                pause = next(steps, None)
                if pause is not None:
                    doing.append((time.monotonic() - began + pause, steps))
            self.house.mend()
            time.sleep(TICK_SECONDS)

    def _settle(self) -> None:
        """Until no run is open, however long it takes, as long as something moves."""
        last, moved = None, time.monotonic()
        while not (self.house.postgres.is_ready() and self.house.valkey.is_ready()):
            self.house.mend()
            if time.monotonic() - moved > STILL_SECONDS:
                self.report.wrong.append("PostgreSQL or Valkey does not come up again")
                return
            time.sleep(TICK_SECONDS)
        while True:
            self.house.mend()
            with self.house.connect() as connection:
                progress = connection.execute(PROGRESS).fetchone()
                if connection.execute(UNTIDY).fetchone() == (0,):
                    return
                if progress != last:
                    last, moved = progress, time.monotonic()
                if time.monotonic() - moved > STILL_SECONDS:
                    stuck = connection.execute(STUCK).fetchall()
                    found = [f"waits for ever: {row}" for row in stuck]
                    self.report.wrong += found or ["the end of a run is not told to its parent"]
                    return
            time.sleep(0.2)

    def _audit(self, crowd: Crowd) -> None:
        report = self.report
        query = audit.query_of(self.house)
        report.wrong += crowd.wrong
        found = audit.effects(query, Journal(self.house).read(), self.house, report.wrong)
        report.wrong += [*audit.rows(query), *audit.promises(query, crowd.kept)]
        report.acts, report.people, report.ends = dict(self.house.done), dict(crowd.did), audit.ends(query)
        report.effects = {
            **vars(found),
            "processes that ended by themselves": self.house.ended_alone,
            "connections cut at a commit": self.house.cutter.cuts,
        }
