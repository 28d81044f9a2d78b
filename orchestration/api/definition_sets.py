"""Definitions as a set: checked and saved together, all or none; and all that there are, to be kept elsewhere."""

from typing import Any

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import member_of
from accounts.models import Role
from accounts.permissions import roles
from orchestration import sources
from orchestration.api.definitions import DefinitionOutput, Findings, Text, findings_of
from orchestration.api.words import Strict
from orchestration.models import Definition


class Sources(Strict):
    sources = Text(many=True, allow_empty=False)


class SourceOutput(serializers.Serializer[sources.Source]):
    file = serializers.CharField()
    text = serializers.CharField()


class SourcesOutput(serializers.Serializer[Any]):
    sources = SourceOutput(many=True)


class Saved(serializers.Serializer[Any]):
    definitions = DefinitionOutput(many=True)


def sources_of(request: Request) -> list[sources.Source]:
    words = Sources(data=request.data)
    words.is_valid(raise_exception=True)
    return [sources.Source(each["file"], each["text"]) for each in words.validated_data["sources"]]


class DefinitionSetView(APIView):
    permission_classes = [roles(Role.BUILDER)]

    @extend_schema(responses=SourcesOutput)
    def get(self, request: Request) -> Response:
        """The current text of each definition: what `POST` takes, and then changes nothing."""
        found = sources.of_organization(member_of(request).organization)
        return Response(SourcesOutput({"sources": found}).data)

    @extend_schema(
        request=Sources, responses={201: Saved, 400: OpenApiResponse(description="errors: the findings of all texts")}
    )
    def post(self, request: Request) -> Response:
        """Save all of them, or none. A text that is current already makes no new version."""
        member = member_of(request)
        versions = sources.apply(sources_of(request), organization=member.organization, by=member)
        saved = Definition.objects.for_list().filter(pk__in=[version.definition_id for version in versions])
        return Response(Saved({"definitions": saved}).data, status=status.HTTP_201_CREATED)


class CheckSetView(APIView):
    permission_classes = [roles(Role.BUILDER)]

    @extend_schema(request=Sources, responses=Findings)
    def post(self, request: Request) -> Response:
        """All findings about all of them; nothing is saved."""
        return findings_of(sources.check_set(sources_of(request), organization=member_of(request).organization))
