"""One small ASGI application: the model provider, a counter of effects, and faults on demand."""

import asyncio
import collections
import json
import time
import urllib.parse
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from simulators import model

JOURNAL_LENGTH = 10_000
MAX_BYTES = 20_000_000
FAULTS = (
    "429",
    "500",
    "401",
    "quota",
    "slow",
    "trickle",
    "nonsense",
    "garbage",
    "refuse",
    "filter",
    "length",
    "drop",
    "halting",
    "thinking",
    "cut",
    "whole",
)
STATUS_FAULTS = {
    "429": (429, "rate_limit_exceeded", "Too many requests (simulated)."),
    "500": (500, "server_error", "The server had an error (simulated)."),
    "401": (401, "invalid_api_key", "Incorrect API key (simulated)."),
    "quota": (429, "insufficient_quota", "You exceeded your current quota (simulated)."),
}


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body or b"{}")


@dataclass
class Fault:
    kind: str
    times: int = 1
    seconds: float = 1.0


@dataclass
class Effect:
    started: int = 0
    finished: int = 0
    bodies: list[Any] = field(default_factory=list)


class Refused(Exception):
    """Answered as an error of the provider's own form."""

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None):
        super().__init__(message)
        self.status, self.code, self.headers = status, code, headers or {}


class Simulators:
    """State lives in the process; POST /_control {"reset": true} forgets it."""

    def __init__(self, journal: Path | None = None) -> None:
        """Calls of the model are written to the file `journal` too, as they come and as they are answered."""
        self._file = journal.open("a", buffering=1) if journal else None
        self._reset()

    def _reset(self) -> None:
        self.faults: collections.deque[Fault] = collections.deque()
        self.journal: collections.deque[dict[str, Any]] = collections.deque(maxlen=JOURNAL_LENGTH)
        self.effects: dict[str, Effect] = collections.defaultdict(Effect)

    async def __call__(self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[..., Awaitable[None]]):
        request = await _read(scope, receive)
        answer = Answer(send)
        try:
            await self._route(request, answer)
        except Refused as refused:
            error = {"message": str(refused), "type": "simulated", "code": refused.code, "param": None}
            await answer.json({"error": error}, refused.status, refused.headers)
        except (ValueError, TypeError, KeyError) as error:
            problem = {"message": f"Bad request: {error!r}", "type": "simulated", "code": "invalid_request_error"}
            await answer.json({"error": problem}, 400)

    async def _route(self, request: Request, answer: "Answer") -> None:
        match request.method, request.path.strip("/").split("/"):
            case "POST", ["v1", "chat", "completions"]:
                await self._complete(request, answer)
            case "GET", ["v1", "models"]:
                await answer.json({"object": "list", "data": model.MODELS})
            case "POST", ["_control"]:
                await self._control(request, answer)
            case "GET", ["_journal"]:
                await self._show_journal(answer)
            case "POST", ["effects", key]:
                await self._effect(key, request, answer)
            case "GET", ["effects"]:
                counted = {
                    key: {"started": each.started, "finished": each.finished, "bodies": each.bodies}
                    for key, each in self.effects.items()
                }
                await answer.json(counted)
            case "GET", ["healthz"]:
                await answer.json({"status": "ok"})
            case _:
                raise Refused(404, "not_found", f"No {request.method} {request.path} here.")

    async def _control(self, request: Request, answer: "Answer") -> None:
        asked = request.json()
        if asked.get("reset"):
            self._reset()
        if "fault" in asked:
            self.faults.append(_fault(asked["fault"], asked.get("times", 1), asked.get("seconds", 1.0)))
        await answer.json({"faults": [vars(fault) for fault in self.faults]})

    async def _show_journal(self, answer: "Answer") -> None:
        keys = collections.Counter(line["idempotency_key"] for line in self.journal if line["idempotency_key"])
        await answer.json({"requests": list(self.journal), "idempotency_keys": keys})

    async def _effect(self, key: str, request: Request, answer: "Answer") -> None:
        effect = self.effects[urllib.parse.unquote(key)]
        effect.started += 1
        effect.bodies.append(request.json())
        await asyncio.sleep(float(request.query.get("seconds", 0)))
        effect.finished += 1
        await answer.json({"key": key, "started": effect.started, "finished": effect.finished})

    async def _complete(self, request: Request, answer: "Answer") -> None:
        asked = request.json()
        line = {
            "path": request.path,
            "idempotency_key": request.headers.get("idempotency-key"),
            "project": request.headers.get("openai-project"),
            "model": asked.get("model"),
            "messages": asked.get("messages"),
            "response_format": asked.get("response_format"),
            "stream": asked.get("stream", False),
            "answered": False,
        }
        self.journal.append(line)
        self._note(line)
        if not request.headers.get("authorization", "").startswith("Bearer "):
            raise Refused(401, "invalid_api_key", "No API key was given: any will do here, but one is needed.")
        fault = self._next_fault(request)
        if fault and fault.kind in STATUS_FAULTS:
            headers = {"retry-after": f"{fault.seconds:g}"} if fault.kind == "429" else {}
            raise Refused(*STATUS_FAULTS[fault.kind], headers)
        await self._answer_completion(asked, fault or Fault("none"), answer)
        line["answered"] = True
        self._note(line)

    def _note(self, line: dict[str, Any]) -> None:
        if self._file:
            told = {"at": time.time(), **{name: line[name] for name in ("idempotency_key", "project", "answered")}}
            self._file.write(json.dumps(told) + "\n")

    async def _answer_completion(self, asked: dict[str, Any], fault: Fault, answer: "Answer") -> None:
        if fault.kind == "slow":
            await asyncio.sleep(fault.seconds)
        if fault.kind == "garbage":
            await answer.whole(b"<html>Bad gateway</html>", "text/html")
        elif fault.kind == "drop":
            await answer.broken_off()
        elif fault.kind == "trickle":
            await answer.trickled(fault.seconds)
        elif asked.get("stream") and fault.kind != "whole":
            if fault.kind == "halting":
                await answer.events(model.chunks(asked), fault.seconds)
            elif fault.kind == "thinking":
                thoughts = model.thoughts(asked)
                await answer.events([*thoughts, *model.chunks(asked)], fault.seconds, thoughts=len(thoughts))
            elif fault.kind == "cut":
                await answer.events(model.chunks(asked)[:3])
            else:
                await answer.events(model.chunks(asked, fault.kind))
        else:
            await answer.json(model.completion(asked, fault.kind))

    def _next_fault(self, request: Request) -> Fault | None:
        """The header wins: `X-Simulate: slow; seconds=2`. Else the oldest one asked for at /_control."""
        if wish := request.headers.get("x-simulate"):
            kind, _, seconds = wish.partition(";")
            return _fault(kind.strip(), 1, float(seconds.partition("=")[2] or 1.0))
        if not self.faults:
            return None
        fault = self.faults[0]
        fault.times -= 1
        if fault.times <= 0:
            self.faults.popleft()
        return fault


def _fault(kind: Any, times: int, seconds: float) -> Fault:
    if str(kind) not in FAULTS:
        raise Refused(400, "unknown_fault", f"No fault {kind!r}; known: {', '.join(FAULTS)}.")
    return Fault(str(kind), int(times), float(seconds))


class Answer:
    def __init__(self, send: Callable[..., Awaitable[None]]):
        self.send = send

    async def json(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        await self.whole(json.dumps(value).encode(), "application/json", status, headers)

    async def whole(
        self, body: bytes, media_type: str, status: int = 200, headers: dict[str, str] | None = None
    ) -> None:
        await self._start(status, {"content-type": media_type, "content-length": str(len(body)), **(headers or {})})
        await self.send({"type": "http.response.body", "body": body})

    async def events(self, chunks: list[dict[str, Any]], seconds: float = 0.0, thoughts: int | None = None) -> None:
        """So long apart; with `thoughts` only the first so many, written as strangely as server-sent events may be."""
        await self._start(200, {"content-type": "text/event-stream", "cache-control": "no-cache"})
        for number, chunk in enumerate(chunks):
            is_thought = thoughts is not None and number < thoughts
            lines = json.dumps(chunk, indent=1).splitlines() if is_thought else [json.dumps(chunk)]
            end = "\r\n" if is_thought else "\n"
            if is_thought:
                await self._piece(b": still here\r\n")
            await self._piece("".join(f"data: {line}{end}" for line in lines).encode() + end.encode())
            await asyncio.sleep(seconds if is_thought or thoughts is None else 0)
        await self.send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})

    async def trickled(self, seconds: float) -> None:
        """A server that is never silent for long, and never done: white space until `seconds` are over."""
        await self._start(200, {"content-type": "application/json"})
        for _ in range(int(seconds / 0.05)):
            await self._piece(b" ")
            await asyncio.sleep(0.05)
        await self.send({"type": "http.response.body", "body": b"{}"})

    async def broken_off(self) -> None:
        """Promise more than is sent: the server closes the connection in the middle of the body."""
        await self._start(200, {"content-type": "application/json", "content-length": "1000"})
        await self._piece(b'{"id":')

    async def _piece(self, body: bytes) -> None:
        await self.send({"type": "http.response.body", "body": body, "more_body": True})

    async def _start(self, status: int, headers: dict[str, str]) -> None:
        lines = [(name.encode(), value.encode()) for name, value in headers.items()]
        await self.send({"type": "http.response.start", "status": status, "headers": lines})


async def _read(scope: Any, receive: Callable[[], Awaitable[Any]]) -> Request:
    body = bytearray()
    more = True
    while more and len(body) <= MAX_BYTES:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return Request(
        method=scope["method"],
        path=scope["path"],
        query=dict(urllib.parse.parse_qsl(scope["query_string"].decode())),
        headers={name.decode().lower(): value.decode("latin-1") for name, value in scope["headers"]},
        body=bytes(body),
    )
