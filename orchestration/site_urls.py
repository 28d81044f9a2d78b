"""Pages for people, mounted at the root."""

from django.urls import path

from orchestration.views import home, run, runs, starting

urlpatterns = [
    path("", home.home, name="home"),
    path("lists/", home.home_lists, name="home-lists"),
    path("go/", home.go, name="go"),
    path("runs/", runs.run_list, name="runs"),
    path("runs/part/", runs.run_list_part, name="runs-part"),
    path("runs/new/", starting.choose, name="run-new"),
    path("runs/new/<slug:slug>/", starting.start, name="run-start"),
    path("runs/<str:public_id>/", run.run, name="run"),
    path("runs/<str:public_id>/part/", run.part, name="run-part"),
    path("runs/<str:public_id>/events/", run.events, name="run-events"),
    path("runs/<str:public_id>/payload/", run.payload, name="run-payload"),
    path("runs/<str:public_id>/related/", run.related, name="run-related"),
    path("runs/<str:public_id>/raw/<str:what>/", run.raw, name="run-raw"),
    path("runs/<str:public_id>/cancel/", run.cancel, name="run-cancel"),
    path("runs/<str:public_id>/steps/<str:name>/resolve/", run.resolve, name="run-resolve"),
]
