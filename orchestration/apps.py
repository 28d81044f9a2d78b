from django.apps import AppConfig

from agents import runners
from approvals.signals import decided
from orchestration import orchestrator
from orchestration.engine.hints import hints
from ui import shell


class OrchestrationConfig(AppConfig):
    name = "orchestration"

    def ready(self) -> None:
        runners.register("orchestrator", orchestrator.run, check=orchestrator.check)
        shell.register(shell.Entry("Dashboard", "pages:home", "layout-dashboard", 10, keys="g d"))
        shell.register(shell.Entry("Runs", "pages:runs", "play", 20, keys="g r", on_phone=True))
        decided.connect(hint_answer, dispatch_uid="orchestration")


def hint_answer(**_: object) -> None:
    """Someone, or the clock, answered: any worker may take the answer up."""
    hints.work(hints.ANSWERS)
