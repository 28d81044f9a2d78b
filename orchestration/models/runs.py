from typing import Any, Self

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models.functions import Now
from django.urls import reverse

from accounts.models import Member, Organization
from orchestration.exceptions import PayloadHidden
from orchestration.models.definitions import DefinitionVersion
from orchestration.reasons import Reason, reasons_of

# Rows of the hot tables carry no foreign keys in the database: they cost 28 % of the throughput, and only the
# engine's functions write them.


MOST_UNDONE = 200  # rows of what is taken back that are listed


def none_of(*columns: str) -> models.Func:
    """All are null, said so that `run_open` does not fit: if no run was open as the table was last analyzed, it would
    be read to its end, with all that has ended since an old snapshot. Without a parameter, which a plan made once for
    all could not take for the number of the index."""
    none = "num_nonnulls(%(expressions)s) = 0"
    return models.Func(*columns, template=none, output_field=models.BooleanField())


class RunQuerySet(models.QuerySet["Run"]):
    def visible_to(self, member: Member) -> Self:
        return self.filter(organization_id=member.organization_id)

    def for_list(self) -> Self:
        return self.select_related("definition_version__definition", "started_by__user").order_by("-created_at", "-id")

    def without_values(self) -> Self:
        """Without what may be large: values, and the text and plan of the version."""
        version = ("text", "plan", "layout")
        return self.defer("input", "output", *(f"definition_version__{name}" for name in version))


class Run(models.Model):
    """One execution pinned to one version. `seq` is the number of its newest event; the engine's functions write it."""

    class Status(models.TextChoices):
        PLANNING = "planning"  # being checked and laid out: `engine_start` does that at once, so no row is seen in it
        RUNNING = "running"  # -> waiting, paused, canceling, completed, failed
        WAITING = "waiting"  # for a person, a clock or a child -> running, paused, canceling, completed, failed
        PAUSED = "paused"  # by a person -> running, waiting, canceling, completed, failed
        CANCELING = "canceling"  # calls that are under way may end -> canceled, rejected, failed
        COMPLETED = "completed"
        FAILED = "failed"  # until a step is tried again -> running, waiting
        CANCELED = "canceled"
        REJECTED = "rejected"  # aborted at a gate

    ENDED = (Status.COMPLETED, Status.FAILED, Status.CANCELED, Status.REJECTED)

    public_id = models.CharField(max_length=40, unique=True)
    organization = models.ForeignKey(Organization, models.DO_NOTHING, db_constraint=False, db_index=False)
    definition_version = models.ForeignKey(DefinitionVersion, models.DO_NOTHING, db_constraint=False, db_index=False)
    status = models.CharField(max_length=12, choices=Status.choices)
    ending = models.CharField(max_length=12, null=True)  # noqa: DJ001  what canceling ends in
    seq = models.IntegerField()
    open_steps = models.IntegerField()
    moving_steps = models.IntegerField()  # ready or running
    input = models.JSONField(null=True)
    output = models.JSONField(null=True)
    output_digest = models.BinaryField(null=True)
    error = models.JSONField(null=True)
    fair_key = models.TextField()  # with whom it shares its turns, see fair_v1.sql
    priority = models.SmallIntegerField(default=0)
    depth = models.SmallIntegerField(default=0)
    parent_run_id = models.BigIntegerField(null=True)
    parent_key = models.IntegerField(null=True)
    told_at = models.DateTimeField(null=True)  # when the parent's step took this run's end up
    tidy = models.BooleanField(default=False)  # its requests are still to be withdrawn, its children to be canceled
    started_by = models.ForeignKey(Member, models.DO_NOTHING, null=True, db_constraint=False, db_index=False)
    created_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True)
    level = models.SmallIntegerField(db_default=0)  # what a worker must understand to claim its steps
    root_run_id = models.BigIntegerField(null=True)  # the first of its tree; null: itself
    budgets = ArrayField(models.BigIntegerField(), null=True)  # the runs whose budgets it spends, its own first
    labels = models.JSONField(null=True)
    deadline_at = models.DateTimeField(null=True)
    expect_at = models.DateTimeField(null=True)  # it was promised to have ended by then
    overdue_at = models.DateTimeField(null=True)  # when it was said, once, that it had not
    reversible = models.BooleanField(db_default=False)  # it has steps that can be undone
    undoing = models.BooleanField(db_default=False)  # they are being undone
    limited = models.BooleanField(db_default=False)  # it holds a place among the starts of a limit
    stays = models.BooleanField(db_default=False)  # it goes on when its parent ends
    schedule_id = models.BigIntegerField(null=True)
    planned_at = models.DateTimeField(null=True)  # the time of its schedule
    forked_run_id = models.BigIntegerField(null=True)
    forked_key = models.IntegerField(null=True)
    pinned_at = models.DateTimeField(null=True)  # a person keeps it
    archived_at = models.DateTimeField(null=True)

    objects = RunQuerySet.as_manager()

    class Meta:
        indexes = (
            models.Index(fields=("organization", "-created_at", "-id"), name="run_of_organization"),
            models.Index(fields=("definition_version", "-id"), name="run_of_version"),
            models.Index(
                fields=("id",),
                name="run_untold",
                condition=models.Q(told_at=None, parent_run_id__gt=0, ended_at__isnull=False),
            ),
            models.Index(fields=("id",), name="run_untidy", condition=models.Q(tidy=True)),
            models.Index(fields=("organization", "id"), name="run_open", condition=models.Q(ended_at=None)),
            models.Index(
                fields=("parent_run_id",), name="run_children", condition=models.Q(parent_run_id__gt=0, ended_at=None)
            ),
            models.Index(
                fields=("deadline_at",),
                name="run_with_deadline",
                condition=models.Q(none_of("ended_at"), deadline_at__isnull=False),
            ),
            models.Index(
                fields=("expect_at",),
                name="run_with_promise",
                condition=models.Q(none_of("ended_at", "overdue_at"), expect_at__isnull=False),
            ),
            models.Index(
                fields=("schedule_id",),
                name="run_of_schedule",
                condition=models.Q(schedule_id__gt=0, ended_at=None),
            ),
            models.Index(fields=("root_run_id",), name="run_tree", condition=models.Q(root_run_id__isnull=False)),
            GinIndex(
                fields=("labels",),
                name="run_labels",
                opclasses=["jsonb_path_ops"],
                condition=models.Q(labels__isnull=False),
            ),
        )

    def __str__(self) -> str:
        return self.public_id

    def get_absolute_url(self) -> str:
        return reverse("pages:run", args=[self.public_id])

    @property
    def starter(self) -> str:
        """Who or what started it, in words."""
        if self.started_by is not None:
            return self.started_by.name
        return "its schedule" if self.schedule_id else "another run"

    @property
    def weight(self) -> int:
        """How many of its steps have one turn together: `fair_key` is ORGANIZATION, …:KEY or …*WEIGHT:KEY."""
        _, _, weight = self.fair_key.partition(":")[0].partition("*")
        return int(weight or 1)

    @property
    def has_ended(self) -> bool:
        return self.status in self.ENDED

    def payload_visible_to(self, member: Member) -> bool:
        """Whether this member, who sees the run, sees its values and all that tells of them: every door asks this."""
        roles = self.definition_version.visible_to
        return roles is None or member.has_role(*roles)

    def require_payload(self, member: Member) -> None:
        """Raises PayloadHidden."""
        if not self.payload_visible_to(member):
            raise PayloadHidden(self.definition_version.visible_to or [])

    def explain(self) -> list[Reason]:
        """Why it is where it is: all that holds it, the most urgent at the front; never empty."""
        return reasons_of(self)

    def newest_steps(self) -> list["Step"]:
        """What people see of its steps: each in its newest round, in the definition's order. One query."""
        rows = list(self.steps.nodes().order_by("position", "index", "key"))
        newest: dict[int, int] = {}
        for step in rows:
            newest[step.position] = max(step.round, newest.get(step.position, 0))
        return [step for step in rows if step.round == newest[step.position]]

    def undo_steps(self) -> list["Step"]:
        """What takes back what it did, in that order; of very many the first."""
        return list(self.steps.exclude(undoes=None).order_by("key")[:MOST_UNDONE]) if self.undoing else []


class StepQuerySet(models.QuerySet["Step"]):
    def shown(self) -> Self:
        """What people see as steps: not the run's own output, nor what it waited for before it began."""
        return self.exclude(kind__in=("output", "start"))

    def nodes(self) -> Self:
        """Those of the definition: no items, no passes, nothing that undoes."""
        return self.shown().filter(head=None, undoes=None)

    def items_of(self, head: "Step") -> Self:
        """The items or passes that a step laid, in their order."""
        return self.filter(run_id=head.run_id, head=head.key).order_by("key")


class Step(models.Model):
    """One node of a run, in one round. `key` numbers the rows of a run; `position` is the place in the definition."""

    class Status(models.TextChoices):
        BLOCKED = "blocked"  # waits for what it needs -> ready, running, completed, skipped, canceled
        READY = "ready"  # anyone may claim it -> running, completed, failed, skipped, blocked, canceled
        RUNNING = "running"  # owned -> completed, failed, skipped, waiting, ready, uncertain, blocked, canceled
        WAITING = "waiting"  # for what `waits_for` says -> completed, failed, skipped, ready, running, canceled
        UNCERTAIN = "uncertain"  # may have happened: a person says -> completed, failed, skipped, ready, canceled
        COMPLETED = "completed"
        FAILED = "failed"
        SKIPPED = "skipped"
        CANCELED = "canceled"

    ENDED = (Status.COMPLETED, Status.FAILED, Status.SKIPPED, Status.CANCELED)

    pk = models.CompositePrimaryKey("run_id", "key")
    run = models.ForeignKey(Run, models.DO_NOTHING, related_name="steps", db_constraint=False, db_index=False)
    key = models.IntegerField()
    position = models.IntegerField()
    name = models.CharField(max_length=100)  # "" for the run's own output
    round = models.IntegerField(default=1)
    index = models.IntegerField(null=True)
    kind = models.CharField(max_length=20)  # of the language; "output": the run's own; "start": what it waits for first
    queue = models.CharField(max_length=40)
    status = models.CharField(max_length=12, choices=Status.choices)
    waits_for = models.CharField(max_length=12, null=True)  # noqa: DJ001  approval, time, event, child, limit, retry
    fence = models.BigIntegerField(default=0)
    attempt = models.IntegerField(default=0)
    lost = models.IntegerField(default=0)  # tries in a row that ended with their worker
    owner = models.BigIntegerField(null=True)
    open_needs = models.IntegerField()
    failed_needs = models.IntegerField(default=0)
    dependants = ArrayField(models.IntegerField())
    reads = ArrayField(models.IntegerField())
    tolerant = models.BooleanField()
    repeatable = models.BooleanField()
    agent_version_id = models.BigIntegerField(null=True)
    priority = models.SmallIntegerField(default=0)
    rank = models.BigIntegerField(default=0)
    wake_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    input = models.JSONField(null=True)
    input_digest = models.BinaryField(null=True)
    output = models.JSONField(null=True)
    output_digest = models.BinaryField(null=True)
    error = models.JSONField(null=True)
    decision = models.JSONField(null=True)
    feedback = models.JSONField(null=True)
    usage = models.JSONField(null=True)
    child_run_id = models.BigIntegerField(null=True)
    # Of an item of a map or a pass of a loop, and of the head that laid them:
    head = models.IntegerField(null=True)  # the key of the row whose item or pass this is
    pass_number = models.IntegerField(null=True, db_column="pass")  # from 0
    phase = models.SmallIntegerField(db_default=0)  # 1: its items are laid, it gathers when it is claimed
    item = models.JSONField(null=True)
    item_digest = models.BinaryField(null=True)
    first_item = models.IntegerField(null=True)  # the key of a head's first item
    item_count = models.IntegerField(null=True)  # of a head that waits for so many items
    next_item = models.IntegerField(null=True)  # the next to be let go, where only so many run at once
    bearable = models.IntegerField(null=True)  # how many may fail
    windowed = models.BooleanField(db_default=False)  # an item whose end lets the next go
    item_window = models.IntegerField(null=True)  # how many run at once, where a person said so
    item_surplus = models.IntegerField(null=True)  # so many ends let nobody go
    # How its end counts for others, and theirs for it:
    slack = models.IntegerField(null=True)  # how many needs may fail or stay open; null: all are needed
    forgiven = models.BooleanField(db_default=False)  # its failure is not the run's
    carries = models.BooleanField(db_default=False)  # its failure lets those that need it start
    on_failure = models.JSONField(
        null=True
    )  # which of these, by the class of its error: {class or else: fail, continue, other}
    # Its limits and times:
    limited = models.BooleanField(db_default=False)  # it may hold slots of limits
    due_as = models.TextField(null=True)  # noqa: DJ001  what it becomes at wake_at: ready, completed, failed; null: by waits_for
    first_at = models.DateTimeField(null=True)  # the start of its first try
    total_seconds = models.FloatField(null=True)
    queue_seconds = models.FloatField(null=True)
    expect_seconds = models.FloatField(null=True)
    total_at = models.DateTimeField(null=True)
    deadline_at = models.DateTimeField(null=True)
    expect_at = models.DateTimeField(null=True)
    # What undoes it, of which outside event it heard, and where it came from:
    undo = models.JSONField(null=True)
    undo_digest = models.BinaryField(null=True)  # of a large input in `undo`
    undo_version_id = models.BigIntegerField(null=True)  # of the agent that would undo it
    undoes = models.IntegerField(null=True)  # the key of the row that this one undoes
    event_id = models.BigIntegerField(null=True)
    inherited_run = models.BigIntegerField(null=True)
    inherited_key = models.IntegerField(null=True)
    confirm = models.BooleanField(db_default=False)  # a person is asked before it starts

    objects = StepQuerySet.as_manager()

    class Meta:
        managed = False  # partitioned by range of the run's id: migration 0002 makes the table
        db_table = "orchestration_step"

    def __str__(self) -> str:
        return f"{self.run_id}/{self.key} {self.name}"

    @property
    def cached_from(self) -> dict[str, Any] | None:
        """The step whose answer it took: {run, step, index, at}. Nobody was asked, and nothing paid."""
        return (self.usage or {}).get("cached_from")

    @property
    def subject(self) -> str:
        """By which its question is known in approvals, in every round."""
        return subject_of(self.run_id, self.name, self.index)


def subject_of(run: int, step: str, index: int | None) -> str:
    return f"run:{run}:{step}" + ("" if index is None else f":{index}")


class EventQuerySet(models.QuerySet["Event"]):
    def after(self, run: Run, seq: int) -> Self:
        return self.filter(run=run, seq__gt=seq).order_by("seq")


class Event(models.Model):
    """An append-only fact of a run, numbered 1, 2, 3… per run, written in the transaction that made it true."""

    pk = models.CompositePrimaryKey("run_id", "seq")
    run = models.ForeignKey(Run, models.DO_NOTHING, related_name="events", db_constraint=False, db_index=False)
    seq = models.IntegerField()
    at = models.DateTimeField()
    type = models.CharField(max_length=60)
    key = models.IntegerField(null=True)
    data = models.JSONField(null=True)

    objects = EventQuerySet.as_manager()

    class Meta:
        managed = False  # partitioned like the steps
        db_table = "orchestration_event"

    def __str__(self) -> str:
        return f"{self.run_id}#{self.seq} {self.type}"

    def as_json(self) -> dict[str, Any]:
        return {"seq": self.seq, "type": self.type, "at": self.at, **(self.data or {})}


TELLS_NOTHING = ("seq", "type", "at", "step", "round", "index", "pass", "attempt", "waits_for", "until", "items")


def without_payload(event: dict[str, Any]) -> dict[str, Any]:
    """An event as it is told to who does not see what is in the run: states and times."""
    return {name: event[name] for name in TELLS_NOTHING if name in event}


class StartKey(models.Model):
    """An `Idempotency-Key` under which a member began a run; `digest` is that of what was asked for."""

    member = models.ForeignKey(Member, models.CASCADE, related_name="+")
    key = models.CharField(max_length=200)
    digest = models.CharField(max_length=64)
    run = models.ForeignKey(Run, models.DO_NOTHING, null=True, db_constraint=False, db_index=False, related_name="+")
    joined = models.BooleanField(db_default=False)  # the start came together with others in a run that was there
    runs = ArrayField(models.BigIntegerField(), null=True)  # of several begun at once, in the order of their inputs
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = (models.UniqueConstraint(fields=["member", "key"], name="start_key_once"),)

    def __str__(self) -> str:
        return self.key
