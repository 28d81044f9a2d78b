from orchestration.models.budgets import Budget, Tree
from orchestration.models.bulk import Bulk, BulkItem
from orchestration.models.definitions import TRIAL_PREFIX, Definition, DefinitionVersion
from orchestration.models.limits import Debounce, Limit, LimitPlace, LimitSlot, RateHit
from orchestration.models.logs import LogHead, LogLine
from orchestration.models.mail import EventWait, OutsideEvent
from orchestration.models.results import CacheEntry, CachePlace, Deliverable, DeliverableQuerySet, Payload
from orchestration.models.runs import Event, Run, StartKey, Step, subject_of, without_payload
from orchestration.models.schedules import Schedule, ScheduleFire
from orchestration.models.streams import StreamHead, StreamValue
from orchestration.models.workers import FairShare, QueueFloor, Worker

__all__ = [
    "TRIAL_PREFIX",
    "Budget",
    "Bulk",
    "BulkItem",
    "CacheEntry",
    "CachePlace",
    "Debounce",
    "Definition",
    "DefinitionVersion",
    "Deliverable",
    "DeliverableQuerySet",
    "Event",
    "EventWait",
    "FairShare",
    "Limit",
    "LimitPlace",
    "LimitSlot",
    "LogHead",
    "LogLine",
    "OutsideEvent",
    "Payload",
    "QueueFloor",
    "RateHit",
    "Run",
    "Schedule",
    "ScheduleFire",
    "StartKey",
    "Step",
    "StreamHead",
    "StreamValue",
    "Tree",
    "Worker",
    "subject_of",
    "without_payload",
]
