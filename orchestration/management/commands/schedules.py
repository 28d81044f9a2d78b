from argparse import ArgumentParser
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from orchestration.engine.schedules import backfill, run_now
from orchestration.exceptions import NoSuchTimes
from orchestration.models import Run, Schedule


class Command(BaseCommand):
    help = "Look at schedules, pause and resume them, start what they start."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        listed = actions.add_parser("list", help="all there are, with their next times")
        listed.add_argument("--definition", default="", help="of this one alone")
        for name, words in (
            ("pause", "nothing starts from now on"),
            ("resume", "go on with the next time"),
            ("run", "start a run now, as the schedule does"),
            ("backfill", "start runs for times that passed and have none"),
        ):
            action = actions.add_parser(name, help=words)
            action.add_argument("schedule", help="its public id")
            action.add_argument("--reason", required=True, help="for the audit trail")
            if name == "backfill":
                action.add_argument(
                    "--after", required=True, type=moment, help="a time with its offset; itself excluded"
                )
                action.add_argument(
                    "--upto", required=True, type=moment, help="a time with its offset; itself included"
                )

    def handle(self, *, action: str, **given: Any) -> None:
        if action == "list":
            return self._list(given["definition"])
        schedule, reason = named_schedule(given["schedule"]), given["reason"]
        try:
            if action == "pause":
                schedule.pause(by=None, reason=reason)
            elif action == "resume":
                schedule.resume(by=None, reason=reason)
            elif action == "run":
                self._tell([run_now(schedule, by=None, reason=reason)])
            else:
                self._tell(backfill(schedule, given["after"], given["upto"], by=None, reason=reason))
        except NoSuchTimes as exc:
            raise CommandError(str(exc)) from exc

    def _list(self, slug: str) -> None:
        found = Schedule.objects.filter(dropped_at=None).for_list()
        for each in found.filter(definition__slug=slug) if slug else found:
            following = each.following
            when = "paused" if each.is_paused else following[0].isoformat() if following else "never again"
            self.stdout.write(f"{each.public_id}  {each.definition.slug}  {each}  {when}")

    def _tell(self, runs: list[Run]) -> None:
        self.stdout.write("\n".join(run.public_id for run in runs))


def named_schedule(public_id: str) -> Schedule:
    found = Schedule.objects.filter(public_id=public_id, dropped_at=None).first()
    if found is None:
        raise CommandError(f"No schedule is called {public_id!r}.")
    return found


def moment(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("it needs an offset, such as Z or +01:00")
    return at
