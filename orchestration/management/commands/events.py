import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts.models import Organization
from orchestration.engine import mail
from orchestration.engine.outcomes import NotRecordable


class Command(BaseCommand):
    help = "Deliver an event from outside to the steps that wait for it, or will soon."

    def add_arguments(self, parser: ArgumentParser) -> None:
        send = parser.add_subparsers(dest="action", required=True).add_parser("send", help="deliver one event")
        send.add_argument("name", help="such as invoice.paid")
        send.add_argument("--key", default="", help="which one, such as an invoice's number")
        send.add_argument("--data", default="null", help="JSON: the output of the steps that wait for it")
        send.add_argument("--id", help="the sender's own name for it: it counts once")
        send.add_argument("--organization", default="global", help="its slug")

    def handle(self, *, name: str, key: str, data: str, organization: str, **options: Any) -> None:
        found = Organization.objects.filter(slug=organization).first()
        if found is None:
            raise CommandError(f"No organization is called {organization!r}.")
        if not name or max(len(name), len(key)) > 200 or "\0" in name + key:
            raise CommandError("A name is needed; name and key have at most 200 characters.")
        try:
            event, is_new = mail.deliver(
                organization=found, name=name, key=key, data=json.loads(data), sender_id=options["id"], by=None
            )
        except (json.JSONDecodeError, NotRecordable) as exc:
            raise CommandError(f"The data cannot be kept: {exc}") from exc
        self.stdout.write(f"{event.public_id}" if is_new else f"{event.public_id} (was here already)")
