"""Pages for people, mounted at the root."""

from django.urls import path

from orchestration import views

urlpatterns = [
    path("", views.home, name="home"),
    path("lists/", views.home_lists, name="home-lists"),
]
