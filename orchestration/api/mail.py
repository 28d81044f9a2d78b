"""Events from outside: operators and machines send them, everyone of the organization reads."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.authentication import member_of
from accounts.models import Role
from accounts.pages import NewestFirst
from accounts.permissions import roles
from orchestration.api.words import AnyJSON, Strict
from orchestration.engine import mail
from orchestration.models import OutsideEvent


class EventInput(Strict):
    name = serializers.CharField(max_length=200, help_text="Such as invoice.paid.")
    key = serializers.CharField(
        max_length=200, allow_blank=True, default="", help_text="Which one, such as an invoice's number."
    )
    data = AnyJSON(  # type: ignore[assignment]  # the class has an attribute of this name too
        allow_null=True, default=None, help_text="What came: the output of the steps that wait for it."
    )
    id = serializers.CharField(
        max_length=200, allow_null=True, default=None, help_text="The sender's own name for it: it counts once."
    )


class OutsideEventOutput(serializers.ModelSerializer[OutsideEvent]):
    id = serializers.CharField(source="public_id")
    sender_id = serializers.CharField(allow_null=True)

    class Meta:
        model = OutsideEvent
        fields = ("id", "name", "key", "sender_id", "received_at", "matched_at")


class EventsView(generics.ListAPIView[OutsideEvent]):
    permission_classes = [roles(Role.OPERATOR)]
    pagination_class = NewestFirst
    serializer_class = OutsideEventOutput
    queryset = OutsideEvent.objects.none()

    def get_queryset(self) -> Any:
        found = OutsideEvent.objects.filter(organization=member_of(self.request).organization, run=None)
        wanted = {name: text for name in ("name", "key") if (text := self.request.query_params.get(name)) is not None}
        return found.filter(**wanted).defer("data")

    @extend_schema(parameters=[OpenApiParameter("name"), OpenApiParameter("key")])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The newest first."""
        return super().get(request, *args, **kwargs)

    @extend_schema(request=EventInput, responses={201: OutsideEventOutput, 200: OutsideEventOutput})
    def post(self, request: Request) -> Response:
        """Deliver an event to every step here that waits for it, or will soon. 200: it was delivered before."""
        words = EventInput(data=request.data)
        words.is_valid(raise_exception=True)
        given = words.validated_data
        member = member_of(request)
        event, is_new = mail.deliver(
            organization=member.organization,
            name=given["name"],
            key=given["key"],
            data=given["data"],
            sender_id=given["id"] or request.headers.get("Idempotency-Key"),
            by=member,
        )
        answer = status.HTTP_201_CREATED if is_new else status.HTTP_200_OK
        return Response(OutsideEventOutput(event).data, status=answer)
