from datetime import datetime
from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import generics, serializers
from rest_framework import request as drf
from rest_framework.exceptions import ParseError
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import member_of
from accounts.clock import database_clock
from accounts.models import Scope
from accounts.pages import NewestFirst
from accounts.permissions import allows, roles, scoped
from approvals.models import Request, RequestQuerySet, Status
from approvals.surroundings import family_of


class RequestOutput(serializers.ModelSerializer[Request]):
    """`answer` is the payload after edits. `can_decide`: by this member, by this token, now."""

    id = serializers.CharField(source="public_id")
    policy = serializers.CharField(source="policy.slug")
    deadline = serializers.SerializerMethodField()
    run = serializers.CharField(allow_null=True)
    step = serializers.CharField(allow_null=True)
    url = serializers.CharField(allow_null=True)
    requested_by = serializers.CharField(source="requested_by.name", allow_null=True, default=None)
    decided_by = serializers.CharField(source="decided_by.name", allow_null=True, default=None)
    can_decide = serializers.SerializerMethodField()

    class Meta:
        model = Request
        fields = (
            *("id", "status", "title", "digest", "payload", "choices", "editable", "payload_schema", "policy"),
            *("deadline", "run", "step", "url", "context", "requested_by", "created_at", "decided_at"),
            *("choice", "note", "decided_by", "answer", "answer_digest", "can_decide"),
        )
        extra_kwargs = {"editable": {"help_text": "JSON Pointers; * in one stands for any one key or index."}}

    def get_deadline(self, row: Request) -> dict[str, Any] | None:
        return None if row.deadline_at is None else {"at": row.deadline_at, "then": row.deadline_choice}

    def get_can_decide(self, row: Request) -> bool:
        request, at = self.context["request"], self.context["at"]
        return allows(request, Scope.DECIDE) and row.can_be_decided_by(member_of(request), at=at)


class RequestsView(generics.ListAPIView[Request]):
    permission_classes = [roles()]
    pagination_class = NewestFirst
    serializer_class = RequestOutput
    queryset = Request.objects.none()

    class Filter(serializers.Serializer[Any]):
        run = serializers.CharField(required=False)
        tree = serializers.BooleanField(default=False, help_text="With run: also of all that it started.")
        status = serializers.ChoiceField(choices=Status.choices, required=False)

    def get_queryset(self) -> RequestQuerySet:
        words = self.Filter(data=self.request.query_params)
        words.is_valid(raise_exception=True)
        rows = Request.objects.visible_to(member_of(self.request)).for_inbox()
        if "run" in words.validated_data:
            run, tree = words.validated_data["run"], words.validated_data["tree"]
            rows = rows.of_run(*(family_of(run, member_of(self.request)) if tree else [run]))
        if "status" in words.validated_data:
            rows = rows.filter(status=words.validated_data["status"])
        return rows

    def get_serializer_context(self) -> dict[str, Any]:
        return {**super().get_serializer_context(), "at": database_clock()}

    @extend_schema(parameters=[Filter])
    def get(self, request: drf.Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)


class RequestView(APIView):
    permission_classes = [roles()]

    @extend_schema(responses=RequestOutput)
    def get(self, request: drf.Request, public_id: str) -> Response:
        return _shown(_visible(request, public_id), request, database_clock())


class DecisionView(APIView):
    """Answer. What is wrong with the content is said after 403 and both kinds of 409, so the verb checks it."""

    permission_classes = [scoped(Scope.DECIDE)]

    class Input(serializers.Serializer[Any]):
        choice = serializers.CharField()
        digest = serializers.CharField(help_text="The digest of what was seen.")
        note = serializers.CharField(required=False, help_text="Needed with retry and abort.")
        edits = serializers.DictField(required=False, help_text='{"/rows/0/amount": 12}')

    @extend_schema(request=Input, responses=RequestOutput)
    def post(self, request: drf.Request, public_id: str) -> Response:
        words = request.data
        if not isinstance(words, dict):
            raise ParseError("Send an object: choice, digest, note, edits.")
        row = _visible(request, public_id).decide(
            by=member_of(request),
            choice=words.get("choice", ""),
            digest=words.get("digest", ""),
            note=words.get("note") or "",
            edits=words.get("edits"),
            door="api",
        )
        return _shown(row, request, database_clock())


def _visible(request: drf.Request, public_id: str) -> Request:
    rows = Request.objects.visible_to(member_of(request)).for_inbox()
    return get_object_or_404(rows, public_id=public_id)


def _shown(row: Request, request: drf.Request, at: datetime) -> Response:
    return Response(RequestOutput(row, context={"request": request, "at": at}).data)
