from pathlib import Path

from django.conf import settings
from django.core.management.base import BaseCommand

from accounts.models import Member, Organization
from accounts.seeding import seed_people
from agents.seeding import seed_agents
from approvals.seeding import seed_policies
from orchestration import seeding
from simulators.kpi import CannotMakeReader, seed_kpi


class Command(BaseCommand):
    help = "People, policies, agents, definitions and KPIs of the demo; again and again without harm."

    def add_arguments(self, parser):
        parser.add_argument("--start-examples", action="store_true", help="and a run of each shipped example")

    def handle(self, *, start_examples, **options):
        seed_people(Path(settings.DATA_DIR))
        for organization in Organization.objects.all():
            seed_policies(organization)
            seed_agents(organization)
            seeding.seed_definitions(organization)
            seeding.seed_examples(organization)
        if start_examples:  # not among the runs of those who are guided through their first one
            seeding.start_examples(Member.objects.select_related("organization").get(user__username="nora"))
        try:
            seed_kpi()
        except CannotMakeReader as error:
            self.stderr.write(self.style.WARNING(str(error)))
        self.stdout.write("The demo is seeded.")
