from django.urls import path

from agents import api

urlpatterns = [
    path("agents/", api.AgentList.as_view(), name="agents"),
    path("agents/<slug:slug>/", api.AgentItem.as_view(), name="agent"),
    path("agents/<slug:slug>/versions/", api.AgentVersions.as_view(), name="agent-versions"),
]
