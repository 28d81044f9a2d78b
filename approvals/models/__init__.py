"""One question to people, and its answer. Nothing here knows who asks: `subject` is the asker's own key."""

from approvals.models.decisions import Decision
from approvals.models.policies import Policy, PolicyQuerySet
from approvals.models.request_queries import ENDED_AT, RequestQuerySet
from approvals.models.requests import Request, default_choices, new_request_id
from approvals.models.statuses import ANSWERED, Status
from approvals.models.words import ABORT, CONTINUE, LONGEST_CHOICE, LONGEST_NOTE, RETRY, words_of_choice

__all__ = [
    "ABORT",
    "ANSWERED",
    "CONTINUE",
    "ENDED_AT",
    "LONGEST_CHOICE",
    "LONGEST_NOTE",
    "RETRY",
    "Decision",
    "Policy",
    "PolicyQuerySet",
    "Request",
    "RequestQuerySet",
    "Status",
    "default_choices",
    "new_request_id",
    "words_of_choice",
]
