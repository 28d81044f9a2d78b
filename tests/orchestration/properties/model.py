"""What must be, in plain Python: a run's rows, and what each act of a worker, a person or a clock makes of them.

It knows no locks, no counters, no fences and no events: of each step the newest row counts, and what may start is
decided from the statuses alone.
"""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

ENDED = {"completed", "failed", "skipped", "canceled"}
LOST_LIMIT = 3


@dataclass(eq=False)
class Row:
    """One row of a step: its n-th round; or an item of a map, or a pass of a repeat, whose row is its `head`. `spec` is
    what the definition says of the step."""

    run: "ModelRun"
    spec: dict[str, Any]
    round: int = 1
    head: "Row | None" = None
    index: int | None = None
    pass_number: int | None = None
    version: int = 1
    status: str = "blocked"
    has_started: bool = False
    has_failure: bool = False  # its run had failed at its newest claim
    owner: int | None = None
    place: tuple[int, int, int] | None = None  # of the newest claim
    attempt: int = 0
    lost: int = 0
    waits_for: str | None = None
    reads: dict[str, "Row"] = field(default_factory=dict)
    seen: dict[str, tuple[str, Any]] = field(default_factory=dict)  # of these, as they were at the newest claim
    output: Any = None
    error: str | None = None  # the class of the error that it failed with
    question: "Question | None" = None
    child: "ModelRun | None" = None
    items: "list[Row]" = field(default_factory=list)
    newest_items: "list[Row]" = field(default_factory=list)  # those that it waits for
    is_gathering: bool = False  # its items were laid
    bearable: int = 0
    ears: list[Any] = field(default_factory=list)  # what it waits for, of events from outside
    heard: Any = None  # the one that ended its wait

    @property
    def name(self) -> str:
        return self.spec["name"]

    @property
    def kind(self) -> str:
        return self.spec["item_kind"] if self.head else self.spec["kind"]

    @property
    def place_in_run(self) -> tuple[str, int, int | None, int | None]:
        return self.name, self.round, self.index, self.pass_number

    @property
    def bad_items(self) -> "list[Row]":
        """Those that ended badly."""
        return [item for item in self.newest_items if not item.is_open and item.status != "completed"]

    @property
    def is_windowed(self) -> bool:
        return self.head is not None and self.head.window < len(self.head.newest_items)

    @property
    def window(self) -> int:
        return (self.spec["map"] or {}).get("concurrency") or len(self.newest_items)

    @property
    def is_repeatable(self) -> bool:
        return self.spec["repeatable"] or self.kind in ("map", "repeat")

    @property
    def is_open(self) -> bool:
        return self.status not in ENDED

    @property
    def is_kept(self) -> bool:
        """It waits on, its run's cancel notwithstanding: leaves end first."""
        return self.waits_for == "child" and self.child is not None and not self.child.has_ended

    @property
    def follows(self) -> str | None:
        """What follows from its failure: fail, continue, or the name of a step; None if it has not failed."""
        if self.status != "failed":
            return None
        rules = self.spec.get("on_failure", {"else": "fail"})
        return str(rules.get(self.error, rules["else"]))

    @property
    def is_lacking(self) -> bool:
        """It ended, and not so that those who need it may start."""
        return not self.is_open and self.status != "completed" and self.follows != "continue"

    @property
    def comes(self) -> str:
        """What becomes of it when its time has come."""
        if self.waits_for in ("time", "event") and self.kind == "wait" and self.is_gathering:
            return "failed" if self.spec["wait"]["times_out"] else self.comes_of_waiting
        return "failed" if self.waits_for == "child" else "ready"

    @property
    def comes_of_waiting(self) -> str:
        return "ready" if self.spec["deliverable"] else "completed"

    @property
    def value(self) -> Any:
        return self.output if self.status == "completed" else None


@dataclass(eq=False)
class Question:
    """`behind`: the versions of the steps behind the gate, as they were when it was asked."""

    row: Row
    behind: dict[str, int]
    deadline: str | None
    status: str = "pending"
    choice: str | None = None
    payload: Any = None
    is_overdue: bool = False
    is_taken_up: bool = False


def judged(open_: int, bad: int, slack: int | None) -> str:
    """What becomes of one of whose needs so many are open and so many ended badly; `slack` may."""
    if slack is None:
        return "blocked" if open_ else "skipped" if bad else "ready"
    return "skipped" if bad > slack else "blocked" if open_ + bad > slack else "ready"


class ModelRun:
    def __init__(self, steps: list[dict[str, Any]], parent: Row | None = None, priority: int = 0) -> None:
        self.rows = [Row(self, spec) for spec in steps]
        self.parent = parent
        self.priority = parent.run.priority if parent is not None else priority
        self.ending: str | None = None
        self.is_paused = parent is not None and parent.run.is_paused
        self.output: Any = None
        self.begins_at: float | None = None  # when no other start may join it any more, if others may
        self.is_tidy = True
        self.is_told = parent is None
        self.told: Counter[str] = Counter()
        if self.start is not None:  # that of a child has its turn by a sweep
            self.start.status, self.start.waits_for = "waiting", "time" if parent else "limit"
        self.consider()

    @property
    def start(self) -> Row | None:
        """What its first steps wait for, if its definition limits how many runs begin."""
        return next((row for row in self.rows if row.kind == "start"), None)

    @property
    def newest(self) -> dict[str, Row]:
        return {row.name: row for row in self.rows if row.head is None}

    @property
    def has_ended(self) -> bool:
        return not any(row.is_open for row in self.rows)

    @property
    def has_failed(self) -> bool:
        return any(row.follows == "fail" for row in self.newest.values())

    @property
    def status(self) -> str:
        if self.has_ended:
            return self.ending or ("failed" if self.has_failed else "completed")
        moves = any(row.status in ("ready", "running") for row in self.rows)
        return "canceling" if self.ending else "paused" if self.is_paused else "running" if moves else "waiting"

    @property
    def failed_steps(self) -> list[str]:
        """Those whose newest round failed, in their order."""
        return [row.name for row in self.newest.values() if row.status == "failed"]

    @property
    def may_try_again(self) -> bool:
        """One that failed may, but for a child that has ended: its parent goes by that."""
        is_child = self.parent is not None
        return self.status in ("running", "waiting", "paused") or (self.status == "failed" and not is_child)

    def consider(self, *, again: bool = False) -> None:
        """What may start. `again`: a round was opened, so what is ready and has never started may have to wait."""
        newest, before = self.newest, None
        while before != (before := [row.status for row in self.rows]):
            for row in newest.values():
                if row.status == "blocked" or (again and row.status == "ready" and not row.has_started):
                    needs = [newest[name] for name in row.spec["needs"]]
                    later = [newest[name] for name in row.spec["reads"] if newest[name].round > 1]
                    afar = later if row.spec["slack"] is None else []
                    open_ = len({other.name for other in needs + afar if other.is_open})
                    bad = sum(other.is_lacking and other.name not in row.spec["tolerates"] for other in needs)
                    row.status = judged(open_, bad, row.spec["slack"])
        for row in self.rows:
            is_over = len(row.bad_items) > row.bearable or not any(item.is_open for item in row.newest_items)
            if row.status == "waiting" and row.newest_items and is_over:
                row.status, row.waits_for = "ready", None

    def behind(self, gate: Row) -> dict[str, int]:
        return {row.name: row.version for row in self.newest.values() if gate.name in row.spec["needs"] and row.name}

    # --- a worker's acts

    def claim(self, row: Row, worker: int, place: tuple[int, int, int]) -> None:
        assert row.status == "ready", (row.name, row.round, row.status)
        assert self.ending is None
        assert not self.is_paused
        assert row.place is None or place[2] > row.place[2]
        if not row.has_started and row.head is None:
            row.reads = {name: self.newest[name] for name in row.spec["reads"]}
        row.seen = {name: (other.status, other.value) for name, other in row.reads.items()}
        row.status, row.owner, row.place, row.has_started = "running", worker, place, True
        row.has_failure = self.has_failed
        row.attempt += not row.is_gathering
        self.told["step.started"] += row.kind != "output"

    def end(self, row: Row, becomes: str, **how: Any) -> str:
        """Move an open row; what it became."""
        self.settle([(row, becomes, how)])
        return row.status

    def settle(self, moves: list[tuple[Row, str, dict[str, Any]]]) -> None:
        """Move open rows together. `how`: output, error, waits_for, lost (its worker died), lays (a head: how many
        items)."""
        over = {row for row, _, _ in moves if row.head and row.head.status in ENDED}
        ended = []
        for row, becomes, how in moves:
            if (self.ending or row in over) and becomes in ("waiting", "ready", "uncertain"):
                becomes = "canceled"
            was_blocked = row.status == "blocked"
            self._move(row, becomes, **how)
            if becomes in ENDED:
                ended.append((row, was_blocked))
        for row, was_blocked in ended:
            for item in row.items:  # of a map that is over
                if item.is_open and item.status != "running" and not (self.ending and item.is_kept):
                    self.is_tidy &= item.waits_for != "child"
                    item.status, item.waits_for = "canceled", None
            if row.is_windowed and not was_blocked and row.head.status == "waiting":
                following = [item for item in row.head.newest_items if item.status == "blocked"]
                if following:
                    following[0].status = "ready"
        self.consider()

    def _move(
        self,
        row: Row,
        becomes: str,
        *,
        output: Any = None,
        error: str | None = None,
        waits_for: str | None = None,
        lost: bool = False,
        lays: int = 0,
    ) -> None:
        is_no_try = becomes == "ready" or (becomes == "waiting" and waits_for == "limit")
        if is_no_try and row.status in ("running", "uncertain") and not row.is_gathering:
            row.attempt -= 1
        if row.status == "running":
            row.lost = row.lost if becomes == "ready" else 0
        if lost and becomes == "ready":
            row.lost += 1
        row.status, row.owner, row.output = becomes, None, output
        row.error = error if becomes == "failed" else None
        row.waits_for = waits_for if becomes == "waiting" else None
        self.told["deliverable.created"] += becomes == "completed" and row.spec["deliverable"] and row.head is None
        if row.kind == "output" and becomes == "completed" and self.newest[""] is row:
            self.output = output
        if becomes == "waiting" and lays:
            self._lay(row, lays)
        row.is_gathering |= row.kind == "wait" and becomes == "waiting"

    def _lay(self, head: Row, count: int) -> None:
        numbers = range(count) if head.kind == "map" else [len(head.items)]
        head.newest_items = [
            Row(
                self, head.spec, head.round, head=head, index=number, pass_number=None if head.kind == "map" else number
            )
            for number in numbers
        ]
        for place, item in enumerate(head.newest_items):
            item.reads = {name: row for name, row in head.reads.items() if name in head.spec["item_reads"]}
            item.version = head.version
            item.status = "ready" if place < head.window else "blocked"
            if head.kind == "repeat" and item.index and head.spec["repeat"]["every"]:
                item.status, item.waits_for = "waiting", "time"
        head.items += head.newest_items
        head.is_gathering = True
        head.bearable = (head.spec["map"] or {}).get("tolerate", {}).get("count", 0)
        self.rows += head.newest_items

    def lost(self, row: Row) -> tuple[Row, str, dict[str, Any]]:
        """The move of one whose worker died."""
        if not row.is_repeatable:
            return row, "uncertain", {}
        if row.lost + 1 >= LOST_LIMIT:
            return row, "failed", {"error": "worker_lost"}
        return row, "ready", {"lost": True}

    def hand_back(self, row: Row, *, begun: bool) -> None:
        self.end(row, "uncertain" if begun and not row.is_repeatable else "ready")

    # --- people's

    def cancel(self, ending: str, gate: Row | None = None) -> None:
        if self.has_ended or self.ending:
            return
        self.ending = ending
        self.is_tidy &= not any(row.waits_for in ("approval", "child") for row in self.rows)
        for row in self.rows:
            if row.is_open and row.status != "running" and not row.is_kept:
                row.status, row.waits_for = "completed" if row is gate else "canceled", None

    def pause(self, runs: "list[ModelRun]") -> None:
        """With all below that can be, as resume."""
        for run in [self, *self.below(runs)]:
            run.is_paused |= run.status in ("running", "waiting")

    def resume(self, runs: "list[ModelRun]") -> None:
        for run in [self, *self.below(runs)]:
            run.is_paused = False

    def below(self, runs: "list[ModelRun]") -> "list[ModelRun]":
        """What it has started and has not ended; no child here has children."""
        return [run for run in runs if run.parent is not None and run.parent.run is self and not run.has_ended]

    def take_up(self, question: Question) -> None:
        question.is_taken_up = True
        gate = question.row
        if gate.status != "waiting" or self.ending:
            return
        self.told["checkpoint.resolved"] += 1
        if question.choice == "continue":
            self.end(gate, "completed", output=question.payload)
        elif question.choice == "retry":
            gate.status, gate.waits_for = "completed", None
            self.open_round(gate, [*gate.spec["again"], gate.name])
        else:
            self.cancel("rejected", gate)

    def open_round(self, gate: Row, names: list[str]) -> None:
        newest = self.newest
        for row in self.rows:
            if (
                row.head is None
                and row.name in names
                and row.is_open
                and (row.status != "running" or row.kind == "approval")
            ):
                self.is_tidy &= row.waits_for != "child"
                row.status, row.waits_for, row.owner = "canceled", None, None
                for item in row.items:
                    if item.is_open and item.status != "running":
                        item.status, item.waits_for = "canceled", None
                if row.question and row.question.status == "pending":
                    row.question.status = "withdrawn"
        self._lay_round(newest, names)
        self.told["run.round_opened"] += 1
        self.consider(again=True)

    def _lay_round(self, newest: dict[str, Row], names: Collection[str]) -> None:
        ordered = [row for row in newest.values() if row.name in names]
        self.rows += [Row(self, row.spec, row.round + 1, version=row.version) for row in ordered]

    def try_again(self, names: Collection[str]) -> None:
        """These, which failed, and what was skipped or failed behind them. What is open goes on."""
        newest, again, before = self.newest, set(names), -1
        while before != (before := len(again)):
            again |= {
                row.name
                for row in newest.values()
                if row.status in ("skipped", "failed") and not again.isdisjoint(row.spec["needs"])
            }
        again |= {row.name for row in newest.values() if row.kind == "output" and (row.has_started or not row.is_open)}
        self.told["run.reopened" if self.has_ended else "run.round_opened"] += 1
        self.is_paused &= not self.has_ended
        self.output = None
        self._lay_round(newest, again)
        self.consider(again=True)

    def hold(self, row: Row, gate: Row) -> None:
        """What would run is not what was decided: `row` waits for another round of the gate."""
        row.status, row.owner, row.has_started, row.attempt, row.place = "blocked", None, False, 0, None
        if self.newest[gate.name] is gate:
            self.open_round(gate, [gate.name])
        else:
            self.consider(again=True)

    def tidy_up(self, runs: "list[ModelRun]") -> None:
        self.is_tidy = True
        for row in self.rows:
            if row.status in ("canceled", "skipped") and row.question and row.question.status == "pending":
                row.question.status = "withdrawn"
        for run in runs:
            if run.parent is not None and run.parent.run is self and (self.ending or not run.parent.is_open):
                run.cancel("canceled")

    def tell_parent(self) -> None:
        self.is_told = True
        parent = self.parent
        if parent is not None and parent.status == "waiting":
            done = self.status == "completed"
            reached = self.status == "canceled" and parent.run.ending
            becomes = "completed" if done else "canceled" if reached else "failed"
            parent.run.end(parent, becomes, output=self.output if done else None, error=f"child_{self.status}")
