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
from orchestration.engine.levers import forking, keeping, moving
from orchestration.lever import Lever
from orchestration.levers import LEVERS, step_of
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
                201: RunDetail,
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
            if isinstance(found, Run):
                return Response(detail_of(found, member_of(request)), status=status.HTTP_201_CREATED)
            left = Run.objects.for_list().filter(pk=run.pk).first()
            if left is None:
                return Response(status=status.HTTP_204_NO_CONTENT)
            return Response(detail_of(left, member_of(request)))

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


class ForkOutput(serializers.Serializer[forking.Preview]):
    """By the names of steps: what it takes over, what it does, and before which of these a person is asked."""

    inherits = serializers.ListField(child=serializers.CharField())
    does = serializers.ListField(child=serializers.CharField())
    asks = serializers.ListField(child=serializers.CharField())
    refusal = serializers.CharField(allow_null=True)


class ForkPreviewView(APIView):
    permission_classes = [roles()]

    @extend_schema(responses=ForkOutput)
    def get(self, request: Request, public_id: str, name: str) -> Response:
        """What a fork from this step would take over and do."""
        run = visible_run(request, public_id)
        return Response(ForkOutput(forking.preview(run, named_step(run, name, {}))).data)


class MoveOutput(serializers.Serializer[Any]):
    """`findings`: why what the run has done does not fit that version, step by step; none if it does."""

    class Finding(serializers.Serializer[moving.Finding]):
        step = serializers.CharField()
        message = serializers.CharField()

        class Meta:
            ref_name = "MoveFinding"

    version = serializers.IntegerField()
    findings = Finding(many=True)


class MoveCheckView(APIView):
    permission_classes = [roles()]

    class Asked(serializers.Serializer[Any]):
        version = serializers.IntegerField(min_value=1, required=False, help_text="The newest, if left out.")

    @extend_schema(parameters=[Asked], responses=MoveOutput)
    def get(self, request: Request, public_id: str) -> Response:
        """Whether the run can go on by a newer version."""
        asked = self.Asked(data=request.query_params)
        asked.is_valid(raise_exception=True)
        run = visible_run(request, public_id)
        version = moving.version_of(run, asked.validated_data.get("version"))
        sees = run.payload_visible_to(member_of(request))
        found = moving.findings(run, version, sees_payload=sees)
        return Response(MoveOutput({"version": version.number, "findings": found}).data)


def routes() -> list[URLPattern]:
    places = {"run": "runs/<str:public_id>", "step": "runs/<str:public_id>/steps/<str:name>"}
    return [
        path(f"{places[lever.of]}/{lever.name}/", door(lever).as_view(), name=f"{lever.of}-{lever.name}")
        for lever in LEVERS
    ]
