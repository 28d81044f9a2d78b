"""Limits: who holds them, who stands in line; how many they let in."""

from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import member_of
from accounts.models import Role
from accounts.pages import NewestFirst
from accounts.permissions import roles
from orchestration import limited
from orchestration.api.words import Strict
from orchestration.engine.levers import limiting
from orchestration.models import Limit


class LimitOutput(serializers.ModelSerializer[Limit]):
    """`max` and `per` (seconds) are those in force; `max_override` and `per_override` what a person said."""

    id = serializers.CharField(source="public_id")
    max = serializers.IntegerField(source="most")
    per = serializers.FloatField(source="span", allow_null=True)
    waiting = serializers.IntegerField()
    changed_by = serializers.CharField(source="changed_by.name", allow_null=True, default=None)

    class Meta:
        model = Limit
        fields: tuple[str, ...] = (
            *("id", "kind", "key", "max", "per", "max_override", "per_override"),
            *("taken", "waiting", "used_at", "changed_by", "changed_at"),
        )


class StandingOutput(serializers.Serializer[Any]):
    """`step` is empty where the whole run stands for itself; `until` is when a rate has room for it."""

    run = serializers.CharField(source="run.public_id")
    step = serializers.CharField()
    since = serializers.DateTimeField()
    until = serializers.DateTimeField(allow_null=True)


class LimitDetail(LimitOutput):
    holders = serializers.SerializerMethodField()
    line = serializers.SerializerMethodField()

    class Meta(LimitOutput.Meta):
        fields = (*LimitOutput.Meta.fields, "holders", "line")

    @extend_schema_field(StandingOutput(many=True))
    def get_holders(self, limit: Limit) -> Any:
        return StandingOutput(limited.holders(limit), many=True).data

    @extend_schema_field(StandingOutput(many=True))
    def get_line(self, limit: Limit) -> Any:
        return StandingOutput(limited.line(limit), many=True).data


class LimitInput(Strict):
    """Both stand until they are changed; null: as the definitions say."""

    max = serializers.IntegerField(allow_null=True, min_value=1, max_value=limiting.MOST)
    per = serializers.FloatField(allow_null=True, default=None)
    reason = serializers.CharField(max_length=2_000)


class LimitsView(generics.ListAPIView[Limit]):
    permission_classes = [roles()]
    pagination_class = NewestFirst
    serializer_class = LimitOutput
    queryset = Limit.objects.none()

    def get_queryset(self) -> Any:
        wanted = {name: text for name in ("kind", "key") if (text := self.request.query_params.get(name)) is not None}
        return limited.limits_of(member_of(self.request)).filter(**wanted)

    @extend_schema(parameters=[OpenApiParameter("kind"), OpenApiParameter("key")])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Limits that steps and starts have asked for; those that nobody asks for in a day are forgotten."""
        return super().get(request, *args, **kwargs)


class LimitView(APIView):
    permission_classes = [roles(Role.OPERATOR)]

    def _limit(self, public_id: str) -> Limit:
        return get_object_or_404(limited.limits_of(member_of(self.request)), public_id=public_id)

    @extend_schema(responses=LimitDetail)
    def get(self, request: Request, public_id: str) -> Response:
        return Response(LimitDetail(self._limit(public_id)).data)

    @extend_schema(request=LimitInput, responses=LimitDetail)
    def patch(self, request: Request, public_id: str) -> Response:
        """Let in more, or fewer, from now on. Who is in stays in."""
        words = LimitInput(data=request.data)
        words.is_valid(raise_exception=True)
        given = words.validated_data
        limiting.change(
            self._limit(public_id),
            by=member_of(request),
            reason=given["reason"],
            most=given["max"],
            span=given["per"],
        )
        return Response(LimitDetail(self._limit(public_id)).data)
