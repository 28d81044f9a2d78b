"""Deliverables: what people read, newest first."""

from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import member_of
from accounts.pages import NewestFirst
from accounts.permissions import roles
from orchestration.models import Deliverable


class DeliverableOutput(serializers.ModelSerializer[Deliverable]):
    id = serializers.CharField(source="public_id")
    run = serializers.CharField(source="run.public_id")
    step = serializers.CharField()

    class Meta:
        model = Deliverable
        fields = ("id", "name", "version", "title", "content", "run", "step", "created_at")


class DeliverablesView(generics.ListAPIView[Deliverable]):
    permission_classes = [roles()]
    pagination_class = NewestFirst
    serializer_class = DeliverableOutput
    queryset = Deliverable.objects.none()

    class Filter(serializers.Serializer[Any]):
        run = serializers.CharField(required=False)

    def get_queryset(self) -> Any:
        words = self.Filter(data=self.request.query_params)
        words.is_valid(raise_exception=True)
        rows = Deliverable.objects.visible_to(member_of(self.request)).for_list()
        if "run" in words.validated_data:
            rows = rows.filter(run__public_id=words.validated_data["run"])
        return rows

    @extend_schema(parameters=[Filter])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)


class DeliverableView(APIView):
    permission_classes = [roles()]

    @extend_schema(responses=DeliverableOutput)
    def get(self, request: Request, public_id: str) -> Response:
        rows = Deliverable.objects.visible_to(member_of(request)).for_list()
        return Response(DeliverableOutput(get_object_or_404(rows, public_id=public_id)).data)
