"""Agents of kind `context`: a prompt over the given context, answered by a language model."""

import json
import time
from collections.abc import Mapping
from typing import Any

from django.conf import settings

from agents.calls import Call, Message, Result, Usage
from agents.gateways import model
from agents.schemas import Finding, value_findings

STREAM = "answer"
PIECE_SECONDS = 0.2
MOST_SIGNS = 4_000
CONFIGURATION = {
    "type": "object",
    "required": ["instructions"],
    "additionalProperties": False,
    "properties": {
        "instructions": {"type": "string", "minLength": 1},
        "model": {"type": "string", "minLength": 1},
        "temperature": {"type": "number", "minimum": 0, "maximum": 2},
        "max_output_tokens": {"type": "integer", "minimum": 1},
        "strict": {"type": "boolean"},
        "stream": {"type": "boolean", "default": True},
    },
}


def run(call: Call) -> Result:
    """Without an output schema the output is {text}; with one it is what the model answered, checked."""
    configuration = call.configuration
    name = configuration.get("model") or settings.OPENAI_MODEL
    messages = messages_of(call)
    call.log(f"Asking {name}: {len(messages)} messages, {sum(len(message.content) for message in messages)} characters")
    since = time.monotonic()
    spoken = [Spoken(call, number) if configuration.get("stream", True) else None for number in (1, 2)]
    completion = model.complete(
        model.Prompt(
            messages=messages,
            model=name,
            idempotency_key=call.idempotency_key,
            schema=call.output_schema,
            strict=configuration.get("strict", False),
            temperature=configuration.get("temperature"),
            max_output_tokens=configuration.get("max_output_tokens"),
        ),
        deadline_seconds=call.deadline_seconds,
        canceled=call.canceled,
        hears=spoken,
    )
    for answer in filter(None, spoken):
        answer.end()
    output = completion.output if call.output_schema is not None else {"text": completion.output}
    if completion.repaired:
        call.log("The first answer did not obey the schema; the second did.", "warning")
    call.log(_told_usage(completion.usage, time.monotonic() - since))
    return Result(output, usage=completion.usage)


class Spoken:
    """One answer as it is written, handed out as {answer, text}: 1 the first, 2 the one that repairs it. Many pieces of
    a provider are one value, since each is a row."""

    def __init__(self, call: Call, number: int) -> None:
        self._emit = call.emit
        self._heartbeat = call.heartbeat
        self._number = number
        self._held = ""
        self._since = 0.0

    def __call__(self, piece: str) -> None:
        self._heartbeat()  # what is held back, and what has no text, is a sign of life, too
        self._held += piece.replace("\0", "").encode(errors="replace").decode()
        if self._held and (len(self._held) >= MOST_SIGNS or time.monotonic() >= self._since + PIECE_SECONDS):
            self.end()

    def end(self) -> None:
        """Hand out what is held back."""
        for at in range(0, len(self._held), MOST_SIGNS):
            self._emit(STREAM, {"answer": self._number, "text": self._held[at : at + MOST_SIGNS]})
        self._held, self._since = "", time.monotonic()


def _told_usage(usage: Usage, seconds: float) -> str:
    cost = "" if usage.cost_usd is None else f", about ${usage.cost_usd:.6f}"
    words = f"{usage.input_tokens} tokens read, {usage.output_tokens} written{cost}"
    return f"{usage.model} answered in {seconds:.1f} s: {words}{' (simulated)' if usage.simulated else ''}"


def messages_of(call: Call) -> list[Message]:
    """Instructions, then the input, then the conversation so far."""
    given = [Message("user", text)] if (text := _told(call.input)) else []
    return [Message("system", call.configuration["instructions"]), *given, *call.conversation]


def _told(value: Any) -> str:
    """The fields beside `text` first, one a line; then the text, JSON if it is not text."""
    if not isinstance(value, Mapping):
        return _plain(value)
    lines = [f"{name}: {_plain(field)}" for name, field in value.items() if name != "text"]
    if "text" in value:
        lines += ["", _plain(value["text"])] if lines else [_plain(value["text"])]
    return "\n".join(lines)


def _plain(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)


def check(configuration: Mapping[str, Any]) -> list[Finding]:
    return value_findings(configuration, CONFIGURATION)
