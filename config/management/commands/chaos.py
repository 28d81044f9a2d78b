import dataclasses
import json
import logging
import random
import shutil
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from config.chaos.drill import Drill, Report
from config.up.processes import Account, Refused
from config.up.services import away_folder, socket_folder
from config.up.testing import private_data


class Command(BaseCommand):
    help = "Run a load on a site of its own while its parts are killed, frozen and cut off; then look at what was true."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--minutes", type=float, default=2.0, help="of load, with fractions (2)")
        parser.add_argument("--seed", type=int, help="makes the plan; the same seed and length, the same plan")
        parser.add_argument("--workers", type=int, default=2, help="worker processes (2)")
        parser.add_argument("--keep", type=Path, metavar="DIR", help="a new folder to leave data and logs in")
        parser.add_argument("--json", action="store_true", help="the report as one JSON object on the last line")

    def handle(
        self, *, minutes: float, seed: int | None, workers: int, keep: Path | None, json: bool, **_: Any
    ) -> None:
        if minutes <= 0 or workers < 1:
            raise CommandError("--minutes must be more than 0, and --workers at least 1.")
        seed = random.SystemRandom().randrange(10**6) if seed is None else seed
        logging.getLogger("httpx2").setLevel(logging.WARNING)
        data = folder(keep)
        drill = Drill(minutes, seed, workers, data, self.say, keep=keep is not None)
        self.say(f"The plan of --minutes {minutes:g} --seed {seed} --workers {workers}:")
        for act in drill.plan:
            self.say(f"  {act}")
        try:
            report = drill.run()
        except Refused as refusal:
            raise CommandError(str(refusal)) from refusal
        finally:
            tidy(data, keep)
        self.say("\n".join(table(report)))
        if json:
            self.stdout.write(as_line(report))
        if not report.wrong and keep is None:
            shutil.rmtree(data)
        if report.wrong:
            again = f"manage.py chaos --minutes {minutes:g} --seed {seed} --workers {workers}"
            raise CommandError("\n".join([*report.wrong, f"The same plan again: {again}   The logs: {data / 'log'}"]))

    def say(self, words: str) -> None:
        self.stdout.write(words)
        self.stdout.flush()


def folder(keep: Path | None) -> Path:
    if keep is None:
        return private_data("chaos")
    try:
        keep.mkdir(mode=0o711, parents=True)
        (keep / "log").mkdir(mode=0o700)
    except OSError as error:
        raise CommandError(f"{keep} cannot be made: {error.strerror}.") from error
    return keep.resolve()


def tidy(data: Path, keep: Path | None) -> None:
    shutil.rmtree(socket_folder(data, Account.choose()), ignore_errors=True)
    if keep is None:
        shutil.rmtree(away_folder(data), ignore_errors=True)
        for path in data.iterdir():
            if path.name != "log":
                shutil.rmtree(path, ignore_errors=True)


def table(report: Report) -> list[str]:
    parts = {
        "What was done": report.acts,
        "What people and machines did": report.people,
        "How runs ended": report.ends,
        "Effects": report.effects,
    }
    lines = []
    for title, counts in parts.items():
        lines += ["", title, *(f"  {count:7}  {name}" for name, count in sorted(counts.items()))]
    return [*lines, "", f"{len(report.wrong)} findings after {report.seconds:.0f} s."]


def as_line(report: Report) -> str:
    return json.dumps(dataclasses.asdict(report))
