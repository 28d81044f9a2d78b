"""What is to go wrong, and when: made from the seed alone, so that a run can be repeated."""

import random
from dataclasses import dataclass

FIRST_SECONDS = 3.0
BETWEEN_SECONDS = (1.5, 5.0)
CREW = "the crew"  # all workers, one after the other
SITE = "the site"  # everything, at once
LOCKED = ("orchestration_run", "orchestration_step", "approvals_request", "orchestration_worker")
# How often in one shuffled bag. Every kind comes before any comes again more often than it says here.
BAG = {
    "kill worker": 4,
    "freeze worker": 2,
    "restart crew": 1,
    "kill web": 2,
    "kill beat": 1,
    "kill postgres": 2,
    "crash backend": 1,
    "kill valkey": 2,
    "kill site": 1,
    "empty valkey": 1,
    "freeze valkey": 1,
    "freeze web": 1,
    "freeze postgres": 1,
    "fill disk": 1,
    "early worker": 1,
    "late worker": 1,
    "cut backends": 2,
    "cut before": 1,
    "cut after": 2,
    "lock rows": 2,
}
HOUR_SECONDS = 3600.0
# What the messages say that a connection is cut at.
COMMITS = {"an outcome": b'"outcome":', "a commit": b"COMMIT"}


@dataclass(frozen=True)
class Act:
    """`seconds` after `at` it is made good again: started, woken, let go."""

    at: float
    kind: str
    target: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.at:7.1f} s  {self.kind:<15} {self.target}" + (f", {self.seconds:.1f} s" if self.seconds else "")


def plan_of(seed: int, seconds: float, workers: int, lease: float) -> list[Act]:
    """Nothing happens twice to one target at the same time, and all is to be good again when `seconds` are over."""
    dice = random.Random(seed)
    crew = [f"worker{number}" for number in range(1, workers + 1)]
    plan: list[Act] = []
    bag: list[str] = []
    free: dict[str, float] = {}
    at = FIRST_SECONDS
    while at < seconds:
        bag = bag or dice.sample(list(BAG), counts=list(BAG.values()), k=sum(BAG.values()))
        for kind in bag:
            act = _act(dice, kind, at, crew, lease)
            targets = touched(act, crew)
            if act.at + act.seconds < seconds and all(free.get(target, 0.0) <= at for target in targets):
                plan.append(act)
                bag.remove(kind)
                free.update(dict.fromkeys(targets, at + act.seconds + 1.0))
                break
        at += dice.uniform(*BETWEEN_SECONDS)
    return plan


def touched(act: Act, crew: list[str]) -> list[str]:
    """What nothing else is to happen to meanwhile."""
    if act.target == CREW:
        return crew
    if act.kind == "kill site":
        return [*crew, "web", "beat", "valkey", "postgres", *LOCKED, *COMMITS]
    if act.kind == "freeze postgres":  # whose locks and cuts would outlast it
        return ["postgres", *LOCKED, *COMMITS]
    return [act.target]


def _act(dice: random.Random, kind: str, at: float, crew: list[str], lease: float) -> Act:
    verb, _, what = kind.partition(" ")
    seconds = dice.choice([0.1, dice.uniform(0.2, 3.0), dice.uniform(1.0, 1.5 * lease)])
    target = dice.choice(crew) if what == "worker" else what
    match verb, what:
        case "freeze", "postgres":
            seconds = dice.choice([dice.uniform(0.5, 3.0), lease * dice.uniform(1.2, 2.0)])
        case "freeze", _:
            seconds = lease * dice.uniform(1.2, 2.0)
        case "kill", "site":
            target, seconds = SITE, dice.uniform(0.1, 3.0)
        case "restart", _:
            target, seconds = CREW, 10.0 * len(crew)
        case (("early" | "late"), _):
            seconds = dice.uniform(2.0, 8.0)
        case "fill", _:
            target, seconds = "postgres", dice.uniform(2.0, 8.0)
        case "empty", _:
            seconds = 0.0
        case _, "backend" | "backends":
            target, seconds = "postgres", 0.0
        case "cut", _:
            target, seconds = dice.choice(list(COMMITS)), dice.uniform(1.0, 3.0)
        case "lock", _:
            target, seconds = dice.choice(LOCKED), dice.choice([dice.uniform(0.5, 3.0), dice.uniform(4.0, 12.0)])
    return Act(round(at, 1), kind, target, round(seconds, 1))
