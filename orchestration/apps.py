from django.apps import AppConfig

from agents import runners
from approvals import derived, surroundings
from approvals.signals import decided
from orchestration import orchestrator, reasons
from orchestration.engine.hints import hints
from ui import shell, showcase


class OrchestrationConfig(AppConfig):
    name = "orchestration"

    def ready(self) -> None:
        runners.register("orchestrator", orchestrator.run, check=orchestrator.check)
        shell.register(shell.Entry("Dashboard", "pages:home", "layout-dashboard", 10, keys="g d"))
        shell.register(shell.Entry("Runs", "pages:runs", "play", 20, keys="g r", on_phone=True))
        shell.register(shell.Entry("Deliverables", "pages:deliverables", "file-text", 40, keys="g l"))
        shell.register(shell.Entry("Events", "pages:outside-events", "radio", 45, keys="g e"))
        shell.register(shell.Entry("Limits", "pages:limits", "gauge", 47, keys="g i"))
        shell.register(shell.Entry("Definitions", "pages:definitions", "workflow", 50, keys="g f"))
        shell.register(shell.Entry("Agents", "pages:agents", "bot", 60, keys="g n"))
        showcase.register("orchestration/_showcase.html", "orchestration.showcase.sample")
        surroundings.register(
            "orchestration.asked.tell", simulated="orchestration.asked.simulated", family="orchestration.asked.family"
        )
        derived.register("orchestration.following.derivation_of")
        reasons.register("orchestration.reasons.sources.explain")
        decided.connect(hint_answer, dispatch_uid="orchestration")


def hint_answer(**_: object) -> None:
    """Someone, or the clock, answered: any worker may take the answer up."""
    hints.answer()
