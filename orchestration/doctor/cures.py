"""What to do about each kind of finding."""

WRONG = (
    "No path of the product writes this. Stop the workers, keep a dump of the rows, and look in the workers' logs"
    " around the run's last event; cancel the run if it does not end, and start it again."
)
STUCK = "It waits for ever. Cancel its run, or retry from a gate before it; what has ended stays as it is."
SWEEP = "A sweep does this within a second: see that a worker runs, and its log for sweep_failed or sweep_crashed."

CURES = {
    "needs": STUCK,
    "nothing_wakes": STUCK,
    "owner": STUCK,
    "slot": "Others wait for it in vain. A worker gives it to who is next within a minute: see that one runs.",
    "place": "It is called up in vain. A worker lets it go within a minute: see that one runs.",
    "limit": "It lets in too many, or too few. While nobody is at work, count its slots, and what was promised, anew.",
    "status": STUCK,
    "answer_lost": "Whoever takes it fails. Purge the answers of that agent: manage.py cache purge --agent AGENT.",
    "payload": (
        "The value is lost: take it from a backup of orchestration_payload by its digest; without one, cancel the run."
    ),
    "question": "Nobody's answer would change anything. Withdraw it; its run goes on without it.",
    "forsaken": "Nothing waits for it any more: cancel it.",
    "orphan": "Rows were deleted by hand, or a restore was partial. Delete these too, or restore the run's own row.",
    "log": "The run is not touched by it: only its log misses lines, or its page counts them wrongly.",
    "stream": "The run is not touched by it: only who reads its values misses some, or counts them wrongly.",
    "left_running": f"If its worker lives, wait for the call to end. If it does not: {SWEEP}",
    "left_ready": "See that a worker runs which takes this queue (WORKER_QUEUES), and that its lease is renewed.",
    "left_session": "Something hangs inside a transaction. It is ended after 60 s, or with pg_terminate_backend.",
    "left_lock": "Housekeeping holds one for a moment. If it stays, end the session with pg_terminate_backend.",
}


def cure_of(kind: str) -> str:
    return CURES.get(kind, SWEEP if kind.startswith("left_") else WRONG)
