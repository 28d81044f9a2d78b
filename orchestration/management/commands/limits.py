from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from orchestration.engine.levers.limiting import change
from orchestration.exceptions import InvalidInput
from orchestration.limited import holders, line
from orchestration.models import Limit


class Command(BaseCommand):
    help = "Look at limits, who holds them and who waits; let in more, or fewer."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        actions.add_parser("list", help="all that steps and starts have asked for")
        shown = actions.add_parser("show", help="who holds it, and who stands in line")
        shown.add_argument("limit", help="its public id")
        changed = actions.add_parser("change", help="say how many it lets in; without --max: as the definitions say")
        changed.add_argument("limit", help="its public id")
        changed.add_argument("--max", type=int, help="so many")
        changed.add_argument("--per", type=float, help="of a rate: in so many seconds")
        changed.add_argument("--reason", required=True, help="for the audit trail")

    def handle(self, *, action: str, **given: Any) -> None:
        if action == "list":
            for each in Limit.objects.select_related("organization").order_by("organization", "kind", "key"):
                self.stdout.write(f"{each.public_id}  {each.organization.slug}  {each}  {words(each)}")
            return
        limit = Limit.objects.select_related("organization").filter(public_id=given["limit"]).first()
        if limit is None:
            raise CommandError(f"No limit is called {given['limit']!r}.")
        if action == "change":
            try:
                change(limit, by=None, reason=given["reason"], most=given["max"], span=given["per"])
            except InvalidInput as exc:
                raise CommandError(
                    "; ".join(f"{error['pointer']}: {error['message']}" for error in exc.errors)
                ) from exc
            limit.refresh_from_db()
        self.stdout.write(f"{limit}  {words(limit)}")
        for what, standing in [("holds", holders(limit)), ("waits", line(limit))]:
            for one in standing:
                self.stdout.write(f"  {what}  {one.run.public_id}  {one.step}  since {one.since.isoformat()}")


def words(limit: Limit) -> str:
    if limit.span is not None:
        return f"{limit.most} in {limit.span:g} s"
    return f"{limit.taken} of {limit.most}"
