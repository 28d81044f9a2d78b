"""People and machines who use the site meanwhile: threads that speak HTTP, and ask again until they are answered."""

import contextlib
import json
import random
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx2
import psycopg

from config.chaos.house import House

MOST_OPEN_RUNS = 40
PAUSE_SECONDS = 0.2
# definition: how often it is started
STARTED = {"chain": 4, "fan": 3, "gate": 4, "once": 6, "family": 2, "unanswered-continue": 1, "unanswered-abort": 1}
REFUSED = (400, 401, 403, 404, 413, 422)  # never by what is down: an answer that is wrong
# What the simulated model does next: kind, how often in a row, seconds.
WEATHER = [
    *(("slow", 6, 0.5), ("slow", 6, 1.5), ("slow", 6, 0.1), ("slow", 2, 3.0), ("slow", 1, 7.0)),
    *(("429", 2, 0.3), ("500", 2, 0.0), ("drop", 1, 0.0), ("garbage", 1, 0.0)),
]
UNCERTAIN = """
select r.public_id, s.name, s.round from orchestration_step s join orchestration_run r on r.id = s.run_id
where s.status = 'uncertain' limit 20
"""


@dataclass(frozen=True)
class Promise:
    """What the site has answered with success, so it has to be true at the end whatever died since."""

    kind: str  # run, decision, cancel, resolve
    subject: str
    detail: Any = None


class Journal:
    """Which calls reached the simulated model, read on from where it was read last."""

    def __init__(self, house: House) -> None:
        self.path = house.journal
        self._position = 0
        self.asked: dict[str, list[tuple[float, str]]] = {}  # by idempotency key: when each call came, from whom
        self.answered: set[str] = set()

    def read(self) -> "Journal":
        with self.path.open() as file:
            file.seek(self._position)
            while (line := file.readline()).endswith("\n"):
                self._position = file.tell()
                told = json.loads(line)
                key = told["idempotency_key"]
                if told["answered"]:
                    self.answered.add(key)
                else:
                    self.asked.setdefault(key, []).append((told["at"], told["project"]))
        return self


class Crowd:
    def __init__(self, house: House, seed: int) -> None:
        self.house = house
        self.seed = seed
        self.full = threading.Event()  # nobody starts anything more
        self.over = threading.Event()
        self.kept: list[Promise] = []
        self.wrong: list[str] = []
        self.did: Counter[str] = Counter()
        people = {"operator": self.start_runs, "approver": self.answer, "viewer": self.follow}
        parts: list[tuple[str, Callable[[Door, random.Random], None]]] = [
            *people.items(),
            *(("operator", do) for do in (self.start_runs, self.cancel, self.resolve)),
            *(("viewer", do) for do in (self.follow, self.make_weather)),
        ]
        self._threads = [
            threading.Thread(target=self._play, args=(number, do, house.tokens[name]), name=do.__name__, daemon=True)
            for number, (name, do) in enumerate(parts)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self.over.set()
        for thread in self._threads:
            thread.join(60)

    def _play(self, number: int, do: Callable[["Door", random.Random], None], token: str) -> None:
        dice = random.Random(f"{self.seed} {number}")
        with httpx2.Client(base_url=self.house.url, headers={"Authorization": f"Bearer {token}"}, timeout=20) as client:
            door = Door(client, self)
            while not self.over.is_set():
                try:
                    do(door, dice)
                except _Over:
                    return
                except Exception as exc:  # noqa: BLE001  the top of the thread: what it stumbled over is a finding
                    self.wrong.append(f"{do.__name__} stumbled: {type(exc).__name__}: {exc}")
                    return

    def keep(self, kind: str, subject: str, detail: Any = None) -> None:
        self.kept.append(Promise(kind, subject, detail))
        self.did[kind] += 1

    # --- what they do, again and again

    def start_runs(self, door: "Door", dice: random.Random) -> None:
        if self.full.wait(0.05):
            self.over.wait(1)
            return
        if self._count("select count(*) from orchestration_run where ended_at is null") >= MOST_OPEN_RUNS:
            self.full.wait(PAUSE_SECONDS)
            return
        for _ in range(dice.randint(1, 5)):
            (slug,) = dice.choices(list(STARTED), list(STARTED.values()))
            key = f"{dice.getrandbits(64):x}"
            body = {"definition": slug, "input": {"text": f"Figures of {key}. They rose."}}
            status, run = door.post("/api/v1/runs/", body, {"Idempotency-Key": key})
            if status == 201:
                self.keep("run", run["id"], key)

    def answer(self, door: "Door", dice: random.Random) -> None:
        found = door.get("/api/v1/approvals/?status=pending&page_size=50")["results"]
        for request in found:
            if request["title"] == "Left alone":
                continue
            words = self._words(request, dice)
            status, said = door.post(f"/api/v1/approvals/{request['id']}/decision/", words)
            if status == 200:
                self.keep("decision", request["id"], (words["choice"], said["answer"], words.get("edits")))
        self.over.wait(PAUSE_SECONDS)

    def _words(self, request: Mapping[str, Any], dice: random.Random) -> dict[str, Any]:
        (choice,) = dice.choices(["edit", "continue", "retry", "abort"], [5, 3, 3, 1])
        words: dict[str, Any] = {"choice": choice, "digest": request["digest"]}
        if choice == "edit" or (choice == "retry" and request["context"]["round"] > 2):
            return {**words, "choice": "continue", "edits": {"/count": dice.randint(1, 1000)}}
        return words if choice == "continue" else {**words, "note": "Not like this."}

    def cancel(self, door: "Door", dice: random.Random) -> None:
        self.over.wait(dice.uniform(1, 4))
        found = [] if self.full.is_set() else door.get("/api/v1/runs/?status=running&page_size=50")["results"]
        if found:
            run = dice.choice(found)["id"]
            status, said = door.post(f"/api/v1/runs/{run}/cancel/", {"reason": "not needed"})
            if status == 200 and said["status"] in ("canceling", "canceled"):
                self.keep("cancel", run)

    def resolve(self, door: "Door", dice: random.Random) -> None:
        """Somebody who looks at the other side first: what was seen there has happened."""
        for run, name, number in self._rows(UNCERTAIN):
            key = f"{run}:{name}:{number}"
            has_happened = key in Journal(self.house).read().asked
            words: dict[str, Any] = {"outcome": "completed", "output": {"text": "It is there."}, "reason": "seen"}
            if not has_happened:
                words = {"outcome": dice.choice(["again", "again", "failed"]), "reason": "A person says so"}
            status, _ = door.post(f"/api/v1/runs/{run}/steps/{name}/resolve/", words)
            if status == 200:
                self.keep("resolve", key, words["outcome"])
        self.over.wait(PAUSE_SECONDS)

    def follow(self, door: "Door", dice: random.Random) -> None:
        """The events of a run as a stream, resumed after each break: 1, 2, 3… to the end."""
        found = self._rows("select public_id from orchestration_run where ended_at is null order by id desc limit 5")
        if not found:
            self.over.wait(PAUSE_SECONDS)
            return
        (run,) = dice.choice(found)
        last, status = 0, 200
        while not self.over.is_set() and status != 204:  # there is nothing more
            try:
                headers = {"Accept": "text/event-stream", "Last-Event-ID": str(last)}
                with door.client.stream("GET", f"/api/v1/runs/{run}/events", headers=headers) as stream:
                    status = stream.status_code
                    for line in stream.iter_lines() if status == 200 else ():
                        if self.over.is_set():
                            return
                        if line.startswith("id: "):
                            if int(line[4:]) != last + 1:
                                self.wrong.append(f"{run}: after event {last} the stream sent {line[4:]}")
                            last = int(line[4:])
            except httpx2.TransportError:
                pass
            self.over.wait(PAUSE_SECONDS)
        self.did["followed"] += 1

    def make_weather(self, door: "Door", dice: random.Random) -> None:
        address = f"{self.house.simulators}/_control"
        with contextlib.suppress(httpx2.TransportError):
            waiting = door.client.post(address, json={}).json()["faults"]
            while sum(fault["times"] for fault in waiting) < 50 and not self.full.is_set():
                kind, times, seconds = dice.choice(WEATHER)
                wish = {"fault": kind, "times": times, "seconds": seconds}
                waiting = door.client.post(address, json=wish).json()["faults"]
        self.over.wait(PAUSE_SECONDS)

    # --- the rows, for those who want to know what there is to do

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        try:
            with self.house.connect() as connection:
                return connection.execute(query).fetchall()
        except psycopg.Error:
            self.over.wait(PAUSE_SECONDS)
            return []

    def _count(self, query: str) -> int:
        found = self._rows(query)
        return int(found[0][0]) if found else MOST_OPEN_RUNS


class _Over(Exception):
    """Nobody waits for this answer any more."""


class Door:
    """The site's API, asked again until it answers: what is down comes back."""

    def __init__(self, client: httpx2.Client, crowd: Crowd) -> None:
        self.client = client
        self.crowd = crowd

    def get(self, address: str) -> Any:
        return self._ask("GET", address)[1]

    def post(self, address: str, body: Any, headers: Mapping[str, str] | None = None) -> tuple[int, Any]:
        return self._ask("POST", address, json=body, headers=headers)

    def _ask(self, method: str, address: str, **more: Any) -> tuple[int, Any]:
        while not self.crowd.over.is_set():
            try:
                answer = self.client.request(method, address, **more)
            except httpx2.TransportError:
                self.crowd.did["broken off"] += 1
            else:
                if answer.status_code in REFUSED:
                    self.crowd.wrong.append(f"{method} {address}: {answer.status_code} {answer.text[:300]}")
                if answer.status_code < 500:
                    return answer.status_code, answer.json()
                self.crowd.did["answered 5xx"] += 1
            self.crowd.over.wait(PAUSE_SECONDS)
        raise _Over
