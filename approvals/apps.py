from django.apps import AppConfig, apps
from django.http import HttpRequest

from ui import shell


class ApprovalsConfig(AppConfig):
    name = "approvals"

    def ready(self) -> None:
        entry = shell.Entry("Approvals", "pages:approvals", "inbox", 30, keys="g a", count=count_waiting, on_phone=True)
        shell.register(entry)


def count_waiting(request: HttpRequest) -> int:
    """How many open questions the reader may answer; a view that has counted them says so in `request.waiting`."""
    if hasattr(request, "waiting"):
        return int(request.waiting)
    member = request.member  # type: ignore[attr-defined]
    rows = apps.get_model("approvals", "Request").objects
    count: int = rows.decidable_by(member).count()
    return count
