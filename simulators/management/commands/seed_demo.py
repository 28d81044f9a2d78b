from pathlib import Path

from django.conf import settings
from django.core.management.base import BaseCommand

from accounts.models import Organization
from accounts.seeding import seed_people
from agents.seeding import seed_agents
from approvals.seeding import seed_policies
from orchestration.seeding import seed_definitions
from simulators.kpi import CannotMakeReader, seed_kpi


class Command(BaseCommand):
    help = "People, policies, agents, definitions and KPIs of the demo; again and again without harm."

    def handle(self, **options):
        seed_people(Path(settings.DATA_DIR))
        for organization in Organization.objects.all():
            seed_policies(organization)
            seed_agents(organization)
            seed_definitions(organization)
        try:
            seed_kpi()
        except CannotMakeReader as error:
            self.stderr.write(self.style.WARNING(str(error)))
        self.stdout.write("The demo is seeded.")
