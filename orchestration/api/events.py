"""The events of a run, as pages or as a stream."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import member_of
from accounts.permissions import roles
from orchestration.api.runs import NEWEST_SEQ, visible_run
from orchestration.models import Event, without_payload


class EventOutput(serializers.Serializer[Any]):
    """And what the type says: step, round, index, attempt, error, request, …"""

    seq = serializers.IntegerField()
    type = serializers.CharField()
    at = serializers.DateTimeField()


class EventPage(serializers.Serializer[Any]):
    """`next` is the address of the events after these, null while there are none."""

    results = EventOutput(many=True)
    next = serializers.URLField(allow_null=True)


class EventStream(JSONRenderer):
    """Chosen by `Accept: text/event-stream`; the stream's own bytes are `orchestration.feeds`'."""

    media_type = "text/event-stream"
    format = "stream"
    charset = "utf-8"


class EventsView(APIView):
    permission_classes = [roles()]
    renderer_classes = [JSONRenderer, EventStream]

    class Filter(serializers.Serializer[Any]):
        after = serializers.IntegerField(min_value=0, max_value=NEWEST_SEQ, default=0)
        limit = serializers.IntegerField(min_value=1, max_value=1_000, default=1_000)

    @extend_schema(
        parameters=[Filter, OpenApiParameter("Last-Event-ID", int, "header", description="As `after`, for streams.")],
        responses={(200, "application/json"): EventPage, (200, "text/event-stream"): OpenApiTypes.STR, 204: None},
    )
    def get(self, request: Request, public_id: str) -> Response:
        """The run's events, ascending. With `Accept: text/event-stream` they keep coming until the run has ended."""
        words = self.Filter(data=resumed(request))
        words.is_valid(raise_exception=True)
        run = visible_run(request, public_id)
        after, limit = words.validated_data["after"], words.validated_data["limit"]
        if isinstance(request.accepted_renderer, EventStream):
            finished = run.has_ended and run.seq <= after  # 204 tells a browser not to come back
            response = Response(status=status.HTTP_204_NO_CONTENT if finished else status.HTTP_200_OK)
            place = {"run": run.pk, "after": after, "sees_payload": run.payload_visible_to(member_of(request))}
            response.listens_to = None if finished else place  # type: ignore[attr-defined]
            return response
        found = list(Event.objects.after(run, after)[: limit + 1])
        more = len(found) > limit
        here = request.build_absolute_uri(request.path)
        following = f"{here}?after={found[limit - 1].seq}&limit={limit}" if more else None
        told = [event.as_json() for event in found[:limit]]
        if not run.payload_visible_to(member_of(request)):
            told = [without_payload(event) for event in told]
        return Response({"results": told, "next": following})


def resumed(request: Request) -> dict[str, Any]:
    """What was asked for. A reconnecting browser repeats the address it began with; its Last-Event-ID is newer."""
    query = request.query_params.dict()
    last = request.headers.get("Last-Event-ID", "")
    return {**query, "after": last} if last else query
