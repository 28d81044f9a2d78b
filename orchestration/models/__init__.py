from orchestration.models.definitions import Definition, DefinitionVersion
from orchestration.models.logs import LogHead, LogLine
from orchestration.models.results import Deliverable, Payload
from orchestration.models.runs import Event, Run, StartKey, Step
from orchestration.models.workers import FairShare, Worker

__all__ = [
    "Definition",
    "DefinitionVersion",
    "Deliverable",
    "Event",
    "FairShare",
    "LogHead",
    "LogLine",
    "Payload",
    "Run",
    "StartKey",
    "Step",
    "Worker",
]
