import json
from argparse import ArgumentParser
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from accounts.models import Organization
from orchestration.benchmark.bench import Bench, BenchmarkFailed
from orchestration.benchmark.scenarios import SCENARIOS


class Command(BaseCommand):
    help = "Measure the engine on an empty database with worker processes of its own."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        words = "; ".join(f"{name}: {measure.__doc__}" for name, measure in SCENARIOS.items())
        parser.add_argument("--scenario", choices=SCENARIOS, default="steps", help=words.replace("%", "%%"))
        parser.add_argument("--runs", type=int, default=100, help="runs started together")
        parser.add_argument("--steps", type=int, default=20, help="steps of a chain")
        parser.add_argument("--workers", type=int, default=2, help="worker processes")
        parser.add_argument("--json", action="store_true", help="only the figures, as one JSON object on the last line")

    def handle(self, *, scenario: str, runs: int, steps: int, workers: int, **options: Any) -> None:
        if runs < 1 or steps < 2 or workers < 1:
            raise CommandError("--runs and --workers must be at least 1, --steps at least 2.")
        call_command("migrate", verbosity=0)
        if Organization.objects.exists():
            raise CommandError("This database is not empty; the benchmark wants one to itself.")
        bench = Bench()
        try:
            figures = SCENARIOS[scenario](bench, runs=runs, steps=steps, workers=workers)
        except BenchmarkFailed as exc:
            raise CommandError(str(exc)) from exc
        finally:
            bench.stop_workers()
        if not options["json"]:
            self.stdout.write(f"{scenario}: {runs} runs of {steps} steps, {workers} worker processes")
        self.stdout.write(json.dumps(figures))
