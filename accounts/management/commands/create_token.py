from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts.durations import duration
from accounts.models import ApiToken, Member, Scope, expiry_in


class Command(BaseCommand):
    help = "Make an API token of a member and print it alone on the last line. It is shown this once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--member", required=True, metavar="NAME")
        parser.add_argument("--organization", default="global", metavar="SLUG")
        parser.add_argument("--name", default="command line")
        parser.add_argument("--scope", action="append", default=[], choices=Scope.values, dest="scopes")
        parser.add_argument("--expires-in", type=duration, metavar="90d")

    def handle(self, *args: Any, **options: Any) -> None:
        members = Member.objects.active().filter(organization__slug=options["organization"])
        member = members.filter(user__username=options["member"]).select_related("user").first()
        if member is None:
            raise CommandError(
                f"{options['organization']} has no active member {options['member']}. "
                f"Its members: {', '.join(members.values_list('user__username', flat=True)) or 'none'}."
            )
        expires_in = options["expires_in"]
        _, plaintext = ApiToken.issue(
            member=member,
            name=options["name"],
            scopes=options["scopes"],
            expires_at=expiry_in(expires_in) if expires_in else None,
            by=None,
        )
        self.stdout.write(plaintext)
