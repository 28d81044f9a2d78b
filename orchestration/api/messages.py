"""Messages to a run: operators and machines send them, everyone of the organization reads what became of them."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema, extend_schema_field
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.authentication import member_of
from accounts.models import Role
from accounts.pages import NewestFirst
from accounts.permissions import roles
from orchestration.api.runs import PROBLEM, payloads_of, seen_run, stored, visible_run
from orchestration.api.words import AnyJSON, Strict
from orchestration.engine import messages
from orchestration.mailbox import messages_of
from orchestration.models import OutsideEvent


class MessageInput(Strict):
    name = serializers.CharField(max_length=100, help_text="One of those that the definition declares.")
    data = AnyJSON(  # type: ignore[assignment]  # the class has an attribute of this name too
        allow_null=True, default=None, help_text="As the message's schema says: the output of the step that takes it."
    )
    id = serializers.CharField(
        max_length=200, allow_null=True, default=None, help_text="The sender's own name for it: it counts once."
    )


class MessageOutput(serializers.ModelSerializer[OutsideEvent]):
    """`reply` is what its sender was told; `taken_by` the step that has it, null while none has."""

    id = serializers.CharField(source="public_id")
    data = serializers.SerializerMethodField()  # type: ignore[assignment]
    reply = serializers.JSONField(allow_null=True)
    by = serializers.CharField(source="by.name", allow_null=True, default=None)
    sender_id = serializers.CharField(allow_null=True)
    taken_by = serializers.CharField(allow_null=True)

    class Meta:
        model = OutsideEvent
        fields = ("id", "name", "data", "reply", "by", "sender_id", "received_at", "taken_by")

    @extend_schema_field(OpenApiTypes.ANY)
    def get_data(self, message: OutsideEvent) -> Any:
        return stored(message.data, message.data_digest, payloads_of([message.data_digest]))


class MessagesView(generics.ListAPIView[OutsideEvent]):
    permission_classes = [roles(Role.OPERATOR)]
    pagination_class = NewestFirst
    serializer_class = MessageOutput
    queryset = OutsideEvent.objects.none()

    def get_queryset(self) -> Any:
        return messages_of(seen_run(self.request, self.kwargs["public_id"]))

    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The newest first."""
        return super().get(request, *args, **kwargs)

    @extend_schema(
        request=MessageInput,
        responses={
            201: MessageOutput,
            200: MessageOutput,
            400: PROBLEM,
            409: OpenApiResponse(description="The run does not take it as things are; nothing was kept."),
        },
    )
    def post(self, request: Request, public_id: str) -> Response:
        """Send a message to a run. 201: it is kept, and a step takes it, now or later. 200: it was here."""
        words = MessageInput(data=request.data)
        words.is_valid(raise_exception=True)
        given = words.validated_data
        run = visible_run(request, public_id)
        message, is_new = messages.send(
            run,
            name=given["name"],
            data=given["data"],
            sender_id=given["id"] or request.headers.get("Idempotency-Key"),
            by=member_of(request),
        )
        answer = status.HTTP_201_CREATED if is_new else status.HTTP_200_OK
        return Response(MessageOutput(messages_of(run).get(pk=message.pk)).data, status=answer)
