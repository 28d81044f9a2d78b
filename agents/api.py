"""Agents over the API: anyone of the organization reads, a builder saves."""

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiResponse, extend_schema, inline_serializer
from rest_framework import serializers, status
from rest_framework.parsers import BaseParser, JSONParser
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import member_of
from accounts.permissions import roles
from agents import specs
from agents.exceptions import InvalidSpec
from agents.models import Agent, AgentVersion
from agents.schemas import Finding


class YAMLParser(BaseParser):
    """A spec as text; its errors name line and column."""

    media_type = "application/yaml"

    def parse(self, stream, media_type=None, parser_context=None):
        try:
            return specs.read(stream.read().decode())
        except UnicodeDecodeError as error:
            raise InvalidSpec([Finding("", "The text is not UTF-8.")]) from error


class VersionOutput(serializers.ModelSerializer):
    created_by = serializers.CharField(source="created_by.name", allow_null=True, default=None)

    class Meta:
        model = AgentVersion
        fields = (
            "number",
            "digest",
            "configuration",
            "input_schema",
            "output_schema",
            "repeatable",
            "created_at",
            "created_by",
        )


class AgentOutput(serializers.ModelSerializer):
    version = serializers.IntegerField(source="current_version.number", allow_null=True, default=None)
    digest = serializers.CharField(source="current_version.digest", allow_null=True, default=None)

    class Meta:
        model = Agent
        fields = ("slug", "kind", "title", "description", "version", "digest")


class AgentDetail(AgentOutput):
    current_version = VersionOutput(allow_null=True)

    class Meta:
        model = Agent
        fields = ("slug", "kind", "title", "description", "version", "digest", "current_version")


class AgentInput(serializers.Serializer):
    """For the documentation: `agents.specs` checks a spec, whichever door it came by."""

    name = serializers.SlugField(max_length=64)
    kind = serializers.CharField()
    title = serializers.CharField(required=False)
    description = serializers.CharField(required=False)
    input = serializers.JSONField(required=False)
    output = serializers.JSONField(required=False)
    configuration = serializers.JSONField(required=False)
    repeatable = serializers.BooleanField(required=False)


class AgentList(APIView):
    permission_classes = [roles("builder")]
    parser_classes = [JSONParser, YAMLParser]

    @extend_schema(
        operation_id="agents_list", responses=inline_serializer("AgentPage", {"results": AgentOutput(many=True)})
    )
    def get(self, request):
        agents = Agent.objects.visible_to(member_of(request)).with_current()
        return Response({"results": AgentOutput(agents, many=True).data})

    @extend_schema(
        request=AgentInput,
        responses={201: AgentDetail, 400: OpenApiResponse(description="errors: [{pointer, message}]")},
    )
    def post(self, request):
        """Save a spec as the agent's current version; what the current one already says makes no new one."""
        member = member_of(request)
        version = Agent.save_version(organization=member.organization, spec=request.data, by=member)
        agent = Agent.objects.with_current().get(pk=version.agent_id)
        return Response(AgentDetail(agent).data, status=status.HTTP_201_CREATED)


class AgentItem(APIView):
    permission_classes = [roles("builder")]

    @extend_schema(responses=AgentDetail)
    def get(self, request, slug):
        agents = Agent.objects.visible_to(member_of(request)).with_current()
        agents = agents.select_related("current_version__created_by__user")
        return Response(AgentDetail(get_object_or_404(agents, slug=slug)).data)


class AgentVersions(APIView):
    permission_classes = [roles("builder")]

    @extend_schema(responses=inline_serializer("AgentVersionPage", {"results": VersionOutput(many=True)}))
    def get(self, request, slug):
        agent = get_object_or_404(Agent.objects.visible_to(member_of(request)), slug=slug)
        versions = agent.versions.select_related("created_by__user")
        return Response({"results": VersionOutput(versions, many=True).data})
