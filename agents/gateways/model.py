"""The door to language models: any server that speaks OpenAI's chat completions. Source: docs/gateways.md."""

import datetime
import email.utils
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Condition
from typing import Any, cast

import httpx2
import openai
from cachetools import LRUCache, cached
from django.conf import settings
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from agents.calls import Message, Usage
from agents.exceptions import Canceled, Permanent, Temporary, TimedOut
from agents.schemas import Finding, value_findings

CONNECT_SECONDS = 10.0
MAX_BYTES = 20_000_000
EVENTS = "text/event-stream"
BUSY = (openai.RateLimitError, openai.InternalServerError, openai.ConflictError)
REPAIR = "That answer was not valid: {findings}. Answer again, with the JSON alone, exactly by the schema."


@dataclass(frozen=True, slots=True)
class Prompt:
    """One question. `schema` asks for JSON that obeys it; without one the answer is text."""

    messages: Sequence[Message]
    model: str
    idempotency_key: str
    schema: Mapping[str, Any] | None = None
    strict: bool = False
    temperature: float | None = None
    max_output_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """`output` is the JSON value asked for, or text. `usage` counts every request made for it."""

    output: Any
    usage: Usage
    repaired: bool


Hears = Callable[[str], None]  # is told the text of each piece of an answer as it comes; most have some


def complete(
    prompt: Prompt,
    *,
    deadline_seconds: float | None,
    canceled: Callable[[], bool],
    hears: Sequence[Hears | None] = (None, None),
) -> Completion:
    """Ask, and once more if the answer does not obey the schema. The deadline, in seconds, is for all of it. `hears`:
    who listens to the first answer, and to the second; None: that one comes whole.

    Raises Temporary (unreachable, busy, or nonsense twice), TimedOut, Canceled, or Permanent (refused, bad request).
    """
    end = time.monotonic() + (settings.AGENT_CALL_TIMEOUT_SECONDS if deadline_seconds is None else deadline_seconds)
    answer, usage = _ask(prompt, end, canceled, hears[0])
    output, found = _parsed(answer, prompt.schema)
    if not found:
        return Completion(output, usage, repaired=False)
    again = replace(
        prompt,
        idempotency_key=f"{prompt.idempotency_key}-repair",
        messages=[
            *prompt.messages,
            Message("assistant", answer),
            Message("user", REPAIR.format(findings=_told(found))),
        ],
    )
    answer, more = _ask(again, end, canceled, hears[1])
    output, found = _parsed(answer, prompt.schema)
    if found:
        raise Temporary(f"The model {usage.model} answered nonsense twice: {_told(found)}.")
    return Completion(output, _sum(usage, more), repaired=True)


def _ask(prompt: Prompt, end: float, canceled: Callable[[], bool], hears: Hears | None) -> tuple[str, Usage]:
    if canceled():
        raise Canceled("The model was not asked: the call was asked to stop.")
    try:
        completion = _request(prompt, end, canceled, hears)
    except openai.APITimeoutError as error:
        _in_time(end)
        raise Temporary(f"{_where()} did not answer in time.") from error
    except openai.APIConnectionError as error:
        raise Temporary(f"{_where()} cannot be reached: {error.__cause__ or error}. See OPENAI_BASE_URL.") from error
    except openai.APIStatusError as error:
        raise _translated(error) from error
    except (openai.APIError, httpx2.TransportError) as error:
        _in_time(end)
        raise Temporary(f"{_where()} broke off or answered nonsense: {error}") from error
    except ValueError as error:
        raise Temporary(f"{_where()} answered something that is not a chat completion.") from error
    return _content(completion), _usage(completion, prompt.model)


def _request(prompt: Prompt, end: float, canceled: Callable[[], bool], hears: Hears | None) -> ChatCompletion:
    """The answer, read piece by piece, so that a trickling server cannot outlast the deadline."""
    optional: dict[str, Any] = {"temperature": prompt.temperature, "max_completion_tokens": prompt.max_output_tokens}
    if prompt.schema is not None:
        form = {"name": "output", "schema": prompt.schema, "strict": prompt.strict}
        optional["response_format"] = {"type": "json_schema", "json_schema": form}
    if hears is not None:
        optional |= {"stream": True, "stream_options": {"include_usage": True}}
    left = _in_time(end)
    request = _client(settings.OPENAI_BASE_URL, _key()).chat.completions.with_streaming_response.create(
        model=prompt.model,
        messages=cast(Any, [{"role": message.role, "content": message.content} for message in prompt.messages]),
        extra_headers={"Idempotency-Key": prompt.idempotency_key},
        timeout=openai.Timeout(left, connect=min(left, CONNECT_SECONDS)),
        **{name: value for name, value in optional.items() if value is not None},
    )
    with request as response:
        # One that cannot stream answers whole, whatever it was asked.
        is_stream = response.headers.get("content-type", "").startswith(EVENTS)
        body: Whole = Pieces(hears) if hears is not None and is_stream else Whole()
        body.read(_watched(response.iter_bytes(), body, end, canceled))
    return body.completion()


def _watched(pieces: Iterator[bytes], body: "Whole", end: float, canceled: Callable[[], bool]) -> Iterator[bytes]:
    for piece in pieces:
        body.unread += len(piece)
        if canceled():
            raise Canceled("The call was asked to stop while the model answered.")
        if body.size > MAX_BYTES:
            raise Permanent(f"{_where()} answered with more than {MAX_BYTES} bytes.")
        _in_time(end)
        yield piece


class Whole:
    """An answer that comes as one JSON."""

    def __init__(self) -> None:
        self.unread = 0  # bytes of which nothing is known yet
        self._body = b""

    def read(self, pieces: Iterator[bytes]) -> None:
        self._body = b"".join(pieces)

    @property
    def size(self) -> int:
        return self.unread

    def completion(self) -> ChatCompletion:
        """Raises ValueError for what is none."""
        return ChatCompletion.model_validate_json(self._body)


class Pieces(Whole):
    """An answer that comes as server-sent events; `hears` is told its text."""

    def __init__(self, hears: Hears) -> None:
        super().__init__()
        self._hears = hears
        self._said: dict[str, list[str]] = {"content": [], "refusal": []}
        self._signs = 0
        self._reason: str | None = None
        self._head: dict[str, Any] = {}

    def read(self, pieces: Iterator[bytes]) -> None:
        """Raises ValueError for what is no piece of an answer, Temporary for an error that the provider tells."""
        request = httpx2.Request("POST", settings.OPENAI_BASE_URL)
        watched = httpx2.Response(200, headers={"content-type": EVENTS}, content=pieces, request=request)
        for event in httpx2.EventSource(watched, max_event_size=None):  # what it holds is `unread`
            self.unread = 0
            if event.data and event.data != "[DONE]":
                self._take_event(event.json())

    @property
    def size(self) -> int:
        return self.unread + self._signs

    def _take_event(self, event: Any) -> None:
        if isinstance(event, Mapping) and "error" in event:
            raise Temporary(f"{_where()} broke off: {json.dumps(event['error'], ensure_ascii=False):.300}")
        chunk = ChatCompletionChunk.model_validate(event)
        self._head = {
            "id": chunk.id,
            "created": chunk.created,
            "model": chunk.model or self._head.get("model", ""),
            "system_fingerprint": chunk.system_fingerprint or self._head.get("system_fingerprint"),
            "usage": chunk.usage or self._head.get("usage"),
        }
        text = ""
        for choice in chunk.choices[:1]:
            text = choice.delta.content or ""
            self._reason = choice.finish_reason or self._reason
            for kind, words in (("content", text), ("refusal", choice.delta.refusal or "")):
                self._said[kind].append(words)
                self._signs += len(words)
        self._hears(text)

    def completion(self) -> ChatCompletion:
        """As it would have come whole. Raises Temporary for one that did not come to its end."""
        if self._reason is None:
            raise Temporary(f"{_where()} broke off in the midst of its answer.")
        said = {kind: "".join(texts) or None for kind, texts in self._said.items()}
        choice = {"index": 0, "finish_reason": self._reason, "message": {"role": "assistant", **said}}
        return ChatCompletion.model_validate({**self._head, "object": "chat.completion", "choices": [choice]})


@cached(LRUCache(32), condition=Condition())  # a client's certificates are a megabyte, and 50 milliseconds of work
def _client(base_url: str, key: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=base_url, api_key=key, max_retries=0)  # the engine retries, and counts


def _key() -> str:
    if not settings.OPENAI_API_KEY:
        raise Permanent("OPENAI_API_KEY is not set: put the provider's key into .env and start again.")
    return settings.OPENAI_API_KEY


def _where() -> str:
    return f"The model provider at {settings.OPENAI_BASE_URL}"


def _in_time(end: float) -> float:
    left = end - time.monotonic()
    if left <= 0:
        raise TimedOut(f"{_where()} did not answer before the step's time-out.")
    return left


def _translated(error: openai.APIStatusError) -> Temporary | Permanent:
    said = f"{_where()} answered {error.status_code}: {error.message:.300}"
    if error.code == "insufficient_quota":
        return Permanent(f"{said} Add credit to the account behind OPENAI_API_KEY.")
    if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
        return Permanent(f"{said} Check OPENAI_API_KEY.")
    if isinstance(error, BUSY) or error.status_code == 408:
        return Temporary(said, retry_after=_retry_after(error.response.headers))
    return Permanent(said)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds, from `retry-after-ms` or `Retry-After` as a number or an HTTP date; None if absent or unreadable."""
    wish = headers.get("retry-after", "")
    try:
        if "retry-after-ms" in headers:
            return max(0.0, float(headers["retry-after-ms"]) / 1000)
        return max(0.0, float(wish))
    except ValueError:
        pass
    try:
        date = email.utils.parsedate_to_datetime(wish)
    except ValueError:
        return None
    return max(0.0, (date - datetime.datetime.now(tz=date.tzinfo)).total_seconds())


def _content(completion: ChatCompletion) -> str:
    if not completion.choices:
        raise Temporary(f"{_where()} answered without a choice.")
    choice = completion.choices[0]
    if choice.message.refusal:
        raise Permanent(f"The model {completion.model} refused: {choice.message.refusal:.300}")
    if choice.finish_reason == "content_filter":
        raise Permanent(f"The answer of {completion.model} was withheld by the provider's content filter.")
    if choice.finish_reason == "length":
        raise Permanent(f"The answer of {completion.model} was cut off: raise configuration.max_output_tokens.")
    return choice.message.content or ""


def _usage(completion: ChatCompletion, asked: str) -> Usage:
    tokens = completion.usage
    read, written = (tokens.prompt_tokens, tokens.completion_tokens) if tokens else (0, 0)
    price = settings.MODEL_PRICES_USD.get(completion.model) or settings.MODEL_PRICES_USD.get(asked)
    return Usage(
        input_tokens=read,
        output_tokens=written,
        cost_usd=(read * price[0] + written * price[1]) / 1_000_000 if price else None,
        model=completion.model,
        simulated=(completion.system_fingerprint or "").startswith("simulated"),
    )


def _sum(first: Usage, second: Usage) -> Usage:
    cost = None
    if first.cost_usd is not None and second.cost_usd is not None:
        cost = first.cost_usd + second.cost_usd
    return replace(
        second,
        input_tokens=first.input_tokens + second.input_tokens,
        output_tokens=first.output_tokens + second.output_tokens,
        cost_usd=cost,
    )


def _parsed(answer: str, schema: Mapping[str, Any] | None) -> tuple[Any, list[Finding]]:
    if schema is None:
        return answer, []
    try:
        output = json.loads(answer)
    except ValueError:
        return None, [Finding("", f"not JSON: {answer[:80]!r}")]
    return output, value_findings(output, schema)


def _told(found: Sequence[Finding]) -> str:
    return "; ".join(f"{each.pointer or '/'} {each.message}" for each in found[:5])
