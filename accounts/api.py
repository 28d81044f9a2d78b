from typing import Any

from allauth.account.internal.flows.reauthentication import is_reauthentication_required
from django.shortcuts import get_object_or_404
from rest_framework import generics, serializers
from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import member_of, token_of
from accounts.models import ApiToken, AuditEntry, Member, Role, Scope
from accounts.pages import NewestFirst
from accounts.permissions import only, roles, scoped


class MemberOutput(serializers.ModelSerializer[Member]):
    name = serializers.CharField()
    organization = serializers.CharField(source="organization.slug")

    class Meta:
        model = Member
        fields = ("name", "organization", "roles", "is_active", "created_at")


class MeView(APIView):
    permission_classes = [roles()]
    serializer_class = MemberOutput

    def get(self, request: Request) -> Response:
        return Response(MemberOutput(member_of(request)).data)


class MembersView(generics.ListAPIView[Member]):
    permission_classes = [only(Role.ADMIN)]
    serializer_class = MemberOutput
    pagination_class = NewestFirst
    queryset = Member.objects.none()

    def get_queryset(self) -> Any:
        return Member.objects.visible_to(member_of(self.request))


class TokenOutput(serializers.ModelSerializer[ApiToken]):
    id = serializers.CharField(source="public_id")

    class Meta:
        model = ApiToken
        fields = ("id", "name", "prefix", "scopes", "expires_at", "revoked_at", "last_used_at", "created_at")


class TokensView(generics.ListAPIView[ApiToken]):
    """One's own tokens. A token with scopes needs `admin` to make another: it may not widen itself."""

    serializer_class = TokenOutput
    pagination_class = NewestFirst
    queryset = ApiToken.objects.none()

    class Input(serializers.Serializer[Any]):
        name = serializers.CharField(max_length=100)
        scopes = serializers.ListField(child=serializers.ChoiceField(choices=Scope.choices), default=list)
        expires_at = serializers.DateTimeField(allow_null=True, default=None)

    def get_permissions(self) -> list[BasePermission]:
        return [scoped(Scope.ADMIN)()]

    def get_queryset(self) -> Any:
        return ApiToken.objects.visible_to(member_of(self.request))

    def post(self, request: Request) -> Response:
        words = self.Input(data=request.data)
        words.is_valid(raise_exception=True)
        if token_of(request) is None and is_reauthentication_required(request._request, app="accounts"):
            raise PermissionDenied("Say once more that it is you: /accounts/reauthenticate/. A token needs not.")
        member = member_of(request)
        token, plaintext = ApiToken.issue(member=member, by=member, **words.validated_data)
        return Response({**TokenOutput(token).data, "token": plaintext}, status=201)


class TokenView(APIView):
    permission_classes = [scoped(Scope.ADMIN)]
    serializer_class = TokenOutput

    def delete(self, request: Request, public_id: str) -> Response:
        member = member_of(request)
        token = get_object_or_404(ApiToken.objects.visible_to(member), public_id=public_id)
        token.revoke(by=member)
        return Response(status=204)


class AuditView(generics.ListAPIView[AuditEntry]):
    permission_classes = [only(Role.ADMIN)]
    pagination_class = NewestFirst
    queryset = AuditEntry.objects.none()

    class Output(serializers.ModelSerializer[AuditEntry]):
        actor = serializers.CharField(source="actor.name", allow_null=True, default=None)

        class Meta:
            model = AuditEntry
            fields = ("at", "actor", "action", "target", "data")
            ref_name = "AuditEntry"

    serializer_class = Output

    def get_queryset(self) -> Any:
        return AuditEntry.objects.visible_to(member_of(self.request))
