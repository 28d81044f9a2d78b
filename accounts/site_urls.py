"""Pages for people; sign-in and what belongs to it is django-allauth's, below /accounts/."""

from django.urls import path

from accounts import views

urlpatterns = [path("settings/", views.preferences, name="settings")]
