from django.apps import AppConfig

from agents import runners
from approvals.signals import decided
from orchestration import orchestrator
from orchestration.engine.hints import hints


class OrchestrationConfig(AppConfig):
    name = "orchestration"

    def ready(self) -> None:
        runners.register("orchestrator", orchestrator.run, check=orchestrator.check)
        decided.connect(hint_answer, dispatch_uid="orchestration")


def hint_answer(**_: object) -> None:
    """Someone, or the clock, answered: any worker may take the answer up."""
    hints.work(hints.ANSWERS)
