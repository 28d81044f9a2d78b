from django.urls import path, re_path

from orchestration.api import (
    bulk,
    definition_sets,
    definitions,
    deliverables,
    levers,
    logs,
    mail,
    messages,
    runs,
    schedules,
)
from orchestration.feeds.views import events

urlpatterns = [
    path("runs/", runs.RunsView.as_view(), name="runs"),
    path("runs/labels/<str:name>/", runs.LabelView.as_view(), name="runs-label"),
    path("runs/batch/", runs.BatchView.as_view(), name="runs-batch"),
    path("runs/actions/", bulk.ActionsView.as_view(), name="runs-actions"),
    path("runs/actions/<str:public_id>/", bulk.ActionView.as_view(), name="runs-action"),
    path("runs/<str:public_id>/", runs.RunView.as_view(), name="run"),
    path("runs/<str:public_id>/logs/", logs.LogsView.as_view(), name="run-logs"),
    path("runs/<str:public_id>/messages/", messages.MessagesView.as_view(), name="run-messages"),
    re_path(r"^runs/(?P<public_id>[^/]+)/events/?$", events, name="events"),
    path("runs/<str:public_id>/deletion/", levers.DeletionView.as_view(), name="run-deletion"),
    path(
        "runs/<str:public_id>/steps/<str:name>/fork-preview/", levers.ForkPreviewView.as_view(), name="run-fork-preview"
    ),
    path("runs/<str:public_id>/move-check/", levers.MoveCheckView.as_view(), name="run-move-check"),
    *levers.routes(),
    path("definitions/", definitions.DefinitionsView.as_view(), name="definitions"),
    path("definitions/check/", definitions.CheckView.as_view(), name="definitions-check"),
    path("definitions/<slug:slug>/", definitions.DefinitionView.as_view(), name="definition"),
    path("definitions/<slug:slug>/versions/", definitions.VersionsView.as_view(), name="definition-versions"),
    path(
        "definitions/<slug:slug>/archive/",
        definitions.ArchiveView.as_view(),
        {"verb": "archive"},
        name="definition-archive",
    ),
    path(
        "definitions/<slug:slug>/restore/",
        definitions.ArchiveView.as_view(),
        {"verb": "restore"},
        name="definition-restore",
    ),
    path("definitions/<slug:slug>/rollout/", definitions.RolloutView.as_view(), name="definition-rollout"),
    path("definitions/<slug:slug>/export/", definitions.ExportView.as_view(), name="definition-export"),
    path("definitions/<slug:slug>/difference/", definitions.DifferenceView.as_view(), name="definition-difference"),
    path("definition-set/", definition_sets.DefinitionSetView.as_view(), name="definition-set"),
    path("definition-set/check/", definition_sets.CheckSetView.as_view(), name="definition-set-check"),
    path("schedules/", schedules.SchedulesView.as_view(), name="schedules"),
    path("schedules/<str:public_id>/", schedules.ScheduleView.as_view(), name="schedule"),
    path("schedules/<str:public_id>/pause/", schedules.PauseView.as_view(), name="schedule-pause"),
    path("schedules/<str:public_id>/resume/", schedules.ResumeView.as_view(), name="schedule-resume"),
    path("schedules/<str:public_id>/run/", schedules.RunNowView.as_view(), name="schedule-run"),
    path("schedules/<str:public_id>/backfill/", schedules.BackfillView.as_view(), name="schedule-backfill"),
    path("events/", mail.EventsView.as_view(), name="outside-events"),
    path("deliverables/", deliverables.DeliverablesView.as_view(), name="deliverables"),
    path("deliverables/<str:public_id>/", deliverables.DeliverableView.as_view(), name="deliverable"),
]
