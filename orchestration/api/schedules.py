"""Schedules: when they start what, what became of it; pause, resume, start one now, make up for what passed."""

from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import member_of
from accounts.models import Role
from accounts.pages import NewestFirst
from accounts.permissions import roles
from orchestration.api.runs import RunOutput
from orchestration.api.words import Strict
from orchestration.engine import schedules
from orchestration.models import Run, Schedule

NOTHING = OpenApiResponse(description="Nothing is started then; the detail says why.")


class ScheduleOutput(serializers.ModelSerializer[Schedule]):
    """`following`: the next times, without jitter; none while it is paused."""

    id = serializers.CharField(source="public_id")
    definition = serializers.CharField(source="definition.slug")
    jitter = serializers.FloatField(source="jitter_seconds")
    given = serializers.JSONField()
    following = serializers.ListField(child=serializers.DateTimeField())
    paused_by = serializers.CharField(source="paused_by.name", allow_null=True, default=None)

    class Meta:
        model = Schedule
        fields: tuple[str, ...] = (
            *("id", "definition", "cron", "zone", "overlap", "jitter", "backfill", "given"),
            *("following", "paused_at", "paused_by"),
        )


class FireOutput(serializers.Serializer[Any]):
    """A planned time: the run it began, or why there is none."""

    planned_at = serializers.DateTimeField()
    at = serializers.DateTimeField()
    run = serializers.CharField(source="run.public_id", allow_null=True, default=None)
    why = serializers.CharField(allow_null=True)


class ScheduleDetail(ScheduleOutput):
    fires = FireOutput(source="newest_fires", many=True)

    class Meta(ScheduleOutput.Meta):
        fields = (*ScheduleOutput.Meta.fields, "fires")


class RunsOutput(serializers.Serializer[Any]):
    results = RunOutput(many=True)


class ReasonInput(Strict):
    reason = serializers.CharField(max_length=2_000)


def visible_schedule(request: Request, public_id: str) -> Schedule:
    return get_object_or_404(Schedule.objects.visible_to(member_of(request)).for_list(), public_id=public_id)


def detail_of(schedule: Schedule) -> dict[str, Any]:
    return dict(ScheduleDetail(schedule).data)


class SchedulesView(generics.ListAPIView[Schedule]):
    permission_classes = [roles()]
    pagination_class = NewestFirst
    serializer_class = ScheduleOutput
    queryset = Schedule.objects.none()

    class Filter(serializers.Serializer[Any]):
        definition = serializers.CharField(required=False)

    def get_queryset(self) -> Any:
        words = self.Filter(data=self.request.query_params)
        words.is_valid(raise_exception=True)
        found = Schedule.objects.visible_to(member_of(self.request)).for_list()
        slug = words.validated_data.get("definition")
        return found.filter(definition__slug=slug) if slug else found

    @extend_schema(parameters=[Filter])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The schedules of the definitions' current versions."""
        return super().get(request, *args, **kwargs)


class ScheduleView(APIView):
    permission_classes = [roles()]

    @extend_schema(responses=ScheduleDetail)
    def get(self, request: Request, public_id: str) -> Response:
        return Response(detail_of(visible_schedule(request, public_id)))


class PauseView(APIView):
    permission_classes = [roles(Role.OPERATOR)]

    @extend_schema(request=ReasonInput, responses=ScheduleDetail)
    def post(self, request: Request, public_id: str) -> Response:
        """Nothing starts from now on. Again: the same."""
        words = ReasonInput(data=request.data)
        words.is_valid(raise_exception=True)
        visible_schedule(request, public_id).pause(by=member_of(request), **words.validated_data)
        return Response(detail_of(visible_schedule(request, public_id)))


class ResumeView(APIView):
    permission_classes = [roles(Role.OPERATOR)]

    @extend_schema(request=ReasonInput, responses=ScheduleDetail)
    def post(self, request: Request, public_id: str) -> Response:
        """Go on with the next time; those that passed meanwhile are not made up. Again: the same."""
        words = ReasonInput(data=request.data)
        words.is_valid(raise_exception=True)
        visible_schedule(request, public_id).resume(by=member_of(request), **words.validated_data)
        return Response(detail_of(visible_schedule(request, public_id)))


class RunNowView(APIView):
    permission_classes = [roles(Role.OPERATOR)]

    @extend_schema(request=ReasonInput, responses={201: RunOutput, 409: NOTHING})
    def post(self, request: Request, public_id: str) -> Response:
        """Start a run as the schedule does, now, whatever else is open."""
        words = ReasonInput(data=request.data)
        words.is_valid(raise_exception=True)
        run = schedules.run_now(visible_schedule(request, public_id), by=member_of(request), **words.validated_data)
        return Response(RunOutput(run).data, status.HTTP_201_CREATED)


class BackfillView(APIView):
    permission_classes = [roles(Role.OPERATOR)]

    class Input(ReasonInput):
        after = serializers.DateTimeField()
        upto = serializers.DateTimeField()

    @extend_schema(request=Input, responses={201: RunsOutput, 409: NOTHING})
    def post(self, request: Request, public_id: str) -> Response:
        """Start runs for the times after `after`, up to and with `upto`, that have none; oldest first."""
        words = self.Input(data=request.data)
        words.is_valid(raise_exception=True)
        found = visible_schedule(request, public_id)
        runs: list[Run] = schedules.backfill(found, by=member_of(request), **words.validated_data)
        return Response({"results": RunOutput(runs, many=True).data}, status.HTTP_201_CREATED)
