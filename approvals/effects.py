"""What leaves after the commit."""

from django.db import transaction

from approvals.signals import decided


def announce_decision(request_id: int, subject: str) -> None:
    def send() -> None:
        decided.send_robust(sender="approvals.Request", request_id=request_id, subject=subject)

    transaction.on_commit(send, robust=True)
