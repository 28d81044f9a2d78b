from orchestration.models.definitions import Definition, DefinitionVersion
from orchestration.models.results import Deliverable, Payload
from orchestration.models.runs import Event, Run, StartKey, Step
from orchestration.models.workers import FairShare, Worker

__all__ = [
    "Definition",
    "DefinitionVersion",
    "Deliverable",
    "Event",
    "FairShare",
    "Payload",
    "Run",
    "StartKey",
    "Step",
    "Worker",
]
