"""Streams of a run: the values that its steps hand out while they run, as JSON by pages or as they come."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.permissions import roles
from orchestration.api.events import EventStream, resumed
from orchestration.api.runs import NEWEST_SEQ, seen_run
from orchestration.models import Run, Step, StreamHead, StreamValue


class StreamOutput(serializers.Serializer[Any]):
    name = serializers.CharField()
    values = serializers.IntegerField(source="number")


class ValueOutput(serializers.Serializer[Any]):
    """`number` counts the stream's values from 1; each try of a step hands out its own. `index` is that of
    a map's item or a repeat's pass, null of other steps."""

    number = serializers.IntegerField()
    at = serializers.DateTimeField()
    step = serializers.CharField()
    round = serializers.IntegerField()
    index = serializers.IntegerField(allow_null=True)
    attempt = serializers.IntegerField()
    value = serializers.JSONField()


class ValuePage(serializers.Serializer[Any]):
    """`next` is the address of the values after these, null while there are none."""

    results = ValueOutput(many=True)
    next = serializers.URLField(allow_null=True)


class StreamsView(APIView):
    permission_classes = [roles()]

    class Output(serializers.Serializer[Any]):
        results = StreamOutput(many=True)

    @extend_schema(operation_id="runs_streams_list", responses=Output)
    def get(self, request: Request, public_id: str) -> Response:
        """The run's streams by name, and how many values each has."""
        found = StreamHead.objects.filter(run_id=seen_run(request, public_id).pk).order_by("name")
        return Response({"results": StreamOutput(found, many=True).data})


class StreamView(APIView):
    permission_classes = [roles()]
    renderer_classes = [JSONRenderer, EventStream]

    class Filter(serializers.Serializer[Any]):
        after = serializers.IntegerField(min_value=0, max_value=NEWEST_SEQ, default=0)
        limit = serializers.IntegerField(min_value=1, max_value=1_000, default=1_000)

    @extend_schema(
        parameters=[Filter, OpenApiParameter("Last-Event-ID", int, "header", description="As `after`, for streams.")],
        responses={(200, "application/json"): ValuePage, (200, "text/event-stream"): OpenApiTypes.STR, 204: None},
    )
    def get(self, request: Request, public_id: str, name: str) -> Response:
        """The stream's values, ascending; none of a name that nothing was handed out under yet. With
        `Accept: text/event-stream` they keep coming until the run has ended."""
        words = self.Filter(data=resumed(request))
        words.is_valid(raise_exception=True)
        run = seen_run(request, public_id)
        after, limit = words.validated_data["after"], words.validated_data["limit"]
        found = StreamValue.objects.filter(run_id=run.pk, name=name, number__gt=after).order_by("number")
        if isinstance(request.accepted_renderer, EventStream):
            finished = run.has_ended and not found.exists()  # 204 tells a browser not to come back
            response = Response(status=status.HTTP_204_NO_CONTENT if finished else status.HTTP_200_OK)
            place = {"run": run.pk, "after": after, "name": name}
            response.listens_to = None if finished else place  # type: ignore[attr-defined]
            return response
        page, steps = list(found[: limit + 1]), steps_of(run)
        more = len(page) > limit
        here = request.build_absolute_uri(request.path)
        following = f"{here}?after={page[limit - 1].number}&limit={limit}" if more else None
        return Response({"results": [as_json(value, steps) for value in page[:limit]], "next": following})


def steps_of(run: Run) -> dict[int, dict[str, Any]]:
    """By their keys: what a value says of its step."""
    found = Step.objects.filter(run=run).values_list("key", "name", "round", "index")
    return {key: {"step": name, "round": round_, "index": index} for key, name, round_, index in found}


def as_json(value: StreamValue, steps: dict[int, dict[str, Any]]) -> dict[str, Any]:
    told = {name: getattr(value, name) for name in ("number", "at", "attempt", "value")}
    return {**told, **steps[value.key]}
