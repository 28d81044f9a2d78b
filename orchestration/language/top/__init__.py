"""The keys of a definition, one file each: what a schema cannot say of it, and what the engine gets of it."""

from ..keys import TopKey
from . import input as input_key
from . import name, output, output_schema, schedule, timeout

KEYS = {
    "name": TopKey(name.check),
    "input": TopKey(input_key.check),
    "output": TopKey(output.check),
    "output_schema": TopKey(output_schema.check, output_schema.plan),
    "schedule": TopKey(schedule.check, schedule.plan),
    "timeout": TopKey(plan=timeout.plan),
}
