"""Pages for people, mounted at the root."""

from django.urls import path

from orchestration import views

urlpatterns = [
    path("", views.home, name="home"),
    path("lists/", views.home_lists, name="home-lists"),
    path("runs/<str:public_id>/", views.run_page, name="run-page"),
    path("runs/<str:public_id>/part/", views.run_page_part, name="run-page-part"),
]
