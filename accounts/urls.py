from django.urls import path

from accounts import api

urlpatterns = [
    path("me/", api.MeView.as_view(), name="me"),
    path("members/", api.MembersView.as_view(), name="members"),
    path("tokens/", api.TokensView.as_view(), name="tokens"),
    path("tokens/<str:public_id>/", api.TokenView.as_view(), name="token"),
    path("audit/", api.AuditView.as_view(), name="audit"),
]
