"""What every page of a member has around it."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from accounts.permissions import page


@require_safe
@page()
def counts(request: HttpRequest) -> HttpResponse:
    """The part of a page that keeps up nothing but the counts of the rail."""
    return render(request, "ui/counts_part.html")
