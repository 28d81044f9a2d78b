"""A run's log: its lines, filtered and searched, as JSON by pages or as one text."""

from collections.abc import AsyncIterator
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connection
from django.http import HttpResponseBase, StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.permissions import roles
from agents.calls import LEVELS
from orchestration.api.runs import NEWEST_SEQ, seen_run
from orchestration.models import LogLine, Run, Step
from orchestration.models.logs import LogLineQuerySet
from ui.ansi import plain

CHUNK_LINES = 2_000


class LineOutput(serializers.Serializer[Any]):
    """`number` counts the run's lines from 1; `text` is as it was said, with the colours of a terminal."""

    number = serializers.IntegerField()
    at = serializers.DateTimeField()
    step = serializers.CharField()
    attempt = serializers.IntegerField()
    level = serializers.ChoiceField(choices=LEVELS)
    text = serializers.CharField()


class LinePage(serializers.Serializer[Any]):
    """`next` is the address of the lines after these, null while there are none."""

    results = LineOutput(many=True)
    next = serializers.URLField(allow_null=True)


class PlainText(JSONRenderer):
    """Chosen by `Accept: text/plain` or `?format=txt`; a refusal is JSON all the same."""

    media_type = "text/plain"
    format = "txt"
    charset = "utf-8"


class LogsView(APIView):
    permission_classes = [roles()]
    renderer_classes = [JSONRenderer, PlainText]

    class Filter(serializers.Serializer[Any]):
        after = serializers.IntegerField(min_value=0, max_value=NEWEST_SEQ, default=0)
        limit = serializers.IntegerField(min_value=1, max_value=1_000, default=1_000)
        step = serializers.CharField(required=False, help_text="Lines of this step, in all its rounds.")
        level = serializers.ChoiceField(choices=LEVELS, required=False, help_text="Lines of this level, or worse.")
        q = serializers.CharField(required=False, max_length=200, help_text="Lines that say this, in any case.")

    @extend_schema(
        parameters=[Filter],
        responses={(200, "application/json"): LinePage, (200, "text/plain"): OpenApiTypes.STR},
    )
    def get(self, request: Request, public_id: str) -> HttpResponseBase:
        """The run's lines, ascending; as text all at once, whatever `limit` says."""
        words = self.Filter(data=request.query_params)
        words.is_valid(raise_exception=True)
        asked = words.validated_data
        run = seen_run(request, public_id)
        lines = LogLine.objects.of(run, step=asked.get("step", ""), level=asked.get("level", ""))
        lines = lines.filter(number__gt=asked["after"]).order_by("number")
        if "q" in asked:
            lines = lines.saying(asked["q"])
        names = names_of(run)
        if isinstance(request.accepted_renderer, PlainText):
            headers = {"Content-Disposition": f'attachment; filename="{run.public_id}.log"'}
            return StreamingHttpResponse(
                text_of(lines, names), content_type="text/plain; charset=utf-8", headers=headers
            )
        found = list(lines[: asked["limit"] + 1])
        following = None
        if len(found) > asked["limit"]:
            found.pop()
            query = request.query_params.copy()
            query["after"] = str(found[-1].number)
            following = f"{request.build_absolute_uri(request.path)}?{query.urlencode()}"
        return Response({"results": [as_json(line, names) for line in found], "next": following})


def names_of(run: Run) -> dict[int, str]:
    return dict(Step.objects.filter(run=run).values_list("key", "name"))


def as_json(line: LogLine, names: dict[int, str]) -> dict[str, Any]:
    fields = {name: getattr(line, name) for name in ("number", "at", "attempt", "level", "text")}
    return {**fields, "step": names.get(line.key, "")}


async def text_of(lines: LogLineQuerySet, names: dict[int, str]) -> AsyncIterator[str]:
    """Chunk by chunk; between two it holds no connection."""
    after = 0
    while chunk := await sync_to_async(read)(lines, after):
        after = chunk[-1].number
        yield "".join(as_text(line, names) for line in chunk)


def read(lines: LogLineQuerySet, after: int) -> list[LogLine]:
    try:
        return list(lines.filter(number__gt=after)[:CHUNK_LINES])
    finally:
        connection.close()


def as_text(line: LogLine, names: dict[int, str]) -> str:
    return f"{line.at:%Y-%m-%dT%H:%M:%S.%fZ} {line.level:7} {names.get(line.key, '')}: {plain(line.text)}\n"
