"""One lever at many runs: `runs/actions/`."""

from typing import Any
from urllib.parse import urlencode

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import generics, serializers, status
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import member_of
from accounts.models import Role
from accounts.pages import NewestFirst
from accounts.permissions import SCOPE_OF_ROLE, allows, roles
from orchestration.api.runs import PROBLEM
from orchestration.api.words import AnyJSON, Strict
from orchestration.bulk_lists import ENDED, OPEN, Asked
from orchestration.engine import bulk
from orchestration.models import Bulk, BulkItem


class ResultOutput(serializers.Serializer[Any]):
    run = serializers.CharField()
    status = serializers.ChoiceField(choices=BulkItem.Status.choices)
    words = serializers.CharField()


class ActionOutput(serializers.ModelSerializer[Bulk]):
    """`done` of `total` runs had their turn; `words` say why one was refused."""

    id = serializers.CharField(source="public_id")
    by = serializers.CharField(source="by.name")
    results = serializers.SerializerMethodField()

    class Meta:
        model = Bulk
        fields = (
            "id",
            "action",
            "filters",
            "given",
            "reason",
            "by",
            "total",
            "done",
            "started_at",
            "ended_at",
            "results",
        )

    def get_results(self, action: Bulk) -> list[dict[str, Any]]:
        return [
            {"run": run and run.public_id, "status": item.status, "words": item.words}
            for item, run in bulk.told(action, action.items.order_by("run_id"), self.context["member"])
        ]


class ActionRow(serializers.ModelSerializer[Bulk]):
    """`done` of `total` runs had their turn: to `worked` it was done, `refused` stayed as they are."""

    id = serializers.CharField(source="public_id")
    by = serializers.CharField(source="by.name")
    worked = serializers.IntegerField()
    refused = serializers.IntegerField()

    class Meta:
        model = Bulk
        fields = (
            *("id", "action", "filters", "given", "reason", "by", "total", "done", "worked", "refused"),
            *("started_at", "ended_at"),
        )


class LookOutput(serializers.Serializer[Any]):
    total = serializers.IntegerField()
    able = serializers.IntegerField()
    refused = ResultOutput(many=True)
    digest = serializers.CharField()


class ActionsView(generics.ListAPIView[Bulk]):
    permission_classes = [roles(Role.OPERATOR)]
    pagination_class = NewestFirst
    serializer_class = ActionRow
    queryset = Bulk.objects.none()

    class Filter(serializers.Serializer[Any]):
        state = serializers.ChoiceField(choices=[OPEN, ENDED], required=False, help_text="Under way, or ended.")
        action = serializers.ChoiceField(choices=sorted(bulk.LEVERS), required=False, help_text="The lever.")
        by = serializers.CharField(max_length=150, required=False, help_text="The name of who did it.")

    class Input(Strict):
        """`filter`: words of the address of the list of runs; or `ids`. `digest`: of the look, to do it."""

        action = serializers.ChoiceField(choices=sorted(bulk.LEVERS))
        filter = serializers.DictField(child=serializers.CharField(allow_blank=True), required=False)
        ids = serializers.ListField(child=serializers.CharField(max_length=100), required=False, allow_empty=False)
        given = AnyJSON(required=False, default=dict)
        reason = serializers.CharField(max_length=2_000, required=False, allow_blank=True, default="")
        digest = serializers.CharField(required=False, default="")

        def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
            if ("filter" in attrs) == ("ids" in attrs):
                raise ValidationError({"filter": ["Choose runs by a filter or by their ids: one of the two."]})
            if not isinstance(attrs["given"], dict):
                raise ValidationError({"given": ["It is an object of the lever's fields."]})
            return attrs

    def get_queryset(self) -> Any:
        words = self.Filter(data=self.request.query_params)
        words.is_valid(raise_exception=True)
        asked = words.validated_data
        found = Asked(asked.get("state", ""), asked.get("action", ""), asked.get("by", ""))
        return found.rows(member_of(self.request)).for_list()

    @extend_schema(parameters=[Filter])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """What was done to many runs at once, and how far each is."""
        return super().get(request, *args, **kwargs)

    @extend_schema(
        request=Input,
        responses={200: LookOutput, 202: ActionOutput, 400: PROBLEM, 409: OpenApiResponse(description="It is stale.")},
    )
    def post(self, request: Request) -> Response:
        """Without `digest`: look at what would be done. With it: do just that; a look that went stale is refused."""
        words = self.Input(data=request.data)
        words.is_valid(raise_exception=True)
        given, member = words.validated_data, member_of(request)
        lever = bulk.LEVERS[given["action"]]
        if not member.has_role(lever.role) or not allows(request, SCOPE_OF_ROLE[Role(lever.role)]):
            raise PermissionDenied(f"This needs the role {lever.role}, and a token with its scope.")
        chosen = bulk.Chosen(urlencode(given.get("filter", {})), given.get("ids"))
        if given["digest"]:
            action = bulk.begin(
                lever, chosen, given["given"], reason=given["reason"], digest=given["digest"], by=member
            )
            return Response(ActionOutput(action, context={"member": member}).data, status=status.HTTP_202_ACCEPTED)
        found = bulk.look(lever, chosen, given["given"], by=member)
        refused = [{"run": run.public_id, "status": "refused", "words": why} for run, why in found.refused]
        told = {"total": len(found.runs), "able": found.able, "refused": refused, "digest": found.digest}
        return Response(LookOutput(told).data)


class ActionView(APIView):
    permission_classes = [roles()]

    @extend_schema(responses=ActionOutput)
    def get(self, request: Request, public_id: str) -> Response:
        """How far it is, and what came of each run."""
        member = member_of(request)
        rows = Bulk.objects.visible_to(member).select_related("by__user")
        found = get_object_or_404(rows, public_id=public_id)
        return Response(ActionOutput(found, context={"member": member}).data)
