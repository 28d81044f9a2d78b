"""The keys of a definition, one file each: what a schema cannot say of it, and what the engine gets of it."""

from ..keys import TopKey
from . import (
    budget,
    concurrency,
    debounce,
    expect,
    fair_by,
    labels,
    messages,
    name,
    output,
    output_schema,
    priority,
    rate,
    schedule,
    timeout,
    visible_to,
)
from . import input as input_key

KEYS = {
    "name": TopKey(name.check),
    "input": TopKey(input_key.check),
    "messages": TopKey(messages.check, messages.plan),
    "output": TopKey(output.check),
    "output_schema": TopKey(output_schema.check, output_schema.plan),
    "concurrency": TopKey(concurrency.check, concurrency.plan),
    "debounce": TopKey(debounce.check, debounce.plan),
    "fair_by": TopKey(fair_by.check, fair_by.plan),
    "labels": TopKey(labels.check, labels.plan),
    "priority": TopKey(priority.check, priority.plan),
    "rate": TopKey(rate.check, rate.plan),
    "schedule": TopKey(schedule.check, schedule.plan),
    "timeout": TopKey(plan=timeout.plan),
    "expect": TopKey(expect.check, expect.plan),
    "budget": TopKey(budget.check, budget.plan),
    "visible_to": TopKey(plan=visible_to.plan),
}
