"""Answers that steps keep for each other: everyone of the organization sees what there is, operators purge."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import member_of
from accounts.models import Role
from accounts.permissions import roles
from orchestration.api.runs import visible_run
from orchestration.api.words import Strict
from orchestration.engine import cache
from orchestration.models import CacheEntry


class AnswersOutput(serializers.Serializer[Any]):
    """What an agent was asked: how many answers are kept, when the last was given, and until when one is kept."""

    agent = serializers.CharField()
    answers = serializers.IntegerField()
    newest_at = serializers.DateTimeField()
    until = serializers.DateTimeField()


class CacheView(APIView):
    permission_classes = [roles()]

    class Output(serializers.Serializer[Any]):
        results = AnswersOutput(many=True)

    @extend_schema(responses=Output)
    def get(self, request: Request) -> Response:
        """The answers that are kept, counted by agent."""
        found = CacheEntry.objects.kept(member_of(request).organization).by_agent()
        return Response({"results": AnswersOutput(found, many=True).data})


class PurgeView(APIView):
    permission_classes = [roles(Role.OPERATOR)]

    class Input(Strict):
        agent = serializers.CharField(max_length=100, default=None, allow_null=True, help_text="Its answers alone.")
        run = serializers.CharField(max_length=40, default=None, allow_null=True, help_text="Those it asked for alone.")
        reason = serializers.CharField(max_length=2_000)

    class Output(serializers.Serializer[Any]):
        purged = serializers.IntegerField()

    @extend_schema(request=Input, responses=Output)
    def post(self, request: Request) -> Response:
        """Forget answers; all, if neither agent nor run is named. What is asked right now is kept when it comes."""
        words = self.Input(data=request.data)
        words.is_valid(raise_exception=True)
        given = words.validated_data
        run = visible_run(request, given["run"]) if given["run"] is not None else None
        member = member_of(request)
        gone = cache.purge(member.organization, by=member, reason=given["reason"], agent=given["agent"], run=run)
        return Response({"purged": gone})
