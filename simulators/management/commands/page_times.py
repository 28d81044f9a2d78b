import gzip
import logging
import statistics
import time
from argparse import ArgumentParser
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import Member, Organization, Role
from simulators.pages import Rows, addresses


@dataclass(frozen=True)
class Figures:
    name: str
    p50_ms: float
    p95_ms: float
    queries: int
    kilobytes: float  # compressed


class Command(BaseCommand):
    """Each page is asked for through all middleware, as the web process does it, by an admin who is signed in."""

    help = "Measure how long the server takes for each page; `manage.py sample` fills the tables first."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--rounds", type=int, default=40)
        parser.add_argument("--organization", default="global")
        parser.add_argument("--only", default="", help="pages whose name contains this")

    def handle(self, *, rounds: int, organization: str, only: str, **_: Any) -> None:
        found = Organization.objects.filter(slug=organization).first()
        member = Member.objects.filter(organization=found, roles__contains=[Role.ADMIN]).order_by("pk").first()
        if found is None or member is None:
            raise CommandError(f"No organization is called {organization!r}, or it has no admin.")
        logging.disable(logging.WARNING)  # some addresses take POST alone
        settings.ALLOWED_HOSTS = ["localhost"]
        client = Client(SERVER_NAME="localhost")
        client.force_login(member.user, backend=settings.AUTHENTICATION_BACKENDS[0])
        self.stdout.write("| page | p50, ms | p95, ms | queries | KB |\n|---|---|---|---|---|")
        for name, address in addresses(Rows.of(found, member)).items():
            if only in name and (figures := measured(client, name, address, rounds)):
                self.stdout.write(
                    f"| {figures.name} | {figures.p50_ms:.0f} | {figures.p95_ms:.0f} | {figures.queries}"
                    f" | {figures.kilobytes:.1f} |"
                )


def measured(client: Client, name: str, address: str, rounds: int) -> Figures | None:
    """None for what is no page or part of one."""
    with CaptureQueriesContext(connection) as captured:
        answer = client.get(address)
    queries = len(captured)  # now: the next request empties the log
    if answer.status_code != 200 or not answer.headers["Content-Type"].startswith("text/html"):
        return None
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        client.get(address)
        taken.append((time.perf_counter() - began) * 1000)
    p95 = statistics.quantiles(taken, n=20)[-1]
    return Figures(name, statistics.median(taken), p95, queries, len(gzip.compress(answer.content)) / 1024)
