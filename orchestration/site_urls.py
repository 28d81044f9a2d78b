"""Pages for people, mounted at the root."""

from django.urls import path

from orchestration.views import home, runs

urlpatterns = [
    path("", home.home, name="home"),
    path("lists/", home.home_lists, name="home-lists"),
    path("go/", home.go, name="go"),
    path("runs/", runs.run_list, name="runs"),
    path("runs/<str:public_id>/", runs.run, name="run"),
    path("runs/<str:public_id>/part/", runs.run_part, name="run-part"),
]
