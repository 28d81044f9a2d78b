"""Pages for people, mounted at the root."""

from django.urls import path

from orchestration.views import agents, definitions, deliverables, home, run, runs, starting

urlpatterns = [
    path("", home.home, name="home"),
    path("part/", home.home_part, name="home-part"),
    path("first-steps/hide/", home.hide_first_steps, name="hide-first-steps"),
    path("go/", home.go, name="go"),
    path("deliverables/", deliverables.deliverable_list, name="deliverables"),
    path("deliverables/<str:public_id>/", deliverables.deliverable, name="deliverable"),
    path("deliverables/<str:public_id>/download/", deliverables.download, name="deliverable-download"),
    path("deliverables/<str:public_id>/raw/", deliverables.raw, name="deliverable-raw"),
    path("definitions/", definitions.definition_list, name="definitions"),
    path("definitions/new/", definitions.edit, name="definition-new"),
    path("definitions/new/check/", definitions.check, name="definition-check"),
    path("definitions/<slug:slug>/", definitions.definition, name="definition"),
    path("definitions/<slug:slug>/edit/", definitions.edit, name="definition-edit"),
    path("definitions/<slug:slug>/<int:number>/", definitions.definition, name="definition-version"),
    path("agents/", agents.agent_list, name="agents"),
    path("agents/new/", agents.edit, name="agent-new"),
    path("agents/new/check/", agents.check, name="agent-check"),
    path("agents/<slug:slug>/", agents.agent, name="agent"),
    path("agents/<slug:slug>/edit/", agents.edit, name="agent-edit"),
    path("agents/<slug:slug>/try/", agents.try_it, name="agent-try"),
    path("agents/<slug:slug>/try/<str:public_id>/part/", agents.trial_part, name="agent-trial-part"),
    path("agents/<slug:slug>/<int:number>/", agents.agent, name="agent-version"),
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
