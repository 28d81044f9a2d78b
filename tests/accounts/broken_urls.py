"""Doors that break, on a database that is away."""

from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.urls import include, path

handler500 = "config.errors.broken"


def boom(request: HttpRequest) -> HttpResponse:
    raise OperationalError("the database is away")


urlpatterns = [path("boom/", boom), path("api/boom/", boom), path("", include("config.urls"))]
