"""Pages for people. `/a/<id>` is the short link for mail and chat; it shows, and only a POST decides there too."""

from django.urls import path

from approvals import views

urlpatterns = [
    path("approvals/", views.inbox, name="approvals"),
    path("approvals/part/", views.inbox_part, name="approvals-part"),
    path("approvals/<str:public_id>/", views.question, name="approval"),
    path("approvals/<str:public_id>/part/", views.question_part, name="approval-part"),
    path("approvals/<str:public_id>/check/", views.check, name="approval-check"),
    path("approvals/<str:public_id>/payload.json", views.payload, name="approval-payload"),
    path("a/<str:public_id>", views.question, name="approval-link"),
    path("a/<str:public_id>/", views.question),
]
