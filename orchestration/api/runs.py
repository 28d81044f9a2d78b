"""Runs: start and look."""

from collections.abc import Iterable
from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema, extend_schema_field
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import member_of
from accounts.models import Member, Role
from accounts.pages import NewestFirst
from accounts.permissions import roles
from approvals.models import Request as Question
from orchestration.api.words import AnyJSON, Strict
from orchestration.engine.budgets import budgets_of
from orchestration.idempotency import begin_many_once, begin_once
from orchestration.labels import counts_of, having, labels_of
from orchestration.models import Payload, Run, Step
from orchestration.run_rows import outline_of

PROBLEM = OpenApiResponse(description="errors: [{pointer, message}]")
VALUES = (
    *("input", "input_digest", "output", "output_digest", "undo", "undo_digest"),
    *("decision", "feedback", "usage"),
)
NEWEST_SEQ = 2**31 - 1
MOST_AT_ONCE = 1_000  # runs begun by one request
KEY = OpenApiParameter(
    "Idempotency-Key",
    location="header",
    description="The same key of the same member within a day gives what it began the first time.",
)
LABEL = OpenApiParameter("label.NAME", description="Only runs whose label NAME has this value; several may be given.")


class DefinitionOfRun(serializers.Serializer[Any]):
    slug = serializers.CharField(source="definition.slug")
    version = serializers.IntegerField(source="number")


class RunOutput(serializers.ModelSerializer[Run]):
    id = serializers.CharField(source="public_id")
    status = serializers.ChoiceField(choices=Run.Status.choices)
    definition = DefinitionOfRun(source="definition_version")
    started_by = serializers.CharField(source="started_by.name", allow_null=True, default=None)
    labels = serializers.SerializerMethodField()

    @extend_schema_field(serializers.DictField(child=serializers.CharField()))
    def get_labels(self, run: Run) -> dict[str, str]:
        return run.labels or {}

    class Meta:
        model = Run
        fields: tuple[str, ...] = (
            "id",
            "status",
            "definition",
            "started_by",
            "created_at",
            "ended_at",
            "labels",
            "priority",
        )


class ReasonOutput(serializers.Serializer[Any]):
    """Of what holds the run: `step` is one of its steps, `url` the page where something can be done about it."""

    kind = serializers.CharField()
    sentence = serializers.CharField()
    step = serializers.CharField(allow_null=True)
    since = serializers.DateTimeField(allow_null=True)
    until = serializers.DateTimeField(allow_null=True)
    url = serializers.CharField(allow_null=True)


class ItemsOutput(serializers.Serializer[Any]):
    """Of a step that laid items, or passes; `at_once`: so many are at work at once, null: all."""

    count = serializers.IntegerField()
    at_once = serializers.IntegerField(allow_null=True)


class StepOutput(serializers.Serializer[Step]):
    """`attempts` counts the tries of this round; `request` is the question that a step waiting for approval asks.

    `undo` is kept with the last try: whether it can be undone (`reversible`), the `agent` that would, its `input`, or
    `why` not. A step NAME:undo undoes the step NAME; `undoes` says so.
    `cached_from`: it took the answer that this step of another run, or of this one, was given.
    """

    name = serializers.CharField()
    kind = serializers.CharField()
    round = serializers.IntegerField()
    index = serializers.IntegerField(allow_null=True)
    status = serializers.ChoiceField(choices=Step.Status.choices)
    waits_for = serializers.CharField(allow_null=True)
    wakes_at = serializers.DateTimeField(source="wake_at", allow_null=True)
    attempts = serializers.IntegerField(source="attempt")
    input = serializers.SerializerMethodField()
    output = serializers.SerializerMethodField()
    error = serializers.JSONField(allow_null=True)
    decision = serializers.JSONField(allow_null=True)
    feedback = serializers.JSONField(allow_null=True)
    usage = serializers.JSONField(allow_null=True)
    cached_from = serializers.JSONField(allow_null=True)
    started_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)
    request = serializers.SerializerMethodField()
    child_run = serializers.SerializerMethodField()
    inherited = serializers.SerializerMethodField(help_text="Taken over from the run that this one was forked from.")
    undo = serializers.SerializerMethodField()
    undoes = serializers.SerializerMethodField()
    items = serializers.SerializerMethodField()

    @extend_schema_field(OpenApiTypes.ANY)
    def get_input(self, step: Step) -> Any:
        return stored(step.input, step.input_digest, self.context["payloads"])

    @extend_schema_field(OpenApiTypes.ANY)
    def get_output(self, step: Step) -> Any:
        return stored(step.output, step.output_digest, self.context["payloads"])

    def get_request(self, step: Step) -> str | None:
        return self.context["questions"].get(step.subject)

    def get_inherited(self, step: Step) -> bool:
        return step.inherited_run is not None

    def get_child_run(self, step: Step) -> str | None:
        return self.context["children"].get(step.child_run_id)

    @extend_schema_field(OpenApiTypes.ANY)
    def get_undo(self, step: Step) -> Any:
        return step.undo and {
            **step.undo,
            "input": stored(step.undo.get("input"), step.undo_digest, self.context["payloads"]),
        }

    def get_undoes(self, step: Step) -> str | None:
        return None if step.undoes is None else step.name.removesuffix(":undo")

    @extend_schema_field(ItemsOutput(allow_null=True))
    def get_items(self, step: Step) -> Any:
        said = outline_of(step.run.definition_version_id).steps[step.position].at_once if step.item_count else None
        return step.item_count and {"count": step.item_count, "at_once": step.item_window or said}


class AmountsOutput(serializers.Serializer[Any]):
    """Of what is limited."""

    usd = serializers.FloatField(required=False)
    tokens = serializers.IntegerField(required=False)
    runs = serializers.IntegerField(required=False)


class BudgetOutput(serializers.Serializer[Any]):
    """What `run` may spend with all below it: this run, or one above it. No amounts of one whose values are hidden."""

    run = serializers.CharField()
    limits = AmountsOutput()
    spent = AmountsOutput()
    is_used_up = serializers.BooleanField()


class RunDetail(RunOutput):
    output = serializers.SerializerMethodField()
    input = serializers.JSONField(allow_null=True)
    error = serializers.JSONField(allow_null=True)
    why = ReasonOutput(source="explain", many=True)
    parent_run = serializers.SerializerMethodField()
    budgets = serializers.SerializerMethodField()
    steps = serializers.SerializerMethodField()

    class Meta(RunOutput.Meta):
        fields = (
            *RunOutput.Meta.fields,
            "weight",
            "deadline_at",
            "expect_at",
            "overdue_at",
            "pinned_at",
            "archived_at",
            "undoing",
            "input",
            "output",
            "error",
            "why",
            "parent_run",
            "budgets",
            "steps",
        )

    @extend_schema_field(OpenApiTypes.ANY)
    def get_output(self, run: Run) -> Any:
        return stored(run.output, run.output_digest, self.context["payloads"])

    def get_parent_run(self, run: Run) -> str | None:
        return self.context["children"].get(run.parent_run_id)

    @extend_schema_field(BudgetOutput(many=True))
    def get_budgets(self, run: Run) -> Any:
        return BudgetOutput(budgets_of(run, self.context["member"]), many=True).data

    @extend_schema_field(StepOutput(many=True))
    def get_steps(self, run: Run) -> Any:
        return StepOutput(self.context["steps"], many=True, context=self.context).data


def detail_of(run: Run, member: Member) -> dict[str, Any]:
    """A run with its steps, as `member` sees it, in a fixed number of queries whatever it holds."""
    steps = run.newest_steps() + run.undo_steps()
    if not run.payload_visible_to(member):
        return _without_payload(run, steps, member)
    return _detail_of(run, steps, member)


def _without_payload(run: Run, steps: list[Step], member: Member) -> dict[str, Any]:
    """States and times: what it would be of a run without values."""
    rows: list[Any] = [run, *steps]
    for row in rows:
        row.error = row.error and {name: row.error[name] for name in ("class", "step") if name in row.error}
        for name in VALUES:
            if hasattr(row, name):
                setattr(row, name, None)
    return {**_detail_of(run, steps, member), "why": [], "budgets": []}


def _detail_of(run: Run, steps: list[Step], member: Member) -> dict[str, Any]:
    digests = [digest for step in steps for digest in (step.input_digest, step.output_digest, step.undo_digest)]
    digests.append(run.output_digest)
    related = {step.child_run_id for step in steps} | {run.parent_run_id}
    subjects = [step.subject for step in steps if step.waits_for == "approval"]
    asked = Question.objects.pending().filter(subject__in=subjects).values_list("subject", "public_id")
    loaded = {
        "member": member,
        "steps": steps,
        "payloads": payloads_of(digests),
        "children": dict(Run.objects.filter(pk__in=related - {None}).values_list("pk", "public_id")),
        "questions": dict(asked),
    }
    return dict(RunDetail(run, context=loaded).data)


def payloads_of(digests: Iterable[Any]) -> dict[bytes, Any]:
    wanted = {bytes(digest) for digest in digests if digest is not None}
    return {bytes(row.digest): row.body for row in Payload.objects.filter(digest__in=wanted)}


def stored(inline: Any, digest: Any, payloads: dict[bytes, Any]) -> Any:
    return inline if digest is None else payloads.get(bytes(digest))


def visible_run(request: Request, public_id: str) -> Run:
    return get_object_or_404(Run.objects.visible_to(member_of(request)).for_list(), public_id=public_id)


def seen_run(request: Request, public_id: str) -> Run:
    """One whose values this member sees. Raises PayloadHidden."""
    run = visible_run(request, public_id)
    run.require_payload(member_of(request))
    return run


class RunsView(generics.ListAPIView[Run]):
    permission_classes = [roles(Role.OPERATOR)]
    pagination_class = NewestFirst
    serializer_class = RunOutput
    queryset = Run.objects.none()

    class Filter(serializers.Serializer[Any]):
        status = serializers.ChoiceField(choices=Run.Status.choices, required=False)
        definition = serializers.CharField(required=False)
        archived = serializers.BooleanField(default=False, help_text="The archived ones, instead of the others.")

    class Input(Strict):
        definition = serializers.CharField(max_length=100)
        input = AnyJSON(required=False, default=dict)
        version = serializers.IntegerField(
            min_value=1, required=False, help_text="A version's number; without it, the one that new runs begin with."
        )

    def get_queryset(self) -> Any:
        words = self.Filter(data=self.request.query_params)
        words.is_valid(raise_exception=True)
        rows = Run.objects.visible_to(member_of(self.request)).for_list()
        rows = rows.filter(archived_at__isnull=not words.validated_data["archived"])
        if "status" in words.validated_data:
            rows = rows.filter(status=words.validated_data["status"])
        if "definition" in words.validated_data:
            rows = rows.filter(definition_version__definition__slug=words.validated_data["definition"])
        return rows.filter(having(labels_of(self.request.query_params)))

    @extend_schema(parameters=[Filter, LABEL])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    @extend_schema(
        request=Input,
        responses={
            200: OpenApiResponse(RunDetail, "The run that the start joined: its definition has `debounce`."),
            201: OpenApiResponse(RunDetail, "The run that began."),
            400: PROBLEM,
            409: OpenApiResponse(description="The definition refuses one more at once; `runs` hold the places."),
        },
        parameters=[KEY],
    )
    def post(self, request: Request) -> Response:
        """Start a run of a definition, or join one that waits for more such starts."""
        words = self.Input(data=request.data)
        words.is_valid(raise_exception=True)
        run, joined = begin_once(
            definition=words.validated_data["definition"],
            given=words.validated_data["input"],
            version=words.validated_data.get("version"),
            by=member_of(request),
            key=request.headers.get("Idempotency-Key", ""),
        )
        body = detail_of(Run.objects.for_list().get(pk=run.pk), member_of(request))
        code = status.HTTP_200_OK if joined else status.HTTP_201_CREATED
        return Response(body, status=code, headers={"Location": request.path + f"{run.public_id}/"})


class LabelView(RunsView):
    """How many runs there are of each value of a label."""

    http_method_names = ["get", "options"]

    class Output(serializers.Serializer[Any]):
        class Value(serializers.Serializer[Any]):
            value = serializers.CharField()
            runs = serializers.IntegerField()

        results = Value(many=True)

    @extend_schema(parameters=[RunsView.Filter, LABEL], responses=Output)
    def get(self, request: Request, name: str) -> Response:
        """How many of the runs that these filters leave, of the newest 10,000, have each value of a label."""
        found = counts_of(self.get_queryset(), name)
        return Response({"results": [{"value": value, "runs": runs} for value, runs in found]})


class BatchView(APIView):
    permission_classes = [roles(Role.OPERATOR)]

    class Input(Strict):
        definition = serializers.CharField(max_length=100)
        inputs = serializers.ListField(child=AnyJSON(), min_length=1, max_length=MOST_AT_ONCE)

    class Output(serializers.Serializer[Any]):
        results = RunOutput(many=True)

    @extend_schema(
        request=Input,
        responses={
            200: OpenApiResponse(Output, "All starts joined runs that were there: their definition has `debounce`."),
            201: OpenApiResponse(Output, "Runs began, one at least."),
            400: PROBLEM,
        },
        parameters=[KEY],
    )
    def post(self, request: Request) -> Response:
        """Start a run of a definition's current version for each of the inputs: all of them, or none."""
        words = self.Input(data=request.data)
        words.is_valid(raise_exception=True)
        runs, joined = begin_many_once(
            definition=words.validated_data["definition"],
            inputs=words.validated_data["inputs"],
            by=member_of(request),
            key=request.headers.get("Idempotency-Key", ""),
        )
        begun = Run.objects.for_list().in_bulk(runs)
        code = status.HTTP_200_OK if joined else status.HTTP_201_CREATED
        return Response({"results": RunOutput([begun[run] for run in runs], many=True).data}, status=code)


class RunView(APIView):
    permission_classes = [roles()]

    @extend_schema(responses=RunDetail)
    def get(self, request: Request, public_id: str) -> Response:
        return Response(detail_of(visible_run(request, public_id), member_of(request)))
