"""What a page of a run shows, as commands that ask the API for it; the token stands in a variable of the shell."""

import json
import shlex
from dataclasses import dataclass
from urllib.parse import urlencode

from django.http import HttpRequest
from django.urls import reverse

from orchestration.models import Run, Step

CURL = 'curl -sS -H "Authorization: Bearer $COUNTERSIGN_TOKEN"'


@dataclass(frozen=True, slots=True)
class Command:
    label: str
    text: str


def commands_of(request: HttpRequest, run: Run, step: Step, given: str) -> list[Command]:
    """The last starts it again with the input `given`, if there is one."""

    def command(label: str, *words: str) -> Command:
        return Command(label, f"{CURL} {shlex.join(words)}")

    def address(name: str, *args: str) -> str:
        return request.build_absolute_uri(reverse(name, args=args))

    log = f"{address('run-logs', run.public_id)}?{urlencode({'step': step.name})}"
    found = [
        command("This run and its steps", address("run", run.public_id)),
        command("The log of this step", log),
        command("Events, as they come", "-N", "-H", "Accept: text/event-stream", address("events", run.public_id)),
    ]
    if given:
        body = {"definition": run.definition_version.definition.slug, "input": json.loads(given)}
        sent = ["-H", "Content-Type: application/json", address("runs"), "-d", json.dumps(body, ensure_ascii=False)]
        found.append(command("Start it again with this input", *sent))
    return found
