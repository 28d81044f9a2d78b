from django.urls import path

from approvals import api

urlpatterns = [
    path("approvals/", api.RequestsView.as_view(), name="approvals"),
    path("approvals/<str:public_id>/", api.RequestView.as_view(), name="approval"),
    path("approvals/<str:public_id>/decision/", api.DecisionView.as_view(), name="decision"),
]
