from orchestration.models.definitions import TRIAL_PREFIX, Definition, DefinitionVersion
from orchestration.models.logs import LogHead, LogLine
from orchestration.models.results import Deliverable, DeliverableQuerySet, Payload
from orchestration.models.runs import Event, Run, StartKey, Step, subject_of
from orchestration.models.workers import FairShare, Worker

__all__ = [
    "TRIAL_PREFIX",
    "Definition",
    "DefinitionVersion",
    "Deliverable",
    "DeliverableQuerySet",
    "Event",
    "FairShare",
    "LogHead",
    "LogLine",
    "Payload",
    "Run",
    "StartKey",
    "Step",
    "Worker",
    "subject_of",
]
