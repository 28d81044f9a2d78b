"""Definitions: anyone of the organization reads, a builder checks and saves."""

import re
from typing import Any

from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema, extend_schema_field
from rest_framework import generics, serializers, status
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import member_of
from accounts.models import Role
from accounts.pages import NewestFirst
from accounts.permissions import roles
from orchestration import sources
from orchestration.api.words import Strict
from orchestration.engine.levers import dropping
from orchestration.exceptions import InvalidDefinition
from orchestration.language import Compiled, Finding
from orchestration.models import Definition, DefinitionVersion
from ui.differences import Line, difference


class BySlug(NewestFirst):
    ordering = "slug"
    position = re.compile(r"[-\w]+", re.ASCII)


class ByNumber(NewestFirst):
    ordering = "-number"


class DefinitionOutput(serializers.ModelSerializer[Definition]):
    version = serializers.IntegerField(source="current_version.number", allow_null=True, default=None)
    digest = serializers.CharField(source="current_version.digest", allow_null=True, default=None)

    class Meta:
        model = Definition
        fields: tuple[str, ...] = ("slug", "description", "version", "digest", "created_at", "archived_at")


class VersionOutput(serializers.ModelSerializer[DefinitionVersion]):
    version = serializers.IntegerField(source="number")
    created_by = serializers.CharField(source="created_by.name", allow_null=True, default=None)

    class Meta:
        model = DefinitionVersion
        fields = ("version", "digest", "text", "created_at", "created_by")
        ref_name = "DefinitionVersion"


class Rollout(serializers.Serializer[Definition]):
    """`percent` of new runs begin with the newest version, the others with version `rest`."""

    percent = serializers.IntegerField(source="rollout_percent")
    rest = serializers.IntegerField(source="rollout_version.number")


class DefinitionDetail(DefinitionOutput):
    rollout = serializers.SerializerMethodField()
    text = serializers.CharField(source="current_version.text", allow_null=True, default=None)
    input = serializers.JSONField(source="current_version.plan.input", allow_null=True, default=None)

    class Meta(DefinitionOutput.Meta):
        fields = (*DefinitionOutput.Meta.fields, "rollout", "input", "text")

    @extend_schema_field(Rollout(allow_null=True))
    def get_rollout(self, definition: Definition) -> Any:
        return Rollout(definition).data if definition.rollout_version else None


class FindingOutput(serializers.Serializer[Finding]):
    """`pointer` is FILE:LINE:COLUMN, both counted from 1."""

    pointer = serializers.CharField()
    message = serializers.CharField()
    file = serializers.CharField()
    line = serializers.IntegerField()
    column = serializers.IntegerField()
    rule = serializers.CharField()
    fix = serializers.CharField()
    severity = serializers.ChoiceField(choices=["error", "warning"])


class Findings(serializers.Serializer[Any]):
    valid = serializers.BooleanField()
    findings = FindingOutput(many=True)


class Text(Strict):
    text = serializers.CharField(trim_whitespace=False)
    file = serializers.CharField(max_length=300, default="definition.yaml", help_text="What findings call it.")


def source_of(request: Request) -> sources.Source:
    words = Text(data=request.data)
    words.is_valid(raise_exception=True)
    return sources.Source(words.validated_data["file"], words.validated_data["text"])


def findings_of(checked: list[Compiled]) -> Response:
    findings = [finding for compiled in checked for finding in compiled.findings]
    valid = all(compiled.plan is not None for compiled in checked)
    return Response({"valid": valid, "findings": InvalidDefinition(findings).errors})


class DefinitionsView(generics.ListAPIView[Definition]):
    permission_classes = [roles(Role.BUILDER)]
    pagination_class = BySlug
    serializer_class = DefinitionOutput
    queryset = Definition.objects.none()

    class Filter(serializers.Serializer[Any]):
        archived = serializers.BooleanField(default=False, help_text="The archived ones, instead of the others.")

    def get_queryset(self) -> Any:
        words = self.Filter(data=self.request.query_params)
        words.is_valid(raise_exception=True)
        rows = Definition.objects.visible_to(member_of(self.request)).written().for_list()
        return rows.filter(archived_at__isnull=not words.validated_data["archived"])

    @extend_schema(parameters=[Filter])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    @extend_schema(
        request=Text,
        responses={
            201: DefinitionDetail,
            400: OpenApiResponse(description="errors: [{pointer, message, file, line, column, rule, fix, severity}]"),
        },
    )
    def post(self, request: Request) -> Response:
        """Save a text as its definition's newest version. What the newest one already says makes no new one."""
        member = member_of(request)
        (version,) = sources.apply([source_of(request)], organization=member.organization, by=member)
        definition = Definition.objects.for_list().get(pk=version.definition_id)
        return Response(DefinitionDetail(definition).data, status=status.HTTP_201_CREATED)


class CheckView(APIView):
    permission_classes = [roles(Role.BUILDER)]

    @extend_schema(request=Text, responses=Findings)
    def post(self, request: Request) -> Response:
        """All findings about a text, warnings too; nothing is saved."""
        return findings_of([sources.check(source_of(request), organization=member_of(request).organization)])


class DefinitionView(APIView):
    permission_classes = [roles()]

    @extend_schema(responses=DefinitionDetail)
    def get(self, request: Request, slug: str) -> Response:
        rows = Definition.objects.visible_to(member_of(request)).for_list()
        return Response(DefinitionDetail(get_object_or_404(rows, slug=slug)).data)


class Reason(Strict):
    reason = serializers.CharField(max_length=2_000)


class ArchiveView(APIView):
    permission_classes = [roles(Role.BUILDER)]

    @extend_schema(
        request=Reason, responses={200: DefinitionDetail, 409: OpenApiResponse(description="It is so already.")}
    )
    def post(self, request: Request, slug: str, verb: str) -> Response:
        """Archive: it is in no list and starts nothing, nor do its schedules; what runs goes on. Or restore it."""
        words = Reason(data=request.data)
        words.is_valid(raise_exception=True)
        member = member_of(request)
        rows = Definition.objects.visible_to(member).written().for_list()
        getattr(get_object_or_404(rows, slug=slug), verb)(by=member, **words.validated_data)
        return Response(DefinitionDetail(rows.get(slug=slug)).data)


class DropOutput(serializers.Serializer[dropping.Drop]):
    """`refusals`: all that stands against it; `takes` is gone for good with it; a deletion names the `digest`."""

    refusals = serializers.ListField(child=serializers.CharField())
    takes = serializers.DictField(child=serializers.IntegerField())
    notes = serializers.ListField(child=serializers.CharField())
    digest = serializers.CharField()


class DefinitionDeletionView(APIView):
    permission_classes = [roles()]

    @extend_schema(responses=DropOutput)
    def get(self, request: Request, slug: str) -> Response:
        """What deleting the definition would take with it, and what stands against it."""
        rows = Definition.objects.visible_to(member_of(request)).written()
        return Response(DropOutput(dropping.drop_of(get_object_or_404(rows, slug=slug))).data)


class DefinitionDeleteView(APIView):
    permission_classes = [roles(Role.ADMIN)]

    class Input(Reason):
        digest = serializers.CharField(max_length=64, help_text="Of what is to go, as it was shown.")

    @extend_schema(
        request=Input,
        responses={204: None, 409: OpenApiResponse(description="What stands against it, or a stale look.")},
    )
    def post(self, request: Request, slug: str) -> Response:
        """It goes for good, with its versions and schedules: one that is archived, and that nothing goes by."""
        words = self.Input(data=request.data)
        words.is_valid(raise_exception=True)
        member = member_of(request)
        found = get_object_or_404(Definition.objects.visible_to(member).written(), slug=slug)
        dropping.drop(found, by=member, **words.validated_data)
        return Response(status=status.HTTP_204_NO_CONTENT)


class RolloutView(APIView):
    permission_classes = [roles(Role.BUILDER)]

    class Input(Reason):
        percent = serializers.IntegerField(min_value=0, max_value=100)
        rest = serializers.IntegerField(
            min_value=1, required=False, help_text="An older version; not with 100 percent."
        )

    @extend_schema(
        request=Input, responses={200: DefinitionDetail, 400: OpenApiResponse(description="No such version.")}
    )
    def post(self, request: Request, slug: str) -> Response:
        """Let a share of new runs begin with the newest version, and the others with an older one."""
        words = self.Input(data=request.data)
        words.is_valid(raise_exception=True)
        member = member_of(request)
        rows = Definition.objects.visible_to(member).written().for_list()
        get_object_or_404(rows, slug=slug).roll_out(by=member, **words.validated_data)
        return Response(DefinitionDetail(rows.get(slug=slug)).data)


class VersionsView(generics.ListAPIView[DefinitionVersion]):
    permission_classes = [roles()]
    pagination_class = ByNumber
    serializer_class = VersionOutput
    queryset = DefinitionVersion.objects.none()

    def get_queryset(self) -> Any:
        rows = Definition.objects.visible_to(member_of(self.request))
        definition = get_object_or_404(rows, slug=self.kwargs["slug"])
        return definition.versions.select_related("created_by__user")


class PlainYAML(JSONRenderer):
    media_type = "application/yaml"
    format = "yaml"


class ExportView(APIView):
    permission_classes = [roles()]
    renderer_classes = [PlainYAML, JSONRenderer]

    class Asked(serializers.Serializer[Any]):
        version = serializers.IntegerField(min_value=1, required=False, help_text="Without it, the current one.")

    @extend_schema(parameters=[Asked], responses={(200, "application/yaml"): OpenApiTypes.STR})
    def get(self, request: Request, slug: str) -> HttpResponse:
        """A version's text, just as it was saved."""
        asked = self.Asked(data=request.query_params)
        asked.is_valid(raise_exception=True)
        definition = get_object_or_404(Definition.objects.visible_to(member_of(request)).for_list(), slug=slug)
        version = definition.current_version
        if "version" in asked.validated_data:
            version = get_object_or_404(definition.versions, number=asked.validated_data["version"])
        if version is None:
            raise Http404
        headers = {"Content-Disposition": f'attachment; filename="{sources.file_of(slug, version.text)}"'}
        return HttpResponse(version.text, content_type="application/yaml; charset=utf-8", headers=headers)


class DifferenceLine(serializers.Serializer[Line]):
    """`sign`: -, + or a blank; … stands for lines left out. Numbers count from 1."""

    sign = serializers.CharField()
    text = serializers.CharField()
    before = serializers.IntegerField(allow_null=True)
    after = serializers.IntegerField(allow_null=True)


class DifferenceOutput(serializers.Serializer[Any]):
    added = serializers.IntegerField()
    removed = serializers.IntegerField()
    too_long = serializers.BooleanField(help_text="The texts are too long to be compared here.")
    lines = DifferenceLine(many=True)


class DifferenceView(APIView):
    permission_classes = [roles()]

    class Asked(serializers.Serializer[Any]):
        before = serializers.IntegerField(min_value=1, help_text="A version's number.")
        after = serializers.IntegerField(min_value=1)

    @extend_schema(parameters=[Asked], responses=DifferenceOutput)
    def get(self, request: Request, slug: str) -> Response:
        """What differs between the texts of two versions, line by line."""
        asked = self.Asked(data=request.query_params)
        asked.is_valid(raise_exception=True)
        definition = get_object_or_404(Definition.objects.visible_to(member_of(request)), slug=slug)
        texts = [
            get_object_or_404(definition.versions, number=asked.validated_data[name]).text
            for name in ("before", "after")
        ]
        return Response(DifferenceOutput(difference(*texts)).data)
