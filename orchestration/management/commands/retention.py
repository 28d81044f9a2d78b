import sys
from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.template.defaultfilters import filesizeformat

from accounts.durations import duration
from orchestration.engine.retention import Done, preview, retain
from ui.templatetags.ui import counted


class Command(BaseCommand):
    help = "Let runs go that ended long enough ago, and drop their partitions. Exits with 1 if others stood in the way."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--older", type=duration, metavar="90d", help="since their end; else RETENTION_DAYS")
        parser.add_argument("--dry-run", action="store_true", help="say what would go")

    def handle(self, *, older: timedelta | None, dry_run: bool, **_: Any) -> None:
        older = older or timedelta(days=settings.RETENTION_DAYS)
        if not older:
            self.stdout.write("RETENTION_DAYS is 0: every run is kept.")
            return
        done = preview(older=older) if dry_run else retain(older=older, every=timedelta(days=settings.PARTITION_DAYS))
        for words in would(done) if dry_run else did(done):
            self.stdout.write(words)
        self.stdout.write(f"Lag: {counted(done.lag_seconds) if done.lag_seconds else 'none'}.")
        if done.busy:
            self.stderr.write(done.busy)
            sys.exit(1)


def would(done: Done) -> list[str]:
    if not done.hi:
        return ["No partition is old enough."]
    size = filesizeformat(done.freed_bytes)
    return [f"{done.gone} runs of those from {done.lo} to {done.hi - 1} would go; they lie in partitions of {size}."]


def did(done: Done) -> list[str]:
    words = [f"Runs from {done.began} on lie in a new partition."] if done.began else []
    if not done.hi:
        return [*words, "No partition is old enough."]
    size = filesizeformat(max(done.freed_bytes, 0))
    return [*words, f"{done.gone} runs of those from {done.lo} to {done.hi - 1} are gone, and {size} free."]
