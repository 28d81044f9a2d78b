"""A door for each lever: `runs/ID/LEVER/` and `runs/ID/steps/NAME/LEVER/`."""

from typing import Any

from django.http import Http404
from django.urls import URLPattern, path
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import member_of
from accounts.permissions import roles
from orchestration.api.runs import PROBLEM, RunDetail, detail_of, visible_run
from orchestration.engine.levers import keeping
from orchestration.levers import LEVERS, Lever, step_of
from orchestration.models import Run, Step


class Row(serializers.Serializer[Any]):
    """Which row of a step is meant: an item of a map, or a pass of a loop. The newest, of a step that has none."""

    index = serializers.IntegerField(min_value=0, required=False)
    round = serializers.IntegerField(min_value=1, required=False)


class Look(serializers.Serializer[Any]):
    """`refusal`: why it cannot be pulled now, or null. `preview`: what it would do, in lines. `schema`: its body."""

    does = serializers.CharField()
    refusal = serializers.CharField(allow_null=True)
    preview = serializers.ListField(child=serializers.CharField())
    schema = serializers.JSONField()


def named_step(run: Run, name: str, query: Any) -> Step:
    words = Row(data=query)
    words.is_valid(raise_exception=True)
    step = step_of(run, name, **words.validated_data)
    if step is None:
        raise Http404
    return step


def door(lever: Lever) -> type[APIView]:
    parameters: list[Any] = [Row] if lever.of == "step" else [OpenApiParameter("public_id", str, "path")]

    class LeverView(APIView):
        permission_classes = [roles(lever.role)]

        @extend_schema(operation_id=f"{lever.of}_{lever.name}_look", parameters=parameters, responses=Look)
        def get(self, request: Request, public_id: str, name: str | None = None) -> Response:
            """What it would do now, without doing it."""
            run = visible_run(request, public_id)
            step = None if name is None else named_step(run, name, request.query_params)
            refusal = lever.refusal(step or run)
            preview = [] if refusal else lever.look(run, step, {})
            return Response({"does": lever.does, "refusal": refusal, "preview": preview, "schema": lever.schema})

        @extend_schema(
            operation_id=f"{lever.of}_{lever.name}",
            description=lever.does,
            request={"application/json": lever.schema},
            parameters=parameters,
            responses={
                200: RunDetail,
                204: None,
                400: PROBLEM,
                409: OpenApiResponse(description="Its state does not allow it."),
            },
        )
        def post(self, request: Request, public_id: str, name: str | None = None) -> Response:
            """The run afterwards, or the one that came of it; 204: there is none any more."""
            run = visible_run(request, public_id)
            step = None if name is None else named_step(run, name, request.query_params)
            found = lever.pull(run, step, request.data, by=member_of(request))
            left = Run.objects.for_list().filter(pk=(found if isinstance(found, Run) else run).pk).first()
            return Response(detail_of(left)) if left else Response(status=status.HTTP_204_NO_CONTENT)

    return LeverView


class DeletionOutput(serializers.Serializer[keeping.Deletion]):
    """`takes` is gone for good with it, `keeps` stays as evidence; `digest` is what a deletion has to name."""

    runs = serializers.ListField(child=serializers.CharField())
    takes = serializers.DictField(child=serializers.IntegerField())
    keeps = serializers.DictField(child=serializers.IntegerField())
    digest = serializers.CharField()


class DeletionView(APIView):
    permission_classes = [roles()]

    @extend_schema(responses=DeletionOutput)
    def get(self, request: Request, public_id: str) -> Response:
        """What deleting the run would take with it."""
        return Response(DeletionOutput(keeping.deletion_of(visible_run(request, public_id))).data)


def routes() -> list[URLPattern]:
    places = {"run": "runs/<str:public_id>", "step": "runs/<str:public_id>/steps/<str:name>"}
    return [
        path(f"{places[lever.of]}/{lever.name}/", door(lever).as_view(), name=f"{lever.of}-{lever.name}")
        for lever in LEVERS
    ]
